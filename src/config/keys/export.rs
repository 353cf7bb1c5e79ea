//! `[export]`.

use super::{HEADERS, Key, MAX_SPANS, Show, UP_TO_AN_HOUR, key, plain, text, time, word};
use crate::config::endpoint;
use crate::config::setting::HIDDEN;
use crate::config::tree::{Config, Protocol};

pub(in crate::config) static KEYS: &[Key<Config>] = &[
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
