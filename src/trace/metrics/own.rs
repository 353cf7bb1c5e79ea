//! The module's own metrics, from counters that exist anyway. OpenTelemetry SDK semantic conventions 1.44.0 (development).

use crate::metrics::{Attributes, MeterSource, Metric, NumberPoint};
use crate::stats::{self, Counter, DropReason, EXPORT, ThreadStats};

/// Reads the counters of [`stats`].
#[derive(Debug, Clone, Copy)]
pub struct Own {
    /// `export.max_queue_size`; `None` where no spans are exported.
    pub queue_capacity: Option<u64>,
}

impl MeterSource for Own {
    fn collect(&self, out: &mut Vec<Metric>) {
        requests(out);
        let Some(capacity) = self.queue_capacity else { return };
        processor(capacity, out);
        exporter(out);
    }
}

/// SERVER spans: a CLIENT span starts and ends when its request ends.
fn requests(out: &mut Vec<Metric>) {
    let threads = stats::threads();
    let sum = |counter: fn(&ThreadStats) -> &Counter| threads.iter().map(|thread| counter(thread).value()).sum::<u64>();
    // Ends first: a request that ends meanwhile counts as live, never as less than none.
    let ended = sum(|thread| &thread.ended);
    let (started, recorded_only) = (sum(|thread| &thread.started), sum(|thread| &thread.recorded_only));
    let result = |result: &'static str, value| {
        NumberPoint::new(Attributes::none().with("otel.span.sampling_result", result), value)
    };
    out.push(Metric::counter(
        "otel.sdk.span.started",
        "The number of created spans.",
        "{span}",
        vec![
            result("RECORD_AND_SAMPLE", started.saturating_sub(recorded_only)),
            result("RECORD_ONLY", recorded_only),
            result("DROP", sum(|thread| &thread.unsampled)),
        ],
    ));
    let live = vec![NumberPoint::new(Attributes::none(), started.saturating_sub(ended))];
    out.push(Metric::level("otel.sdk.span.live", "The number of recorded spans that have not ended.", "{span}", live));
}

fn processor(capacity: u64, out: &mut Vec<Metric>) {
    let ring_full: u64 = stats::threads().iter().map(|thread| thread.ring_full.value()).sum();
    let queue_full = EXPORT.dropped(DropReason::QueueFull);
    let component = || component("batching_span_processor");
    let size = vec![NumberPoint::new(component(), EXPORT.queued.value())];
    let processed =
        |error: Option<&'static str>, value| NumberPoint::new(component().with_some("error.type", error), value);
    out.push(Metric::level(
        "otel.sdk.processor.span.queue.size",
        "The number of spans that wait to be exported.",
        "{span}",
        size,
    ));
    let capacity = vec![NumberPoint::new(component(), capacity)];
    out.push(Metric::level(
        "otel.sdk.processor.span.queue.capacity",
        "The most spans that may wait.",
        "{span}",
        capacity,
    ));
    out.push(Metric::counter(
        "otel.sdk.processor.span.processed",
        "The number of spans that were taken for export, or dropped before it.",
        "{span}",
        vec![
            processed(None, EXPORT.created.value().saturating_sub(queue_full)),
            processed(Some("queue_full"), ring_full + queue_full),
            processed(Some("malformed"), EXPORT.dropped(DropReason::Malformed)),
        ],
    ));
}

fn exporter(out: &mut Vec<Metric>) {
    let exported = |error: Option<&'static str>, value| {
        NumberPoint::new(component("otlp_span_exporter").with_some("error.type", error), value)
    };
    let failed = [DropReason::Refused, DropReason::Timeout, DropReason::Rejected, DropReason::Shutdown];
    let mut points = vec![exported(None, EXPORT.exported.value())];
    points.extend(failed.map(|reason| exported(Some(reason.word()), EXPORT.dropped(reason))));
    out.push(Metric::counter(
        "otel.sdk.exporter.span.exported",
        "The number of spans whose export has finished, successfully or not.",
        "{span}",
        points,
    ));
}

/// There is one of each kind.
fn component(kind: &'static str) -> Attributes {
    Attributes::none().with("otel.component.type", kind).with("otel.component.name", format!("{kind}/0"))
}
