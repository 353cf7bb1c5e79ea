//! What the OTLP data model demands of log records, beyond what protobuf does.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::LogRecord;

use super::strict::{is_id, of_attributes, of_resource, of_scope};

/// One sentence for each breach.
pub(super) fn breaches(export: &ExportLogsServiceRequest) -> Vec<String> {
    let mut found = Vec::new();
    for resource in &export.resource_logs {
        found.extend(of_resource(resource.resource.as_ref()));
        for scope in &resource.scope_logs {
            found.extend(of_scope(scope.scope.as_ref()));
            found.extend(scope.log_records.iter().flat_map(of_record).map(|what| format!("log record: {what}")));
        }
    }
    if export.resource_logs.iter().all(|r| r.scope_logs.iter().all(|s| s.log_records.is_empty())) {
        found.push("request without a log record".to_owned());
    }
    found
}

fn of_record(record: &LogRecord) -> Vec<String> {
    let (trace, span) = (&record.trace_id, &record.span_id);
    let demands = [
        (record.time_unix_nano > 0 || record.observed_time_unix_nano > 0, "no time"),
        ((0..=24).contains(&record.severity_number), "severity number is not 0 to 24"),
        (trace.is_empty() || is_id(trace, 16), "trace id is not 16 bytes, not all zero"),
        (span.is_empty() || is_id(span, 8), "span id is not 8 bytes, not all zero"),
        (span.is_empty() || !trace.is_empty(), "span id without a trace id"),
        (record.body.is_some() || !record.event_name.is_empty(), "neither a body nor an event name"),
    ];
    let broken = demands.into_iter().filter(|(holds, _)| !holds).map(|(_, what)| what.to_owned());
    broken.chain(of_attributes(&record.attributes)).collect()
}
