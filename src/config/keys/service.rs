//! `[service]`.

use super::{Key, Show, key, list, text};
use crate::config::error::ConfigError;
use crate::config::setting::Setting;
use crate::config::tree::{Config, Detector};

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
    Key {
        name: "service.detectors",
        set: |tree, setting| {
            tree.service.detectors = detectors(setting)?;
            Ok(())
        },
        show: Show::One(|tree| list(&tree.service.detectors)),
    },
];

/// `none`, or no word at all, is no detector.
fn detectors(setting: &Setting) -> Result<Vec<Detector>, ConfigError> {
    let none = |texts: Vec<String>| texts.iter().all(|text| text == "none");
    if setting.texts().is_ok_and(none) { Ok(Vec::new()) } else { setting.words() }
}
