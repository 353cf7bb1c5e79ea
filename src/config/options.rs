//! Options from Lua and arguments of `lua-load`.

use super::error::ConfigError;
use super::flatten::repeated;
use super::keys::CONFIG;
use super::origin::Origin;
use super::setting::Setting;
use super::value::{Entries, Node, Value, quoted};

/// The table given to `register{}`; its keys may be dotted.
pub(super) fn of_lua(options: Vec<(String, Value)>) -> Entries {
    options.into_iter().map(|(key, value)| (key, Node::of(value, &Origin::Option))).collect()
}

/// `key=value` each; the key is dotted.
pub(super) fn of_arguments(arguments: &[String]) -> Result<Entries, ConfigError> {
    arguments.iter().map(|argument| of_argument(argument)).collect()
}

fn of_argument(argument: &str) -> Result<(String, Node), ConfigError> {
    match argument.split_once('=') {
        Some((key, value)) if !key.is_empty() => {
            Ok((key.to_owned(), Node::of(Value::Text(value.to_owned()), &Origin::Argument)))
        }
        _ => Err(ConfigError::BadArgument { found: quoted(argument) }),
    }
}

/// Takes the name of the TOML file out of `entries`.
pub(super) fn take_config(entries: &mut Entries) -> Result<Option<Setting>, ConfigError> {
    let mut found: Option<Setting> = None;
    for (_, node) in entries.extract_if(.., |(key, _)| key == CONFIG) {
        if let Some(first) = &found {
            return Err(repeated(CONFIG, &node.origin, &first.origin));
        }
        let origin = node.origin.clone();
        found = Some(Setting::of(CONFIG, node.into_value(), origin));
    }
    if let Some(setting) = &found {
        setting.some_text()?;
    }
    Ok(found)
}
