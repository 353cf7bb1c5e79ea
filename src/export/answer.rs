//! What a collector that took a batch says about it: partial success. OTLP specification, "Partial Success".

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use serde_json::Value;

use super::Signal;
use super::error::quote;

/// The collector took the batch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Accepted {
    /// Items of the batch that it rejected (partial success): never sent again.
    pub rejected: u64,
    /// Why, or a warning; cut short, mostly empty.
    pub message: String,
}

impl Accepted {
    /// Reads the answer of `signal`'s service. One that cannot be read rejects nothing: the status said success.
    pub(super) fn decode(signal: Signal, response: &[u8]) -> Self {
        let partial = match signal {
            Signal::Traces => ExportTraceServiceResponse::decode(response)
                .ok()
                .and_then(|answer| answer.partial_success)
                .map(|partial| (partial.rejected_spans, partial.error_message)),
            Signal::Metrics => ExportMetricsServiceResponse::decode(response)
                .ok()
                .and_then(|answer| answer.partial_success)
                .map(|partial| (partial.rejected_data_points, partial.error_message)),
            Signal::Logs => ExportLogsServiceResponse::decode(response)
                .ok()
                .and_then(|answer| answer.partial_success)
                .map(|partial| (partial.rejected_log_records, partial.error_message)),
        };
        let (rejected, message) = partial.unwrap_or_default();
        Self { rejected: u64::try_from(rejected).unwrap_or_default(), message: quote(&message) }
    }

    /// The same in JSON, where a 64-bit number is text, and may be a number.
    pub(super) fn decode_json(signal: Signal, response: &[u8]) -> Self {
        let answer: Value = serde_json::from_slice(response).unwrap_or_default();
        let Some(partial) = answer.get("partialSuccess") else { return Self::default() };
        let field = match signal {
            Signal::Traces => "rejectedSpans",
            Signal::Metrics => "rejectedDataPoints",
            Signal::Logs => "rejectedLogRecords",
        };
        let rejected = match partial.get(field) {
            Some(Value::String(text)) => text.parse().unwrap_or_default(),
            Some(number) => number.as_u64().unwrap_or_default(),
            None => 0,
        };
        Self { rejected, message: quote(partial.get("errorMessage").and_then(Value::as_str).unwrap_or_default()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn success_that_cannot_be_read_rejects_nothing() {
        for signal in Signal::ALL {
            for text in [&b"{}"[..], b"", b"\xff", b"[]", b"{\"partialSuccess\":7}"] {
                assert_eq!(Accepted::decode(signal, text), Accepted::default());
                assert_eq!(Accepted::decode_json(signal, text), Accepted::default());
            }
        }
    }

    #[test]
    fn each_signal_names_its_own_items() {
        let names = ["rejectedSpans", "rejectedDataPoints", "rejectedLogRecords"];
        for (signal, name) in Signal::ALL.into_iter().zip(names) {
            for count in ["3", "\"3\""] {
                let text = format!("{{\"partialSuccess\":{{\"{name}\":{count},\"errorMessage\":\"no\"}}}}");
                let expected = Accepted { rejected: 3, message: "no".to_owned() };
                assert_eq!(Accepted::decode_json(signal, text.as_bytes()), expected);
            }
            // Field 1 of the answer holds the rejected items as its field 1, in every signal.
            assert_eq!(Accepted::decode(signal, &[10, 2, 8, 3]).rejected, 3);
        }
    }

    proptest! {
        #[test]
        fn arbitrary_answers_never_panic(bytes: Vec<u8>) {
            for signal in Signal::ALL {
                let _ = Accepted::decode(signal, &bytes);
                let _ = Accepted::decode_json(signal, &bytes);
            }
        }
    }
}
