//! Who is whose parent, and what the server is told.

use std::thread;

use haproxy_vitals_tests::client;
use haproxy_vitals_tests::otlp::SpanKind;
use haproxy_vitals_tests::vitals::{self, CALLER, Door};
use haproxy_vitals_tests::{OtlpReceiver, SOON, Upstream};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

#[test]
fn requests_of_one_trace_at_the_same_time_keep_their_parents() {
    for door in Door::ALL {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let haproxy = vitals::config(door, "", "").upstream(&upstream).export_http(&receiver).start();
        let addr = haproxy.addr("http");
        let callers = (1..=8_u64).map(|n| format!("{:016x}", n << 32));
        thread::scope(|scope| {
            for (n, caller) in callers.clone().enumerate() {
                let traceparent = format!("00-{TRACE}-{caller}-01");
                scope.spawn(move || client::get(addr, &format!("/delay/50?{n}"), &[("traceparent", &traceparent)]));
            }
        });
        let spans = receiver.wait_spans(16, SOON);
        assert!(spans.len() == 16 && spans.iter().all(|span| span.trace_id == TRACE), "{spans:#?}");
        for (n, caller) in callers.enumerate() {
            let query = n.to_string();
            let server = spans.iter().find(|span| span.str("url.query") == Some(&query)).unwrap();
            assert_eq!((server.kind, &server.parent_id), (SpanKind::Server, &caller), "{door:?}");
            let client = receiver.client_span_of(server).unwrap();
            assert!(client.str("url.full").unwrap().ends_with(&format!("/delay/50?{n}")), "{client:#?}");
            let seen = upstream.wait_for(SOON, |seen| seen.target.ends_with(&format!("?{n}")));
            assert_eq!(seen.header("traceparent").unwrap(), format!("00-{TRACE}-{}-01", client.span_id));
        }
        receiver.assert_clean();
        haproxy.finish();
    }
}

#[test]
fn server_is_told_the_client_span_and_the_trace_of_the_caller() {
    for door in Door::ALL {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let haproxy = vitals::config(door, "", "").upstream(&upstream).export_http(&receiver).start();
        let headers = [("traceparent", &*format!("00-{TRACE}-{CALLER}-01")), ("tracestate", "a=1,b=2")];
        client::get(haproxy.addr("http"), "/", &headers);
        let server = vitals::server_span(&receiver, TRACE);
        let client = receiver.client_span_of(&server).unwrap();
        assert_eq!(server.parent_id, CALLER);
        assert_eq!([&server.trace_state, &client.trace_state], ["a=1,b=2"; 2]);
        // The low byte is W3C's; 0x100 says that the rest is known, 0x200 that the parent is remote.
        assert_eq!((server.flags, client.flags), (0x301, 0x101));
        let told = upstream.last().header("traceparent").unwrap().to_owned();
        assert_eq!(told, format!("00-{TRACE}-{}-01", client.span_id));
        receiver.assert_clean();
        haproxy.finish();
    }
}

#[test]
fn request_without_a_caller_is_a_root_and_random() {
    for door in Door::ALL {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let haproxy = vitals::config(door, "", "").upstream(&upstream).export_http(&receiver).start();
        for _ in 0..3 {
            client::get(haproxy.addr("http"), "/", &[]);
        }
        receiver.wait_spans(6, SOON);
        let servers = receiver.server_spans();
        assert!(servers.len() == 3 && servers.iter().all(|span| span.is_root() && span.flags == 0x103), "{servers:#?}");
        for (server, seen) in servers.iter().zip(upstream.requests()) {
            let client = receiver.client_span_of(server).unwrap();
            let told = format!("00-{}-{}-03", client.trace_id, client.span_id);
            assert!(upstream.requests().iter().any(|seen| seen.header("traceparent") == Some(&told)), "{seen:?}");
        }
        receiver.assert_clean();
        haproxy.finish();
    }
}
