//! What goes wrong on the way: said once, counted, and named with its cause.

use std::time::Duration;

use haproxy_vitals_tests::haproxy::{Builder, Haproxy};
use haproxy_vitals_tests::pki::Tls;
use haproxy_vitals_tests::{Behaviour, OtlpReceiver, Pki, Refusal, SOON, Upstream, client, poll};

use super::{count, field, proxy, trusting};

#[test]
fn what_is_wrong_with_a_certificate_is_told() {
    let (pki, stranger) = (Pki::new(), Pki::new());
    for (tls, trusted, expected) in [
        (Tls::Server, &stranger, "the collector's certificate has an unknown issuer"),
        (Tls::Expired, &pki, "the collector's certificate has expired"),
        (Tls::OtherName, &pki, "the collector's certificate is for another name"),
        // It asks for one; where that word is lost with the connection, it may.
        (Tls::Mutual, &pki, "client certificate"),
    ] {
        let receiver = OtlpReceiver::start_tls(&pki, tls);
        for protocol in ["grpc", "http/protobuf"] {
            fails(|builder| trusting(builder, trusted), protocol, &endpoint(&receiver, protocol), expected);
        }
    }
}

#[test]
fn tls_to_a_port_without_it_is_told() {
    let (pki, receiver) = (Pki::new(), OtlpReceiver::start());
    for protocol in ["grpc", "http/protobuf"] {
        let endpoint = endpoint(&receiver, protocol).replace("http:", "https:");
        fails(|builder| trusting(builder, &pki), protocol, &endpoint, "speak TLS");
    }
}

#[test]
fn no_tls_to_a_port_with_it_is_an_outage_like_others() {
    let pki = Pki::new();
    let receiver = OtlpReceiver::start_tls(&pki, Tls::Server);
    for protocol in ["grpc", "http/protobuf"] {
        let endpoint = endpoint(&receiver, protocol).replace("https:", "http:");
        fails(|builder| builder, protocol, &endpoint, "connection lost: ");
    }
    assert!(!receiver.handshake_failures().is_empty());
}

#[test]
fn too_many_requests_waits_as_long_as_the_collector_asks() {
    for protocol in ["grpc", "http/protobuf", "http/json"] {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let refusal = Refusal::http(429).retry_after(Duration::from_secs(1));
        receiver.behave_once(Behaviour::Refuse(refusal));
        let haproxy = to(proxy(&upstream), protocol, &endpoint(&receiver, protocol)).start();
        client::get(haproxy.addr("http"), "/", &[]);
        haproxy.wait_log("does not take spans", SOON);
        let why = field(&haproxy, "export.last_error");
        assert!(why.contains("refused as the test asked"), "{protocol}: {why}");
        receiver.wait_spans(2, SOON);
        let requests = receiver.requests();
        assert!(requests[1].at - requests[0].at >= Duration::from_secs(1), "{protocol}");
        poll::until(SOON, "the success is counted", || count(&haproxy, "spans.exported") == 2);
        assert_eq!((count(&haproxy, "export.retries"), field(&haproxy, "export.last_error").as_str()), (1, ""));
        receiver.assert_clean();
        haproxy.finish();
    }
}

#[test]
fn what_a_collector_takes_in_part_is_counted_and_said() {
    for protocol in ["grpc", "http/protobuf", "http/json"] {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        receiver.behave(Behaviour::Partial(1));
        let haproxy = to(proxy(&upstream), protocol, &endpoint(&receiver, protocol)).start();
        client::get(haproxy.addr("http"), "/", &[]);
        haproxy.wait_log("rejected 1 spans: rejected as the test asked", SOON);
        poll::until(SOON, "both spans are counted", || count(&haproxy, "spans.queued") == 0);
        assert_eq!((count(&haproxy, "spans.exported"), count(&haproxy, "spans.dropped.rejected")), (1, 1));
        let why = field(&haproxy, "export.last_error");
        assert_eq!(why, "the collector rejected 1 spans: rejected as the test asked", "{protocol}");
        haproxy.finish();
    }
}

/// The attempts fail for this reason: named in `show vitals traces`, said once in the log, the spans given up in the end.
#[track_caller]
fn fails(change: impl Fn(Builder) -> Builder, protocol: &str, endpoint: &str, expected: &str) {
    let upstream = Upstream::start();
    let builder = to(proxy(&upstream), protocol, endpoint).env("OTEL_BSP_EXPORT_TIMEOUT", 700);
    let haproxy = change(builder).start();
    client::get(haproxy.addr("http"), "/", &[]);
    poll::until(SOON, "a failed attempt", || count(&haproxy, "export.retries") >= 1);
    let why = field(&haproxy, "export.last_error");
    assert!(why.contains(expected), "{protocol} {endpoint}: {why}");
    poll::until(SOON, "the spans are given up", || count(&haproxy, "spans.dropped.timeout") == 2);
    haproxy.wait_log("does not take spans", SOON);
    assert_eq!(lines(&haproxy, "collector"), 1, "{}", haproxy.log());
    assert!(haproxy.log_contains(expected), "{}", haproxy.log());
    assert_eq!(count(&haproxy, "spans.exported"), 0);
    haproxy.finish();
}

fn to(builder: Builder, protocol: &str, endpoint: &str) -> Builder {
    builder.env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol).env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
}

fn endpoint(receiver: &OtlpReceiver, protocol: &str) -> String {
    if protocol == "grpc" { receiver.grpc_endpoint() } else { receiver.http_endpoint() }
}

/// Lines of our own in the log that have this text.
fn lines(haproxy: &Haproxy, text: &str) -> usize {
    haproxy.log().lines().filter(|line| line.contains("haproxy-vitals") && line.contains(text)).count()
}
