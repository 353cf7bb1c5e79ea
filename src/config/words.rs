//! The words that a key may take.

use super::tree::{ExporterKind, Propagator, Protocol, ResponseHeader, SamplerKind, Trust};

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
impl Word for Trust {
    const WORDS: &'static [(&'static str, Self)] =
        &[("accept", Self::Accept), ("restart", Self::Restart), ("ignore", Self::Ignore)];
}

/// Our own.
impl Word for ResponseHeader {
    const WORDS: &'static [(&'static str, Self)] =
        &[("none", Self::None), ("traceresponse", Self::TraceResponse), ("server-timing", Self::ServerTiming)];
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
