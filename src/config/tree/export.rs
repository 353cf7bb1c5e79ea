//! `[export]`: the settings, typed.

use std::fmt;
use std::time::Duration;

/// `[export]`.
#[derive(Clone, PartialEq)]
pub struct ExportConfig {
    /// `OTEL_TRACES_EXPORTER`: where spans go, without repetition. `none` stands alone.
    pub exporters: Vec<ExporterKind>,
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
    /// `[export.file]`: where the exporter `file` writes.
    pub file: FileConfig,
}

impl ExportConfig {
    /// Whether `kind` is one of the exporters.
    pub fn has(&self, kind: ExporterKind) -> bool {
        self.exporters.contains(&kind)
    }
}

impl Default for ExportConfig {
    fn default() -> Self {
        Self {
            exporters: vec![ExporterKind::Otlp],
            protocol: Protocol::HttpProtobuf,
            endpoint: Endpoint { tls: false, host: "localhost".to_owned(), port: 4318, path: "/v1/traces".to_owned() },
            headers: Vec::new(),
            timeout: Duration::from_secs(10),
            schedule_delay: Duration::from_secs(5),
            export_timeout: Duration::from_secs(30),
            max_queue_size: 32_768,
            max_export_batch_size: 512,
            file: FileConfig::default(),
        }
    }
}

/// Headers without their values, which are secrets.
impl fmt::Debug for ExportConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExportConfig")
            .field("exporters", &self.exporters)
            .field("protocol", &self.protocol)
            .field("endpoint", &self.endpoint)
            .field("headers", &self.headers.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .field("timeout", &self.timeout)
            .field("schedule_delay", &self.schedule_delay)
            .field("export_timeout", &self.export_timeout)
            .field("max_queue_size", &self.max_queue_size)
            .field("max_export_batch_size", &self.max_export_batch_size)
            .field("file", &self.file)
            .finish()
    }
}

/// `[export.file]`.
#[derive(Debug, Clone, PartialEq)]
pub struct FileConfig {
    /// The file that spans are appended to. Empty: not set. Metrics and logs have their own: see
    /// [`export::file`](crate::export::file).
    pub path: String,
    /// Bytes that one file may have before another begins. Only a single longer line makes a longer file.
    pub max_bytes: u64,
    /// Files of one signal, the one that is written among them. The oldest goes.
    pub max_files: usize,
}

impl Default for FileConfig {
    fn default() -> Self {
        Self { path: String::new(), max_bytes: 100 * 1024 * 1024, max_files: 5 }
    }
}

/// The values of `OTEL_TRACES_EXPORTER` that are known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExporterKind {
    /// `otlp`
    Otlp,
    /// `console`: a line for each span on standard error.
    Console,
    /// `file`: OTLP's JSON form, a line for each batch.
    File,
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
