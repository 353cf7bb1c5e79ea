//! The typed tree. Every value that later code sees has passed through here; nothing is checked twice.

mod export;
mod health;
mod logs;
mod metrics;
mod runtime;
mod service;
mod traces;

pub use export::{Endpoint, ExportConfig, ExporterKind, FileConfig, Protocol};
pub use health::{BackendConfig, HealthConfig};
pub use logs::LogsConfig;
pub(in crate::config) use logs::MAX_VALUE_LENGTH;
pub use metrics::{ExemplarFilter, HistogramKind, MetricAttribute, MetricsConfig, Temporality};
pub use runtime::RuntimeConfig;
pub use service::{Detector, ServiceConfig};
pub use traces::{SamplerKind, TracesConfig};

/// All settings.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Config {
    /// `[service]`: who the spans are from.
    pub service: ServiceConfig,
    /// `[runtime]`: the threads beside HAProxy's own.
    pub runtime: RuntimeConfig,
    /// `[traces]`: what is recorded.
    pub traces: TracesConfig,
    /// `[export]`: how spans leave.
    pub export: ExportConfig,
    /// `[metrics]`: what is measured of requests.
    pub metrics: MetricsConfig,
    /// `[logs]`: requests as log records.
    pub logs: LogsConfig,
    /// `[health]`: which backends are checked, and how.
    pub health: HealthConfig,
}
