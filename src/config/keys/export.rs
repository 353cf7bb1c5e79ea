//! `[export]`, and what one signal has of its own.

use super::{
    HEADERS, Key, MAX_FILE_BYTES, MAX_FILES, MAX_SPANS, MIN_FILE_BYTES, Show, UP_TO_AN_HOUR, key, plain, text, time,
    word, words,
};
use crate::config::error::ConfigError;
use crate::config::setting::{HIDDEN, Setting};
use crate::config::tree::{Config, Endpoint, ExporterKind, Headers, ProxyChoice};
use crate::config::value::Value;
use crate::config::{Signal, endpoint, proxy};

/// A key that has no default: shown where it is set.
macro_rules! optional {
    ($name:expr, $($field:ident).+, $read:ident($($argument:expr),*), $show:ident) => {
        Key {
            name: $name,
            set: |tree, setting| {
                tree.$($field).+ = Some(setting.$read($($argument),*)?);
                Ok(())
            },
            show: Show::Maybe(|tree| tree.$($field).+.as_ref().map(|value| $show(value))),
        }
    };
}
pub(in crate::config) static KEYS: &[Key<Config>] = &[
    Key {
        name: "export.exporter",
        set: |tree, setting| {
            tree.export.exporters = exporters(setting)?;
            Ok(())
        },
        show: Show::One(|tree| words(&tree.export.exporters)),
    },
    key!("export.protocol", export.protocol, word(), word),
    Key {
        name: "export.endpoint",
        set: |tree, setting| {
            tree.export.endpoint = Some(endpoint::read(setting)?);
            Ok(())
        },
        show: Show::One(|tree| {
            let default = Endpoint::default_for(tree.export.protocol, Signal::Traces);
            let default = Endpoint { path: String::new(), ..default }.to_string();
            text(&tree.export.endpoint.as_ref().map_or(default, ToString::to_string))
        }),
    },
    key!("export.insecure", export.insecure, flag(), plain),
    Key {
        name: HEADERS,
        set: |tree, setting| {
            tree.export.headers.push(setting.header()?);
            Ok(())
        },
        show: Show::Each(|tree| hidden(&tree.export.headers)),
    },
    key!("export.timeout", export.timeout, duration(UP_TO_AN_HOUR), time),
    key!("export.compression", export.compression, word(), word),
    optional!("export.certificate", export.certificate, some_text(), text),
    optional!("export.client_certificate", export.client_certificate, some_text(), text),
    optional!("export.client_key", export.client_key, some_text(), text),
    Key {
        name: "export.proxy",
        set: |tree, setting| {
            tree.export.proxy = Some(proxy::read(setting)?);
            Ok(())
        },
        show: Show::Maybe(|tree| {
            tree.export.proxy.as_ref().map(|choice| match choice {
                ProxyChoice::Direct => text("none"),
                ProxyChoice::Through(proxy) => text(&proxy.to_string()),
            })
        }),
    },
    key!("export.schedule_delay", export.schedule_delay, duration(UP_TO_AN_HOUR), time),
    key!("export.export_timeout", export.export_timeout, duration(UP_TO_AN_HOUR), time),
    key!("export.max_queue_size", export.max_queue_size, whole(1..=MAX_SPANS), plain),
    key!("export.max_queue_bytes", export.max_queue_bytes, whole(MIN_QUEUE_BYTES..=MAX_QUEUE_BYTES), plain),
    key!("export.max_export_batch_size", export.max_export_batch_size, whole(1..=MAX_SPANS), plain),
    key!("export.file.path", export.file.path, any_text(), text),
    key!("export.file.max_bytes", export.file.max_bytes, whole(MIN_FILE_BYTES..=MAX_FILE_BYTES), plain),
    key!("export.file.max_files", export.file.max_files, whole(1..=MAX_FILES), plain),
];

/// One exporter, several between commas, or a list of them. `none` stands alone.
pub(super) fn exporters(setting: &Setting) -> Result<Vec<ExporterKind>, ConfigError> {
    let words: Vec<ExporterKind> = match &setting.value {
        Value::Text(text) => {
            let split = text.split(',').map(|part| Value::Text(part.trim().to_owned())).collect();
            Setting { value: Value::List(split), ..setting.clone() }.words()?
        }
        _ => setting.words()?,
    };
    if words.is_empty() || (words.len() > 1 && words.contains(&ExporterKind::None)) {
        return Err(setting.bad_text("one exporter or several, or `none` alone"));
    }
    Ok(words)
}

/// What `[export]` has for all and a signal may have for itself.
macro_rules! own {
    ($signal:ident) => {
        &[
            optional!(concat!("export.", stringify!($signal), ".protocol"), export.own.$signal.protocol, word(), word),
            Key {
                name: concat!("export.", stringify!($signal), ".endpoint"),
                set: |tree, setting| {
                    tree.export.own.$signal.endpoint = Some(endpoint::read(setting)?);
                    Ok(())
                },
                show: Show::Maybe(|tree| tree.export.own.$signal.endpoint.as_ref().map(|base| text(&base.to_string()))),
            },
            optional!(concat!("export.", stringify!($signal), ".insecure"), export.own.$signal.insecure, flag(), plain),
            Key {
                name: concat!("export.", stringify!($signal), ".headers"),
                set: |tree, setting| {
                    tree.export.own.$signal.headers.push(setting.header()?);
                    Ok(())
                },
                show: Show::Each(|tree| hidden(&tree.export.own.$signal.headers)),
            },
            optional!(
                concat!("export.", stringify!($signal), ".timeout"),
                export.own.$signal.timeout,
                duration(UP_TO_AN_HOUR),
                time
            ),
            optional!(
                concat!("export.", stringify!($signal), ".compression"),
                export.own.$signal.compression,
                word(),
                word
            ),
            optional!(
                concat!("export.", stringify!($signal), ".certificate"),
                export.own.$signal.certificate,
                some_text(),
                text
            ),
            optional!(
                concat!("export.", stringify!($signal), ".client_certificate"),
                export.own.$signal.client_certificate,
                some_text(),
                text
            ),
            optional!(
                concat!("export.", stringify!($signal), ".client_key"),
                export.own.$signal.client_key,
                some_text(),
                text
            ),
        ]
    };
}

/// `[export.traces]`.
pub(in crate::config) static TRACES: &[Key<Config>] = own!(traces);
/// `[export.metrics]`.
pub(in crate::config) static METRICS: &[Key<Config>] = own!(metrics);
/// `[export.logs]`.
pub(in crate::config) static LOGS: &[Key<Config>] = own!(logs);

fn hidden(headers: &Headers) -> Vec<(String, String)> {
    headers.iter().map(|(name, _)| (name.clone(), HIDDEN.to_owned())).collect()
}

/// One long batch has room.
const MIN_QUEUE_BYTES: usize = 1024 * 1024;
const MAX_QUEUE_BYTES: usize = 4 * 1024 * 1024 * 1024;
