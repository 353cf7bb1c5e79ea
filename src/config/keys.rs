//! Every key there is: its name, how it is read, how it is shown. One file for each section; the order is the order of the tree.

mod agent;
mod attributes;
mod export;
mod health;
mod log;
mod logs;
mod metrics;
mod runtime;
mod sampling;
mod service;
mod traces;

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::duration;
use super::error::{ConfigError, Hint};
use super::list::List;
use super::setting::Setting;
use super::tree::{BackendConfig, Config, RuleConfig};
use super::value::one_line;
use super::words::Word;

/// One key of a table that becomes a `T`.
pub(super) struct Key<T: 'static> {
    pub(super) name: &'static str,
    /// Reads the value into its place, or leaves `T` as it was.
    pub(super) set: fn(&mut T, &Setting) -> Result<(), ConfigError>,
    pub(super) show: Show<T>,
}

/// How a key is shown, and so whether it is one value or a table that takes any names.
pub(super) enum Show<T> {
    One(fn(&T) -> String),
    /// The names with their values.
    Each(fn(&T) -> Vec<(String, String)>),
    /// One value, where it is set.
    Maybe(fn(&T) -> Option<String>),
}

impl<T> Key<T> {
    /// The key is a table that takes any names.
    pub(super) fn takes_names(&self) -> bool {
        matches!(self.show, Show::Each(_))
    }

    /// The key and its value as they are shown; for a table that takes any names, one of each name.
    pub(super) fn values(&self, tree: &T) -> Vec<(String, String)> {
        match self.show {
            Show::One(show) => vec![(self.name.to_owned(), show(tree))],
            Show::Maybe(show) => show(tree).into_iter().map(|value| (self.name.to_owned(), value)).collect(),
            Show::Each(show) => {
                show(tree).into_iter().map(|(name, value)| (format!("{}.{name}", self.name), value)).collect()
            }
        }
    }
}

/// The key called `name`.
pub(super) fn find<T>(keys: impl IntoIterator<Item = &'static Key<T>>, name: &str) -> Option<&'static Key<T>> {
    keys.into_iter().find(|key| key.name == name)
}

/// The table that takes any names and that `path` is, or is in.
pub(super) fn names_at(path: &str) -> Option<&'static Key<Config>> {
    let holds =
        |key: &&Key<Config>| path.strip_prefix(key.name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    all().filter(|key| key.takes_names()).find(holds)
}

/// A table whose keys are known one by one.
pub(super) fn is_section(path: &str) -> bool {
    names().any(|name| name.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
}

/// Header values are secrets, and the names of headers have no case.
pub(super) fn is_headers(key: &str) -> bool {
    key == HEADERS || key.strip_suffix(".headers").is_some_and(|section| SIGNALS.contains(&section))
}

/// Values of metadata are secrets.
pub(super) fn is_metadata(key: &str) -> bool {
    key.rsplit('.').next() == Some(METADATA)
}

/// What to say about `path`, which is no key: the list whose tables have it, else the nearest key anywhere, else all in the
/// same section.
pub(super) fn hint(path: &str) -> Hint {
    if let Some(list) = LISTS.iter().find(|list| list.is_meant_by(path)) {
        let name = path.rsplit('.').next().unwrap_or_default();
        return Hint::is(&format!("{name}` in `[[{}]]", list.name));
    }
    let all: Vec<_> = names().chain(SECTIONS).chain([CONFIG]).filter(|key| *key != path).collect();
    let beside: Vec<_> = match path.split_once('.') {
        Some((section, _)) if is_section(section) => names().filter(|key| key.starts_with(section)).collect(),
        _ => SECTIONS.to_vec(),
    };
    Hint::key(path, &all, &beside)
}

/// The names of all keys and lists, without those in lists.
fn names() -> impl Iterator<Item = &'static str> {
    all().map(|key| key.name).chain(LISTS.iter().map(|list| list.name))
}

/// All keys but those in lists, in the order of the tree.
pub(super) fn all() -> impl Iterator<Item = &'static Key<Config>> {
    [
        service::KEYS,
        runtime::KEYS,
        traces::KEYS,
        sampling::KEYS,
        attributes::KEYS,
        export::KEYS,
        export::TRACES,
        export::METRICS,
        export::LOGS,
        metrics::KEYS,
        logs::KEYS,
        health::KEYS,
        agent::KEYS,
        health::SINGLE,
        log::KEYS,
    ]
    .into_iter()
    .flatten()
}

/// The lists of tables, in the order of the tree.
pub(super) static LISTS: &[List] = &[List::of::<RuleConfig>(), List::of::<BackendConfig>()];

use health::METADATA;

/// The tables at the top.
const SECTIONS: [&str; 10] =
    ["service", "runtime", "traces", "export", "metrics", "logs", "health", "agent", "bridge", "log"];

/// The tables in `export`.
const SIGNALS: [&str; 3] = ["export.traces", "export.metrics", "export.logs"];

/// The key that names the TOML file. Not in the file itself.
pub(super) const CONFIG: &str = "config";
const HEADERS: &str = "export.headers";

macro_rules! key {
    ($name:literal, $($field:ident).+, $read:ident($($argument:expr),*), $show:ident) => {
        Key {
            name: $name,
            set: |tree, setting| {
                tree.$($field).+ = setting.$read($($argument),*)?;
                Ok(())
            },
            show: Show::One(|tree| $show(&tree.$($field).+)),
        }
    };
}
use key;

const UP_TO_AN_HOUR: RangeInclusive<Duration> = Duration::from_millis(1)..=seconds(3600);
/// Spans in the queue or in one batch.
const MAX_SPANS: usize = 1024 * 1024;

/// Some lines.
const MIN_FILE_BYTES: u64 = 4096;
/// 1 TiB.
const MAX_FILE_BYTES: u64 = 1 << 40;
/// Each rotation renames them all.
const MAX_FILES: usize = 100;

const fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

fn text(value: &str) -> String {
    format!("\"{}\"", one_line(value))
}

fn plain(value: &impl Display) -> String {
    value.to_string()
}

fn time(value: &Duration) -> String {
    format!("\"{}\"", duration::show(*value))
}

fn word(value: &impl Word) -> String {
    format!("\"{}\"", value.word())
}

/// Words as a comma list; `none` when there are none.
fn words(values: &[impl Word]) -> String {
    let words: Vec<_> = values.iter().map(|value| value.word()).collect();
    if words.is_empty() { "\"none\"".to_owned() } else { format!("\"{}\"", words.join(",")) }
}

fn list(items: impl IntoIterator<Item = String>) -> String {
    format!("[{}]", items.into_iter().collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_stands_in_a_section_and_once() {
        for (index, key) in all().enumerate() {
            assert!(is_section(key.name.split('.').next().unwrap()), "{}", key.name);
            assert!(all().take(index).all(|earlier| earlier.name != key.name), "{}", key.name);
        }
    }

    #[test]
    fn a_table_of_names_holds_what_is_below_it_and_not_what_begins_alike() {
        assert_eq!(names_at("export.headers.a.b").map(|key| key.name), Some(HEADERS));
        assert_eq!(names_at("export.headers").map(|key| key.name), Some(HEADERS));
        assert!(names_at("export.headerss").is_none());
    }

    #[test]
    fn a_key_near_to_none_is_told_those_beside_it() {
        let in_section = "; known: runtime.workers, runtime.stop_timeout, runtime.term_timeout";
        assert_eq!(hint("runtime.colour").to_string(), in_section);
        assert_eq!(
            hint("colour").to_string(),
            "; known: service, runtime, traces, export, metrics, logs, health, agent, bridge, log"
        );
    }
}
