//! The three signals: requests, answers, and both protocols' forms of them.

use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use prost::Message;

/// What a request carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Spans.
    Traces,
    /// Data points.
    Metrics,
    /// Log records.
    Logs,
}

impl Signal {
    pub(super) fn of_http_path(path: &str) -> Option<Self> {
        match path {
            "/v1/traces" => Some(Self::Traces),
            "/v1/metrics" => Some(Self::Metrics),
            "/v1/logs" => Some(Self::Logs),
            _ => None,
        }
    }

    pub(super) fn of_grpc_path(path: &str) -> Option<Self> {
        match path {
            "/opentelemetry.proto.collector.trace.v1.TraceService/Export" => Some(Self::Traces),
            "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export" => Some(Self::Metrics),
            "/opentelemetry.proto.collector.logs.v1.LogsService/Export" => Some(Self::Logs),
            _ => None,
        }
    }
}

/// A request of any signal.
#[derive(Clone, Debug)]
pub(super) enum Export {
    Traces(ExportTraceServiceRequest),
    Metrics(ExportMetricsServiceRequest),
    Logs(ExportLogsServiceRequest),
}

impl Export {
    pub(super) fn from_protobuf(signal: Signal, body: &[u8]) -> Result<Self, String> {
        let decoded = match signal {
            Signal::Traces => ExportTraceServiceRequest::decode(body).map(Self::Traces),
            Signal::Metrics => ExportMetricsServiceRequest::decode(body).map(Self::Metrics),
            Signal::Logs => ExportLogsServiceRequest::decode(body).map(Self::Logs),
        };
        decoded.map_err(|error| error.to_string())
    }

    pub(super) fn from_json(signal: Signal, body: &[u8]) -> Result<Self, String> {
        let decoded = match signal {
            Signal::Traces => serde_json::from_slice(body).map(Self::Traces),
            Signal::Metrics => serde_json::from_slice(body).map(Self::Metrics),
            Signal::Logs => serde_json::from_slice(body).map(Self::Logs),
        };
        decoded.map_err(|error| error.to_string())
    }

    pub(super) fn signal(&self) -> Signal {
        match self {
            Self::Traces(_) => Signal::Traces,
            Self::Metrics(_) => Signal::Metrics,
            Self::Logs(_) => Signal::Logs,
        }
    }

    /// Spans, data points or log records.
    pub(super) fn items(&self) -> usize {
        match self {
            Self::Traces(export) => {
                export.resource_spans.iter().flat_map(|r| &r.scope_spans).map(|s| s.spans.len()).sum()
            }
            Self::Metrics(export) => {
                let scopes = export.resource_metrics.iter().flat_map(|r| &r.scope_metrics);
                scopes.flat_map(|s| &s.metrics).map(|metric| points(metric.data.as_ref())).sum()
            }
            Self::Logs(export) => {
                export.resource_logs.iter().flat_map(|r| &r.scope_logs).map(|s| s.log_records.len()).sum()
            }
        }
    }
}

/// How a request was taken.
#[derive(Clone, Debug)]
pub(super) struct Taken {
    pub(super) signal: Signal,
    /// Items that were rejected.
    pub(super) rejected: usize,
}

impl Taken {
    pub(super) fn traces(&self) -> ExportTraceServiceResponse {
        let partial_success = self
            .partial()
            .map(|(rejected_spans, error_message)| ExportTracePartialSuccess { rejected_spans, error_message });
        ExportTraceServiceResponse { partial_success }
    }

    pub(super) fn metrics(&self) -> ExportMetricsServiceResponse {
        let partial_success = self.partial().map(|(rejected_data_points, error_message)| ExportMetricsPartialSuccess {
            rejected_data_points,
            error_message,
        });
        ExportMetricsServiceResponse { partial_success }
    }

    pub(super) fn logs(&self) -> ExportLogsServiceResponse {
        let partial_success = self.partial().map(|(rejected_log_records, error_message)| ExportLogsPartialSuccess {
            rejected_log_records,
            error_message,
        });
        ExportLogsServiceResponse { partial_success }
    }

    pub(super) fn to_protobuf(&self) -> Vec<u8> {
        match self.signal {
            Signal::Traces => self.traces().encode_to_vec(),
            Signal::Metrics => self.metrics().encode_to_vec(),
            Signal::Logs => self.logs().encode_to_vec(),
        }
    }

    pub(super) fn to_json(&self) -> Vec<u8> {
        let Some((rejected, message)) = self.partial() else { return b"{}".to_vec() };
        let field = match self.signal {
            Signal::Traces => "rejectedSpans",
            Signal::Metrics => "rejectedDataPoints",
            Signal::Logs => "rejectedLogRecords",
        };
        // A 64-bit number is text. ProtoJSON.
        let partial = serde_json::json!({ field: rejected.to_string(), "errorMessage": message });
        serde_json::json!({ "partialSuccess": partial }).to_string().into_bytes()
    }

    fn partial(&self) -> Option<(i64, String)> {
        (self.rejected > 0).then(|| (i64::try_from(self.rejected).unwrap(), "rejected as the test asked".to_owned()))
    }
}

fn points(data: Option<&Data>) -> usize {
    match data {
        Some(Data::Gauge(gauge)) => gauge.data_points.len(),
        Some(Data::Sum(sum)) => sum.data_points.len(),
        Some(Data::Histogram(histogram)) => histogram.data_points.len(),
        Some(Data::ExponentialHistogram(histogram)) => histogram.data_points.len(),
        Some(Data::Summary(summary)) => summary.data_points.len(),
        None => 0,
    }
}
