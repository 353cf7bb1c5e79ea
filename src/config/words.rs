//! The words that a key may take.

use super::tree::{ChildSpan, ExporterKind, Forwarded, Protocol, QueryMode, SamplerKind, ValueKind};

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
    ];
}

/// OpenTelemetry specification, environment variables, `OTEL_TRACES_EXPORTER`.
impl Word for ExporterKind {
    const WORDS: &'static [(&'static str, Self)] = &[("otlp", Self::Otlp), ("none", Self::None)];
}

/// OpenTelemetry protocol exporter, `OTEL_EXPORTER_OTLP_PROTOCOL`.
impl Word for Protocol {
    const WORDS: &'static [(&'static str, Self)] = &[("grpc", Self::Grpc), ("http/protobuf", Self::HttpProtobuf)];
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
        assert_eq!(ExporterKind::None.word(), "none");
        assert_eq!(Protocol::Grpc.word(), "grpc");
        assert_eq!(Protocol::HttpProtobuf.word(), "http/protobuf");
    }
}
