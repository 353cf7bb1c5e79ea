//! What the OTLP data model demands of a request, beyond what protobuf does.

use std::collections::HashSet;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;

use super::attributes::text_of;
use super::view::hex;

/// One sentence for each breach.
pub(super) fn breaches(export: &ExportTraceServiceRequest) -> Vec<String> {
    let mut found = Vec::new();
    for resource in &export.resource_spans {
        found.extend(of_resource(resource.resource.as_ref()));
        for scope in &resource.scope_spans {
            found.extend(of_scope(scope.scope.as_ref()));
            for span in &scope.spans {
                let name = format!("span `{}` {}", span.name, hex(&span.span_id));
                found.extend(of_span(span).into_iter().map(|what| format!("{name}: {what}")));
            }
        }
    }
    if export.resource_spans.iter().all(|r| r.scope_spans.iter().all(|s| s.spans.is_empty())) {
        found.push("request without a span".to_owned());
    }
    found
}

/// What every signal's resource must have.
pub(super) fn of_resource(resource: Option<&Resource>) -> Vec<String> {
    let attributes = resource.map_or(&[][..], |resource| &resource.attributes);
    let mut found = Vec::new();
    let service = attributes.iter().find(|pair| pair.key == "service.name");
    if service.and_then(|pair| text_of(pair.value.as_ref())).is_none_or(str::is_empty) {
        found.push("resource without service.name".to_owned());
    }
    found.extend(of_attributes(attributes).into_iter().map(|what| format!("resource: {what}")));
    found
}

/// What every signal's scope must have.
pub(super) fn of_scope(scope: Option<&InstrumentationScope>) -> Option<String> {
    let unnamed = scope.is_none_or(|scope| scope.name.is_empty());
    unnamed.then(|| "instrumentation scope without a name".to_owned())
}

fn of_span(span: &Span) -> Vec<String> {
    let status = span.status.clone().unwrap_or_default();
    let demands = [
        (is_id(&span.trace_id, 16), "trace id is not 16 bytes, not all zero"),
        (is_id(&span.span_id, 8), "span id is not 8 bytes, not all zero"),
        (span.parent_span_id.is_empty() || is_id(&span.parent_span_id, 8), "parent id is not 8 bytes, not all zero"),
        (span.parent_span_id != span.span_id, "is its own parent"),
        (!span.name.is_empty(), "no name"),
        (SpanKind::try_from(span.kind).is_ok_and(|kind| kind != SpanKind::Unspecified), "no kind"),
        (span.start_time_unix_nano > 0, "no start"),
        (span.end_time_unix_nano >= span.start_time_unix_nano, "ends before it starts"),
        (StatusCode::try_from(status.code).is_ok(), "unknown status code"),
        (status.message.is_empty() || status.code == StatusCode::Error as i32, "status message without an error"),
        (span.events.iter().all(|event| !event.name.is_empty()), "event without a name"),
        (span.events.iter().all(|event| event.time_unix_nano > 0), "event without a time"),
    ];
    let broken = demands.into_iter().filter(|(holds, _)| !holds).map(|(_, what)| what.to_owned());
    let events = span.events.iter().flat_map(|event| of_attributes(&event.attributes));
    broken.chain(of_attributes(&span.attributes)).chain(events).collect()
}

pub(super) fn of_attributes(attributes: &[KeyValue]) -> Vec<String> {
    let mut seen = HashSet::new();
    let mut found = Vec::new();
    for pair in attributes {
        if pair.key.is_empty() {
            found.push("attribute without a key".to_owned());
        }
        if !seen.insert(&pair.key) {
            found.push(format!("attribute `{}` twice", pair.key));
        }
        if pair.value.as_ref().is_none_or(|value| value.value.is_none()) {
            found.push(format!("attribute `{}` without a value", pair.key));
        }
    }
    found
}

pub(super) fn is_id(bytes: &[u8], length: usize) -> bool {
    bytes.len() == length && bytes.iter().any(|byte| *byte != 0)
}
