//! Spans as a test wants to read them: flat, owned, typed.

use std::fmt;
use std::fmt::Write;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

use super::attributes::Attributes;

/// One span, with the resource and the scope it came under.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanView {
    /// 32 hexadecimal digits.
    pub trace_id: String,
    /// 16 hexadecimal digits.
    pub span_id: String,
    /// 16 hexadecimal digits; empty for a root.
    pub parent_id: String,
    /// The W3C `tracestate`.
    pub trace_state: String,
    /// W3C flags in the low byte, OTLP's own above.
    pub flags: u32,
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: SpanKind,
    /// Nanoseconds since the epoch.
    pub start_ns: u64,
    /// Nanoseconds since the epoch.
    pub end_ns: u64,
    /// Unset where the message has none.
    pub status: StatusCode,
    /// Empty where the message has none.
    pub status_message: String,
    /// Its attributes.
    pub attributes: Attributes,
    /// How many attributes the sender left out.
    pub dropped_attributes: u32,
    /// Its events, in order.
    pub events: Vec<EventView>,
    /// Its links, in order.
    pub links: Vec<LinkView>,
    /// The resource's attributes.
    pub resource: Attributes,
    /// The instrumentation scope's name.
    pub scope: String,
    /// The instrumentation scope's version.
    pub scope_version: String,
}

impl SpanView {
    /// A text attribute; `None` when it is missing or has another type.
    pub fn str(&self, key: &str) -> Option<&str> {
        self.attributes.str(key)
    }

    /// A whole number; `None` when it is missing or has another type.
    pub fn int(&self, key: &str) -> Option<i64> {
        self.attributes.int(key)
    }

    /// A fraction; `None` when it is missing or has another type.
    pub fn double(&self, key: &str) -> Option<f64> {
        self.attributes.double(key)
    }

    /// A truth value; `None` when it is missing or has another type.
    pub fn bool(&self, key: &str) -> Option<bool> {
        self.attributes.bool(key)
    }

    /// A list of texts; `None` when it is missing or has another type.
    pub fn strs(&self, key: &str) -> Option<Vec<&str>> {
        self.attributes.strs(key)
    }

    /// Whether there is such an attribute, of any type.
    pub fn has(&self, key: &str) -> bool {
        self.attributes.0.contains_key(key)
    }

    /// The first event of this name.
    pub fn event(&self, name: &str) -> Option<&EventView> {
        self.events.iter().find(|event| event.name == name)
    }

    /// Whether it has no parent.
    pub fn is_root(&self) -> bool {
        self.parent_id.is_empty()
    }

    /// From start to end.
    pub fn duration(&self) -> Duration {
        Duration::from_nanos(self.end_ns - self.start_ns)
    }

    /// The spans of a request, in order.
    pub fn flatten(export: &ExportTraceServiceRequest) -> Vec<Self> {
        let scopes = export.resource_spans.iter().flat_map(|r| r.scope_spans.iter().map(move |s| (r, s)));
        scopes.flat_map(|(r, s)| s.spans.iter().map(move |span| Self::new(r, s, span))).collect()
    }

    fn new(resource: &ResourceSpans, scope: &ScopeSpans, span: &Span) -> Self {
        let scope = scope.scope.clone().unwrap_or_default();
        let status = span.status.clone().unwrap_or_default();
        Self {
            trace_id: hex(&span.trace_id),
            span_id: hex(&span.span_id),
            parent_id: hex(&span.parent_span_id),
            trace_state: span.trace_state.clone(),
            flags: span.flags,
            name: span.name.clone(),
            kind: span.kind(),
            start_ns: span.start_time_unix_nano,
            end_ns: span.end_time_unix_nano,
            status: status.code(),
            status_message: status.message,
            attributes: Attributes::new(&span.attributes),
            dropped_attributes: span.dropped_attributes_count,
            events: span.events.iter().map(EventView::new).collect(),
            links: span.links.iter().map(LinkView::new).collect(),
            resource: resource.resource.as_ref().map(|r| Attributes::new(&r.attributes)).unwrap_or_default(),
            scope: scope.name,
            scope_version: scope.version,
        }
    }
}

/// One line for a failure's text.
impl fmt::Display for SpanView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, name, trace_id, span_id, parent_id, status, .. } = self;
        write!(f, "{kind:?} `{name}` {trace_id}/{span_id} under `{parent_id}` {status:?}")
    }
}

/// An event of a span.
#[derive(Clone, Debug, PartialEq)]
pub struct EventView {
    /// Its name.
    pub name: String,
    /// Nanoseconds since the epoch.
    pub time_ns: u64,
    /// Its attributes.
    pub attributes: Attributes,
}

impl EventView {
    fn new(event: &opentelemetry_proto::tonic::trace::v1::span::Event) -> Self {
        let attributes = Attributes::new(&event.attributes);
        Self { name: event.name.clone(), time_ns: event.time_unix_nano, attributes }
    }
}

/// A link of a span.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkView {
    /// 32 hexadecimal digits.
    pub trace_id: String,
    /// 16 hexadecimal digits.
    pub span_id: String,
    /// Its attributes.
    pub attributes: Attributes,
}

impl LinkView {
    fn new(link: &opentelemetry_proto::tonic::trace::v1::span::Link) -> Self {
        let attributes = Attributes::new(&link.attributes);
        Self { trace_id: hex(&link.trace_id), span_id: hex(&link.span_id), attributes }
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
