//! `[[traces.rule]]`: what a request looks like when it starts decides before the sampler does. The first match counts.

use std::cell::OnceCell;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::chance::Chance;
use super::rate::Rate;
use crate::config::{
    HeaderCondition, HeaderValueCondition, Pattern, RuleAction, RuleConfig, RuleParent, SamplingConfig,
};
use crate::trace::headers::Block;
use crate::trace::incoming::Incoming;
use crate::trace::record::Target;

/// One rule, ready to match.
#[derive(Debug)]
pub(super) struct Rule {
    config: RuleConfig,
    /// What becomes of requests that match.
    pub(super) action: Action,
    /// Where the sampler is parent-based and there is a caller, the caller decides.
    pub(super) follows_parent: bool,
}

/// What a rule does.
#[derive(Debug)]
pub(super) enum Action {
    /// Not sampled, and not kept for its end.
    Drop,
    /// As this decides.
    Chance(Chance),
    /// So many in a second.
    Rate(Rate),
}

/// All rules in their order, then those for probes. `None` if there are none.
pub(super) fn rules(config: &SamplingConfig, consistent: bool) -> Option<Arc<[Rule]>> {
    let probes = config.skip_probes.then(|| probes(config)).into_iter().flatten();
    let rules: Vec<_> = config.rules.iter().cloned().chain(probes).map(|rule| Rule::new(rule, consistent)).collect();
    (!rules.is_empty()).then(|| rules.into())
}

/// The first rule that matches. Hot path: allocates nothing.
pub(super) fn first<'r>(rules: &'r [Rule], request: &Incoming<'_>) -> Option<&'r Rule> {
    let seen = Seen { request, path: OnceCell::new() };
    rules.iter().find(|rule| rule.matches(&seen))
}

/// Those that `traces.skip_probes` stands for.
fn probes(config: &SamplingConfig) -> impl Iterator<Item = RuleConfig> {
    let drop = || RuleConfig { actions: vec![RuleAction::Drop], ..RuleConfig::default() };
    let of_agent = move |agent: &String| {
        let header =
            HeaderCondition { name: "user-agent".to_owned(), value: HeaderValueCondition::Prefix(agent.clone()) };
        RuleConfig { header: Some(header), ..drop() }
    };
    let of_paths = (!config.probe_paths.is_empty()).then(|| RuleConfig { paths: config.probe_paths.clone(), ..drop() });
    of_paths.into_iter().chain(config.probe_agents.iter().map(of_agent))
}

impl Rule {
    fn new(config: RuleConfig, consistent: bool) -> Self {
        let action = match config.actions.first() {
            None | Some(RuleAction::Drop) => Action::Drop,
            Some(RuleAction::Always) => Action::Chance(Chance::always(consistent)),
            Some(RuleAction::Ratio(ratio)) => Action::Chance(Chance::of_ratio(*ratio, consistent)),
            Some(RuleAction::Rate(rate)) => Action::Rate(Rate::new(*rate)),
        };
        let follows_parent = match config.parent {
            Some(parent) => parent == RuleParent::Follow,
            None => !matches!(action, Action::Drop),
        };
        Self { config, action, follows_parent }
    }

    fn matches(&self, seen: &Seen<'_>) -> bool {
        let rule = &self.config;
        let request = seen.request;
        let one_of = |names: &[String], name: &[u8]| names.is_empty() || names.iter().any(|n| n.as_bytes() == name);
        one_of(&rule.methods, request.method)
            && one_of(&rule.frontends, request.arrival.map_or(b"", |arrival| arrival.frontend))
            && (rule.paths.is_empty() && rule.path_prefixes.is_empty() || self.matches_path(seen.path()))
            && rule.header.as_ref().is_none_or(|header| has(header, &request.headers))
            && (rule.sources.is_empty() || seen.source().is_some_and(|source| within(&rule.sources, source)))
            && (rule.path_patterns.is_empty() || matches_pattern(&rule.path_patterns, seen.path()))
    }

    /// The path is one of those, and begins with one of these, where there are some. A request whose path is not known
    /// matches none.
    fn matches_path(&self, path: &[u8]) -> bool {
        let (paths, prefixes) = (&self.config.paths, &self.config.path_prefixes);
        !path.is_empty()
            && (paths.is_empty() || paths.iter().any(|one| one.as_bytes() == path))
            && (prefixes.is_empty() || prefixes.iter().any(|prefix| path.starts_with(prefix.as_bytes())))
    }
}

/// A request, and what was found out about it for one rule or another.
struct Seen<'a> {
    request: &'a Incoming<'a>,
    path: OnceCell<&'a [u8]>,
}

impl<'a> Seen<'a> {
    /// Empty if it is not known.
    fn path(&self) -> &'a [u8] {
        self.path.get_or_init(|| Target::parse(self.request.method, self.request.target).path)
    }

    fn source(&self) -> Option<IpAddr> {
        // IPv4 addresses of IPv6 sockets are `::ffff:192.0.2.1`.
        self.request.arrival?.source.map(|source| source.to_canonical())
    }
}

fn has(header: &HeaderCondition, headers: &Block<'_>) -> bool {
    let name = header.name.as_bytes();
    let initial = name.get(..1).unwrap_or_default();
    let mut headers = headers.iter();
    while let Some((found, value)) = headers.next_of(initial) {
        let matches = match &header.value {
            HeaderValueCondition::Present => true,
            HeaderValueCondition::Exactly(wanted) => value == wanted.as_bytes(),
            HeaderValueCondition::Prefix(prefix) => value.starts_with(prefix.as_bytes()),
        };
        if matches && found.eq_ignore_ascii_case(name) {
            return true;
        }
    }
    false
}

fn within(networks: &[IpNet], source: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&source))
}

/// Longer paths than [`MAX_PATTERN_PATH`] match no pattern: matching takes time in proportion to the path.
fn matches_pattern(patterns: &[Pattern], path: &[u8]) -> bool {
    if path.is_empty() || path.len() > MAX_PATTERN_PATH {
        return false;
    }
    std::str::from_utf8(path).is_ok_and(|path| patterns.iter().any(|pattern| pattern.is_match(path)))
}

/// Bytes of the longest path that patterns are tried on.
const MAX_PATTERN_PATH: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::headers::write_block;
    use crate::trace::incoming::Arrival;
    use proptest::prelude::*;

    fn rule(change: impl FnOnce(&mut RuleConfig)) -> Rule {
        let mut config = RuleConfig { actions: vec![RuleAction::Always], ..RuleConfig::default() };
        change(&mut config);
        Rule::new(config, false)
    }

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    fn matches(rule: &Rule, method: &str, target: &str, source: &str) -> bool {
        let block = write_block(&[(b"user-agent", b"kube-probe/1.28"), (b"x-debug", b"1"), (b"X-Debug", b"2")]);
        let arrival = Some(Arrival { frontend: b"www", source: source.parse().ok(), tls: false });
        let (method, target) = (method.as_bytes(), target.as_bytes());
        let request = Incoming { method, target, version: b"1.1", arrival, ..Incoming::of_headers(&block) };
        first(std::slice::from_ref(rule), &request).is_some()
    }

    #[test]
    fn paths_are_compared_without_their_query_in_every_form_of_target() {
        let exact = rule(|rule| rule.paths = texts(&["/a", "/b"]));
        let prefix = rule(|rule| rule.path_prefixes = texts(&["/a"]));
        let pattern = rule(|rule| rule.path_patterns = vec![Pattern::new("/a/[0-9]+|/b").unwrap()]);
        let both = rule(|rule| {
            rule.path_prefixes = texts(&["/a"]);
            rule.path_patterns = vec![Pattern::new(".*x").unwrap()];
        });
        for (target, expected) in [
            ("/a", [true, true, false, false]),
            ("/b?c=/a", [true, false, true, false]),
            ("/a/1", [false, true, true, false]),
            ("/a/1/", [false, true, false, false]),
            ("/ax", [false, true, false, true]),
            ("http://x/a?x", [true, true, false, false]),
            ("https://x", [false, false, false, false]),
            ("*", [false, false, false, false]),
            ("", [false, false, false, false]),
        ] {
            let found = [&exact, &prefix, &pattern, &both].map(|rule| matches(rule, "GET", target, ""));
            assert_eq!(found, expected, "{target}");
        }
        assert!(!matches(
            &rule(|rule| rule.path_patterns = vec![Pattern::new(".*").unwrap()]),
            "GET",
            &"/".repeat(1025),
            ""
        ));
    }

    #[test]
    fn methods_frontends_and_sources_are_lists_of_which_one_must_hold() {
        let methods = rule(|rule| rule.methods = texts(&["GET", "HEAD"]));
        assert!(matches(&methods, "HEAD", "/", "") && !matches(&methods, "get", "/", ""));
        for (names, expected) in [(&["www"][..], true), (&["api", "www"], true), (&["api"], false)] {
            assert_eq!(matches(&rule(|rule| rule.frontends = texts(names)), "GET", "/", ""), expected);
        }
        let sources =
            rule(|rule| rule.sources = vec!["192.0.2.0/24".parse().unwrap(), "2001:db8::/32".parse().unwrap()]);
        for (source, expected) in [
            ("192.0.2.9", true),
            ("::ffff:192.0.2.9", true),
            ("2001:db8::1", true),
            ("198.51.100.1", false),
            ("-", false),
        ] {
            assert_eq!(matches(&sources, "GET", "/", source), expected, "{source}");
        }
    }

    #[test]
    fn headers_are_there_or_say_something() {
        use HeaderValueCondition::{Exactly, Prefix, Present};
        for (name, value, expected) in [
            ("x-debug", Present, true),
            ("x-debu", Present, false),
            ("x-debug", Exactly("2".to_owned()), true),
            ("x-debug", Exactly("3".to_owned()), false),
            ("user-agent", Prefix("kube-probe/".to_owned()), true),
            ("user-agent", Exactly("kube-probe/".to_owned()), false),
        ] {
            let header = HeaderCondition { name: name.to_owned(), value };
            assert_eq!(
                matches(&rule(|rule| rule.header = Some(header.clone())), "GET", "/", ""),
                expected,
                "{header:?}"
            );
        }
    }

    #[test]
    fn a_rule_matches_nothing_that_the_door_did_not_say() {
        let request = Incoming::of_headers(b"\r\n");
        for rule in [
            rule(|rule| rule.methods = texts(&["GET"])),
            rule(|rule| rule.frontends = texts(&["www"])),
            rule(|rule| rule.paths = texts(&["/"])),
            rule(|rule| rule.path_prefixes = texts(&["/"])),
            rule(|rule| rule.path_patterns = vec![Pattern::new(".*").unwrap()]),
            rule(|rule| rule.sources = vec!["0.0.0.0/0".parse().unwrap()]),
        ] {
            assert!(first(std::slice::from_ref(&rule), &request).is_none(), "{rule:?}");
        }
        assert!(first(&[rule(|_| ())], &request).is_some());
    }

    #[test]
    fn the_first_match_counts_and_probes_come_last() {
        let always =
            RuleConfig { paths: texts(&["/metrics"]), actions: vec![RuleAction::Always], ..RuleConfig::default() };
        let config = SamplingConfig { rules: vec![always], skip_probes: true, ..SamplingConfig::default() };
        let rules = rules(&config, false).unwrap();
        let decide = |target: &[u8], agent: &[u8]| {
            let block = write_block(&[(b"user-agent", agent)]);
            let request = Incoming { method: b"GET", target, version: b"1.1", ..Incoming::of_headers(&block) };
            first(&rules, &request).map(|rule| matches!(rule.action, Action::Drop))
        };
        assert_eq!(decide(b"/metrics", b"Prometheus/2.1"), Some(false));
        assert_eq!(decide(b"/healthz", b"curl"), Some(true));
        assert_eq!(decide(b"/", b"kube-probe/1.30"), Some(true));
        assert_eq!(decide(b"/", b"curl"), None);
        assert!(super::rules(&SamplingConfig::default(), false).is_none());
    }

    proptest! {
        #[test]
        fn any_request_is_matched_without_a_panic(
            headers in proptest::collection::vec(any::<u8>(), 0..100),
            method in proptest::collection::vec(any::<u8>(), 0..8),
            target in proptest::collection::vec(any::<u8>(), 0..60),
            source in proptest::option::of(any::<IpAddr>()),
        ) {
            let all = rule(|rule| {
                rule.path_patterns = vec![Pattern::new("(a|b)*c?").unwrap()];
                rule.sources = vec!["::/0".parse().unwrap()];
                rule.header = Some(HeaderCondition { name: "x".to_owned(), value: HeaderValueCondition::Present });
            });
            let arrival = Some(Arrival { frontend: b"f", source, tls: true });
            let request = Incoming { method: &method, target: &target, arrival, ..Incoming::of_headers(&headers) };
            let _ = first(std::slice::from_ref(&all), &request);
        }
    }
}
