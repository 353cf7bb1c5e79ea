//! `[logs]`.

use super::export::exporters;
use super::{Key, MAX_SPANS, Show, UP_TO_AN_HOUR, key, plain, time, words};
use crate::config::tree::{Config, MAX_VALUE_LENGTH};

pub(in crate::config) static KEYS: &[Key<Config>] = &[
    key!("logs.enabled", logs.enabled, flag(), plain),
    Key {
        name: "logs.exporter",
        set: |tree, setting| {
            tree.logs.exporters = exporters(setting)?;
            Ok(())
        },
        show: Show::One(|tree| words(&tree.logs.exporters)),
    },
    key!("logs.schedule_delay", logs.schedule_delay, duration(UP_TO_AN_HOUR), time),
    key!("logs.export_timeout", logs.export_timeout, duration(UP_TO_AN_HOUR), time),
    key!("logs.max_queue_size", logs.max_queue_size, whole(1..=MAX_SPANS), plain),
    key!("logs.max_export_batch_size", logs.max_export_batch_size, whole(1..=MAX_SPANS), plain),
    key!("logs.attribute_count_limit", logs.attribute_count_limit, whole(0..=MAX_SPANS), plain),
    key!("logs.attribute_value_length_limit", logs.attribute_value_length_limit, whole(0..=MAX_VALUE_LENGTH), plain),
];
