//! Which requests are recorded. OpenTelemetry specification, trace SDK, sampling.

use super::incoming::Incoming;
use super::w3c::{FLAG_SAMPLED, Traceparent};
use crate::config::{SamplerKind, TracesConfig};

/// What becomes of a request. OpenTelemetry specification, trace SDK, `SamplingResult`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Its end is recorded: `RECORD_ONLY` where it is not sampled.
    pub recorded: bool,
    /// `RECORD_AND_SAMPLE`: the flag that the server sees.
    pub sampled: bool,
}

/// A sampler, ready to decide. Hot path: a comparison or two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampler {
    root: Root,
    parent_based: bool,
}

/// Decides where no caller has decided, or where callers are not asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Root {
    AlwaysOn,
    AlwaysOff,
    /// Keeps a trace whose id's low 63 bits are below this bound: the same traces everywhere.
    Below(u64),
}

impl Sampler {
    /// The sampler that the settings name.
    pub fn new(config: &TracesConfig) -> Self {
        let ratio = Root::below(config.ratio);
        let (root, parent_based) = match config.sampler {
            SamplerKind::AlwaysOn => (Root::AlwaysOn, false),
            SamplerKind::AlwaysOff => (Root::AlwaysOff, false),
            SamplerKind::TraceIdRatio => (ratio, false),
            SamplerKind::ParentBasedAlwaysOn => (Root::AlwaysOn, true),
            SamplerKind::ParentBasedAlwaysOff => (Root::AlwaysOff, true),
            SamplerKind::ParentBasedTraceIdRatio => (ratio, true),
        };
        Self { root, parent_based }
    }

    /// What becomes of a `request` that continues `parent`, or starts a trace. `trace_id_low` is asked for only where the id
    /// decides.
    pub fn decide(
        self,
        _request: &Incoming<'_>,
        parent: Option<&Traceparent>,
        trace_id_low: impl FnOnce() -> u64,
    ) -> Decision {
        let sampled = self.samples(parent, trace_id_low);
        Decision { recorded: sampled, sampled }
    }

    fn samples(self, parent: Option<&Traceparent>, trace_id_low: impl FnOnce() -> u64) -> bool {
        match parent {
            Some(parent) if self.parent_based => parent.flags & FLAG_SAMPLED != 0,
            _ => match self.root {
                Root::AlwaysOn => true,
                Root::AlwaysOff => false,
                Root::Below(bound) => (trace_id_low() >> 1) < bound,
            },
        }
    }
}

impl Root {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the ratio is between 0 and 1, so the product is between 0 and 2^63"
    )]
    fn below(ratio: f64) -> Self {
        if ratio >= 1.0 { Self::AlwaysOn } else { Self::Below((ratio.max(0.0) * (1_u64 << 63) as f64) as u64) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampler(kind: SamplerKind, ratio: f64) -> Sampler {
        Sampler::new(&TracesConfig { sampler: kind, ratio, ..TracesConfig::default() })
    }

    fn parent(flags: u8) -> Traceparent {
        Traceparent { trace_id: [b'1'; 32], parent_id: [b'2'; 16], flags }
    }

    #[test]
    fn parent_based_samplers_follow_the_caller_and_others_do_not() {
        for (kind, sampled, unsampled, root) in [
            (SamplerKind::AlwaysOn, true, true, true),
            (SamplerKind::AlwaysOff, false, false, false),
            (SamplerKind::ParentBasedAlwaysOn, true, false, true),
            (SamplerKind::ParentBasedAlwaysOff, true, false, false),
        ] {
            let sampler = sampler(kind, 1.0);
            assert_eq!(sampler.samples(Some(&parent(1)), || 0), sampled, "{kind:?}");
            assert_eq!(sampler.samples(Some(&parent(2)), || 0), unsampled, "{kind:?}");
            assert_eq!(sampler.samples(None, || 0), root, "{kind:?}");
        }
    }

    #[test]
    fn ratio_keeps_its_share_of_trace_ids() {
        let tenth = sampler(SamplerKind::ParentBasedTraceIdRatio, 0.1);
        let kept = (0..1000_u64).filter(|n| tenth.samples(None, || n * (u64::MAX / 1000))).count();
        assert!((99..=101).contains(&kept), "{kept}");
        assert!(sampler(SamplerKind::TraceIdRatio, 1.0).samples(None, || u64::MAX));
        assert!(!sampler(SamplerKind::TraceIdRatio, 0.0).samples(Some(&parent(1)), || 0));
    }
}
