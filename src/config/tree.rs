//! The typed tree. Every value that later code sees has passed through here; nothing is checked twice.

mod attributes;
mod export;
mod health;
mod runtime;
mod sampling;
mod service;
mod traces;

pub use attributes::{
    AttributesConfig, ChildSpan, FixedValue, Forwarded, LimitsConfig, MAX_ROUTES, QueryMode, Route, ValueKind,
    VariableAttribute,
};
pub use export::{
    Base, ClientIdentity, Compression, Endpoint, ExportConfig, ExporterKind, FileConfig, Headers, OwnExport, Protocol,
    Proxy, ProxyChoice, SignalExport,
};
pub use health::{
    BackendConfig, CheckMode, CodeRule, Codes, HealthConfig, InitState, MetadataValue, OnNotServing, OnOverload,
    OnUnimplemented, TlsMode,
};
pub use runtime::RuntimeConfig;
pub use sampling::{
    HeaderCondition, HeaderValueCondition, ParentSampler, Pattern, RuleAction, RuleConfig, RuleParent, SamplingConfig,
};
pub use service::{Detector, ServiceConfig};
pub use traces::{MAX_BAGGAGE_KEYS, MAX_FRONTENDS, Propagator, ResponseHeader, SamplerKind, TracesConfig, Trust};

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
    /// `[health]`: which backends are checked, and how.
    pub health: HealthConfig,
}
