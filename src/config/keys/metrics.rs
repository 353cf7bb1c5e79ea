//! `[metrics]`.

use std::net::SocketAddr;

use super::export::exporters;
use super::{Key, Show, UP_TO_AN_HOUR, key, list, plain, text, time, word, words};
use crate::config::error::ConfigError;
use crate::config::setting::Setting;
use crate::config::tree::{Config, MetricAttribute};

pub(in crate::config) static KEYS: &[Key<Config>] = &[
    key!("metrics.enabled", metrics.enabled, flag(), plain),
    Key {
        name: "metrics.exporter",
        set: |tree, setting| {
            tree.metrics.exporters = exporters(setting)?;
            Ok(())
        },
        show: Show::One(|tree| words(&tree.metrics.exporters)),
    },
    Key {
        name: "metrics.listen",
        set: |tree, setting| {
            tree.metrics.listen = address(setting)?;
            Ok(())
        },
        show: Show::One(|tree| text(&tree.metrics.listen.map(|address| address.to_string()).unwrap_or_default())),
    },
    key!("metrics.interval", metrics.interval, duration(UP_TO_AN_HOUR), time),
    key!("metrics.timeout", metrics.timeout, duration(UP_TO_AN_HOUR), time),
    key!("metrics.temporality", metrics.temporality, word(), word),
    key!("metrics.histogram", metrics.histogram, word(), word),
    key!("metrics.exemplars", metrics.exemplars, word(), word),
    key!("metrics.cardinality_limit", metrics.cardinality_limit, whole(2..=MAX_CARDINALITY), plain),
    key!("metrics.attributes", metrics.attributes, words(), show_attributes),
    key!("metrics.active_requests", metrics.active_requests, flag(), plain),
    key!("metrics.body_sizes", metrics.body_sizes, flag(), plain),
    key!("metrics.grpc_agent_names", metrics.grpc_agent_names, flag(), plain),
];

fn show_attributes(attributes: &[MetricAttribute]) -> String {
    list(attributes.iter().map(word))
}

/// Empty: none. No name is looked up, but `localhost` is known.
fn address(setting: &Setting) -> Result<Option<SocketAddr>, ConfigError> {
    let given = setting.text()?;
    if given.is_empty() {
        return Ok(None);
    }
    let numeric = given.strip_prefix("localhost:").map_or_else(|| given.to_owned(), |port| format!("127.0.0.1:{port}"));
    let bad = |_| setting.bad_text("an address and a port, such as `127.0.0.1:9464` or `[::1]:9464`");
    numeric.parse().map(Some).map_err(bad)
}

/// Attribute sets of one instrument: some 50 MB. The states of 10 000 servers are 40 000.
const MAX_CARDINALITY: usize = 50_000;
