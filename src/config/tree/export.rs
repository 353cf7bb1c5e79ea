//! `[export]`: the settings, typed.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use crate::config::signal::{PerSignal, Signal};

/// `[export]`: how everything leaves. What stands directly in it counts for every signal; [`own`](Self::own) is what
/// `[export.traces]`, `[export.metrics]` and `[export.logs]` say instead. Who sends reads [`for_signal`](Self::for_signal).
#[derive(Debug, Clone, PartialEq)]
pub struct ExportConfig {
    /// `OTEL_TRACES_EXPORTER`: where spans go, without repetition. `none` stands alone.
    pub exporters: Vec<ExporterKind>,
    /// `OTEL_EXPORTER_OTLP_PROTOCOL`.
    pub protocol: Protocol,
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`: a base; HTTP appends the signal's path. Absent: `localhost`, the protocol's port.
    pub endpoint: Option<Base>,
    /// `OTEL_EXPORTER_OTLP_INSECURE`: a gRPC endpoint without a scheme is plain.
    pub insecure: bool,
    /// Request headers (gRPC: metadata), in order. `OTEL_EXPORTER_OTLP_HEADERS`.
    pub headers: Headers,
    /// Bound on one attempt to send one batch. `OTEL_EXPORTER_OTLP_TIMEOUT`, milliseconds.
    pub timeout: Duration,
    /// `OTEL_EXPORTER_OTLP_COMPRESSION`.
    pub compression: Compression,
    /// PEM file of the authorities that are trusted instead of the system's. `OTEL_EXPORTER_OTLP_CERTIFICATE`.
    pub certificate: Option<String>,
    /// PEM file of the certificate that is shown to the collector. `OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE`.
    pub client_certificate: Option<String>,
    /// PEM file of its private key. `OTEL_EXPORTER_OTLP_CLIENT_KEY`.
    pub client_key: Option<String>,
    /// Absent: as `http_proxy` and its kin say.
    pub proxy: Option<ProxyChoice>,
    /// A batch is sent when its oldest span is this old. `OTEL_BSP_SCHEDULE_DELAY`, milliseconds.
    pub schedule_delay: Duration,
    /// Bound on sending one batch with all its retries; then it is dropped. `OTEL_BSP_EXPORT_TIMEOUT`, milliseconds.
    pub export_timeout: Duration,
    /// Spans that may wait to be sent. `OTEL_BSP_MAX_QUEUE_SIZE`.
    pub max_queue_size: usize,
    /// Encoded bytes that may wait to be sent.
    pub max_queue_bytes: usize,
    /// Spans in one batch, at most `max_queue_size`. `OTEL_BSP_MAX_EXPORT_BATCH_SIZE`.
    pub max_export_batch_size: usize,
    /// `[export.file]`: where the exporter `file` writes.
    pub file: FileConfig,
    /// What only one signal uses.
    pub own: PerSignal<OwnExport>,
    /// The two above brought together: what counts.
    pub resolved: PerSignal<SignalExport>,
}

impl ExportConfig {
    /// Whether `kind` is one of the exporters.
    pub fn has(&self, kind: ExporterKind) -> bool {
        self.exporters.contains(&kind)
    }

    /// How `signal` leaves.
    pub const fn for_signal(&self, signal: Signal) -> &SignalExport {
        self.resolved.of(signal)
    }
}

impl Default for ExportConfig {
    fn default() -> Self {
        Self {
            exporters: vec![ExporterKind::Otlp],
            protocol: Protocol::HttpProtobuf,
            endpoint: None,
            insecure: false,
            headers: Headers::default(),
            timeout: TIMEOUT,
            compression: Compression::None,
            certificate: None,
            client_certificate: None,
            client_key: None,
            proxy: None,
            schedule_delay: Duration::from_secs(5),
            export_timeout: Duration::from_secs(30),
            max_queue_size: 32_768,
            max_queue_bytes: 64 * 1024 * 1024,
            max_export_batch_size: 512,
            file: FileConfig::default(),
            own: PerSignal::default(),
            resolved: PerSignal {
                traces: SignalExport::default_for(Signal::Traces),
                metrics: SignalExport::default_for(Signal::Metrics),
                logs: SignalExport::default_for(Signal::Logs),
            },
        }
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

/// `[export.traces]`, `[export.metrics]`, `[export.logs]`, `OTEL_EXPORTER_OTLP_TRACES_*` and so on: what is absent is as in
/// `[export]`.
#[derive(Debug, Clone, PartialEq, Default)]
#[expect(missing_docs, reason = "each is what the field of this name in `ExportConfig` is")]
pub struct OwnExport {
    pub protocol: Option<Protocol>,
    /// Taken as it is: nothing is appended.
    pub endpoint: Option<Base>,
    pub insecure: Option<bool>,
    /// Replace the general ones whole where there are any.
    pub headers: Headers,
    pub timeout: Option<Duration>,
    pub compression: Option<Compression>,
    pub certificate: Option<String>,
    pub client_certificate: Option<String>,
    pub client_key: Option<String>,
}

/// How one signal leaves: complete.
#[derive(Debug, Clone, PartialEq)]
pub struct SignalExport {
    /// On the wire.
    pub protocol: Protocol,
    /// Where to: for HTTP with the path that is posted to.
    pub endpoint: Endpoint,
    /// Request headers, in order.
    pub headers: Headers,
    /// Bound on one attempt.
    pub timeout: Duration,
    /// Of requests.
    pub compression: Compression,
    /// PEM file of the authorities that are trusted; absent: the system's.
    pub certificate: Option<String>,
    /// PEM files of the certificate that is shown, and of its key.
    pub client: Option<ClientIdentity>,
    /// What stands between.
    pub proxy: Option<Proxy>,
}

impl SignalExport {
    /// What counts when nobody sets anything.
    pub fn default_for(signal: Signal) -> Self {
        Self {
            protocol: Protocol::HttpProtobuf,
            endpoint: Endpoint::default_for(Protocol::HttpProtobuf, signal),
            headers: Headers::default(),
            timeout: TIMEOUT,
            compression: Compression::None,
            certificate: None,
            client: None,
            proxy: None,
        }
    }
}

/// The files of a client certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientIdentity {
    /// PEM file: the certificate, then those between it and an authority.
    pub certificate: String,
    /// PEM file: the private key.
    pub key: String,
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

/// The values of `OTEL_EXPORTER_OTLP_PROTOCOL`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// `grpc`
    Grpc,
    /// `http/protobuf`
    HttpProtobuf,
    /// `http/json`
    HttpJson,
}

/// The values of `OTEL_EXPORTER_OTLP_COMPRESSION`; `zstd` is an addition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// `none`
    None,
    /// `gzip`
    Gzip,
    /// `zstd`: the OpenTelemetry Collector takes it, others may not.
    Zstd,
}

/// Where a signal goes, taken apart once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `https`.
    pub tls: bool,
    /// A name, an IPv4 address, or an IPv6 address without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// HTTP: the path to post to, with its leading slash. Empty for gRPC.
    pub path: String,
}

/// An endpoint as it was set, before a protocol gives it a meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// With the path as it stands there.
    pub url: Endpoint,
    /// `host:port` alone, which only gRPC has.
    pub without_scheme: bool,
}

/// Names and values of headers. The values are secrets: never printed.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Headers(pub Vec<(String, String)>);

impl Deref for Headers {
    type Target = Vec<(String, String)>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Headers {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|(name, _)| name)).finish()
    }
}

/// `export.proxy`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProxyChoice {
    /// `none`: straight to the collector, whatever the environment says.
    Direct,
    /// Always this one.
    Through(Proxy),
}

/// An HTTP proxy.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    /// A name, an IPv4 address, or an IPv6 address without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// `user:password`, a secret: never printed.
    pub credentials: Option<String>,
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, credentials } = self;
        let hidden = if credentials.is_some() { "(hidden)@" } else { "" };
        if host.contains(':') {
            write!(f, "http://{hidden}[{host}]:{port}")
        } else {
            write!(f, "http://{hidden}{host}:{port}")
        }
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// OpenTelemetry protocol exporter, "Timeout".
const TIMEOUT: Duration = Duration::from_secs(10);
