//! Everything that is made of one finished request, and what holds for it.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use haproxy_vitals::export::Outlet;
use haproxy_vitals::trace::logs::LogBatch;
use haproxy_vitals::trace::metrics::Meter;
use haproxy_vitals::trace::recent::{Query, Recent};
use haproxy_vitals::trace::record::Record;
use haproxy_vitals::trace::spans::{self, Shared};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::{ScopeSpans, Span};
use prost::Message;

use super::metrics;
use super::setup::{LIMITS, Setup};

/// Unix time in nanoseconds, of every end here.
pub(crate) const END: u64 = 1_700_000_000_123_456_789;

/// The spans, which must be valid in every respect.
pub(crate) fn of(record: &Record<'_>, setup: &Setup) -> Vec<Span> {
    let (mut shared, mut bytes, mut again) = (Shared::default(), Vec::new(), Vec::new());
    let made = spans::encode(record, &setup.wording, &mut shared, &mut bytes);
    assert_eq!((spans::encode(record, &setup.wording, &mut shared, &mut again), &again), (made, &bytes));
    let spans = ScopeSpans::decode(bytes.as_slice()).expect("protobuf, with texts in UTF-8").spans;
    assert_eq!((spans.len() as u64, true), (made, made <= setup.wording.max_spans()));
    assert_eq!(spans.first().map(Span::kind), Some(SpanKind::Server));
    for span in &spans {
        assert_eq!((span.trace_id.len(), span.span_id.len()), (16, 8));
        assert!(matches!(span.parent_span_id.len(), 0 | 8));
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano, "{span:?}");
        assert!(!span.name.is_empty(), "{span:?}");
        let events = span.events.iter().flat_map(|event| &event.attributes);
        assert!(span.attributes.iter().chain(events).all(|one| !one.key.is_empty() && one.value.is_some()));
        if setup.config.attributes.limits.value_length == Some(LIMITS.0) {
            assert!(span.attributes.len() <= LIMITS.1, "{span:?}");
            assert!(span.attributes.iter().filter_map(text).all(|text| text.chars().count() <= LIMITS.0), "{span:?}");
        }
    }
    spans
}

/// Metrics, log records and the operator's view.
pub(crate) fn beside(record: &Record<'_>, payload: &[u8], setup: &Setup) {
    let meter = Meter::new(&setup.config.metrics, &setup.plan, Arc::clone(&setup.wording));
    meter.observe(record);
    assert!(!meter.metrics().is_empty());

    let kept = Arc::new(Kept::default());
    let outlet = Arc::clone(&kept) as Arc<dyn Outlet>;
    let mut logs = LogBatch::new(&setup.config.logs, Arc::clone(&setup.wording), setup.envelope.clone(), outlet);
    logs.add(record);
    logs.tick(true);
    for batch in kept.0.lock().expect("one thread").iter() {
        ExportLogsServiceRequest::decode(batch.clone()).expect("protobuf, with texts in UTF-8");
    }

    shown(payload, &Query::default());
}

/// Metrics of it as Prometheus' text. Slow.
pub(crate) fn measured(record: &Record<'_>, setup: &Setup) {
    let meter = Meter::new(&setup.config.metrics, &setup.plan, Arc::clone(&setup.wording));
    meter.observe(record);
    metrics::is_exposition(&meter.metrics(), &[]);
}

/// The operator's view, which is safe for a terminal.
pub(crate) fn shown(payload: &[u8], query: &Query) {
    let recent = Recent::new(2);
    recent.keep(END, payload);
    recent.keep(END + 1, payload);
    let text = recent.show(query);
    assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
}

/// The value of an attribute that is an address.
pub(crate) fn address(span: &Span, key: &str) -> Option<IpAddr> {
    let found = span.attributes.iter().find(|one| one.key == key)?;
    Some(text(found)?.parse().expect("an address"))
}

/// The value of an attribute that is text.
pub(crate) fn text(attribute: &KeyValue) -> Option<&str> {
    match attribute.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

#[derive(Debug, Default)]
struct Kept(Mutex<Vec<Bytes>>);

impl Outlet for Kept {
    fn ship(&self, bytes: Bytes, _: u64) {
        self.0.lock().expect("one thread").push(bytes);
    }
}
