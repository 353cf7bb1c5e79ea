//! Every key there is: its name, how it is read, how it is shown. The order is the order of the tree.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::duration;
use super::endpoint;
use super::error::{ConfigError, Hint};
use super::setting::{HIDDEN, Setting};
use super::tree::{BackendConfig, Config, Protocol};
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
}

impl<T> Key<T> {
    /// The key is a table that takes any names.
    pub(super) fn takes_names(&self) -> bool {
        matches!(self.show, Show::Each(_))
    }
}

/// The key called `name`.
pub(super) fn find<T>(keys: &'static [Key<T>], name: &str) -> Option<&'static Key<T>> {
    keys.iter().find(|key| key.name == name)
}

/// The table that takes any names and that `path` is, or is in.
pub(super) fn names_at(path: &str) -> Option<&'static Key<Config>> {
    let holds =
        |key: &&Key<Config>| path.strip_prefix(key.name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    KEYS.iter().filter(|key| key.takes_names()).find(holds)
}

/// A table whose keys are known one by one.
pub(super) fn is_section(path: &str) -> bool {
    SECTIONS.contains(&path)
}

/// What to say about `path`, which is no key: the nearest key anywhere, else all in the same section.
pub(super) fn hint(path: &str) -> Hint {
    let keys = || KEYS.iter().map(|key| key.name).chain([BACKENDS]);
    let all: Vec<_> = keys().chain(SECTIONS).chain([CONFIG]).filter(|key| *key != path).collect();
    let beside: Vec<_> = match path.split_once('.') {
        Some((section, _)) if is_section(section) => keys().filter(|key| key.starts_with(section)).collect(),
        _ => SECTIONS.to_vec(),
    };
    Hint::key(path, &all, &beside)
}

/// The tables at the top.
const SECTIONS: [&str; 5] = ["service", "runtime", "traces", "export", "health"];

/// The key that names the TOML file. Not in the file itself.
pub(super) const CONFIG: &str = "config";
/// Header values are secrets.
pub(super) const HEADERS: &str = "export.headers";
/// The list of tables, one for each backend; their keys are [`BACKEND_KEYS`].
pub(super) const BACKENDS: &str = "health.backend";

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

/// All keys but those of a backend.
pub(super) static KEYS: &[Key<Config>] = &[
    key!("service.name", service.name, some_text(), text),
    Key {
        name: "service.attributes",
        set: |tree, setting| {
            if setting.name() == "service.name" {
                return Err(setting.bad_text("the key `service.name` for the service's name"));
            }
            tree.service.attributes.push((setting.name().to_owned(), setting.attribute()?));
            Ok(())
        },
        show: Show::Each(|tree| {
            tree.service.attributes.iter().map(|(name, value)| (name.clone(), text(value))).collect()
        }),
    },
    key!("runtime.workers", runtime.workers, whole(1..=64), plain),
    key!("runtime.stop_timeout", runtime.stop_timeout, duration(seconds(0)..=seconds(60)), time),
    key!("runtime.term_timeout", runtime.term_timeout, duration(seconds(0)..=seconds(10)), time),
    key!("traces.enabled", traces.enabled, flag(), plain),
    key!("traces.sampler", traces.sampler, word(), word),
    key!("traces.ratio", traces.ratio, share(), plain),
    key!("traces.ring_bytes", traces.ring_bytes, whole(64 * 1024..=64 * 1024 * 1024), plain),
    key!("export.exporter", export.exporter, word(), word),
    key!("export.protocol", export.protocol, word(), word),
    // After the protocol, which says what a URL means.
    Key {
        name: "export.endpoint",
        set: |tree, setting| {
            tree.export.endpoint = endpoint::read(setting, tree.export.protocol)?;
            Ok(())
        },
        show: Show::One(|tree| text(&tree.export.endpoint.to_string())),
    },
    Key {
        name: HEADERS,
        set: |tree, setting| {
            let (name, value) = setting.header()?;
            if tree.export.protocol == Protocol::Grpc && name.ends_with("-bin") {
                return Err(setting.bad_text("a header's name without `-bin`, which is binary in gRPC"));
            }
            tree.export.headers.push((name, value));
            Ok(())
        },
        show: Show::Each(|tree| {
            tree.export.headers.iter().map(|(name, _)| (name.clone(), HIDDEN.to_owned())).collect()
        }),
    },
    key!("export.timeout", export.timeout, duration(UP_TO_AN_HOUR), time),
    key!("export.schedule_delay", export.schedule_delay, duration(UP_TO_AN_HOUR), time),
    key!("export.export_timeout", export.export_timeout, duration(UP_TO_AN_HOUR), time),
    key!("export.max_queue_size", export.max_queue_size, whole(1..=MAX_SPANS), plain),
    key!("export.max_export_batch_size", export.max_export_batch_size, whole(1..=MAX_SPANS), plain),
];

/// The keys of one backend.
pub(super) static BACKEND_KEYS: &[Key<BackendConfig>] = &[
    key!("name", name, some_text(), text),
    key!("service", service, any_text(), text),
    Key {
        name: "authority",
        set: |tree, setting| {
            tree.authority = setting.authority()?;
            Ok(())
        },
        show: Show::One(|tree| tree.authority.as_ref().map_or("(the server's address)".to_owned(), |name| text(name))),
    },
    key!("interval", interval, duration(CHECK_INTERVAL), time),
    key!("fast_interval", fast_interval, duration(CHECK_INTERVAL), time),
    key!("down_interval", down_interval, duration(CHECK_INTERVAL), time),
    key!("connect_timeout", connect_timeout, duration(UP_TO_AN_HOUR), time),
    key!("rpc_timeout", rpc_timeout, duration(UP_TO_AN_HOUR), time),
    key!("rise", rise, whole(1..=100), plain),
    key!("fall", fall, whole(1..=100), plain),
];

const UP_TO_AN_HOUR: RangeInclusive<Duration> = Duration::from_millis(1)..=seconds(3600);
const CHECK_INTERVAL: RangeInclusive<Duration> = Duration::from_millis(100)..=seconds(3600);
/// Spans in the queue or in one batch.
const MAX_SPANS: usize = 1024 * 1024;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_stands_in_a_section_and_once() {
        for (index, key) in KEYS.iter().enumerate() {
            assert!(is_section(key.name.split('.').next().unwrap()), "{}", key.name);
            assert!(KEYS[..index].iter().all(|earlier| earlier.name != key.name), "{}", key.name);
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
        assert_eq!(hint("colour").to_string(), "; known: service, runtime, traces, export, health");
    }
}
