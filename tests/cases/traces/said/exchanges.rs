//! Calls, tunnels, phases, and what gets no response.

use haproxy_vitals_tests::client::{self, Session};
use haproxy_vitals_tests::otlp::{SpanKind, StatusCode};
use haproxy_vitals_tests::vitals::{self, Door};
use haproxy_vitals_tests::{OtlpReceiver, SOON, Upstream};

use super::{DOORS, Proxy};

#[test]
fn grpc_calls_are_worded_as_calls() {
    const SETTINGS: &str = "[traces]\nrpc = true\n";
    const FRONT: &str = "
  http-request return status 200 content-type application/grpc hdr grpc-status %[path,field(3,/),map_str_int(${dir}/codes)] if { path_beg /a.Local/ }
  http-response set-header grpc-status 5 if { var(txn.found) -m found }
  http-request set-var(txn.found) bool(true) if { path /a.Remote/Find }
";
    let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
    for door in DOORS {
        receiver.clear();
        let haproxy = vitals::config(door, FRONT, "")
            .upstream(&upstream)
            .export_http(&receiver)
            .file("codes", "Fail 13\nRefuse 7\nServe 0\n")
            .settings(SETTINGS)
            .env("OTEL_SEMCONV_STABILITY_OPT_IN", "http,rpc/dup")
            .start();
        let base = 100 * door as u64;
        // HAProxy's own answers go past Lua's filter.
        let sees_own_answers = door != Door::LuaFilter;
        let ask = |n: u64, path: &str, kind: &str| {
            let traceparent = vitals::traceparent(base + n);
            let headers = [("traceparent", &*traceparent), ("content-type", kind)];
            client::h2_get(haproxy.addr("http"), path, &headers);
            vitals::server_span(&receiver, &vitals::trace_id(base + n))
        };
        let local =
            [("Serve", "OK", None), ("Refuse", "PERMISSION_DENIED", None), ("Fail", "INTERNAL", Some("INTERNAL"))];
        for (n, (method, status, error)) in (0..).zip(local) {
            let span = ask(n, &format!("/a.Local/{method}"), "application/grpc+proto");
            assert_eq!(span.name, format!("a.Local/{method}"), "{door:?}");
            let said = (span.str("rpc.response.status_code"), span.str("error.type"));
            let expected = if sees_own_answers { (Some(status), error) } else { (None, None) };
            assert_eq!(said, expected, "{door:?} {span:#?}");
            assert_eq!(span.status == StatusCode::Error, expected.1.is_some());
            assert_eq!((span.str("rpc.system"), span.str("rpc.service")), (Some("grpc"), Some("a.Local")));
        }
        let span = ask(3, "/a.Remote/Find", "application/grpc");
        let client = receiver.client_span_of(&span).unwrap();
        let status = Some("NOT_FOUND");
        assert_eq!((span.str("rpc.response.status_code"), span.str("error.type")), (status, None), "{door:?}");
        assert_eq!((client.name.as_str(), client.str("error.type")), ("a.Remote/Find", status), "{door:?}");
        let span = ask(4, "/a.Remote/Find", "application/json");
        assert_eq!((span.name.as_str(), span.has("rpc.system.name")), ("GET", false), "{door:?}");
        receiver.assert_clean();
        haproxy.finish();
    }
}

#[test]
fn tunnels_say_what_they_became() {
    for door in DOORS {
        let proxy = Proxy::start(door, "", "  http-request set-path /upgrade if { hdr(upgrade) websocket }\n");
        for (n, (upgrade, tunnel)) in (0..).zip([("websocket", "websocket"), ("echo", "upgrade")]) {
            let mut session = Session::connect(proxy.haproxy.addr("http"));
            let traceparent = vitals::traceparent(n);
            let head = format!(
                "GET /upgrade HTTP/1.1\r\nhost: x\r\ntraceparent: {traceparent}\r\nconnection: upgrade\r\nupgrade: {upgrade}\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n"
            );
            session.send(head.as_bytes()).unwrap();
            let answer = session.read_response(false).unwrap();
            let became = if answer.status == 101 { Some(tunnel) } else { None };
            drop(session);
            let span = vitals::server_span(&proxy.receiver, &vitals::trace_id(n));
            assert_eq!(span.str("haproxy.tunnel"), became, "{door:?} {upgrade} {span:#?}");
            assert!(became.is_some() || upgrade == "websocket", "{door:?} {answer:?}");
        }
        proxy.finish(2);
    }
}

#[test]
fn phases_become_events_and_spans() {
    [Door::ZeroLines, Door::LuaFilter].into_iter().for_each(check_phases);
}

fn check_phases(door: Door) {
    const SETTINGS: &str = "[traces]\nevents = true\nchild_spans = ['queue', 'connect']\n";
    const FRONT: &str = "  use_backend one if { path_beg /slow }\n";
    const REST: &str = "
backend one
  timeout queue 5s
  timeout server 5s
  server one ${upstream} maxconn 1
";
    let proxy = Proxy::with(door, SETTINGS, FRONT, REST, &[]);
    let sessions: Vec<_> = (0..2)
        .map(|n| {
            let mut session = Session::connect(proxy.haproxy.addr("http"));
            let traceparent = vitals::traceparent(n);
            session
                .send(format!("GET /slow HTTP/1.1\r\nhost: x\r\ntraceparent: {traceparent}\r\n\r\n").as_bytes())
                .unwrap();
            session
        })
        .collect();
    for mut session in sessions {
        assert_eq!(session.read_response(false).unwrap().status, 200);
    }
    let spans = proxy.receiver.wait_for(SOON, |spans| spans.iter().any(|span| span.name == "haproxy.queue"));
    let queue = spans.iter().find(|span| span.name == "haproxy.queue").unwrap();
    let server = vitals::server_span(&proxy.receiver, &queue.trace_id);
    assert_eq!((queue.kind, &queue.parent_id), (SpanKind::Internal, &server.span_id));
    assert_eq!(server.event("haproxy.queued").map(|event| event.time_ns), Some(queue.start_ns));
    let client = proxy.client_of(&server);
    assert_eq!(client.start_ns, queue.end_ns);
    assert!(client.event("haproxy.response.headers").is_some(), "{client:#?}");
    let connects: Vec<_> =
        proxy.receiver.wait_for(SOON, |spans| spans.iter().any(|span| span.name == "haproxy.connect"));
    let connect = connects.iter().find(|span| span.name == "haproxy.connect").unwrap();
    let parent = connects.iter().find(|span| span.span_id == connect.parent_id).unwrap();
    assert_eq!((parent.kind, parent.start_ns), (SpanKind::Client, connect.start_ns));
    let times =
        ["haproxy.connect.start", "haproxy.connect.end"].map(|name| parent.event(name).map(|event| event.time_ns));
    assert_eq!(times, [Some(connect.start_ns), Some(connect.end_ns)]);
    proxy.finish(2);
}

#[test]
fn rejected_request_says_its_head() {
    const FRONT: &str = "  http-request reject if { path /rejected }\n";
    for door in Door::ALL.into_iter().filter(|door| *door != Door::LuaActions) {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let haproxy = vitals::config(door, FRONT, "").upstream(&upstream).export_http(&receiver).start();
        let mut session = Session::connect(haproxy.addr("http"));
        let traceparent = vitals::traceparent(0);
        let head = format!("PUT /rejected?a=b HTTP/1.1\r\nhost: x\r\ntraceparent: {traceparent}\r\n\r\n");
        session.send(head.as_bytes()).unwrap();
        let span = vitals::server_span(&receiver, &vitals::trace_id(0));
        let shown = format!("{door:?} {span:#?}");
        assert_eq!((span.name.as_str(), span.str("error.type")), ("PUT", Some("rejected")), "{shown}");
        assert_eq!((span.str("url.path"), span.str("url.query")), (Some("/rejected"), Some("a=b")), "{shown}");
        assert_eq!((span.str("url.scheme"), span.str("client.address")), (Some("http"), Some("127.0.0.1")), "{shown}");
        assert_eq!(span.str("haproxy.frontend.name"), Some("front"), "{shown}");
        haproxy.finish();
    }
}
