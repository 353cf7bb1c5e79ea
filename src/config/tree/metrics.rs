//! `[metrics]`: the settings, typed.

use std::net::SocketAddr;
use std::time::Duration;

use super::ExporterKind;

/// `[metrics]`.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "settings, each by its own name")]
pub struct MetricsConfig {
    /// Whether requests are measured, all of them then, sampled or not; and checks. `OTEL_METRICS_EXPORTER` turns it on.
    pub enabled: bool,
    /// `OTEL_METRICS_EXPORTER`: where they are pushed to. Prometheus pulls: it needs nothing here.
    pub exporters: Vec<ExporterKind>,
    /// Where Prometheus may pull, beside the service `lua.otel_metrics`. `OTEL_EXPORTER_PROMETHEUS_HOST` and `_PORT`.
    pub listen: Option<SocketAddr>,
    /// Between two pushes. `OTEL_METRIC_EXPORT_INTERVAL`, milliseconds.
    pub interval: Duration,
    /// Bound on one push with its retries. `OTEL_METRIC_EXPORT_TIMEOUT`, milliseconds.
    pub timeout: Duration,
    /// `OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE`.
    pub temporality: Temporality,
    /// `OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION`. Prometheus gets explicit buckets in any case.
    pub histogram: HistogramKind,
    /// `OTEL_METRICS_EXEMPLAR_FILTER`.
    pub exemplars: ExemplarFilter,
    /// Attribute sets of one instrument, the overflow's included. Metrics SDK specification, "Cardinality limits".
    pub cardinality_limit: usize,
    /// Attributes beyond those of the semantic conventions.
    pub attributes: Vec<MetricAttribute>,
    /// `http.server.active_requests`: needs method and scheme at the request's start.
    pub active_requests: bool,
    /// `http.server.request.body.size` and `http.server.response.body.size`, from `content-length`.
    pub body_sizes: bool,
    /// The figures of checks under the names of haproxy-grpc-agent too, for Prometheus alone.
    pub grpc_agent_names: bool,
}

impl Default for MetricsConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            exporters: vec![ExporterKind::Otlp],
            listen: None,
            interval: Duration::from_mins(1),
            timeout: Duration::from_secs(30),
            temporality: Temporality::Cumulative,
            histogram: HistogramKind::Explicit,
            exemplars: ExemplarFilter::TraceBased,
            cardinality_limit: 2000,
            attributes: Vec::new(),
            active_requests: false,
            body_sizes: false,
            grpc_agent_names: false,
        }
    }
}

/// What a pushed number counts from. OTLP metrics exporter specification, "Additional environment variable configuration".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Temporality {
    /// `cumulative`: from the start of the process.
    Cumulative,
    /// `delta`: from the last push; up-down counters stay cumulative.
    Delta,
    /// `lowmemory`: `delta` for histograms alone, which are the only synchronous instruments here.
    LowMemory,
}

/// How histograms are pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HistogramKind {
    /// `explicit_bucket_histogram`: the buckets of the semantic conventions.
    Explicit,
    /// `base2_exponential_bucket_histogram`.
    Exponential,
}

/// Which measurements may become exemplars.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExemplarFilter {
    /// `always_on`
    AlwaysOn,
    /// `always_off`
    AlwaysOff,
    /// `trace_based`: those of sampled requests.
    TraceBased,
}

/// An attribute that metrics may have beyond those of the semantic conventions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricAttribute {
    /// `haproxy.frontend.name`
    Frontend,
    /// `haproxy.backend.name`
    Backend,
    /// `haproxy.server.name`
    Server,
    /// `server.address`, `server.port`: of the server that HAProxy chose, never the `Host` that a client sent. CLIENT only.
    ServerAddress,
}
