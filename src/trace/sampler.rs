//! Which requests are recorded. OpenTelemetry specification, trace SDK, sampling.
//!
//! In order of strength: the first rule that matches; where the sampler is parent-based and there is a caller, the caller; the
//! share that an operator has set at run time; the sampler. A rule stands behind the caller where it says so.

mod chance;
mod keep;
mod ot;
mod overrides;
mod rate;
mod rule;

use std::sync::Arc;

use super::incoming::Incoming;
use super::w3c::{FLAG_SAMPLED, Traceparent};
use crate::config::{SamplerKind, TracesConfig};
use chance::{Chance, Trace};
use rule::{Action, Rule};

pub use keep::{Keep, Kept};
pub use ot::{Change, apply as change_threshold};
pub use overrides::{Full, Overrides, Shares};

/// What becomes of a request. OpenTelemetry specification, trace SDK, `SamplingResult`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Its end is recorded: `RECORD_ONLY` where it is not sampled.
    pub recorded: bool,
    /// `RECORD_AND_SAMPLE`: the flag that the server sees.
    pub sampled: bool,
    /// What becomes of the threshold in `tracestate`.
    pub threshold: Change,
}

/// One thread's sampler, ready to decide. Hot path: a comparison or two, and a relaxed load.
#[derive(Debug, Clone)]
pub struct Sampler {
    root: Chance,
    /// Absent: callers are not asked.
    parents: Option<Parents>,
    /// Absent: there are none.
    rules: Option<Arc<[Rule]>>,
    /// Requests that are not sampled are recorded all the same, for how they end.
    records_all: bool,
    consistent: bool,
    overrides: Arc<Overrides>,
    /// Of the overrides: what this thread has seen of them.
    generation: u64,
    /// Absent: nothing is overridden.
    shares: Option<Box<Shares>>,
}

/// The delegates of a parent-based sampler.
#[derive(Debug, Clone, Copy)]
struct Parents {
    sampled: Chance,
    not_sampled: Chance,
}

impl Sampler {
    /// The sampler that the settings name.
    pub fn new(config: &TracesConfig) -> Self {
        let (kind, sampling) = (config.sampler, &config.sampling);
        let consistent = kind.is_consistent();
        let root = match kind {
            SamplerKind::AlwaysOn | SamplerKind::ParentBasedAlwaysOn => Chance::AlwaysOn,
            SamplerKind::AlwaysOff | SamplerKind::ParentBasedAlwaysOff => Chance::AlwaysOff,
            SamplerKind::TraceIdRatio
            | SamplerKind::ParentBasedTraceIdRatio
            | SamplerKind::ConsistentProbability
            | SamplerKind::ParentBasedConsistentProbability => Chance::of_ratio(config.ratio, consistent),
        };
        let delegate = |sampler| Chance::of_parent(sampler, config.ratio, consistent);
        let parents = kind.is_parent_based().then(|| Parents {
            sampled: delegate(sampling.parent_sampled),
            not_sampled: delegate(sampling.parent_not_sampled),
        });
        Self {
            root,
            parents,
            rules: rule::rules(sampling, consistent),
            records_all: Keep::new(sampling).is_on(),
            consistent,
            overrides: Arc::default(),
            generation: 0,
            shares: None,
        }
    }

    /// What an operator may change at run time: for all clones of this sampler.
    pub fn overrides(&self) -> &Arc<Overrides> {
        &self.overrides
    }

    /// What becomes of a `request` that continues `parent`, or starts a trace. `tracestate` is the caller's list. `trace_id_low` is
    /// asked for only where the id decides.
    pub fn decide(
        &mut self,
        request: &Incoming<'_>,
        parent: Option<&Traceparent>,
        tracestate: &[u8],
        trace_id_low: impl FnOnce() -> u64,
    ) -> Decision {
        if self.overrides.generation() != self.generation {
            self.read_overrides();
        }
        let trace = Trace { parent, tracestate, low: trace_id_low };
        if let Some(rules) = &self.rules
            && let Some(rule) = rule::first(rules, request)
            && !(rule.follows_parent && self.parents.is_some() && parent.is_some())
        {
            return self.ruled(&rule.action, trace);
        }
        let chance = match (parent, &self.parents) {
            (Some(parent), Some(parents)) if parent.flags & FLAG_SAMPLED != 0 => parents.sampled,
            (Some(_), Some(parents)) => parents.not_sampled,
            _ => self.shares.as_ref().map_or(self.root, |shares| self.overridden(shares, request)),
        };
        let (sampled, threshold) = chance.decide(trace);
        Decision { recorded: sampled || self.records_all, sampled, threshold }
    }

    fn ruled(&self, action: &Action, trace: Trace<'_, impl FnOnce() -> u64>) -> Decision {
        let unknown = if self.consistent { Change::Erase } else { Change::Leave };
        let (sampled, threshold) = match action {
            Action::Drop => return Decision { recorded: false, sampled: false, threshold: unknown },
            Action::Chance(chance) => chance.decide(trace),
            Action::Rate(rate) => (rate.take(), unknown),
        };
        Decision { recorded: sampled || self.records_all, sampled, threshold }
    }

    fn overridden(&self, shares: &Shares, request: &Incoming<'_>) -> Chance {
        let frontend = request.arrival.and_then(|arrival| std::str::from_utf8(arrival.frontend).ok());
        let share = frontend.and_then(|name| shares.frontends.get(name).copied()).or(shares.all);
        share.map_or(self.root, |share| Chance::of_ratio(share, self.consistent))
    }

    #[cold]
    fn read_overrides(&mut self) {
        // Before the table: a change between the two is read again.
        self.generation = self.overrides.generation();
        let shares = self.overrides.shares();
        self.shares = (!shares.is_empty()).then(|| Box::new(shares));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ParentSampler, RuleAction, RuleConfig, RuleParent, SamplingConfig};
    use crate::trace::incoming::Arrival;

    fn sampler(kind: SamplerKind, sampling: SamplingConfig) -> Sampler {
        Sampler::new(&TracesConfig { sampler: kind, ratio: 1.0, sampling, ..TracesConfig::default() })
    }

    fn decide(sampler: &mut Sampler, flags: Option<u8>) -> Decision {
        let parent = flags.map(|flags| Traceparent { trace_id: [b'1'; 32], parent_id: [b'2'; 16], flags });
        let source = "192.0.2.1".parse().ok();
        let arrival = Some(Arrival { frontend: b"www", source, tls: false });
        let request =
            Incoming { method: b"GET", target: b"/", version: b"1.1", arrival, ..Incoming::of_headers(b"\r\n") };
        sampler.decide(&request, parent.as_ref(), b"", || 0)
    }

    fn sampled(sampler: &mut Sampler) -> [bool; 3] {
        [Some(1), Some(2), None].map(|flags| decide(sampler, flags).sampled)
    }

    #[test]
    fn parent_based_samplers_follow_the_caller_and_others_do_not() {
        for (kind, expected) in [
            (SamplerKind::AlwaysOn, [true, true, true]),
            (SamplerKind::AlwaysOff, [false, false, false]),
            (SamplerKind::ParentBasedAlwaysOn, [true, false, true]),
            (SamplerKind::ParentBasedAlwaysOff, [true, false, false]),
            (SamplerKind::ConsistentProbability, [true, true, true]),
            (SamplerKind::ParentBasedConsistentProbability, [true, false, true]),
        ] {
            assert_eq!(sampled(&mut sampler(kind, SamplingConfig::default())), expected, "{kind:?}");
        }
    }

    #[test]
    fn each_delegate_of_a_parent_based_sampler_can_be_set() {
        for (parent_sampled, parent_not_sampled, expected) in [
            (ParentSampler::AlwaysOff, ParentSampler::AlwaysOn, [false, true, true]),
            (ParentSampler::TraceIdRatio, ParentSampler::ConsistentProbability, [true, true, true]),
            (ParentSampler::Follow, ParentSampler::Follow, [true, false, true]),
        ] {
            let sampling = SamplingConfig { parent_sampled, parent_not_sampled, ..SamplingConfig::default() };
            assert_eq!(sampled(&mut sampler(SamplerKind::ParentBasedAlwaysOn, sampling)), expected);
        }
    }

    #[test]
    fn a_rule_stands_before_the_caller_or_behind_it() {
        for (action, parent, expected) in [
            (RuleAction::Drop, None, [false, false, false]),
            (RuleAction::Drop, Some(RuleParent::Follow), [true, false, false]),
            (RuleAction::Always, None, [true, false, true]),
            (RuleAction::Always, Some(RuleParent::Ignore), [true, true, true]),
            (RuleAction::Ratio(0.0), None, [true, false, false]),
            (RuleAction::Rate(1), Some(RuleParent::Ignore), [true, false, false]),
        ] {
            let rule = RuleConfig { actions: vec![action], parent, ..RuleConfig::default() };
            let sampling = SamplingConfig { rules: vec![rule], ..SamplingConfig::default() };
            assert_eq!(
                sampled(&mut sampler(SamplerKind::ParentBasedAlwaysOn, sampling)),
                expected,
                "{action:?} {parent:?}"
            );
        }
    }

    #[test]
    fn what_is_kept_for_its_end_is_recorded_unless_a_rule_drops_it() {
        let keep = SamplingConfig { keep_errors: true, ..SamplingConfig::default() };
        let mut all = sampler(SamplerKind::AlwaysOff, keep.clone());
        assert_eq!(decide(&mut all, None), Decision { recorded: true, sampled: false, threshold: Change::Leave });
        let rule = RuleConfig { actions: vec![RuleAction::Drop], ..RuleConfig::default() };
        let mut dropping = sampler(SamplerKind::AlwaysOn, SamplingConfig { rules: vec![rule], ..keep });
        assert!(!decide(&mut dropping, None).recorded);
    }

    #[test]
    fn an_override_is_seen_by_every_thread_and_leaves_callers_alone() {
        let mut first = sampler(SamplerKind::ParentBasedAlwaysOn, SamplingConfig::default());
        let mut second = first.clone();
        let overrides = Arc::clone(first.overrides());
        overrides.set(None, 0.0).unwrap();
        assert_eq!([sampled(&mut first), sampled(&mut second)], [[true, false, false]; 2]);
        overrides.set(Some("www"), 1.0).unwrap();
        assert_eq!(sampled(&mut first), [true, false, true]);
        overrides.set(Some("www"), 0.0).unwrap();
        overrides.reset(None);
        assert_eq!([sampled(&mut first), sampled(&mut second)], [[true, false, true]; 2]);
    }

    #[test]
    fn a_consistent_sampler_erases_the_threshold_where_nobody_knows_it() {
        for (action, threshold) in [
            (RuleAction::Drop, Change::Erase),
            (RuleAction::Rate(1), Change::Erase),
            (RuleAction::Always, Change::Set(0)),
            (RuleAction::Ratio(1.0), Change::Set(0)),
        ] {
            let rule = RuleConfig { actions: vec![action], ..RuleConfig::default() };
            let sampling = SamplingConfig { rules: vec![rule], ..SamplingConfig::default() };
            let decision = decide(&mut sampler(SamplerKind::ConsistentProbability, sampling), None);
            assert_eq!(decision.threshold, threshold, "{action:?}");
        }
    }
}
