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

use crate::trace::record::Record;
use crate::trace::record::sample::Sample;
use crate::trace::wording::Wording;

const START: u64 = 1_700_000_000_000_000_000;
const END: u64 = START + 40_900_000;

fn spans_of(payload: &[u8]) -> Vec<Span> {
    worded(payload, &Wording::default(), 0)
}

fn worded(payload: &[u8], wording: &Wording, gathered: usize) -> Vec<Span> {
    decoded(&Record::parse(payload, END, gathered).unwrap(), wording)
}

fn decoded(record: &Record<'_>, wording: &Wording) -> Vec<Span> {
    let mut out = Vec::new();
    let count = super::encode(record, wording, &mut out);
    assert!(count <= wording.max_spans());
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
    let (server, client) = server_and_client(&Sample { parent: None, ..Sample::default() });
    assert!(server.parent_span_id.is_empty());
    assert_eq!((server.flags, client.flags), (0x103, 0x103));
}

#[test]
fn versions_schemes_and_tls_are_told_apart() {
    let cases = [
        ("GET / HTTP/1.0", "1", "-", ["1.0", "http", "", ""]),
        ("GET / HTTP/1.1", "1", "TLSv1.2", ["1.1", "https", "tls", "1.2"]),
        ("GET https://h/ HTTP/2.0", "2", "TLSv1.3", ["2", "https", "tls", "1.3"]),
        ("GET https://h/ HTTP/3.0", "3", "TLSv1.3", ["3", "https", "tls", "1.3"]),
        ("GET /cut", "1", "SSLv3", ["1.1", "https", "ssl", "3"]),
        ("GET / HTTP/2.0", "", "", ["2", "http", "", ""]),
        ("GET /cut", "", "odd", ["", "https", "", ""]),
    ];
    for (line, major, tls, [version, scheme, name, tls_version]) in cases {
        let sample = Sample::with(&[("%r", line), ("fc_http_major", major), ("%sslv", tls)]);
        let expected = [
            ("network.protocol.version", version),
            ("url.scheme", scheme),
            ("tls.protocol.name", name),
            ("tls.protocol.version", tls_version),
        ];
        expect(&server_and_client(&sample).0, &expected);
    }
    let (_, client) = server_and_client(&Sample::with(&[("bc_http_major", "2"), ("bc_reused", "")]));
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
        ("GET /a#22b#C3#A9 HTTP/1.1", "h", ["GET", "/a\"b\u{e9}", "", "h", "http://h/a\"b\u{e9}"]),
        ("GET /#FF HTTP/1.1", "h", ["GET", "/\u{FFFD}", "", "h", "http://h/\u{FFFD}"]),
        ("GET /long/and/cu", "h", ["GET", "/long/and/cu", "", "h", "http://h/long/and/cu"]),
        (
            "GET /f?sig=s3cr3t&a=1 HTTP/1.1",
            "me:pw@h",
            ["GET", "/f", "sig=REDACTED&a=1", "h", "http://REDACTED:REDACTED@h/f?sig=REDACTED&a=1"],
        ),
        ("GET / HTTP/1.1", "[2001:db8::1]:8080", ["GET", "/", "", "2001:db8::1", "http://[2001:db8::1]:8080/"]),
        ("<BADREQ>", "h", ["_OTHER", "", "", "h", "http://h"]),
    ];
    for (line, host, [method, path, query, address, full]) in cases {
        let (server, client) = server_and_client(&Sample::with(&[("%r", line)]).host(host.as_bytes()));
        let both = [("http.request.method", method), ("server.address", address)];
        expect(&server, &both);
        expect(&client, &both);
        expect(&server, &[("url.path", path), ("url.query", query)]);
        expect(&client, &[("url.full", full)]);
    }
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
    let (_, client) = server_and_client(&Sample::with(&[("%si", "2001:db8::7"), ("%r", "GET / HTTP/1.0")]).host(b""));
    expect(&client, &[("server.address", "2001:db8::7"), ("url.full", "http://[2001:db8::7]:8080/")]);
}

#[test]
fn an_unknown_method_is_other_and_kept() {
    for method in ["PROPFIND", "get", "Get"] {
        let (server, client) = server_and_client(&Sample::with(&[("%r", &format!("{method} / HTTP/1.1"))]));
        for span in [server, client] {
            assert_eq!(span.name, "HTTP");
            expect(&span, &[("http.request.method", "_OTHER"), ("http.request.method_original", method)]);
        }
    }
    for method in "CONNECT DELETE GET HEAD OPTIONS PATCH POST PUT TRACE QUERY".split(' ') {
        let (server, _) = server_and_client(&Sample::with(&[("%r", &format!("{method} / HTTP/1.1"))]));
        assert_eq!(server.name, method);
        expect(&server, &[("http.request.method", method), ("http.request.method_original", "")]);
    }
}

#[test]
fn retries_and_redispatch_are_on_the_spans() {
    let (server, client) = server_and_client(&Sample::with(&[("%rc", "+3")]));
    expect(&server, &[("haproxy.retries", "#3"), ("haproxy.redispatched", "?true")]);
    expect(&client, &[("http.request.resend_count", "#3"), ("haproxy.retries", "")]);
    let (server, client) = server_and_client(&Sample::with(&[("%rc", "2")]));
    expect(&server, &[("haproxy.retries", "#2"), ("haproxy.redispatched", "")]);
    expect(&client, &[("http.request.resend_count", "#2")]);
    let (server, client) = server_and_client(&Sample::default());
    expect(&server, &[("haproxy.retries", ""), ("haproxy.redispatched", "")]);
    expect(&client, &[("http.request.resend_count", "")]);
}

#[test]
fn timers_that_were_not_reached_are_left_out() {
    let sample = Sample::with(&[("%Th", "0"), ("%Ti", "7"), ("%Tw", "-1"), ("%Tc", "-1"), ("%Tr", "-1")]);
    let (server, client) = server_and_client(&sample);
    expect(&server, &[("haproxy.timer.handshake", ""), ("haproxy.timer.idle", "#7")]);
    expect(&server, &[("haproxy.timer.queue", ""), ("haproxy.timer.connect", "")]);
    expect(&server, &[("haproxy.timer.response_headers", ""), ("haproxy.timer.request_headers", "#1")]);
    assert_eq!(client.start_time_unix_nano, START + 1_000_000);
}

#[test]
fn clocks_that_disagree_give_no_negative_span() {
    for start in ["1900000000000000", "", "999999999999999999"] {
        for span in spans(&Sample::with(&[("start", start), ("%TR", "999999999999999999")])) {
            assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
            assert!(span.end_time_unix_nano >= END);
        }
    }
    let (server, _) = server_and_client(&Sample::with(&[("start", "")]));
    assert_eq!(server.start_time_unix_nano, END);
}

#[test]
fn who_answered_decides_whether_there_is_a_client_span() {
    let none = server_alone(&Sample::with(&[("%s", "<NOSRV>"), ("%ts", "SC"), ("%ST", "503")]));
    expect(&none, &[("haproxy.server.name", ""), ("haproxy.backend.name", "api"), ("error.type", "503")]);
    for applet in ["<STATS>", "<lua.hello>", "<PROMEX>"] {
        let span = server_alone(&Sample::with(&[("%s", applet), ("%ts", "LR")]));
        expect(&span, &[("haproxy.server.name", applet), ("error.type", ""), ("http.response.status_code", "#200")]);
    }
    server_alone(&Sample::with(&[("%s", "")]));
    server_alone(&Sample::with(&[("%ts", "LC"), ("%ST", "302"), ("%Tc", "-1")]));
}

#[test]
fn a_deny_is_no_error() {
    let span = server_alone(&Sample::with(&[("%s", "<NOSRV>"), ("%ts", "PR"), ("%ST", "403")]));
    assert_eq!(span.status, None);
    expect(&span, &[("error.type", ""), ("http.response.status_code", "#403"), ("haproxy.termination_state", "PR")]);
}

#[test]
fn a_cut_response_keeps_its_status_and_is_an_error() {
    for (state, word) in [("CD", "client_abort"), ("SD", "server_abort"), ("sD", "server_timeout")] {
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
fn an_answer_of_haproxys_own_is_not_the_servers() {
    let cases = [("SC", "503", "connect_error"), ("sH", "504", "server_timeout"), ("PH", "502", "proxy_error")];
    for (state, status, word) in cases {
        let (server, client) = server_and_client(&Sample::with(&[("%ts", state), ("%ST", status), ("%Tr", "-1")]));
        expect(&server, &[("http.response.status_code", &format!("#{status}")), ("error.type", status)]);
        expect(&client, &[("http.response.status_code", ""), ("error.type", word)]);
    }
}

#[test]
fn a_tunnel_that_closes_normally_is_no_error() {
    let (server, client) = server_and_client(&Sample::with(&[("%ST", "101")]));
    for span in [server, client] {
        assert_eq!(span.status, None);
        expect(&span, &[("http.response.status_code", "#101"), ("error.type", "")]);
    }
}

#[test]
fn a_request_without_an_answer_says_what_is_known() {
    let payload = [b"PR ", &Sample::default().context()[..], b" "].concat();
    let [span] = spans_of(&payload).try_into().unwrap();
    assert_eq!((span.name.as_str(), span.start_time_unix_nano, span.end_time_unix_nano), ("HTTP", END, END));
    assert_eq!(span.status.as_ref().unwrap().code, 2);
    expect_all(
        &span,
        &[
            ("error.type", "rejected"),
            ("haproxy.termination_state", "PR"),
            ("http.request.method", "_OTHER"),
            ("server.address", "shop.example"),
            ("server.port", "#8443"),
            ("user_agent.original", "curl/8.5.0"),
        ],
    );
}

#[test]
fn a_long_span_is_read_back() {
    let line = format!("GET /{}?{} HTTP/1.1", "p".repeat(20_000), "#C3#A9".repeat(300));
    let (server, client) = server_and_client(&Sample::default().line(line.as_bytes()).user_agent(&[b'u'; 500]));
    expect(&server, &[("url.query", &"\u{e9}".repeat(300)), ("user_agent.original", &"u".repeat(500))]);
    let full = format!("http://shop.example:8443/{}?{}", "p".repeat(20_000), "\u{e9}".repeat(300));
    expect(&client, &[("url.full", &full)]);
}
