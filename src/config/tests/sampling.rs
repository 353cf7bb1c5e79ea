//! Rules, and what else decides which requests are recorded.

use super::{File, arguments, from_file, loaded, options, text};
use crate::config::{
    HeaderValueCondition, Loaded, Origin, RuleAction, RuleParent, SamplerKind, SamplingConfig, Sources, Value,
};

fn sampling(loaded: &Loaded) -> &SamplingConfig {
    &loaded.config.traces.sampling
}

#[test]
fn a_rule_has_conditions_and_one_action() {
    let loaded = from_file(
        "[[traces.rule]]\nfrontend = 'www'\nmethod = ['GET', 'HEAD']\npath = '/a'\npath_prefix = ['/b', '/c']\n\
         path_pattern = '/[a-z]+'\nheader = { name = 'X-Debug', value_prefix = 'on' }\n\
         source = ['192.0.2.0/24', '2001:db8::1']\nratio = 0.25\nparent = 'ignore'\n\
         [[traces.rule]]\nrate = 10\n[[traces.rule]]\nalways = true\n[[traces.rule]]\ndrop = true\n",
    )
    .unwrap();
    let rules = &sampling(&loaded).rules;
    let actions: Vec<_> = rules.iter().map(|rule| rule.actions[0]).collect();
    assert_eq!(actions, [RuleAction::Ratio(0.25), RuleAction::Rate(10), RuleAction::Always, RuleAction::Drop]);
    let rule = &rules[0];
    assert_eq!(
        (&rule.frontends[..], &rule.methods[..]),
        (&["www".to_owned()][..], &["GET", "HEAD"].map(str::to_owned)[..])
    );
    assert_eq!((rule.paths.len(), rule.path_prefixes.len()), (1, 2));
    assert!(rule.path_patterns[0].is_match("/abc") && !rule.path_patterns[0].is_match("/abc1"));
    let header = rule.header.as_ref().unwrap();
    assert_eq!((header.name.as_str(), &header.value), ("x-debug", &HeaderValueCondition::Prefix("on".to_owned())));
    let sources: Vec<_> = rule.sources.iter().map(ToString::to_string).collect();
    assert_eq!(sources, ["192.0.2.0/24", "2001:db8::1/128"]);
    assert_eq!((rule.parent, rules[1].parent), (Some(RuleParent::Ignore), None));
}

#[test]
fn more_than_the_headers_is_needed_for_some_conditions_only() {
    let needs = |content: &str| sampling(&from_file(content).unwrap()).needs_head();
    for condition in
        ["frontend = 'f'", "method = 'GET'", "path = '/'", "path_prefix = '/'", "path_pattern = '/'", "source = '::1'"]
    {
        assert!(needs(&format!("[[traces.rule]]\ndrop = true\n{condition}\n")), "{condition}");
    }
    assert!(needs("traces.per_frontend = true") && needs("traces.skip_probes = true"));
    assert!(!needs("[[traces.rule]]\ndrop = true\nheader = { name = 'x' }\n"));
    assert!(!needs("traces = { skip_probes = true, probe_paths = [] }"));
    assert!(!needs("traces.keep.errors = true") && !needs(""));
}

#[test]
fn a_list_of_rules_in_a_stronger_source_replaces_the_weaker_one_and_its_origins() {
    let file = File::new("[[traces.rule]]\ndrop = true\n[[traces.rule]]\nalways = true\n");
    let rule = Value::Table(vec![("rate".to_owned(), Value::Integer(3))]);
    let loaded =
        loaded(Sources { arguments: vec![file.argument()], ..options(&[("traces.rule", Value::List(vec![rule]))]) });
    let loaded = loaded.unwrap();
    assert_eq!(sampling(&loaded).rules.len(), 1);
    assert_eq!(loaded.origins.of("traces.rule[1].rate"), Origin::Option);
    assert!(!loaded.origins.is_set("traces.rule[2].always") && !loaded.origins.is_set("traces.rule[1].drop"));
}

#[test]
fn rules_are_shown_with_their_sources() {
    let file = File::new("[[traces.rule]]\nrate = 3\npath = ['/a', '/b']\nheader = { name = 'x', value = 'y' }\n");
    let loaded = loaded(arguments(&[&file.argument()])).unwrap();
    let shown = file.unnamed(&loaded.describe());
    for expected in [
        "traces.rule[1].path = [\"/a\", \"/b\"] # FILE:3",
        "traces.rule[1].header = { name = \"x\", value = \"y\" } # FILE:4",
        "traces.rule[1].rate = 3 # FILE:2",
        "traces.rule[1].drop = false # default",
        "traces.rule[1].ratio = (not set) # default",
    ] {
        let line = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ") == expected;
        assert!(shown.lines().any(line), "{expected}: {shown}");
    }
}

#[test]
fn what_a_rule_cannot_have_is_refused() {
    for (rule, expected) in [
        ("path = ''\ndrop = true", "`traces.rule[1].path` (FILE:2): expected one text or more, none of them empty"),
        ("path = []\ndrop = true", "`traces.rule[1].path` (FILE:2): expected one text or more, none of them empty"),
        ("path = 1\ndrop = true", "`traces.rule[1].path` (FILE:2): expected a list of texts, found number `1`"),
        ("header = 'x'\ndrop = true", "`traces.rule[1].header` (FILE:2): expected a table, found text `x`"),
        ("header = {}\ndrop = true", "`traces.rule[1].header` (FILE:2): expected a table with the `name` of a header"),
        (
            "header = { name = 'a b' }\ndrop = true",
            "`traces.rule[1].header` (FILE:2): expected a table with the `name`",
        ),
        ("header = { name = 'a', value = 1 }\ndrop = true", "`traces.rule[1].header.value` (FILE:2): expected text"),
        (
            "header = { name = 'a', value = 'b', value_prefix = 'c' }\ndrop = true",
            "`traces.rule[1].header` (FILE:2): expected a table with `value` or `value_prefix`, not both",
        ),
        ("ratio = 2", "`traces.rule[1].ratio` (FILE:2): expected 0 to 1, found `2`"),
        ("drop = true\nparent = 'ask'", "`traces.rule[1].parent` (FILE:3): expected follow or ignore, found `ask`"),
        ("source = 'localhost'\ndrop = true", "`traces.rule[1].source` (FILE:2): expected addresses or networks"),
    ] {
        let message = from_file(&format!("[[traces.rule]]\n{rule}\n")).unwrap_err();
        assert!(message.starts_with(expected), "{rule}: {message}");
    }
    let message = from_file("traces.keep = true").unwrap_err();
    assert_eq!(message, "`traces.keep` (FILE:1): expected a table, found `true`");
    let message = from_file("traces.keep.error = true").unwrap_err();
    assert_eq!(message, "unknown key `traces.keep.error` (FILE:1); did you mean `traces.keep.errors`?");
}

#[test]
fn delegates_without_a_parent_based_sampler_are_reported() {
    let loaded =
        loaded(options(&[("traces.sampler", text("always_on")), ("traces.parent_sampled", text("always_off"))]))
            .unwrap();
    assert_eq!(loaded.config.traces.sampler, SamplerKind::AlwaysOn);
    let message = "`traces.parent_sampled` (option in Lua): not used, because `traces.sampler` (option in Lua) is \
                   always_on, which does not ask callers";
    assert_eq!(loaded.warnings, [message]);
    let used = arguments(&["traces.parent_not_sampled=traceidratio", "traces.ratio=0.1"]);
    assert!(super::loaded(used).unwrap().warnings.is_empty());
}
