//! What of `[traces]` decides which requests are recorded, and `[[traces.rule]]`.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use ipnet::IpNet;

use super::{Key, Show, key, plain, seconds, text, time, word};
use crate::config::error::ConfigError;
use crate::config::list::{Item, Table};
use crate::config::setting::Setting;
use crate::config::tree::{Config, HeaderCondition, HeaderValueCondition, Pattern, RuleAction, RuleConfig};

pub(in crate::config) static KEYS: &[Key<Config>] = &[
    key!("traces.parent_sampled", traces.sampling.parent_sampled, word(), word),
    key!("traces.parent_not_sampled", traces.sampling.parent_not_sampled, word(), word),
    key!("traces.skip_probes", traces.sampling.skip_probes, flag(), plain),
    key!("traces.probe_paths", traces.sampling.probe_paths, texts(), texts),
    key!("traces.probe_agents", traces.sampling.probe_agents, texts(), texts),
    key!("traces.keep.errors", traces.sampling.keep_errors, flag(), plain),
    Key {
        name: "traces.keep.slower_than",
        set: |tree, setting| {
            tree.traces.sampling.keep_slower_than = Some(setting.duration(SLOW)?);
            Ok(())
        },
        show: Show::One(|tree| tree.traces.sampling.keep_slower_than.as_ref().map_or(NOT_SET.to_owned(), time)),
    },
    key!("traces.per_frontend", traces.sampling.per_frontend, flag(), plain),
];

impl Item for RuleConfig {
    const LIST: &'static str = "traces.rule";
    const MOST: usize = 128;
    const KEYS: &'static [Key<Self>] = RULE_KEYS;

    fn unset() -> Self {
        Self::default()
    }

    fn place(config: &mut Config) -> &mut Vec<Self> {
        &mut config.traces.sampling.rules
    }

    fn all(config: &Config) -> &[Self] {
        &config.traces.sampling.rules
    }

    fn check(&self, table: &Table) -> Result<(), ConfigError> {
        if self.actions.len() == 1 {
            return Ok(());
        }
        let given = table.settings.iter().filter(|setting| ACTIONS.contains(&setting.key));
        let given: Vec<_> = given.map(|setting| format!("`{}`", setting.key)).collect();
        Err(ConfigError::RuleActions {
            key: table.path.clone(),
            origin: table.origin.clone(),
            found: if given.is_empty() { "none".to_owned() } else { given.join(" and ") },
        })
    }
}

/// The keys of one rule: conditions, then actions.
const RULE_KEYS: &[Key<RuleConfig>] = &[
    key!("frontend", frontends, some_texts(), texts),
    key!("method", methods, some_texts(), texts),
    key!("path", paths, some_texts(), texts),
    key!("path_prefix", path_prefixes, some_texts(), texts),
    Key {
        name: "path_pattern",
        set: |rule, setting| {
            let expected = "regular expressions of at most 1 KiB, and 64 KiB compiled";
            let texts = setting.some_texts()?;
            let patterns = texts.iter().map(|text| Pattern::new(text)).collect::<Option<_>>();
            rule.path_patterns = patterns.ok_or_else(|| setting.bad_text(expected))?;
            Ok(())
        },
        show: Show::One(|rule| listed(rule.path_patterns.iter().map(Pattern::text))),
    },
    Key {
        name: "header",
        set: |rule, setting| {
            rule.header = Some(header(setting)?);
            Ok(())
        },
        show: Show::One(|rule| rule.header.as_ref().map_or(NOT_SET.to_owned(), show_header)),
    },
    Key {
        name: "source",
        set: |rule, setting| {
            let expected = "addresses or networks such as `192.0.2.0/24`";
            let network = |text: &String| text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).ok();
            let networks = setting.some_texts()?.iter().map(network).collect::<Option<_>>();
            rule.sources = networks.ok_or_else(|| setting.bad_text(expected))?;
            Ok(())
        },
        show: Show::One(|rule| listed(rule.sources.iter().map(ToString::to_string))),
    },
    Key {
        name: "parent",
        set: |rule, setting| {
            rule.parent = Some(setting.word()?);
            Ok(())
        },
        show: Show::One(|rule| rule.parent.as_ref().map_or(NOT_SET.to_owned(), word)),
    },
    Key {
        name: "drop",
        set: |rule, setting| only_true(rule, setting, RuleAction::Drop),
        show: Show::One(|rule| plain(&rule.actions.contains(&RuleAction::Drop))),
    },
    Key {
        name: "always",
        set: |rule, setting| only_true(rule, setting, RuleAction::Always),
        show: Show::One(|rule| plain(&rule.actions.contains(&RuleAction::Always))),
    },
    Key {
        name: "ratio",
        set: |rule, setting| {
            rule.actions.push(RuleAction::Ratio(setting.share()?));
            Ok(())
        },
        show: Show::One(|rule| {
            let ratio = rule.actions.iter().find_map(|action| match action {
                RuleAction::Ratio(ratio) => Some(ratio.to_string()),
                _ => None,
            });
            ratio.unwrap_or(NOT_SET.to_owned())
        }),
    },
    Key {
        name: "rate",
        set: |rule, setting| {
            rule.actions.push(RuleAction::Rate(setting.whole(1..=1_000_000)?));
            Ok(())
        },
        show: Show::One(|rule| {
            let rate = rule.actions.iter().find_map(|action| match action {
                RuleAction::Rate(rate) => Some(rate.to_string()),
                _ => None,
            });
            rate.unwrap_or(NOT_SET.to_owned())
        }),
    },
];

const ACTIONS: [&str; 4] = ["drop", "always", "ratio", "rate"];

const SLOW: RangeInclusive<Duration> = Duration::from_millis(1)..=seconds(3600);

/// Stands for a condition or a bound that there is not.
const NOT_SET: &str = "(not set)";

/// Actions are switched on, or not there.
fn only_true(rule: &mut RuleConfig, setting: &Setting, action: RuleAction) -> Result<(), ConfigError> {
    if !setting.flag()? {
        return Err(setting.wrong_type("`true`"));
    }
    rule.actions.push(action);
    Ok(())
}

/// `{ name, value }`, `{ name, value_prefix }` or `{ name }`.
fn header(setting: &Setting) -> Result<HeaderCondition, ConfigError> {
    let entries = setting.texts_of(&["name", "value", "value_prefix"])?;
    let text = |key: &str| entries.iter().find(|(name, _)| name == key).map(|(_, text)| text.clone());
    let name = text("name").and_then(|name| name.parse::<http::HeaderName>().ok());
    let name = name.ok_or_else(|| setting.wrong_type("a table with the `name` of a header"))?;
    let value = match (text("value"), text("value_prefix")) {
        (None, None) => HeaderValueCondition::Present,
        (Some(value), None) => HeaderValueCondition::Exactly(value),
        (None, Some(prefix)) => HeaderValueCondition::Prefix(prefix),
        _ => return Err(setting.wrong_type("a table with `value` or `value_prefix`, not both")),
    };
    Ok(HeaderCondition { name: name.as_str().to_owned(), value })
}

fn show_header(header: &HeaderCondition) -> String {
    let name = text(&header.name);
    match &header.value {
        HeaderValueCondition::Present => format!("{{ name = {name} }}"),
        HeaderValueCondition::Exactly(value) => format!("{{ name = {name}, value = {} }}", text(value)),
        HeaderValueCondition::Prefix(prefix) => format!("{{ name = {name}, value_prefix = {} }}", text(prefix)),
    }
}

fn texts(values: &[String]) -> String {
    listed(values)
}

fn listed(values: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let quoted: Vec<_> = values.into_iter().map(|value| text(value.as_ref())).collect();
    format!("[{}]", quoted.join(", "))
}
