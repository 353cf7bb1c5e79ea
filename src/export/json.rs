//! OTLP's JSON form: ids in hexadecimal, 64-bit numbers as text, names in lowerCamelCase. OTLP specification, "JSON Protobuf
//! Encoding".

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;

use super::Signal;

/// An encoded export request of `signal` as JSON, on one line. Cold path: decodes the whole request.
pub fn encode(signal: Signal, request: &[u8]) -> Result<Vec<u8>, JsonError> {
    Ok(match signal {
        Signal::Traces => serde_json::to_vec(&ExportTraceServiceRequest::decode(request)?)?,
        Signal::Metrics => serde_json::to_vec(&ExportMetricsServiceRequest::decode(request)?)?,
        Signal::Logs => serde_json::to_vec(&ExportLogsServiceRequest::decode(request)?)?,
    })
}

/// Why a request has no JSON form: a fault of this module.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// The bytes are not the message that the signal names.
    #[error("not a request of this signal: {0}")]
    Decode(#[from] prost::DecodeError),
    /// A value that JSON cannot hold.
    #[error("no JSON form: {0}")]
    Encode(#[from] serde_json::Error),
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

    #[test]
    fn ids_are_hexadecimal_and_nanoseconds_are_text() {
        let span = Span { trace_id: vec![0xab; 16], start_time_unix_nano: 1 << 60, ..Span::default() };
        let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
        let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
        let text = encode(Signal::Traces, &ExportTraceServiceRequest { resource_spans }.encode_to_vec()).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains(&format!("\"traceId\":\"{}\"", "ab".repeat(16))), "{text}");
        assert!(text.contains("\"startTimeUnixNano\":\"1152921504606846976\""), "{text}");
    }

    #[test]
    fn bytes_that_are_no_request_are_an_error() {
        for signal in Signal::ALL {
            assert!(encode(signal, b"\xff").is_err());
        }
    }
}
