//! Where a value came from.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The source of one value, as messages and `show vitals config` print it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// A variable of the OpenTelemetry specification: a bad value is a warning and counts as unset.
    OpenTelemetry(&'static str),
    /// A `HAPROXY_VITALS_*` variable.
    Environment(String),
    /// The TOML file.
    File {
        /// As the file was named.
        path: Arc<str>,
        /// Counted from 1.
        line: usize,
    },
    /// `lua-load otel.lua key=value`.
    Argument,
    /// `register{}`.
    Option,
    /// A flag of the agent as a program of its own, such as `--server-port`.
    Flag(String),
}

impl Origin {
    /// "Configuration types" in the OpenTelemetry specification: a value that cannot be used is reported and ignored.
    pub(super) fn is_lenient(&self) -> bool {
        matches!(self, Self::OpenTelemetry(_))
    }

    /// The stronger source has the higher number.
    pub(super) fn strength(&self) -> u8 {
        match self {
            Self::Default => 0,
            Self::OpenTelemetry(_) => 1,
            Self::Environment(_) => 2,
            Self::File { .. } => 3,
            Self::Argument => 4,
            Self::Option => 5,
            Self::Flag(_) => 6,
        }
    }

    /// Whether both are of one source: two variables are, two lines of the file are.
    pub(super) fn is_beside(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    /// Sources that have text only: numbers and booleans are read from it.
    pub(super) fn is_text(&self) -> bool {
        matches!(self, Self::OpenTelemetry(_) | Self::Environment(_) | Self::Argument | Self::Flag(_))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::OpenTelemetry(name) => write!(f, "environment {name}"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::File { path, line } => write!(f, "{path}:{line}"),
            Self::Argument => f.write_str("lua-load argument"),
            Self::Option => f.write_str("option in Lua"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

/// The origin of every setting that is not at its default, by dotted key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origins(BTreeMap<String, Origin>);

impl Origins {
    /// Who set `key`, such as `traces.sampler`, `export.headers.authorization` or `health.backend.NAME.interval`.
    pub fn of(&self, key: &str) -> Origin {
        self.0.get(key).cloned().unwrap_or(Origin::Default)
    }

    /// Somebody set `key`.
    pub fn is_set(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// How strong the source of `key` is; of a table that takes any names, the strongest of its names'.
    pub(super) fn strength(&self, key: &str) -> u8 {
        let of = |path: &str| path.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        self.0.iter().filter(|(path, _)| of(path)).map(|(_, origin)| origin.strength()).max().unwrap_or(0)
    }

    pub(super) fn record(&mut self, key: String, origin: Origin) {
        self.0.insert(key, origin);
    }

    /// Nobody has set `key`.
    pub(super) fn remove(&mut self, key: &str) {
        self.0.remove(key);
    }

    /// Drops everything below `key`.
    pub(super) fn forget(&mut self, key: &str) {
        let below = |path: &str| path.strip_prefix(key).is_some_and(|rest| rest.starts_with(['.', '[']));
        self.0.retain(|path, _| !below(path));
    }
}
