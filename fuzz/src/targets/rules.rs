//! Patterns that operators write, and paths that clients send.

use haproxy_vitals::config::{
    AttributesConfig, Config, HeaderCondition, HeaderValueCondition, Pattern, RuleAction, RuleConfig, TracesConfig,
};
use haproxy_vitals::trace::incoming::{Arrival, Incoming};
use haproxy_vitals::trace::record::{Field, Numbers, Record};
use haproxy_vitals::trace::sampler::Sampler;

use super::setup::{Setup, route};
use super::{halves, requests, spans, until_nul};

/// A template, and a path after the first line.
pub(crate) fn routes(data: &[u8]) {
    let (template, path) = halves(until_nul(data), b"\n");
    let Ok(template) = std::str::from_utf8(template) else { return };
    let attributes = AttributesConfig {
        routes: vec![route(None, template), route(Some("GET"), "/*")],
        ..AttributesConfig::default()
    };
    let setup = Setup::new(Config { attributes, ..Config::default() });
    let request = Incoming { method: b"GET", target: path, version: b"1.1", ..Incoming::default() };
    let payload = requests::payload(&setup, &request, |record| {
        record.present(Field::Server, b"s");
        record.numbers(&Numbers { status: 200, ..Numbers::default() });
    });
    let payload = payload.expect("a sampled request");
    let record = Record::parse(&payload, spans::END).expect("a whole record");
    let made = spans::of(&record, &setup);
    let found = made[0].attributes.iter().find(|one| one.key == "http.route").and_then(spans::text);
    assert!(found.is_none_or(|found| found == template || found == "/*"), "{found:?}");
    // A template without a name in it fits the path that is written so, and no other before it.
    let is_path = template.starts_with('/') && record.request.target.path == template.as_bytes();
    if is_path && !template.contains("/{") && !template.ends_with("/*") {
        assert_eq!(found, Some(template));
    }
}

/// A pattern, a prefix, the value of a header, and a path: four lines.
pub(crate) fn sampling(data: &[u8]) {
    let (pattern, rest) = halves(until_nul(data), b"\n");
    let (prefix, rest) = halves(rest, b"\n");
    let (value, target) = halves(rest, b"\n");
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let always = || RuleConfig { actions: vec![RuleAction::Always], ..RuleConfig::default() };
    let header = HeaderCondition { name: "x-id".to_owned(), value: HeaderValueCondition::Prefix(text(value)) };
    let prefixes = vec![text(prefix)];
    let mut rules = vec![
        RuleConfig { path_prefixes: prefixes, ..always() },
        RuleConfig { header: Some(header), actions: vec![RuleAction::Drop], ..RuleConfig::default() },
    ];
    if let Some(pattern) = Pattern::new(&text(pattern)) {
        assert!(pattern.text().len() <= Pattern::MAX_LEN);
        rules.push(RuleConfig { path_patterns: vec![pattern], ..always() });
    }
    let mut config = TracesConfig::default();
    config.sampling.rules = rules;
    config.sampling.skip_probes = true;
    let source = std::str::from_utf8(prefix).ok().and_then(|source| source.parse().ok());
    let arrival = Some(Arrival { frontend: value, source, tls: false });
    let block = [b"x-id: ", value, b"\r\n\r\n"].concat();
    let request = Incoming { method: b"GET", target, arrival, ..Incoming::of_headers(&block) };
    let decision = Sampler::new(&config).decide(&request, None, value, || 7);
    assert!(decision.recorded || !decision.sampled);
}
