//! `[log]`.

use super::{Key, Show, key, plain, text, word};
use crate::config::tree::Config;

pub(in crate::config) static KEYS: &[Key<Config>] = &[
    key!("log.to", log.to, word(), word),
    key!("log.format", log.format, word(), word),
    key!("log.level", log.level, word(), word),
    Key {
        name: "log.agent_level",
        set: |tree, setting| {
            tree.log.agent_level = Some(setting.word()?);
            Ok(())
        },
        show: Show::One(|tree| word(&tree.log.agent_level.unwrap_or(tree.log.level))),
    },
    key!("log.file.path", log.file.path, any_text(), text),
    key!("log.file.rotation", log.rotation, word(), word),
    key!("log.file.max_bytes", log.file.max_bytes, whole(super::MIN_FILE_BYTES..=super::MAX_FILE_BYTES), plain),
    key!("log.file.max_files", log.file.max_files, whole(1..=super::MAX_FILES), plain),
];
