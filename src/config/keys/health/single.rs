//! Of `[agent]` the keys of checks of targets that somebody names.

use super::super::{Key, Show, UP_TO_AN_HOUR, key, plain, time, word};
use super::values::{
    show_codes, show_metadata, show_path, show_paths, show_server_name, show_services, show_user_agent,
};
use crate::config::tree::Config;

pub(in crate::config) static KEYS: &[Key<Config>] = &[
    key!("agent.max_age", health.single.max_age, duration(MAX_AGE), time),
    key!("agent.max_targets", health.single.max_targets, whole(1..=65536), plain),
    key!("agent.connect_timeout", health.single.profile.connect_timeout, duration(UP_TO_AN_HOUR), time),
    key!("agent.rpc_timeout", health.single.profile.rpc_timeout, duration(UP_TO_AN_HOUR), time),
    key!("agent.reuse", health.single.profile.reuse, flag(), plain),
    key!("agent.service", health.single.profile.services, services(), show_services),
    key!("agent.metadata", health.single.profile.metadata, metadata(), show_metadata),
    key!("agent.user_agent", health.single.profile.user_agent, user_agent(), show_user_agent),
    key!("agent.unimplemented", health.single.profile.unimplemented, word(), word),
    key!("agent.codes", health.single.profile.codes, codes(), show_codes),
    key!("agent.ca_file", health.single.profile.ca_file, paths(), show_paths),
    key!("agent.cert_file", health.single.profile.cert_file, path(), show_path),
    key!("agent.key_file", health.single.profile.key_file, path(), show_path),
    key!("agent.server_name", health.single.profile.server_name, host_name(), show_server_name),
    key!("agent.insecure_skip_verify", health.single.profile.insecure_skip_verify, flag(), plain),
];

const MAX_AGE: std::ops::RangeInclusive<std::time::Duration> =
    std::time::Duration::ZERO..=std::time::Duration::from_mins(1);
