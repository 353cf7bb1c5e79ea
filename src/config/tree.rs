//! The typed tree. Every value that later code sees has passed through here; nothing is checked twice.

mod agent;
mod attributes;
mod export;
mod health;
mod log;
mod logs;
mod metrics;
mod runtime;
mod sampling;
mod service;
mod traces;
mod weight;

pub use agent::{AgentConfig, BridgeAddress, BridgeConfig, OnAgentError};
pub use attributes::{
    AttributesConfig, ChildSpan, FixedValue, Forwarded, LimitsConfig, MAX_ROUTES, QueryMode, Route, ValueKind,
    VariableAttribute,
};
pub use export::{
    Base, ClientIdentity, Compression, Endpoint, ExportConfig, ExporterKind, FileConfig, Headers, OwnExport, Protocol,
    Proxy, ProxyChoice, SignalExport,
};
pub use health::{
    BackendConfig, CheckMode, CheckSpans, CodeRule, Codes, HealthConfig, InitState, MetadataValue, OnNotServing,
    OnOverload, OnUnimplemented, SingleConfig, StatsSocket, TlsMode, Way,
};
pub use log::{LogConfig, LogFormat, LogTarget, Rotation};
pub use logs::LogsConfig;
pub(in crate::config) use logs::MAX_VALUE_LENGTH;
pub use metrics::{ExemplarFilter, HistogramKind, MetricAttribute, MetricsConfig, Temporality};
pub use runtime::RuntimeConfig;
pub use sampling::{
    HeaderCondition, HeaderValueCondition, ParentSampler, Pattern, RuleAction, RuleConfig, RuleParent, SamplingConfig,
};
pub use service::{Detector, ServiceConfig};
pub use traces::{
    Engine, Frontends, MAX_BAGGAGE_KEYS, MAX_FRONTENDS, Propagator, ResponseHeader, SamplerKind, TracesConfig, Trust,
};
pub use weight::{OrcaMetric, OrcaReport, WeightConfig};

/// All settings.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Config {
    /// `[service]`: who the spans are from.
    pub service: ServiceConfig,
    /// `[runtime]`: the threads beside HAProxy's own.
    pub runtime: RuntimeConfig,
    /// `[traces]`: what is recorded.
    pub traces: TracesConfig,
    /// `[traces]`: what spans say.
    pub attributes: AttributesConfig,
    /// `[export]`: how spans leave.
    pub export: ExportConfig,
    /// `[metrics]`: what is measured of requests.
    pub metrics: MetricsConfig,
    /// `[logs]`: requests as log records.
    pub logs: LogsConfig,
    /// `[health]`: which backends are checked, and how.
    pub health: HealthConfig,
    /// `[agent]`: answers HAProxy's `agent-check`.
    pub agent: AgentConfig,
    /// `[bridge]`: answers HAProxy's `option httpchk`.
    pub bridge: BridgeConfig,
    /// `[log]`: where lines for the operator go.
    pub log: LogConfig,
}
