//! `lua.otel_attr`: what users put on their spans.

use std::fmt::Write as _;

use haproxy_vitals_tests::client;
use haproxy_vitals_tests::vitals::{self, Door};
use haproxy_vitals_tests::{OtlpReceiver, Upstream};

#[test]
fn variables_become_attributes_of_their_type() {
    let long_name = "n".repeat(256);
    let front = format!(
        "
  http-request set-var(txn.text) str(\"one two|three\")
  http-request set-var(txn.number) int(-42)
  http-request set-var(txn.truth) bool(true)
  http-request set-var(txn.lie) bool(false)
  http-request set-var(txn.address) src
  http-request set-var(txn.long) req.hdr(x-long)
  http-request lua.otel_attr app.text txn.text
  http-request lua.otel_attr app.number txn.number
  http-request lua.otel_attr app.truth txn.truth
  http-request lua.otel_attr app.lie txn.lie
  http-request lua.otel_attr app.address txn.address
  http-request lua.otel_attr app.long txn.long
  http-request lua.otel_attr app.absent txn.absent
  http-request lua.otel_attr {long_name} txn.text
  http-response set-var(txn.late) status
  http-response lua.otel_attr app.late txn.late
"
    );
    for door in Door::ALL {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let haproxy = vitals::config(door, &front, "").upstream(&upstream).export_http(&receiver).start();
        let headers = [("traceparent", &*vitals::traceparent(0)), ("x-long", &"x".repeat(600))];
        assert_eq!(client::get(haproxy.addr("http"), "/", &headers).status, 200);
        let span = vitals::server_span(&receiver, &vitals::trace_id(0));
        assert_eq!(span.str("app.text"), Some("one two|three"), "{door:?} {span:#?}");
        assert_eq!((span.int("app.number"), span.int("app.late")), (Some(-42), Some(200)), "{door:?} {span:#?}");
        assert_eq!((span.bool("app.truth"), span.bool("app.lie")), (Some(true), Some(false)), "{door:?} {span:#?}");
        assert_eq!(span.str("app.address"), Some("127.0.0.1"));
        assert_eq!(span.str("app.long"), Some(&*"x".repeat(512)), "{door:?}");
        assert!(!span.has("app.absent") && !span.has(&long_name), "{door:?} {span:#?}");
        let counters = vitals::wait_exported(&haproxy, &receiver, 1);
        assert_eq!(counters["attributes.left_out"], 1, "{counters:#?}");
        assert!(!receiver.client_span_of(&span).unwrap().has("app.text"));
        receiver.assert_clean();
        haproxy.finish();
    }
}

#[test]
fn attributes_without_room_are_left_out_and_counted() {
    const ASKED: u64 = 20;
    let mut front = format!("  http-request set-var(txn.text) str({})\n", "y".repeat(200));
    for n in 0..ASKED {
        let _ = writeln!(front, "  http-request lua.otel_attr app.n{n} txn.text");
    }
    for door in Door::ALL {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let haproxy = vitals::config(door, &front, "").upstream(&upstream).export_http(&receiver).start();
        client::get(haproxy.addr("http"), "/", &[("traceparent", &vitals::traceparent(0))]);
        let span = vitals::server_span(&receiver, &vitals::trace_id(0));
        let kept = (0..ASKED).filter(|n| span.str(&format!("app.n{n}")) == Some(&*"y".repeat(200))).count() as u64;
        let counters = vitals::wait_exported(&haproxy, &receiver, 1);
        assert!(kept >= 5, "{door:?} {span:#?}");
        assert_eq!(counters["attributes.left_out"], ASKED - kept, "{counters:#?}");
        assert_eq!(span.int("http.response.status_code"), Some(200));
        receiver.assert_clean();
        haproxy.finish();
    }
}

#[test]
fn attribute_of_an_untraced_request_is_harmless() {
    let front = "  http-request set-var(txn.a) int(1)\n  http-request lua.otel_attr app.a txn.a\n";
    for door in Door::ALL {
        let upstream = Upstream::start();
        let haproxy =
            vitals::config(door, front, "").upstream(&upstream).env("OTEL_TRACES_SAMPLER", "always_off").start();
        assert_eq!(client::get(haproxy.addr("http"), "/", &[]).status, 200);
        assert_eq!(vitals::counters(&haproxy)["faults"], 0);
        haproxy.finish();
    }
}
