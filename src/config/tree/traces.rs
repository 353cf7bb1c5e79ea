//! `[traces]`: the settings, typed.

use super::sampling::SamplingConfig;

/// `[traces]`.
#[derive(Debug, Clone, PartialEq)]
pub struct TracesConfig {
    /// `OTEL_SDK_DISABLED=true` turns it off: nothing is recorded, and callers' contexts go on as they came.
    pub enabled: bool,
    /// `OTEL_TRACES_SAMPLER`.
    pub sampler: SamplerKind,
    /// `OTEL_TRACES_SAMPLER_ARG`: the share of traces that the ratio samplers keep, 0 to 1.
    pub ratio: f64,
    /// What decides beside the sampler.
    pub sampling: SamplingConfig,
    /// Bytes of each HAProxy thread's ring of finished records. 64 KiB to 64 MiB.
    pub ring_bytes: usize,
}

impl Default for TracesConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            sampler: SamplerKind::ParentBasedAlwaysOn,
            ratio: 1.0,
            sampling: SamplingConfig::default(),
            ring_bytes: 512 * 1024,
        }
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
    /// `consistent_probability`: `TraceState`, "Probability sampling". Not a word of the specification's variables.
    ConsistentProbability,
    /// `parentbased_consistent_probability`
    ParentBasedConsistentProbability,
}

impl SamplerKind {
    /// `traces.ratio` counts.
    pub const fn takes_ratio(self) -> bool {
        matches!(self, Self::TraceIdRatio | Self::ParentBasedTraceIdRatio) || self.is_consistent()
    }

    /// Callers decide, where there are some.
    pub const fn is_parent_based(self) -> bool {
        matches!(
            self,
            Self::ParentBasedAlwaysOn
                | Self::ParentBasedAlwaysOff
                | Self::ParentBasedTraceIdRatio
                | Self::ParentBasedConsistentProbability
        )
    }

    /// Thresholds are read from `tracestate`, and written there.
    pub const fn is_consistent(self) -> bool {
        matches!(self, Self::ConsistentProbability | Self::ParentBasedConsistentProbability)
    }
}
