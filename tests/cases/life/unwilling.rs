//! Collectors that answer and do not take every span: what is sent again, what is dropped, and under which reason.

use std::time::Duration;

use haproxy_vitals_tests::client;
use haproxy_vitals_tests::haproxy::Builder;
use haproxy_vitals_tests::{Behaviour, Haproxy, OtlpReceiver, Refusal, SOON, Upstream, poll};
use tonic::Code;

use super::{Door, count, dropped, field, traced};

#[test]
fn what_a_collector_refuses_for_good_is_dropped_as_refused() {
    for (protocol, refusal, why) in [
        ("http/protobuf", Refusal::http(400), "HTTP status 400"),
        ("http/protobuf", Refusal::http(404), "HTTP status 404"),
        ("grpc", Refusal::grpc(Code::InvalidArgument), "gRPC status InvalidArgument"),
        ("grpc", Refusal::grpc(Code::ResourceExhausted), "gRPC status ResourceExhausted"),
    ] {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        receiver.behave(Behaviour::Refuse(refusal));
        let haproxy = over(protocol, &upstream, &receiver).start();
        one_request(&haproxy);
        poll::until(SOON, why, || count(&haproxy, "spans.dropped.refused") == 2);
        assert_eq!((receiver.requests().len(), count(&haproxy, "export.retries")), (1, 0), "{why}");
        let error = field(&haproxy, "export.last_error");
        assert_eq!(error, format!("{why}: refused as the test asked"));
        haproxy.wait_log(&format!("refused 2 spans for good: {why}"), SOON);
        haproxy.finish();
    }
}

#[test]
fn what_a_collector_cannot_take_now_is_sent_again_when_it_says() {
    let wait = Duration::from_secs(1);
    for (protocol, refusal, why) in [
        ("http/protobuf", Refusal::http(429).retry_after(wait), "HTTP status 429"),
        ("http/protobuf", Refusal::http(503), "HTTP status 503"),
        ("grpc", Refusal::grpc(Code::ResourceExhausted).retry_after(wait), "gRPC status ResourceExhausted"),
        ("grpc", Refusal::grpc(Code::Unavailable), "gRPC status Unavailable"),
    ] {
        let asked = if why.contains("429") || why.contains("Exhausted") { wait } else { Duration::from_millis(400) };
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        receiver.behave_once(Behaviour::Refuse(refusal));
        let haproxy = over(protocol, &upstream, &receiver).start();
        one_request(&haproxy);
        poll::until(SOON, "the reason of the refusal", || field(&haproxy, "export.last_error").starts_with(why));
        receiver.wait_spans(2, SOON);
        poll::until(SOON, "the answer", || count(&haproxy, "spans.exported") == 2);
        let requests = receiver.requests();
        assert_eq!((requests.len(), count(&haproxy, "export.retries")), (2, 1), "{why}");
        let waited = requests[1].at - requests[0].at;
        assert!(waited >= asked && waited < asked + Duration::from_secs(2), "{why}: {waited:?}");
        assert_eq!(dropped(&haproxy), 0, "{why}");
        assert_eq!(field(&haproxy, "export.last_error"), "", "{why}");
        haproxy.finish();
    }
}

#[test]
fn a_wait_longer_than_a_batch_may_live_drops_it_as_timeout() {
    for (protocol, refusal, why) in [
        ("http/protobuf", Refusal::http(429).retry_after(Duration::from_mins(1)), "HTTP status 429"),
        ("http/protobuf", Refusal::http(503), "HTTP status 503"),
        ("grpc", Refusal::grpc(Code::Unavailable), "gRPC status Unavailable"),
    ] {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        receiver.behave(Behaviour::Refuse(refusal));
        let haproxy = over(protocol, &upstream, &receiver).env("OTEL_BSP_EXPORT_TIMEOUT", 300).start();
        one_request(&haproxy);
        poll::until(SOON, why, || count(&haproxy, "spans.dropped.timeout") == 2);
        let error = field(&haproxy, "export.last_error");
        assert!(error.starts_with(why), "{error}");
        assert_eq!(count(&haproxy, "spans.queued"), 0, "{why}");
        haproxy.finish();
    }
}

#[test]
fn spans_that_a_collector_rejects_are_counted_and_said() {
    for protocol in ["http/protobuf", "grpc"] {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        receiver.behave(Behaviour::Partial(1));
        let haproxy = over(protocol, &upstream, &receiver).start();
        one_request(&haproxy);
        poll::until(SOON, "one span taken", || count(&haproxy, "spans.exported") == 1);
        assert_eq!((count(&haproxy, "spans.dropped.rejected"), dropped(&haproxy)), (1, 1), "{protocol}");
        assert_eq!((receiver.span_count(), count(&haproxy, "export.retries")), (1, 0), "{protocol}");
        haproxy.wait_log("rejected 1 spans: rejected as the test asked", SOON);
        haproxy.finish();
    }
}

/// Traced, with its spans sent by `protocol`.
fn over(protocol: &str, upstream: &Upstream, receiver: &OtlpReceiver) -> Builder {
    let endpoint = if protocol == "grpc" { receiver.grpc_endpoint() } else { receiver.http_endpoint() };
    traced(Door::ZeroLines, upstream)
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
}

#[track_caller]
fn one_request(haproxy: &Haproxy) {
    assert_eq!(client::get(haproxy.addr("http"), "/", &[]).status, 200);
}
