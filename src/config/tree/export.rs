//! `[export]`: the settings, typed.

use std::fmt;
use std::time::Duration;

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
