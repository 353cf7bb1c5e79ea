//! `[traces]`: the settings, typed.

use super::sampling::SamplingConfig;

use crate::config::wildcard;

/// `[traces]`.
#[derive(Debug, Clone, PartialEq)]
pub struct TracesConfig {
    /// `OTEL_SDK_DISABLED=true` turns it off: nothing is recorded, and callers' contexts go on as they came.
    pub enabled: bool,
    /// `traces.engine`: which of HAProxy's hooks are used.
    pub engine: Engine,
    /// `traces.frontends`: the sections that are traced without a line of their own.
    pub frontends: Frontends,
    /// `OTEL_TRACES_SAMPLER`.
    pub sampler: SamplerKind,
    /// `OTEL_TRACES_SAMPLER_ARG`: the share of traces that the ratio samplers keep, 0 to 1.
    pub ratio: f64,
    /// What decides beside the sampler.
    pub sampling: SamplingConfig,
    /// Requests that `show vitals traces last` remembers, 0 to 10 000.
    pub recent: usize,
    /// Bytes of each HAProxy thread's ring of finished records. 64 KiB to 64 MiB. The default holds half a second of
    /// what one thread handles at most.
    pub ring_bytes: usize,
    /// `OTEL_PROPAGATORS`: read in this order, all of them written. Empty is `none`.
    pub propagators: Vec<Propagator>,
    /// What a caller's context is worth in a frontend that `trust_of` does not name.
    pub trust: Trust,
    /// The same for frontends by their names. At most [`MAX_FRONTENDS`].
    pub trust_of: Vec<(String, Trust)>,
    /// Keys of baggage that become attributes of the SERVER span. At most [`MAX_BAGGAGE_KEYS`].
    pub baggage_attributes: Vec<String>,
    /// How the client is told of its trace.
    pub response_header: ResponseHeader,
    /// Whether `txn.otel.trace_id`, `txn.otel.span_id` and `txn.otel.sampled` are set.
    pub variables: bool,
}

impl Default for TracesConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            engine: Engine::Auto,
            frontends: Frontends::Auto,
            sampler: SamplerKind::ParentBasedAlwaysOn,
            ratio: 1.0,
            sampling: SamplingConfig::default(),
            recent: 0,
            ring_bytes: 8 * 1024 * 1024,
            // OpenTelemetry specification, general SDK configuration, `OTEL_PROPAGATORS`.
            propagators: vec![Propagator::TraceContext, Propagator::Baggage],
            trust: Trust::Accept,
            trust_of: Vec::new(),
            baggage_attributes: Vec::new(),
            response_header: ResponseHeader::None,
            variables: false,
        }
    }
}

/// Which of HAProxy's hooks are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// `auto`: native ones where this HAProxy is known, else Lua's.
    Auto,
    /// `native`: native ones, or HAProxy does not start.
    Native,
    /// `lua`: Lua's.
    Lua,
}

/// Sections of HAProxy's, `frontend` and `listen`, by their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frontends {
    /// `auto`: all of them, where nothing in HAProxy's configuration names a filter or an action of this module.
    Auto,
    /// Names, with `*` and `?`; those behind `!` are exceptions. Nothing but exceptions: all others.
    List(Vec<String>),
}

impl Frontends {
    /// Whether the section called `name` is meant.
    pub fn contains(&self, name: &str) -> bool {
        let Self::List(list) = self else { return true };
        let excepted = |one: &String| one.strip_prefix('!').is_some_and(|pattern| wildcard::matches(pattern, name));
        let named = |one: &String| !one.starts_with('!') && wildcard::matches(one, name);
        let only_exceptions = !list.is_empty() && list.iter().all(|one| one.starts_with('!'));
        !list.iter().any(excepted) && (only_exceptions || list.iter().any(named))
    }

    /// The names that stand for one section each, with or without a `!` before them.
    pub fn plain_names(&self) -> impl Iterator<Item = &str> {
        let list = if let Self::List(list) = self { list.as_slice() } else { &[] };
        list.iter().map(|one| one.strip_prefix('!').unwrap_or(one)).filter(|name| !wildcard::is_pattern(name))
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

/// The values of `OTEL_PROPAGATORS` that are known here. OpenTelemetry specification, general SDK configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagator {
    /// `tracecontext`: W3C Trace Context.
    TraceContext,
    /// `baggage`: W3C Baggage. HAProxy passes the header on in any case.
    Baggage,
    /// `b3`: written as one header.
    B3,
    /// `b3multi`: written as several headers.
    B3Multi,
    /// `jaeger`: `uber-trace-id`.
    Jaeger,
    /// `xray`: `X-Amzn-Trace-Id`.
    XRay,
}

/// What a caller's context is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// `accept`: its trace is continued.
    Accept,
    /// `restart`: a new trace, with a link to the caller's.
    Restart,
    /// `ignore`: a new trace.
    Ignore,
}

/// The header that tells the client of its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseHeader {
    /// `none`
    None,
    /// `traceresponse`
    TraceResponse,
    /// `server-timing`
    ServerTiming,
}

/// Frontends that may have a trust of their own.
pub const MAX_FRONTENDS: usize = 256;

/// Keys of baggage that may become attributes. W3C Baggage, 3.3.2: no list has more members that must be passed on.
pub const MAX_BAGGAGE_KEYS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frontends_are_named_by_patterns_with_exceptions() {
        let list = |names: &[&str]| Frontends::List(names.iter().map(|&name| name.to_owned()).collect());
        for (frontends, inside, outside) in [
            (Frontends::Auto, &["a", "b"][..], &[][..]),
            (list(&["*"]), &["a", "b"], &[]),
            (list(&[]), &[], &["a"]),
            (list(&["web*", "api"]), &["web", "web1", "api"], &["apis", "x"]),
            (list(&["*", "!stats"]), &["a"], &["stats"]),
            (list(&["!stats", "!int_*"]), &["a"], &["stats", "int_1"]),
        ] {
            assert!(inside.iter().all(|name| frontends.contains(name)), "{frontends:?}");
            assert!(!outside.iter().any(|name| frontends.contains(name)), "{frontends:?}");
        }
        let names = list(&["web*", "api", "!stats"]);
        assert_eq!(names.plain_names().collect::<Vec<_>>(), ["api", "stats"]);
    }
}
