//! `[service]`.

use super::{Key, Show, key, text};
use crate::config::tree::Config;

pub(in crate::config) static KEYS: &[Key<Config>] = &[
    key!("service.name", service.name, some_text(), text),
    Key {
        name: "service.attributes",
        set: |tree, setting| {
            if setting.name() == "service.name" {
                return Err(setting.bad_text("the key `service.name` for the service's name"));
            }
            tree.service.attributes.push((setting.name().to_owned(), setting.attribute()?));
            Ok(())
        },
        show: Show::Each(|tree| {
            tree.service.attributes.iter().map(|(name, value)| (name.clone(), text(value))).collect()
        }),
    },
];
