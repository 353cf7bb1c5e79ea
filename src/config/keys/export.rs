//! `[export]`.

use super::{HEADERS, Key, MAX_SPANS, Show, UP_TO_AN_HOUR, key, list, plain, text, time, word};
use crate::config::endpoint;
use crate::config::error::ConfigError;
use crate::config::setting::{HIDDEN, Setting};
use crate::config::tree::{Config, ExporterKind, Protocol};
use crate::config::value::Value;

pub(in crate::config) static KEYS: &[Key<Config>] = &[
    Key {
        name: "export.exporter",
        set: |tree, setting| {
            tree.export.exporters = exporters(setting)?;
            Ok(())
        },
        show: Show::One(|tree| list(&tree.export.exporters)),
    },
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

/// Some lines.
const MIN_FILE_BYTES: u64 = 4096;
/// 1 TiB.
const MAX_FILE_BYTES: u64 = 1 << 40;
/// Each rotation renames them all.
const MAX_FILES: usize = 100;
