//! Whole requests: payload in, decoded spans out.

mod any;
mod asked;
mod table;

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::{ScopeSpans, Span};
use proptest::prelude::*;
use prost::Message;

use super::Shared;
use crate::config::{AttributesConfig, FixedValue};
use crate::trace::plan::Plan;
use crate::trace::record::sample::{START, Sample, any_sample};
use crate::trace::record::{AttributeValue, Field, Record, bits};
use crate::trace::wording::Wording;

const END: u64 = START + 40_900_000;

fn spans_of(payload: &[u8]) -> Vec<Span> {
    worded(payload, &Wording::default())
}

fn worded(payload: &[u8], wording: &Wording) -> Vec<Span> {
    decoded(&Record::parse(payload, END).unwrap(), wording)
}

fn decoded(record: &Record<'_>, wording: &Wording) -> Vec<Span> {
    let (mut shared, mut out, mut again) = (Shared::default(), Vec::new(), Vec::new());
    let count = super::encode(record, wording, &mut shared, &mut out);
    assert!(count <= wording.max_spans());
    // With what is remembered of the first time.
    assert_eq!(super::encode(record, wording, &mut shared, &mut again), count);
    assert!(again == out, "two encodings of one request differ");
    let spans = ScopeSpans::decode(out.as_slice()).unwrap().spans;
    assert_eq!(spans.len() as u64, count);
    spans
}

fn spans(sample: &Sample) -> Vec<Span> {
    spans_of(&sample.payload())
}

/// Attributes as text; a number has a `#` before it, one with a fraction a `~`, a boolean a `?`; a list stands in brackets.
fn attributes(span: &Span) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for attribute in &span.attributes {
        let text = match attribute.value.as_ref().unwrap().value.as_ref().unwrap() {
            Value::StringValue(text) => text.clone(),
            Value::IntValue(number) => format!("#{number}"),
            Value::BoolValue(flag) => format!("?{flag}"),
            Value::DoubleValue(number) => format!("~{number}"),
            Value::ArrayValue(array) => {
                let text = |any: &AnyValue| match any.value.as_ref().unwrap() {
                    Value::StringValue(text) => text.clone(),
                    other => panic!("{other:?}"),
                };
                format!("[{}]", array.values.iter().map(text).collect::<Vec<_>>().join("|"))
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(all.insert(attribute.key.clone(), text), None, "{} twice", attribute.key);
    }
    all
}

fn expect_all(span: &Span, expected: &[(&str, &str)]) {
    let expected: BTreeMap<_, _> = expected.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
    assert_eq!(attributes(span), expected);
}

/// The named attributes have these values; an empty value: absent.
fn expect(span: &Span, expected: &[(&str, &str)]) {
    let all = attributes(span);
    for (key, value) in expected {
        assert_eq!(all.get(*key).map_or("", String::as_str), *value, "{key}");
    }
}

fn server_and_client(sample: &Sample) -> (Span, Span) {
    let [server, client] = spans(sample).try_into().unwrap();
    (server, client)
}

fn server_alone(sample: &Sample) -> Span {
    let [server] = spans(sample).try_into().unwrap();
    server
}

#[test]
fn an_ordinary_request_gives_both_spans_whole() {
    let (server, client) = server_and_client(&Sample::default());
    assert_eq!((server.kind, client.kind), (2, 3));
    assert_eq!((server.name.as_str(), client.name.as_str()), ("GET", "GET"));
    assert_eq!(server.trace_id, 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef_u128.to_be_bytes());
    assert_eq!(client.trace_id, server.trace_id);
    assert_eq!((&server.span_id, &server.parent_span_id), (&vec![0x11; 8], &vec![0x22; 8]));
    assert_eq!((&client.span_id[..], &client.parent_span_id), (&server.trace_id[..8], &server.span_id));
    assert_eq!((server.flags, client.flags), (0x303, 0x103));
    assert_eq!((server.trace_state.as_str(), client.trace_state.as_str()), ("a=1", "a=1"));
    assert_eq!((server.start_time_unix_nano, server.end_time_unix_nano), (START, END));
    assert_eq!((client.start_time_unix_nano, client.end_time_unix_nano), (START + 3_000_000, END));
    assert_eq!((&server.status, &client.status), (&None, &None));
    expect_all(
        &server,
        &[
            ("client.address", "192.0.2.9"),
            ("haproxy.backend.name", "api"),
            ("haproxy.frontend.name", "www"),
            ("haproxy.server.name", "api1"),
            ("haproxy.termination_state", "--"),
            ("haproxy.timer.connect", "#3"),
            ("haproxy.timer.handshake", "#4"),
            ("haproxy.timer.queue", "#2"),
            ("haproxy.timer.request_headers", "#1"),
            ("haproxy.timer.response_headers", "#25"),
            ("haproxy.timer.total", "#40"),
            ("http.request.method", "GET"),
            ("http.response.status_code", "#200"),
            ("network.peer.address", "192.0.2.9"),
            ("network.peer.port", "#51234"),
            ("network.protocol.version", "1.1"),
            ("server.address", "shop.example"),
            ("server.port", "#8443"),
            ("tls.protocol.name", "tls"),
            ("tls.protocol.version", "1.3"),
            ("url.path", "/cart/items"),
            ("url.query", "id=7&sort=asc"),
            ("url.scheme", "https"),
            ("user_agent.original", "curl/8.5.0"),
        ],
    );
    expect_all(
        &client,
        &[
            ("haproxy.backend.name", "api"),
            ("haproxy.connection.reused", "?true"),
            ("haproxy.server.name", "api1"),
            ("http.request.method", "GET"),
            ("http.response.status_code", "#200"),
            ("network.peer.address", "10.0.0.7"),
            ("network.peer.port", "#8080"),
            ("network.protocol.version", "1.1"),
            ("server.address", "shop.example"),
            ("server.port", "#8443"),
            ("url.full", "http://shop.example:8443/cart/items?id=7&sort=asc"),
        ],
    );
}

#[test]
fn a_root_span_has_no_parent_and_is_not_remote() {
    let mut sample = Sample::default();
    sample.head.parent = [0; 8];
    let (server, client) = server_and_client(&sample);
    assert!(server.parent_span_id.is_empty());
    assert_eq!((server.flags, client.flags), (0x103, 0x103));
}

#[test]
fn versions_schemes_and_tls_are_told_apart() {
    let cases = [
        ("GET / HTTP/1.0", 1, "", ["1.0", "http", "", ""]),
        ("GET / HTTP/1.1", 1, "TLSv1.2", ["1.1", "https", "tls", "1.2"]),
        ("GET https://h/ HTTP/2.0", 2, "TLSv1.3", ["2", "https", "tls", "1.3"]),
        ("GET https://h/ HTTP/3.0", 3, "TLSv1.3", ["3", "https", "tls", "1.3"]),
        ("GET /cut", 1, "SSLv3", ["1.1", "https", "ssl", "3"]),
        ("GET / HTTP/2.0", 0, "", ["2", "http", "", ""]),
        ("GET /cut", 0, "odd", ["", "https", "", ""]),
    ];
    for (line, major, tls, [version, scheme, name, tls_version]) in cases {
        let sample = Sample::default().line(line).with(Field::Tls, tls.as_bytes());
        let sample = sample.numbers(|numbers| numbers.client_http_major = major);
        let expected = [
            ("network.protocol.version", version),
            ("url.scheme", scheme),
            ("tls.protocol.name", name),
            ("tls.protocol.version", tls_version),
        ];
        expect(&server_and_client(&sample).0, &expected);
    }
    let (_, client) = server_and_client(&Sample::default().numbers(|numbers| {
        (numbers.server_http_major, numbers.bits) = (2, 0);
    }));
    expect(&client, &[("network.protocol.version", "2"), ("haproxy.connection.reused", "")]);
}

#[test]
fn every_form_of_target_gives_its_urls() {
    let cases = [
        ("GET /a?b HTTP/1.1", "shop.example", ["GET", "/a", "b", "shop.example", "http://shop.example/a?b"]),
        ("GET /a? HTTP/1.1", "h", ["GET", "/a", "", "h", "http://h/a?"]),
        ("GET http://abs:81/p HTTP/1.1", "", ["GET", "/p", "", "abs", "http://abs:81/p"]),
        ("GET http://u:p@abs HTTP/1.1", "", ["GET", "/", "", "abs", "http://REDACTED:REDACTED@abs/"]),
        ("GET https://h2/p?q HTTP/2.0", "h2", ["GET", "/p", "q", "h2", "http://h2/p?q"]),
        ("OPTIONS * HTTP/1.1", "h", ["OPTIONS", "*", "", "h", "http://h"]),
        ("CONNECT h:443 HTTP/1.1", "h:443", ["CONNECT", "", "", "h", "http://h:443"]),
        ("GET /a\"b\u{e9} HTTP/1.1", "h", ["GET", "/a\"b\u{e9}", "", "h", "http://h/a\"b\u{e9}"]),
        ("GET /long/and/cu", "h", ["GET", "/long/and/cu", "", "h", "http://h/long/and/cu"]),
        (
            "GET /f?sig=s3cr3t&a=1 HTTP/1.1",
            "me:pw@h",
            ["GET", "/f", "sig=REDACTED&a=1", "h", "http://REDACTED:REDACTED@h/f?sig=REDACTED&a=1"],
        ),
        ("GET / HTTP/1.1", "[2001:db8::1]:8080", ["GET", "/", "", "2001:db8::1", "http://[2001:db8::1]:8080/"]),
        ("", "h", ["_OTHER", "", "", "h", "http://h"]),
    ];
    for (line, host, [method, path, query, address, full]) in cases {
        let (server, client) = server_and_client(&Sample::default().line(line).host(host.as_bytes()));
        let both = [("http.request.method", method), ("server.address", address)];
        expect(&server, &both);
        expect(&client, &both);
        expect(&server, &[("url.path", path), ("url.query", query)]);
        expect(&client, &[("url.full", full)]);
    }
    let (server, client) = server_and_client(&Sample::default().line(b"GET /\xff HTTP/1.1").host(b"h"));
    expect(&server, &[("url.path", "/\u{FFFD}")]);
    expect(&client, &[("url.full", "http://h/\u{FFFD}")]);
}

#[test]
fn ports_fall_back_to_the_frontends_and_the_servers() {
    let (server, client) = server_and_client(&Sample::default().host(b"shop.example"));
    expect(&server, &[("server.address", "shop.example"), ("server.port", "#443")]);
    expect(&client, &[("server.address", "shop.example"), ("server.port", "#8080")]);
}

#[test]
fn without_a_host_the_server_is_its_address() {
    let (server, client) = server_and_client(&Sample::default().host(b""));
    expect(&server, &[("server.address", ""), ("server.port", "")]);
    expect(&client, &[("server.address", "10.0.0.7"), ("server.port", "#8080")]);
    expect(&client, &[("url.full", "http://10.0.0.7:8080/cart/items?id=7&sort=asc")]);
    let (_, client) = server_and_client(
        &Sample::default().address(Field::ServerAddress, "2001:db8::7").line("GET / HTTP/1.0").host(b""),
    );
    expect(&client, &[("server.address", "2001:db8::7"), ("url.full", "http://[2001:db8::7]:8080/")]);
}

#[test]
fn an_unknown_method_is_other_and_kept() {
    for method in ["PROPFIND", "get", "Get"] {
        let (server, client) = server_and_client(&Sample::default().line(format!("{method} / HTTP/1.1")));
        for span in [server, client] {
            assert_eq!(span.name, "HTTP");
            expect(&span, &[("http.request.method", "_OTHER"), ("http.request.method_original", method)]);
        }
    }
    for method in "CONNECT DELETE GET HEAD OPTIONS PATCH POST PUT TRACE QUERY".split(' ') {
        let (server, _) = server_and_client(&Sample::default().line(format!("{method} / HTTP/1.1")));
        assert_eq!(server.name, method);
        expect(&server, &[("http.request.method", method), ("http.request.method_original", "")]);
    }
}

#[test]
fn retries_and_redispatch_are_on_the_spans() {
    let (server, client) = server_and_client(&Sample::default().numbers(|numbers| {
        (numbers.retries, numbers.bits) = (3, bits::REDISPATCHED);
    }));
    expect(&server, &[("haproxy.retries", "#3"), ("haproxy.redispatched", "?true")]);
    expect(&client, &[("http.request.resend_count", "#3"), ("haproxy.retries", "")]);
    let (server, client) = server_and_client(&Sample::default().numbers(|numbers| numbers.retries = 2));
    expect(&server, &[("haproxy.retries", "#2"), ("haproxy.redispatched", "")]);
    expect(&client, &[("http.request.resend_count", "#2")]);
    let (server, client) = server_and_client(&Sample::default());
    expect(&server, &[("haproxy.retries", ""), ("haproxy.redispatched", "")]);
    expect(&client, &[("http.request.resend_count", "")]);
}

#[test]
fn timers_that_were_not_reached_are_left_out() {
    let sample = Sample::default().numbers(|numbers| numbers.timers = [0, 7, 1, -1, -1, -1]);
    let (server, client) = server_and_client(&sample);
    expect(&server, &[("haproxy.timer.handshake", ""), ("haproxy.timer.idle", "#7")]);
    expect(&server, &[("haproxy.timer.queue", ""), ("haproxy.timer.connect", "")]);
    expect(&server, &[("haproxy.timer.response_headers", ""), ("haproxy.timer.request_headers", "#1")]);
    assert_eq!(client.start_time_unix_nano, START + 1_000_000);
}

#[test]
fn clocks_that_disagree_give_no_negative_span() {
    for began in [1_900_000_000_000_000_000, 0, u64::MAX] {
        let sample = Sample::default().numbers(|numbers| (numbers.began, numbers.timers[2]) = (began, i32::MAX));
        for span in spans(&sample) {
            assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
            assert!(span.end_time_unix_nano >= END);
        }
    }
    // Stamps in the wrong order, before the begin, after the end.
    for [left, connected, answered, forwarded] in
        [[9, 8, 7, 6], [30, 1, 20, 10], [1, u64::MAX, 2, 3], [u64::MAX, 5, u64::MAX, 1]]
    {
        let at = |millis: u64| START.saturating_add(millis.saturating_mul(1_000_000));
        let (server, client) = server_and_client(&Sample::default().numbers(|numbers| {
            (numbers.left, numbers.connected) = (at(left), at(connected));
            (numbers.answered, numbers.forwarded) = (at(answered), at(forwarded));
        }));
        assert!(any::lie_within_the_first(&[server, client]));
    }
    // HAProxy's date is not known: when it was first seen here, less the time that its headers took.
    let (server, _) = server_and_client(&Sample::default().numbers(|numbers| numbers.began = 0));
    assert_eq!(server.start_time_unix_nano, START - 1_000_000);
}

#[test]
fn finer_clocks_give_the_client_span_its_begin_and_end() {
    let (server, client) = server_and_client(&Sample::default().numbers(|numbers| {
        (numbers.left, numbers.connected) = (START + 1_200_300, START + 1_900_000);
        (numbers.answered, numbers.forwarded) = (START + 20_000_000, START + 31_000_700);
        numbers.timers[3] = 0;
    }));
    assert_eq!((server.start_time_unix_nano, server.end_time_unix_nano), (START, END));
    assert_eq!((client.start_time_unix_nano, client.end_time_unix_nano), (START + 1_200_300, START + 31_000_700));
    // The queue's milliseconds are after the stamp, but not after the connection was there.
    let (_, client) = server_and_client(&Sample::default().numbers(|numbers| {
        (numbers.left, numbers.connected) = (START + 1_200_300, START + 1_900_000);
    }));
    assert_eq!((client.start_time_unix_nano, client.end_time_unix_nano), (START + 1_900_000, END));
}

#[test]
fn who_answered_decides_whether_there_is_a_client_span() {
    let none = server_alone(&Sample::default().server("<NOSRV>").state("SC").status(503));
    expect(&none, &[("haproxy.server.name", ""), ("haproxy.backend.name", "api"), ("error.type", "503")]);
    for applet in ["<STATS>", "<lua.hello>", "<PROMEX>"] {
        let span = server_alone(&Sample::default().server(applet).state("LR"));
        expect(&span, &[("haproxy.server.name", applet), ("error.type", ""), ("http.response.status_code", "#200")]);
    }
    server_alone(&Sample::default().server(""));
    server_alone(&Sample::ended("LC").status(302).numbers(|numbers| numbers.timers[4] = -1));
}

#[test]
fn a_deny_is_no_error() {
    let span = server_alone(&Sample::default().server("<NOSRV>").state("PR").status(403));
    assert_eq!(span.status, None);
    expect(&span, &[("error.type", ""), ("http.response.status_code", "#403"), ("haproxy.termination_state", "PR")]);
}

#[test]
fn a_cut_response_keeps_its_status_and_is_an_error() {
    for (state, word) in [("SD", "server_abort"), ("sD", "server_timeout")] {
        let (server, client) = server_and_client(&Sample::ended(state));
        for span in [&server, &client] {
            expect(span, &[("http.response.status_code", "#200"), ("error.type", word)]);
            let status = span.status.as_ref().unwrap();
            assert_eq!((status.code, status.message.as_str()), (2, ""));
        }
        expect(&server, &[("haproxy.termination_state", state)]);
    }
}

#[test]
fn a_client_that_left_or_was_too_slow_is_no_error_of_the_servers() {
    for (state, word) in [("CD", "client_abort"), ("cD", "client_timeout"), ("cL", "client_timeout")] {
        let (server, client) = server_and_client(&Sample::ended(state));
        expect(&server, &[("http.response.status_code", "#200"), ("error.type", word)]);
        expect(&client, &[("http.response.status_code", "#200"), ("error.type", "")]);
        assert_eq!((server.status.unwrap().code, client.status), (2, None));
    }
    for (state, word) in [("CH", "client_abort"), ("CC", "client_abort"), ("cH", "client_timeout")] {
        let sample = Sample::ended(state).status(408).numbers(|numbers| numbers.timers[5] = -1);
        let (server, client) = server_and_client(&sample);
        expect(&server, &[("error.type", word)]);
        expect(&client, &[("http.response.status_code", ""), ("error.type", "")]);
        assert_eq!(client.status, None);
    }
}

#[test]
fn the_servers_own_status_is_the_client_spans() {
    for (status, server_status, of_server, of_client) in [(200, 404, "", "404"), (503, 200, "503", "")] {
        let sample = Sample::default().status(status).numbers(|numbers| numbers.server_status = server_status);
        let (server, client) = server_and_client(&sample);
        expect(&server, &[("http.response.status_code", &format!("#{status}")), ("error.type", of_server)]);
        expect(&client, &[("http.response.status_code", &format!("#{server_status}")), ("error.type", of_client)]);
    }
}

#[test]
fn the_client_span_has_what_was_sent_to_the_server() {
    let tls = |sample: Sample, bits: u8| sample.numbers(|numbers| numbers.bits |= bits);
    let sample = Sample::default()
        .carrying(Field::SentMethod, b"PURGE")
        .carrying(Field::SentTarget, b"/v2/items?sig=1&x=2")
        .carrying(Field::SentHost, b"inner.example:9443");
    let (server, client) = server_and_client(&tls(sample, bits::SERVER_TLS_KNOWN | bits::SERVER_TLS));
    assert_eq!((server.name.as_str(), client.name.as_str()), ("GET", "HTTP"));
    let came = [("http.request.method", "GET"), ("url.path", "/cart/items"), ("url.query", "id=7&sort=asc")];
    expect(&server, &came);
    expect(&server, &[("server.address", "shop.example"), ("server.port", "#8443")]);
    expect(&client, &[("http.request.method", "_OTHER"), ("http.request.method_original", "PURGE")]);
    expect(&client, &[("server.address", "inner.example"), ("server.port", "#9443")]);
    expect(&client, &[("url.full", "https://inner.example:9443/v2/items?sig=REDACTED&x=2")]);
    let some = [
        (Field::SentMethod, "POST", "POST", "http://shop.example:8443/cart/items?id=7&sort=asc"),
        (Field::SentTarget, "/", "GET", "http://shop.example:8443/"),
        (Field::SentHost, "h", "GET", "http://h/cart/items?id=7&sort=asc"),
    ];
    for (field, value, method, full) in some {
        let sample = tls(Sample::default(), bits::SERVER_TLS_KNOWN).carrying(field, value.as_bytes());
        let (server, client) = server_and_client(&sample);
        expect(&server, &came);
        assert_eq!(client.name, method);
        expect(&client, &[("http.request.method", method), ("url.full", full)]);
    }
}

#[test]
fn an_answer_of_haproxys_own_is_not_the_servers() {
    let cases = [("SC", 503, "connect_error"), ("sH", 504, "server_timeout"), ("PH", 502, "proxy_error")];
    for (state, status, word) in cases {
        let sample = Sample::ended(state).status(status).numbers(|numbers| numbers.timers[5] = -1);
        let (server, client) = server_and_client(&sample);
        expect(&server, &[("http.response.status_code", &format!("#{status}")), ("error.type", &status.to_string())]);
        expect(&client, &[("http.response.status_code", ""), ("error.type", word)]);
    }
}

#[test]
fn a_tunnel_that_closes_normally_is_no_error() {
    let (server, client) = server_and_client(&Sample::default().status(101));
    for span in [server, client] {
        assert_eq!(span.status, None);
        expect(&span, &[("http.response.status_code", "#101"), ("error.type", "")]);
    }
}

#[test]
fn a_request_without_an_answer_says_what_is_known() {
    let sample = Sample::bare().state("PR").host(b"shop.example:8443").user_agent(b"curl/8.5.0");
    let span = server_alone(&sample);
    assert_eq!((span.name.as_str(), span.start_time_unix_nano, span.end_time_unix_nano), ("HTTP", START, END));
    assert_eq!(span.status.as_ref().unwrap().code, 2);
    expect_all(
        &span,
        &[
            ("error.type", "rejected"),
            ("haproxy.termination_state", "PR"),
            ("haproxy.timer.total", "#40"),
            ("http.request.method", "_OTHER"),
            ("server.address", "shop.example"),
            ("server.port", "#8443"),
            ("url.scheme", "http"),
            ("user_agent.original", "curl/8.5.0"),
        ],
    );
}

#[test]
fn a_rejected_request_says_all_that_came() {
    let sample = Sample::ended("PR").status(0).server("<NOSRV>").with(Field::ServerAddress, b"");
    let span = server_alone(&sample.numbers(|numbers| numbers.timers = [4, 0, 1, -1, -1, -1]));
    assert_eq!(span.name, "GET");
    expect(&span, &[("url.scheme", "https"), ("url.path", "/cart/items"), ("url.query", "id=7&sort=asc")]);
    expect(&span, &[("client.address", "192.0.2.9"), ("error.type", "rejected"), ("haproxy.frontend.name", "www")]);
    expect(&span, &[("http.response.status_code", ""), ("haproxy.server.name", ""), ("haproxy.timer.queue", "")]);
}

#[test]
fn two_ids_that_are_one_are_one_span() {
    let mut sample = Sample::default();
    sample.head.server_span = sample.head.client_span;
    let span = server_alone(&sample);
    assert_eq!(span.span_id, sample.head.client_span);
    expect(&span, &[("haproxy.server.name", "api1"), ("http.response.status_code", "#200")]);
}

#[test]
fn a_long_span_is_read_back() {
    let fixed = vec![("app.fixed".to_owned(), FixedValue::Text("p".repeat(20_000)))];
    let config = AttributesConfig { fixed, ..AttributesConfig::default() };
    let line = format!("GET /{}?{} HTTP/1.1", "p".repeat(400), "\u{e9}".repeat(300));
    let sample = Sample::default().line(line).user_agent(&[b'u'; 500]);
    let [server, client] = worded(&sample.payload(), &Wording::new(&config, &Plan::default())).try_into().unwrap();
    expect(&server, &[("url.query", &"\u{e9}".repeat(300)), ("user_agent.original", &"u".repeat(500))]);
    let full = format!("http://shop.example:8443/{}?{}", "p".repeat(400), "\u{e9}".repeat(300));
    expect(&client, &[("url.full", &full), ("app.fixed", &"p".repeat(20_000))]);
}

#[test]
fn what_is_longer_than_its_bound_is_cut() {
    let sample = Sample::default().line(format!("GET /{} HTTP/1.1", "p".repeat(2000))).user_agent(&[b'u'; 600]);
    let (server, client) = server_and_client(&sample.host(&[b'h'; 300]));
    let (path, host) = (format!("/{}", "p".repeat(1023)), "h".repeat(264));
    expect(&server, &[("url.path", &path), ("user_agent.original", &"u".repeat(512)), ("server.address", &host)]);
    expect(&client, &[("url.full", &format!("http://{host}{path}"))]);
}
