//! What of `[traces]` decides which requests are recorded, typed.

use std::time::Duration;

use ipnet::IpNet;
use regex_lite::{Regex, RegexBuilder};

/// What decides beside the sampler.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplingConfig {
    /// `[[traces.rule]]`, in order: the first one that matches decides. At most 128.
    pub rules: Vec<RuleConfig>,
    /// `traces.skip_probes`: requests of health checks and metrics scrapers are left out, after all rules.
    pub skip_probes: bool,
    /// Their paths. None: what they ask for is not looked at.
    pub probe_paths: Vec<String>,
    /// What their `User-Agent` begins with.
    pub probe_agents: Vec<String>,
    /// What a parent-based sampler does where the caller is sampled. OpenTelemetry: `remoteParentSampled`.
    pub parent_sampled: ParentSampler,
    /// The same where the caller is not sampled: `remoteParentNotSampled`.
    pub parent_not_sampled: ParentSampler,
    /// Requests that were not sampled and end in an error are exported.
    pub keep_errors: bool,
    /// The same for those that took longer. `None`: not at all.
    pub keep_slower_than: Option<Duration>,
    /// Sampling may be changed for one frontend at run time: costs that every request's frontend is handed over.
    pub per_frontend: bool,
}

impl Default for SamplingConfig {
    fn default() -> Self {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Self {
            rules: Vec::new(),
            skip_probes: false,
            probe_paths: owned(&["/healthz", "/livez", "/readyz", "/metrics", "/-/healthy", "/-/ready"]),
            probe_agents: owned(&[
                "kube-probe/",
                "ELB-HealthChecker/",
                "GoogleHC/",
                "Prometheus/",
                "Consul Health Check",
            ]),
            parent_sampled: ParentSampler::Follow,
            parent_not_sampled: ParentSampler::Follow,
            keep_errors: false,
            keep_slower_than: None,
            per_frontend: false,
        }
    }
}

impl SamplingConfig {
    /// Decisions need more of a request than its headers.
    pub fn needs_head(&self) -> bool {
        self.per_frontend
            || self.skip_probes && !self.probe_paths.is_empty()
            || self.rules.iter().any(RuleConfig::needs_head)
    }
}

/// The delegates of a parent-based sampler. The ratio of those that take one is `traces.ratio`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParentSampler {
    /// `follow`: as the caller.
    Follow,
    /// `always_on`
    AlwaysOn,
    /// `always_off`
    AlwaysOff,
    /// `traceidratio`
    TraceIdRatio,
    /// `consistent_probability`
    ConsistentProbability,
}

/// `[[traces.rule]]`. All conditions that are given must hold; one that is a list holds if one of the list does.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RuleConfig {
    /// Names of frontends.
    pub frontends: Vec<String>,
    /// Methods, case-sensitive.
    pub methods: Vec<String>,
    /// Whole paths, without the query.
    pub paths: Vec<String>,
    /// What the path begins with.
    pub path_prefixes: Vec<String>,
    /// What the whole path matches.
    pub path_patterns: Vec<Pattern>,
    /// A header that must be there.
    pub header: Option<HeaderCondition>,
    /// Networks that the client's address may be in.
    pub sources: Vec<IpNet>,
    /// What becomes of the request: exactly one of these.
    pub actions: Vec<RuleAction>,
    /// Whether a caller's decision is stronger. `None`: for all actions but `drop`.
    pub parent: Option<RuleParent>,
}

impl RuleConfig {
    fn needs_head(&self) -> bool {
        let names = [&self.frontends, &self.methods, &self.paths, &self.path_prefixes];
        !(names.iter().all(|list| list.is_empty()) && self.path_patterns.is_empty() && self.sources.is_empty())
    }
}

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RuleAction {
    /// `drop = true`: not sampled, and not kept for its end.
    Drop,
    /// `always = true`
    Always,
    /// `ratio`: the share of traces, 0 to 1.
    Ratio(f64),
    /// `rate`: requests in a second, 1 to 1 000 000.
    Rate(u32),
}

/// Whether a rule asks the caller, where the sampler is parent-based.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleParent {
    /// `follow`: what the caller decided stands.
    Follow,
    /// `ignore`: the rule decides.
    Ignore,
}

/// A header of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderCondition {
    /// In lower case.
    pub name: String,
    /// What one of its lines says.
    pub value: HeaderValueCondition,
}

/// What a header's value is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderValueCondition {
    /// With nothing.
    Present,
    /// The whole value.
    Exactly(String),
    /// Its beginning.
    Prefix(String),
}

/// A regular expression for whole paths. Bounded: at most [`Pattern::MAX_LEN`] bytes of text and [`Pattern::MAX_COMPILED`]
/// compiled; matching takes time in proportion to the path.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    regex: Regex,
}

impl Pattern {
    /// Bytes of the text.
    pub const MAX_LEN: usize = 1024;
    /// Bytes of the compiled form.
    pub const MAX_COMPILED: usize = 64 * 1024;

    /// Compiles `text`; `None` if it is no regular expression, or too large.
    pub fn new(text: &str) -> Option<Self> {
        if text.len() > Self::MAX_LEN {
            return None;
        }
        // Alone first: parentheses around it could close in its middle.
        let compile = |text: &str| RegexBuilder::new(text).size_limit(Self::MAX_COMPILED).build().ok();
        compile(text)?;
        let regex = compile(&format!("^(?:{text})$"))?;
        Some(Self { text: text.to_owned(), regex })
    }

    /// As it stands in the settings.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether all of `path` matches.
    pub fn is_match(&self, path: &str) -> bool {
        self.regex.is_match(path)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}
