//! `[traces]`: the settings, typed.

/// `[traces]`.
#[derive(Debug, Clone, PartialEq)]
pub struct TracesConfig {
    /// `OTEL_SDK_DISABLED=true` turns it off: nothing is recorded, and callers' contexts go on as they came.
    pub enabled: bool,
    /// `OTEL_TRACES_SAMPLER`.
    pub sampler: SamplerKind,
    /// `OTEL_TRACES_SAMPLER_ARG`: the share of traces that the ratio samplers keep, 0 to 1.
    pub ratio: f64,
    /// Requests that `show vitals traces last` remembers, 0 to 10 000.
    pub recent: usize,
    /// Bytes of each HAProxy thread's ring of finished records. 64 KiB to 64 MiB.
    pub ring_bytes: usize,
}

impl Default for TracesConfig {
    fn default() -> Self {
        Self { enabled: true, sampler: SamplerKind::ParentBasedAlwaysOn, ratio: 1.0, recent: 0, ring_bytes: 512 * 1024 }
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
