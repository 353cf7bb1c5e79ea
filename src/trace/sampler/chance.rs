//! How one decision is made.

use std::sync::atomic::{AtomicBool, Ordering};

use super::ot::{self, Change, Ot};
use crate::config::ParentSampler;
use crate::log::{self, Level};
use crate::trace::w3c::{FLAG_RANDOM, FLAG_SAMPLED, Traceparent};

/// Decides for one trace. Hot path: a comparison or two; the consistent ones read `ot`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chance {
    /// `AlwaysOnSampler`.
    AlwaysOn,
    /// `AlwaysOffSampler`.
    AlwaysOff,
    /// `TraceIdRatioBased`: keeps a trace whose id's low 63 bits are below this bound, the same traces everywhere.
    Below(u64),
    /// `ParentBased` with its defaults: as the caller.
    Follow,
    /// `ComposableProbability`: keeps a trace whose randomness is at least this threshold; `None`: never.
    Threshold(Option<u64>),
    /// `ComposableParentThreshold`: as the caller. A threshold that contradicts the caller's flag goes.
    FollowThreshold,
}

/// What a decision needs to know of a trace.
pub(super) struct Trace<'a, L> {
    /// The caller's context.
    pub(super) parent: Option<&'a Traceparent>,
    /// The caller's list; empty if none.
    pub(super) tracestate: &'a [u8],
    /// The low 64 bits of the trace's id, asked for only where they decide.
    pub(super) low: L,
}

impl Chance {
    /// Keeps every trace.
    pub(super) const fn always(consistent: bool) -> Self {
        if consistent { Self::Threshold(Some(0)) } else { Self::AlwaysOn }
    }

    /// Keeps none.
    pub(super) const fn never(consistent: bool) -> Self {
        if consistent { Self::Threshold(None) } else { Self::AlwaysOff }
    }

    /// Keeps a share of traces, 0 to 1.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the ratio is between 0 and 1, so the product is between 0 and 2^63"
    )]
    pub(super) fn of_ratio(ratio: f64, consistent: bool) -> Self {
        if consistent {
            Self::Threshold(ot::threshold(ratio))
        } else if ratio >= 1.0 {
            Self::AlwaysOn
        } else {
            Self::Below((ratio.max(0.0) * (1_u64 << 63) as f64) as u64)
        }
    }

    /// The delegate of a parent-based sampler.
    pub(super) fn of_parent(sampler: ParentSampler, ratio: f64, consistent: bool) -> Self {
        match sampler {
            ParentSampler::Follow if consistent => Self::FollowThreshold,
            ParentSampler::Follow => Self::Follow,
            ParentSampler::AlwaysOn => Self::always(consistent),
            ParentSampler::AlwaysOff => Self::never(consistent),
            ParentSampler::TraceIdRatio => Self::of_ratio(ratio, false),
            ParentSampler::ConsistentProbability => Self::of_ratio(ratio, true),
        }
    }

    /// Whether the trace is sampled, and what becomes of the threshold in its `tracestate`.
    pub(super) fn decide(self, trace: Trace<'_, impl FnOnce() -> u64>) -> (bool, Change) {
        let asked = || trace.parent.is_some_and(|parent| parent.flags & FLAG_SAMPLED != 0);
        match self {
            Self::AlwaysOn => (true, Change::Leave),
            Self::AlwaysOff => (false, Change::Leave),
            Self::Below(bound) => (((trace.low)() >> 1) < bound, Change::Leave),
            Self::Follow => (asked(), Change::Leave),
            Self::Threshold(None) => (false, Change::Erase),
            Self::Threshold(Some(threshold)) => {
                let randomness = Ot::read(trace.tracestate).randomness;
                if randomness.is_none() && trace.parent.is_some_and(|parent| parent.flags & FLAG_RANDOM == 0) {
                    say_presumed();
                }
                let sampled = randomness.unwrap_or_else(|| (trace.low)() & ot::MASK) >= threshold;
                (sampled, if sampled { Change::Set(threshold) } else { Change::Erase })
            }
            Self::FollowThreshold => {
                let sampled = asked();
                let ot = Ot::read(trace.tracestate);
                let says = |threshold| ot.randomness.unwrap_or_else(|| (trace.low)() & ot::MASK) >= threshold;
                let agrees = ot.threshold.is_some_and(|threshold| says(threshold) == sampled);
                (sampled, if agrees { Change::Leave } else { Change::Erase })
            }
        }
    }
}

/// "Migration to consistent probability samplers": the first time that a caller's trace id is taken for random although the
/// caller does not say so, it is said.
fn say_presumed() {
    if !PRESUMED.load(Ordering::Relaxed) && !PRESUMED.swap(true, Ordering::Relaxed) {
        log::say(
            Level::Warning,
            "a caller's trace id is presumed to be random, which its flags do not say: where callers' ids are not, \
             consistent probability does not hold",
        );
    }
}

static PRESUMED: AtomicBool = AtomicBool::new(false);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decide(chance: Chance, flags: Option<u8>, tracestate: &str, low: u64) -> (bool, Change) {
        let parent = flags.map(|flags| Traceparent { trace_id: [b'1'; 32], parent_id: [b'2'; 16], flags });
        chance.decide(Trace { parent: parent.as_ref(), tracestate: tracestate.as_bytes(), low: || low })
    }

    #[test]
    fn a_consistent_decision_compares_the_randomness_of_the_trace_with_the_threshold() {
        let quarter = Chance::of_ratio(0.25, true);
        let threshold = 0xc0_0000_0000_0000;
        assert_eq!(decide(quarter, None, "", threshold), (true, Change::Set(threshold)));
        assert_eq!(decide(quarter, None, "", threshold - 1), (false, Change::Erase));
        // Only the low 56 bits of the id are random.
        assert_eq!(decide(quarter, None, "", 0xff00_0000_0000_0000), (false, Change::Erase));
        assert_eq!(decide(quarter, None, "ot=rv:c0000000000000", 0), (true, Change::Set(threshold)));
        assert_eq!(decide(quarter, None, "ot=rv:bfffffffffffff", u64::MAX), (false, Change::Erase));
        assert_eq!(decide(Chance::of_ratio(0.0, true), None, "", u64::MAX), (false, Change::Erase));
        assert_eq!(decide(Chance::of_ratio(1.0, true), None, "", 0), (true, Change::Set(0)));
    }

    #[test]
    fn randomness_that_a_caller_does_not_promise_is_presumed_and_said_once() {
        let said = || log::take().iter().filter(|line| line.text.contains("presumed to be random")).count();
        let half = Chance::of_ratio(0.5, true);
        for (flags, list) in [(None, ""), (Some(3), ""), (Some(1), "ot=rv:00000000000000")] {
            decide(half, flags, list, 0);
        }
        assert!(!PRESUMED.load(Ordering::Relaxed));
        decide(half, Some(1), "", 0);
        decide(half, Some(1), "", 0);
        assert_eq!(said(), 1);
    }

    #[test]
    fn a_followed_threshold_stays_where_it_agrees_with_the_flag() {
        for (flags, list, low, sampled, change) in [
            (1, "ot=th:c", u64::MAX, true, Change::Leave),
            (1, "ot=th:c", 0, true, Change::Erase),
            (0, "ot=th:c", 0, false, Change::Leave),
            (0, "ot=th:c", u64::MAX, false, Change::Erase),
            (1, "ot=th:c;rv:ffffffffffffff", 0, true, Change::Leave),
            (1, "", 0, true, Change::Erase),
        ] {
            assert_eq!(
                decide(Chance::FollowThreshold, Some(flags), list, low),
                (sampled, change),
                "{flags} {list} {low}"
            );
        }
    }

    #[test]
    fn ratio_keeps_its_share_of_trace_ids() {
        for consistent in [false, true] {
            let tenth = Chance::of_ratio(0.1, consistent);
            let spread = |n: u64| if consistent { n * (ot::MASK / 1000) } else { n * (u64::MAX / 1000) };
            let kept = (0..1000_u64).filter(|n| decide(tenth, None, "", spread(*n)).0).count();
            assert!((99..=101).contains(&kept), "{kept}");
            assert!(decide(Chance::of_ratio(1.0, consistent), None, "", u64::MAX).0);
            assert!(!decide(Chance::of_ratio(0.0, consistent), Some(1), "", 0).0);
        }
    }

    proptest! {
        #[test]
        fn what_is_kept_at_a_probability_is_kept_at_every_higher_one(
            a in 0.0_f64..=1.0, b in 0.0_f64..=1.0, low: u64, consistent: bool,
        ) {
            let kept = |ratio| decide(Chance::of_ratio(ratio, consistent), None, "", low).0;
            prop_assert!(!kept(a.min(b)) || kept(a.max(b)));
        }
    }
}
