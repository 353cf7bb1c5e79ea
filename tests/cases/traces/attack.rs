//! Hostile bytes: requests are answered as by the proxy without the module, and no value becomes part of another.

use haproxy_vitals_tests::client;
use haproxy_vitals_tests::vitals::{self, CALLER, Door};
use haproxy_vitals_tests::{Haproxy, OtlpReceiver, SOON, SpanView, Upstream};

const UNSAFE: &str = "  option accept-unsafe-violations-in-http-request\n";

/// The request, after its `traceparent`, and attributes of its SERVER span.
struct Row {
    line: Vec<u8>,
    headers: Vec<u8>,
    attributes: Vec<(&'static str, String)>,
}

fn row(line: impl AsRef<[u8]>, headers: impl AsRef<[u8]>, attributes: &[(&'static str, &str)]) -> Row {
    let attributes = attributes.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
    Row { line: line.as_ref().to_vec(), headers: headers.as_ref().to_vec(), attributes }
}

fn rows() -> Vec<Row> {
    let agent =
        |value: &str| row("GET /a HTTP/1.1", format!("user-agent: {value}\r\n"), &[("user_agent.original", value)]);
    let target = |target: &str, path: &str, query: &str| {
        let attributes = [("url.path", path), ("url.query", query)];
        let count = if query.is_empty() { 1 } else { 2 };
        row(format!("GET {target} HTTP/1.1"), "", &attributes[..count])
    };
    let long = "x".repeat(8192);
    let many = (0..90).fold(String::new(), |all, n| all + &format!("x-{n}: {n}\r\n"));
    vec![
        agent("a b | c || d"),
        agent("a\tb"),
        agent(r#"say "hi" 'there' \ "#.trim_end()),
        agent("100% %s %[src] %{+Q}o #41 ##"),
        agent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01S"),
        agent("u\u{80}h .- 200 back one 1.2.3.4 80"),
        agent("gr\u{fc}\u{df} \u{1f980}"),
        row("GET /a HTTP/1.1", b"user-agent: a\xff\xfeb\r\n", &[("user_agent.original", "a\u{fffd}\u{fffd}b")]),
        row("GET /a HTTP/1.1", "x-empty:\r\nuser-agent: seen\r\n", &[("user_agent.original", "seen")]),
        row(
            "GET /a HTTP/1.1",
            format!("cookie: {}\r\nuser-agent: seen\r\n", &long[..240]),
            &[("user_agent.original", "seen")],
        ),
        row("GET /a HTTP/1.1", format!("cookie: {long}\r\nuser-agent: seen\r\n"), &[("user_agent.original", "seen")]),
        row("GET /a HTTP/1.1", format!("user-agent: {long}\r\n"), &[("user_agent.original", &long[..512])]),
        row("GET /a HTTP/1.1", format!("{many}user-agent: seen\r\n"), &[("user_agent.original", "seen")]),
        row("GET /a HTTP/1.1", "user-agent: \r\n", &[("url.path", "/a")]),
        target("/a|b?c|d", "/a|b", "c|d"),
        target("/%22%20%00%23?%41=%zz", "/%22%20%00%23", "%41=%zz"),
        target("/\"'<>{}\\^`?\"", "/\"'<>{}\\^`", "\""),
        target("/#41?b#42", "/#41", "b#42"),
        target("//x//..;/../%2e?", "//x//..;/../%2e", ""),
        target("/?a=1&sig=secret&b=?", "/", "a=1&sig=REDACTED&b=?"),
        row(b"GET /caf\xc3\xa9?\xe9 HTTP/1.1", "", &[("url.path", "/caf\u{e9}"), ("url.query", "\u{fffd}")]),
        row("OPTIONS * HTTP/1.1", "", &[("url.path", "*"), ("http.request.method", "OPTIONS")]),
        row("GET http://shop.example:81/p?q HTTP/1.1", "", &[("url.path", "/p"), ("url.query", "q")]),
        row("BREW /a HTTP/1.1", "", &[("http.request.method", "_OTHER"), ("http.request.method_original", "BREW")]),
        row("get /a HTTP/1.1", "", &[("http.request.method", "_OTHER"), ("http.request.method_original", "get")]),
        row("GET /a HTTP/1.0", "", &[("network.protocol.version", "1.0")]),
    ]
}

#[test]
fn hostile_requests_give_exact_attributes_and_the_answer_of_the_plain_proxy() {
    let upstream = Upstream::start();
    let plain = vitals::config(Door::None, UNSAFE, "").upstream(&upstream).start();
    for door in Door::ALL {
        let receiver = OtlpReceiver::start();
        let traced = vitals::config(door, UNSAFE, "").upstream(&upstream).export_http(&receiver).start();
        let rows = rows();
        for (n, row) in (0..).zip(&rows) {
            let shown = String::from_utf8_lossy(&row.line[..row.line.len().min(80)]).into_owned();
            let [plainly, told] = [&plain, &traced].map(|haproxy| exchange(haproxy, &upstream, row, n));
            assert_eq!(plainly, told, "{door:?} {n}: {shown}");
        }
        for (n, row) in (0..).zip(&rows) {
            let span = vitals::server_span(&receiver, &vitals::trace_id(n));
            check(&span, row);
            let client = receiver.client_span_of(&span).unwrap_or_else(|| panic!("no CLIENT span under {span:#?}"));
            assert_eq!(client.int("http.response.status_code"), Some(200));
        }
        let counters = vitals::wait_exported(&traced, &receiver, rows.len() as u64);
        assert_eq!(counters["requests.started"], rows.len() as u64);
        receiver.assert_clean();
        traced.finish();
    }
    plain.finish();
}

#[test]
fn refused_bytes_are_refused_and_leave_no_trace() {
    for door in std::iter::once(Door::None).chain(Door::ALL) {
        let upstream = Upstream::start();
        let haproxy = vitals::config(door, "", "").upstream(&upstream).env("OTEL_TRACES_EXPORTER", "none").start();
        for request in [
            &b"GET / HTTP/1.1\r\nhost: x\r\nuser-agent: a\0b\r\n\r\n"[..],
            b"GET /\0 HTTP/1.1\r\nhost: x\r\n\r\n",
            b"GET /\xff HTTP/1.1\r\nhost: x\r\n\r\n",
            b"GET /#a HTTP/1.1\r\nhost: x\r\n\r\n",
            b"GET / HTTP/1.1\r\nhost: x\r\nx a: b\r\n\r\n",
            b"GET /a b HTTP/1.1\r\nhost: x\r\n\r\n",
        ] {
            let answer = client::raw(haproxy.addr("http"), request);
            assert!(answer.starts_with(b"HTTP/1.1 400 "), "{door:?} {request:?}: {}", String::from_utf8_lossy(&answer));
        }
        if door != Door::None {
            assert_eq!(vitals::counters(&haproxy)["requests.started"], 0);
        }
        assert_eq!(upstream.count(), 0);
        haproxy.finish();
    }
}

#[test]
fn uri_longer_than_the_log_keeps_is_cut_and_nothing_else_is() {
    let path = format!("/{}", "p".repeat(3000));
    for door in Door::ALL {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let haproxy = vitals::config(door, "", "").upstream(&upstream).export_http(&receiver).start();
        let headers = [("user-agent", "seen"), ("traceparent", &*vitals::traceparent(0))];
        assert_eq!(client::get(haproxy.addr("http"), &path, &headers).status, 200);
        assert_eq!(upstream.last().target, path);
        let span = vitals::server_span(&receiver, &vitals::trace_id(0));
        let kept = span.str("url.path").unwrap();
        assert!(path.starts_with(kept) && (1000..=1024).contains(&kept.len()), "{door:?} {}", kept.len());
        assert_eq!(span.str("http.request.method"), Some("GET"));
        assert_eq!(span.str("user_agent.original"), Some("seen"));
        assert_eq!(span.int("http.response.status_code"), Some(200));
        receiver.assert_clean();
        haproxy.finish();
    }
}

#[test]
fn odd_paths_over_http2_arrive_as_they_are() {
    for door in Door::ALL {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let haproxy = vitals::config(door, "", "").upstream(&upstream).export_http(&receiver).start();
        let targets = ["/a|b?c|d=", "/%23%00?x%20y", "//a//b/../c?", "/?http://x/y", "/a:b@c;d=e?f", "/~!$&'()*+,"];
        for (n, target) in (0..).zip(targets) {
            let headers = [("traceparent", &*vitals::traceparent(n)), ("user-agent", "a | b \"c\" #41 %s")];
            assert_eq!(client::h2_get(haproxy.addr("http"), target, &headers).status, 200, "{target}");
            assert_eq!(upstream.last().target, target);
        }
        for (n, target) in (0..).zip(targets) {
            let span = vitals::server_span(&receiver, &vitals::trace_id(n));
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            assert_eq!(span.str("url.path"), Some(path), "{door:?} {span:#?}");
            assert_eq!(span.str("url.query").unwrap_or_default(), query, "{door:?} {span:#?}");
            assert_eq!(span.str("user_agent.original"), Some("a | b \"c\" #41 %s"));
            assert_eq!(span.str("network.protocol.version"), Some("2"));
        }
        receiver.assert_clean();
        haproxy.finish();
    }
}

/// Status of the answer, and what the server saw but for the trace's headers.
fn exchange(haproxy: &Haproxy, upstream: &Upstream, row: &Row, n: u64) -> (Vec<u8>, String, Vec<(String, String)>) {
    upstream.clear();
    let start = format!("\r\nhost: shop.example:81\r\ntraceparent: {}\r\n", vitals::traceparent(n));
    let request = [&row.line[..], start.as_bytes(), &row.headers, b"\r\n"].concat();
    let answer = client::raw(haproxy.addr("http"), &request);
    let seen = upstream.wait_for(SOON, |_| true);
    let headers = seen.headers.into_iter().filter(|(name, _)| name != "traceparent").collect();
    (answer, seen.target, headers)
}

fn check(span: &SpanView, row: &Row) {
    for (key, value) in &row.attributes {
        assert_eq!(span.str(key), Some(value.as_str()), "{key} of {span:#?}");
    }
    let given = |key: &str| row.attributes.iter().any(|(known, _)| *known == key);
    let usual = [("http.request.method", "GET"), ("url.path", "/a"), ("network.protocol.version", "1.1")];
    for (key, value) in usual {
        assert!(given(key) || span.str(key) == Some(value), "{key} of {span:#?}");
    }
    assert!(given("url.query") || !span.has("url.query"), "{span:#?}");
    assert!(given("user_agent.original") || !span.has("user_agent.original"), "{span:#?}");
    assert_eq!(span.str("server.address"), Some("shop.example"), "{span:#?}");
    assert_eq!(span.int("server.port"), Some(81), "{span:#?}");
    assert_eq!(span.int("http.response.status_code"), Some(200), "{span:#?}");
    assert_eq!((span.str("error.type"), span.parent_id.as_str()), (None, CALLER), "{span:#?}");
    assert_eq!(span.str("client.address"), Some("127.0.0.1"), "{span:#?}");
    assert_eq!(span.str("haproxy.backend.name"), Some("back"), "{span:#?}");
    assert_eq!(span.str("haproxy.server.name"), Some("one"), "{span:#?}");
}
