//! The words that a key may take.

use super::tree::{
    CheckMode, ChildSpan, Compression, Detector, Engine, ExemplarFilter, ExporterKind, Forwarded, HistogramKind,
    InitState, LogFormat, LogTarget, MetricAttribute, OnAgentError, OnNotServing, OnOverload, OnUnimplemented,
    OrcaReport, ParentSampler, Propagator, Protocol, QueryMode, ResponseHeader, Rotation, RuleParent, SamplerKind,
    Temporality, TlsMode, Trust, ValueKind, Way,
};

use crate::log::Level;

/// A type whose values are written as words.
pub(super) trait Word: Copy + PartialEq + 'static {
    /// Each value with its word.
    const WORDS: &'static [(&'static str, Self)];

    /// The word of this value.
    fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, value)| *value == self).map_or("", |(word, _)| word)
    }
}

/// OpenTelemetry specification, environment variables, `OTEL_TRACES_SAMPLER`.
impl Word for SamplerKind {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("always_on", Self::AlwaysOn),
        ("always_off", Self::AlwaysOff),
        ("traceidratio", Self::TraceIdRatio),
        ("parentbased_always_on", Self::ParentBasedAlwaysOn),
        ("parentbased_always_off", Self::ParentBasedAlwaysOff),
        ("parentbased_traceidratio", Self::ParentBasedTraceIdRatio),
        ("consistent_probability", Self::ConsistentProbability),
        ("parentbased_consistent_probability", Self::ParentBasedConsistentProbability),
    ];
}

/// OpenTelemetry specification, trace SDK, `ParentBased`.
impl Word for ParentSampler {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("follow", Self::Follow),
        ("always_on", Self::AlwaysOn),
        ("always_off", Self::AlwaysOff),
        ("traceidratio", Self::TraceIdRatio),
        ("consistent_probability", Self::ConsistentProbability),
    ];
}

impl Word for RuleParent {
    const WORDS: &'static [(&'static str, Self)] = &[("follow", Self::Follow), ("ignore", Self::Ignore)];
}

/// OpenTelemetry specification, environment variables, `OTEL_TRACES_EXPORTER`.
impl Word for ExporterKind {
    const WORDS: &'static [(&'static str, Self)] =
        &[("otlp", Self::Otlp), ("console", Self::Console), ("file", Self::File), ("none", Self::None)];
}

/// What a resource detector finds; see [`Detector`].
impl Word for Detector {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("service", Self::Service),
        ("host", Self::Host),
        ("os", Self::Os),
        ("process", Self::Process),
        ("command_args", Self::CommandArgs),
        ("container", Self::Container),
        ("k8s", Self::K8s),
        ("haproxy", Self::Haproxy),
    ];
}

/// OpenTelemetry protocol exporter, `OTEL_EXPORTER_OTLP_PROTOCOL`.
impl Word for Protocol {
    const WORDS: &'static [(&'static str, Self)] =
        &[("grpc", Self::Grpc), ("http/protobuf", Self::HttpProtobuf), ("http/json", Self::HttpJson)];
}

/// OpenTelemetry protocol exporter, `OTEL_EXPORTER_OTLP_COMPRESSION`, and `zstd`.
impl Word for Compression {
    const WORDS: &'static [(&'static str, Self)] = &[("none", Self::None), ("gzip", Self::Gzip), ("zstd", Self::Zstd)];
}

impl Word for Way {
    const WORDS: &'static [(&'static str, Self)] =
        &[("lua", Self::Lua), ("agent", Self::Agent), ("bridge", Self::Bridge)];
}

impl Word for OnAgentError {
    const WORDS: &'static [(&'static str, Self)] = &[("keep", Self::Keep), ("down", Self::Down)];
}

impl Word for CheckMode {
    const WORDS: &'static [(&'static str, Self)] = &[("check", Self::Check), ("watch", Self::Watch)];
}

impl Word for Level {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("error", Self::Error),
        ("warning", Self::Warning),
        ("warn", Self::Warning),
        ("notice", Self::Notice),
        ("info", Self::Info),
        ("debug", Self::Debug),
        ("trace", Self::Trace),
    ];
}

impl Word for LogTarget {
    const WORDS: &'static [(&'static str, Self)] =
        &[("haproxy", Self::Haproxy), ("stderr", Self::Stderr), ("stdout", Self::Stdout), ("file", Self::File)];
}

impl Word for Rotation {
    const WORDS: &'static [(&'static str, Self)] =
        &[("size", Self::Size), ("hourly", Self::Hourly), ("daily", Self::Daily), ("never", Self::Never)];
}

impl Word for LogFormat {
    const WORDS: &'static [(&'static str, Self)] = &[("plain", Self::Plain), ("json", Self::Json)];
}

impl Word for OrcaReport {
    const WORDS: &'static [(&'static str, Self)] = &[("trailers", Self::Trailers), ("stream", Self::Stream)];
}

impl Word for InitState {
    const WORDS: &'static [(&'static str, Self)] = &[("down", Self::Down), ("up", Self::Up), ("hold", Self::Hold)];
}

impl Word for TlsMode {
    const WORDS: &'static [(&'static str, Self)] = &[("off", Self::Off), ("on", Self::On), ("auto", Self::Auto)];
}

impl Word for OnNotServing {
    const WORDS: &'static [(&'static str, Self)] =
        &[("down", Self::Down), ("drain", Self::Drain), ("ignore", Self::Ignore)];
}

impl Word for OnUnimplemented {
    const WORDS: &'static [(&'static str, Self)] = &[("down", Self::Down), ("up", Self::Up), ("hold", Self::Hold)];
}

impl Word for OnOverload {
    const WORDS: &'static [(&'static str, Self)] = &[("down", Self::Down), ("hold", Self::Hold)];
}

/// OpenTelemetry specification, environment variables, `OTEL_PROPAGATORS`; `none` is not among them.
impl Word for Propagator {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("tracecontext", Self::TraceContext),
        ("baggage", Self::Baggage),
        ("b3", Self::B3),
        ("b3multi", Self::B3Multi),
        ("jaeger", Self::Jaeger),
        ("xray", Self::XRay),
    ];
}

/// Our own.
impl Word for Engine {
    const WORDS: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("native", Self::Native), ("lua", Self::Lua)];
}

/// Our own.
impl Word for Trust {
    const WORDS: &'static [(&'static str, Self)] =
        &[("accept", Self::Accept), ("restart", Self::Restart), ("ignore", Self::Ignore)];
}

/// Our own.
impl Word for ResponseHeader {
    const WORDS: &'static [(&'static str, Self)] =
        &[("none", Self::None), ("traceresponse", Self::TraceResponse), ("server-timing", Self::ServerTiming)];
}

impl Word for Forwarded {
    const WORDS: &'static [(&'static str, Self)] = &[("x-forwarded", Self::XForwarded), ("forwarded", Self::Standard)];
}

impl Word for QueryMode {
    const WORDS: &'static [(&'static str, Self)] =
        &[("redact", Self::Redact), ("allow_list", Self::AllowList), ("drop", Self::Drop)];
}

impl Word for ValueKind {
    const WORDS: &'static [(&'static str, Self)] =
        &[("string", Self::Text), ("int", Self::Integer), ("bool", Self::Bool), ("double", Self::Double)];
}

impl Word for ChildSpan {
    const WORDS: &'static [(&'static str, Self)] = &[("queue", Self::Queue), ("connect", Self::Connect)];
}

/// OTLP metrics exporter specification, `OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE`.
impl Word for Temporality {
    const WORDS: &'static [(&'static str, Self)] =
        &[("cumulative", Self::Cumulative), ("delta", Self::Delta), ("lowmemory", Self::LowMemory)];
}

/// OTLP metrics exporter specification, `OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION`.
impl Word for HistogramKind {
    const WORDS: &'static [(&'static str, Self)] =
        &[("explicit_bucket_histogram", Self::Explicit), ("base2_exponential_bucket_histogram", Self::Exponential)];
}

/// Metrics SDK specification, `OTEL_METRICS_EXEMPLAR_FILTER`.
impl Word for ExemplarFilter {
    const WORDS: &'static [(&'static str, Self)] =
        &[("always_on", Self::AlwaysOn), ("always_off", Self::AlwaysOff), ("trace_based", Self::TraceBased)];
}

/// By the attributes' own names.
impl Word for MetricAttribute {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("haproxy.frontend.name", Self::Frontend),
        ("haproxy.backend.name", Self::Backend),
        ("haproxy.server.name", Self::Server),
        ("server.address", Self::ServerAddress),
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_a_word() {
        let samplers = [
            SamplerKind::AlwaysOn,
            SamplerKind::AlwaysOff,
            SamplerKind::TraceIdRatio,
            SamplerKind::ParentBasedAlwaysOn,
            SamplerKind::ParentBasedAlwaysOff,
            SamplerKind::ParentBasedTraceIdRatio,
        ];
        assert!(samplers.iter().all(|sampler| !sampler.word().is_empty()));
        assert_eq!(ExporterKind::Otlp.word(), "otlp");
        assert_eq!(ExporterKind::Console.word(), "console");
        assert_eq!(ExporterKind::File.word(), "file");
        assert_eq!(ExporterKind::None.word(), "none");
        assert!(Detector::BY_DEFAULT.iter().all(|detector| !detector.word().is_empty()));
        assert_eq!(Detector::CommandArgs.word(), "command_args");
        assert_eq!(Protocol::Grpc.word(), "grpc");
        assert_eq!(Protocol::HttpProtobuf.word(), "http/protobuf");
        assert_eq!(Protocol::HttpJson.word(), "http/json");
        assert_eq!([Compression::None, Compression::Gzip, Compression::Zstd].map(Word::word), ["none", "gzip", "zstd"]);
    }
}
