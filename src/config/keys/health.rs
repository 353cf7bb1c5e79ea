//! `[[health.backend]]`.

use super::{Key, Show, UP_TO_AN_HOUR, key, plain, seconds, text, time};
use crate::config::check;
use crate::config::error::ConfigError;
use crate::config::list::{Item, Table};
use crate::config::tree::{BackendConfig, Config};
use std::ops::RangeInclusive;
use std::time::Duration;

impl Item for BackendConfig {
    const LIST: &'static str = "health.backend";
    const MOST: usize = 4096;
    const KEYS: &'static [Key<Self>] = BACKEND_KEYS;

    fn unset() -> Self {
        Self::named("")
    }

    fn place(config: &mut Config) -> &mut Vec<Self> {
        &mut config.health.backends
    }

    fn all(config: &Config) -> &[Self] {
        &config.health.backends
    }

    fn name(&self) -> Option<&str> {
        Some(&self.name)
    }

    fn check(&self, table: &Table) -> Result<(), ConfigError> {
        check::backend(self, table)
    }

    fn check_all(items: &[Self], tables: &[Table]) -> Result<(), ConfigError> {
        check::backends(items, tables)
    }
}

/// The keys of one backend.
const BACKEND_KEYS: &[Key<BackendConfig>] = &[
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

const CHECK_INTERVAL: RangeInclusive<Duration> = Duration::from_millis(100)..=seconds(3600);
