//! A collector that is away for long: one attempt per backoff, and what waits arrives in the end.

use std::time::Duration;

use haproxy_vitals_tests::client::{self, Load, Until};
use haproxy_vitals_tests::{OtlpReceiver, SOON, Upstream, poll};

use super::{count, field, proxy};

#[test]
fn the_circuit_opens_closes_again_and_is_shown() {
    let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
    receiver.stop();
    let haproxy = proxy(&upstream)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.http_endpoint())
        .env("OTEL_BSP_EXPORT_TIMEOUT", 1000)
        .env("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 10)
        .start();
    assert_eq!(field(&haproxy, "export.circuit"), "closed");
    assert_eq!(client::load(haproxy.addr("http"), Load::new(4, Until::Count(500), "/")).ok, 500);
    poll::until(SOON, "the circuit to open", || field(&haproxy, "export.circuit") == "open");
    assert_eq!(count(&haproxy, "export.circuit_opened"), 1);
    assert!(count(&haproxy, "spans.queued_bytes") > 0);
    receiver.restart();
    poll::until(SOON, "the circuit to close", || field(&haproxy, "export.circuit") == "closed");
    poll::until(SOON, "what waited to arrive", || {
        let (exported, lost) = (count(&haproxy, "spans.exported"), count(&haproxy, "spans.dropped.timeout"));
        exported + lost == 1000
    });
    // Two attempts each at most, five of which opened the circuit, ten spans each.
    assert!(count(&haproxy, "spans.dropped.timeout") <= 60, "{}", haproxy.cli("show vitals traces"));
    assert_eq!(receiver.span_count() as u64, count(&haproxy, "spans.exported"));
    assert_eq!((count(&haproxy, "spans.queued_bytes"), count(&haproxy, "export.circuit_opened")), (0, 1));
    receiver.assert_clean();
    haproxy.finish();
}

#[test]
fn bytes_that_wait_are_bounded() {
    let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
    receiver.stop();
    let haproxy = proxy(&upstream)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.http_endpoint())
        .env("OTEL_BSP_MAX_QUEUE_SIZE", 1_000_000)
        .env("HAPROXY_VITALS_EXPORT_MAX_QUEUE_BYTES", BOUND)
        .env("HAPROXY_VITALS_TRACES_RING_BYTES", 64 * 1024)
        .start();
    let load = Load::new(4, Until::Count(3000), "/").spawn(haproxy.addr("http"));
    poll::always(Duration::from_secs(1), "no more bytes than the bound", || {
        count(&haproxy, "spans.queued_bytes") <= BOUND
    });
    assert_eq!(load.join().ok, 3000);
    poll::until(SOON, "something finds no room", || {
        count(&haproxy, "requests.dropped.ring_full") + count(&haproxy, "spans.dropped.queue_full") > 0
    });
    assert!(count(&haproxy, "spans.queued_bytes") <= BOUND);
    haproxy.finish();
}

const BOUND: u64 = 1024 * 1024;
