//! The typed tree. Every value that later code sees has passed through here; nothing is checked twice.

use std::fmt;
use std::time::Duration;

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
    /// `[health]`: which backends are checked, and how.
    pub health: HealthConfig,
}

/// `[service]`.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceConfig {
    /// `service.name`. `OTEL_SERVICE_NAME`, else `service.name` in `OTEL_RESOURCE_ATTRIBUTES`.
    pub name: String,
    /// Further resource attributes, in order. `OTEL_RESOURCE_ATTRIBUTES`, percent-decoded.
    pub attributes: Vec<(String, String)>,
}

impl Default for ServiceConfig {
    fn default() -> Self {
        // OpenTelemetry resource semantic conventions, service.name: the fallback names the executable.
        Self { name: "unknown_service:haproxy".to_owned(), attributes: Vec::new() }
    }
}

/// `[runtime]`.
#[derive(Debug, Clone, PartialEq)]
pub struct RuntimeConfig {
    /// Worker threads, 1 to 64.
    pub workers: usize,
    /// How long a soft stop or a reload may wait for queued spans. At most 60 s.
    pub stop_timeout: Duration,
    /// How long `SIGTERM` and `SIGINT` may wait for queued spans. At most 10 s.
    pub term_timeout: Duration,
}

impl Default for RuntimeConfig {
    fn default() -> Self {
        Self { workers: 2, stop_timeout: Duration::from_secs(2), term_timeout: Duration::from_millis(500) }
    }
}

/// `[traces]`.
#[derive(Debug, Clone, PartialEq)]
pub struct TracesConfig {
    /// `OTEL_SDK_DISABLED=true` turns it off: nothing is recorded, and callers' contexts go on as they came.
    pub enabled: bool,
    /// `OTEL_TRACES_SAMPLER`.
    pub sampler: SamplerKind,
    /// `OTEL_TRACES_SAMPLER_ARG`: the share of traces that the ratio samplers keep, 0 to 1.
    pub ratio: f64,
    /// Bytes of each HAProxy thread's ring of finished records. 64 KiB to 64 MiB.
    pub ring_bytes: usize,
}

impl Default for TracesConfig {
    fn default() -> Self {
        Self { enabled: true, sampler: SamplerKind::ParentBasedAlwaysOn, ratio: 1.0, ring_bytes: 512 * 1024 }
    }
}

/// The values of `OTEL_TRACES_SAMPLER` that are known here. OpenTelemetry specification, general SDK configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SamplerKind {
    /// `always_on`
    AlwaysOn,
    /// `always_off`
    AlwaysOff,
    /// `traceidratio`
    TraceIdRatio,
    /// `parentbased_always_on`
    ParentBasedAlwaysOn,
    /// `parentbased_always_off`
    ParentBasedAlwaysOff,
    /// `parentbased_traceidratio`
    ParentBasedTraceIdRatio,
}

/// `[export]`.
#[derive(Clone, PartialEq)]
pub struct ExportConfig {
    /// `OTEL_TRACES_EXPORTER`: `otlp` or `none`.
    pub exporter: ExporterKind,
    /// `OTEL_EXPORTER_OTLP_TRACES_PROTOCOL`, else `OTEL_EXPORTER_OTLP_PROTOCOL`.
    pub protocol: Protocol,
    /// Where to send, complete: for HTTP with the path that spans are posted to.
    pub endpoint: Endpoint,
    /// Request headers (gRPC: metadata), in order. Values are secrets: never printed.
    pub headers: Vec<(String, String)>,
    /// Bound on one attempt to send one batch. `OTEL_EXPORTER_OTLP_TIMEOUT`, milliseconds.
    pub timeout: Duration,
    /// A batch is sent when its oldest span is this old. `OTEL_BSP_SCHEDULE_DELAY`, milliseconds.
    pub schedule_delay: Duration,
    /// Bound on sending one batch with all its retries; then it is dropped. `OTEL_BSP_EXPORT_TIMEOUT`, milliseconds.
    pub export_timeout: Duration,
    /// Spans that may wait to be sent. `OTEL_BSP_MAX_QUEUE_SIZE`.
    pub max_queue_size: usize,
    /// Spans in one batch, at most `max_queue_size`. `OTEL_BSP_MAX_EXPORT_BATCH_SIZE`.
    pub max_export_batch_size: usize,
}

impl Default for ExportConfig {
    fn default() -> Self {
        Self {
            exporter: ExporterKind::Otlp,
            protocol: Protocol::HttpProtobuf,
            endpoint: Endpoint { tls: false, host: "localhost".to_owned(), port: 4318, path: "/v1/traces".to_owned() },
            headers: Vec::new(),
            timeout: Duration::from_secs(10),
            schedule_delay: Duration::from_secs(5),
            export_timeout: Duration::from_secs(30),
            max_queue_size: 32_768,
            max_export_batch_size: 512,
        }
    }
}

/// Headers without their values, which are secrets.
impl fmt::Debug for ExportConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExportConfig")
            .field("exporter", &self.exporter)
            .field("protocol", &self.protocol)
            .field("endpoint", &self.endpoint)
            .field("headers", &self.headers.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .field("timeout", &self.timeout)
            .field("schedule_delay", &self.schedule_delay)
            .field("export_timeout", &self.export_timeout)
            .field("max_queue_size", &self.max_queue_size)
            .field("max_export_batch_size", &self.max_export_batch_size)
            .finish()
    }
}

/// The values of `OTEL_TRACES_EXPORTER` that are known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExporterKind {
    /// `otlp`
    Otlp,
    /// `none`: spans are made, counted and not sent.
    None,
}

/// The values of `OTEL_EXPORTER_OTLP_PROTOCOL` that are known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// `grpc`
    Grpc,
    /// `http/protobuf`
    HttpProtobuf,
}

/// Where spans go, taken apart once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `https`.
    pub tls: bool,
    /// A name, an IPv4 address, or an IPv6 address without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// HTTP: the path to post to, with its leading slash. Unused for gRPC.
    pub path: String,
}

/// `[health]`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HealthConfig {
    /// `[[health.backend]]`, in order; a name stands at most once.
    pub backends: Vec<BackendConfig>,
}

/// `[[health.backend]]`: one of HAProxy's backends whose servers are checked.
#[derive(Debug, Clone, PartialEq)]
pub struct BackendConfig {
    /// The backend's name in HAProxy's configuration.
    pub name: String,
    /// The `service` of `HealthCheckRequest`; empty asks about the whole server.
    pub service: String,
    /// `:authority` of the check; absent means the server's address.
    pub authority: Option<String>,
    /// Between the start of one check and the start of the next.
    pub interval: Duration,
    /// The same while a state change is pending.
    pub fast_interval: Duration,
    /// The same while the server is down.
    pub down_interval: Duration,
    /// Bound on connecting: TCP and HTTP/2 preface.
    pub connect_timeout: Duration,
    /// Bound on the call; sent as `grpc-timeout`. With `connect_timeout` at most `interval`.
    pub rpc_timeout: Duration,
    /// Passes in a row that bring a server up, 1 to 100.
    pub rise: u32,
    /// Failures in a row that take it down, 1 to 100.
    pub fall: u32,
}

impl BackendConfig {
    /// The defaults for the backend called `name`.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            service: String::new(),
            authority: None,
            interval: Duration::from_secs(2),
            fast_interval: Duration::from_secs(1),
            down_interval: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(1),
            rpc_timeout: Duration::from_secs(1),
            rise: 2,
            fall: 3,
        }
    }
}
