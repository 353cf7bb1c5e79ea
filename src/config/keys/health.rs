//! `[health]` and `[[health.backend]]`.

mod single;
mod spans;
mod stats_socket;
mod values;
mod weight;

use super::{Key, Show, UP_TO_AN_HOUR, key, plain, seconds, text, time, word};
use crate::config::check;
use crate::config::error::ConfigError;
use crate::config::list::{Item, Table};
use crate::config::tree::{BackendConfig, Config};
use std::ops::RangeInclusive;
use std::time::Duration;

pub(in crate::config) use single::KEYS as SINGLE;
pub(in crate::config) use values::METADATA;

pub(in crate::config) static KEYS: &[Key<Config>] = &[
    key!("health.max_concurrent", health.max_concurrent, whole(1..=4096), plain),
    key!("health.stats_socket", health.stats_socket, stats_socket(), show_stats_socket),
    key!("health.spans", health.spans, check_spans(), show_check_spans),
];

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
    key!("way", way, word(), word),
    key!("mode", mode, word(), word),
    key!("init", init, word(), word),
    key!("service", services, services(), show_services),
    Key {
        name: "authority",
        set: |tree, setting| {
            tree.authority = setting.authority()?;
            Ok(())
        },
        show: Show::One(|tree| {
            tree.authority.as_ref().map_or("(the server's name or address)".to_owned(), |name| text(name))
        }),
    },
    key!("metadata", metadata, metadata(), show_metadata),
    key!("user_agent", user_agent, user_agent(), show_user_agent),
    key!("interval", interval, duration(CHECK_INTERVAL), time),
    key!("fast_interval", fast_interval, duration(CHECK_INTERVAL), time),
    key!("down_interval", down_interval, duration(CHECK_INTERVAL), time),
    key!("watch_recheck", watch_recheck, duration(CHECK_INTERVAL), time),
    key!("connect_timeout", connect_timeout, duration(UP_TO_AN_HOUR), time),
    key!("rpc_timeout", rpc_timeout, duration(UP_TO_AN_HOUR), time),
    key!("resolve_hold", resolve_hold, duration(seconds(0)..=seconds(3600)), time),
    key!("rise", rise, whole(1..=100), plain),
    key!("fall", fall, whole(1..=100), plain),
    key!("panic_threshold", panic_threshold, whole(0..=100), plain),
    key!("reuse", reuse, flag(), plain),
    key!("not_serving", not_serving, word(), word),
    key!("unimplemented", unimplemented, word(), word),
    key!("overload", overload, word(), word),
    key!("codes", codes, codes(), show_codes),
    key!("weight_metadata", weight.metadata, weight_metadata(), show_weight_metadata),
    key!("orca", weight.orca, orca(), show_orca),
    key!("orca_report", weight.orca_report, word(), word),
    key!("orca_interval", weight.orca_interval, duration(seconds(1)..=seconds(3600)), time),
    key!("weight_smoothing", weight.smoothing, smoothing(), plain),
    key!("weight_min", weight.min, percent(0), plain),
    key!("weight_max", weight.max, percent(1), plain),
    key!("weight_step", weight.step, percent(0), plain),
    key!("weight_expiry", weight.expiry, duration(seconds(1)..=seconds(3600)), time),
    key!("tls", tls, word(), word),
    key!("ca_file", ca_file, paths(), show_paths),
    key!("cert_file", cert_file, path(), show_path),
    key!("key_file", key_file, path(), show_path),
    key!("server_name", server_name, host_name(), show_server_name),
    key!("insecure_skip_verify", insecure_skip_verify, flag(), plain),
];

use spans::show_check_spans;
use stats_socket::show_stats_socket;
use values::{show_codes, show_metadata, show_path, show_paths, show_server_name, show_services, show_user_agent};
use weight::{show_orca, show_weight_metadata};

const CHECK_INTERVAL: RangeInclusive<Duration> = Duration::from_millis(100)..=seconds(3600);
