//! From the sources to the tree.

use super::check;
use super::env::Environment;
use super::error::ConfigError;
use super::file;
use super::flatten::Flat;
use super::keys::{self, CONFIG, Key};
use super::list::{List, Table};
use super::options;
use super::origin::Origins;
use super::otel;
use super::resolve;
use super::setting::Setting;
use super::tree::Config;
use super::value::{Entries, Value};

/// All that settings may come from, strongest first.
#[derive(Clone, Default)]
pub struct Sources {
    /// The table given to `register{}`. Keys may be dotted, values may be tables.
    pub options: Vec<(String, Value)>,
    /// What follows the file's name in `lua-load`: `key=value` each, the key dotted.
    pub arguments: Vec<String>,
    /// The environment.
    pub environment: Environment,
}

/// The settings, and what there is to say about them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Loaded {
    /// The typed tree.
    pub config: Config,
    /// Where each setting came from.
    pub origins: Origins,
    /// The TOML file, if one was named.
    pub file: Option<String>,
    /// One line each: what was ignored or contradicts something else. For the operator.
    pub warnings: Vec<String>,
}

/// Reads every source and the file that one of them names, and checks the whole. Every value is checked, also one that
/// a stronger source replaces; of the `OTEL_*` variables only those that count.
pub fn load(sources: Sources) -> Result<Loaded, ConfigError> {
    load_by(sources, file::read)
}

/// The same from the bytes of a TOML file and nothing else: for `fuzz/`.
#[doc(hidden)]
pub fn load_file(bytes: &[u8]) -> Result<Loaded, ConfigError> {
    let sources = Sources { arguments: vec![format!("{CONFIG}=vitals.toml")], ..Sources::default() };
    load_by(sources, |_| file::parse("vitals.toml", bytes))
}

fn load_by(
    sources: Sources,
    read: impl FnOnce(&Setting) -> Result<Entries, ConfigError>,
) -> Result<Loaded, ConfigError> {
    let Sources { options, arguments, environment } = sources;
    let mut options = options::of_lua(options);
    let mut arguments = options::of_arguments(&arguments)?;
    let named = [options::take_config(&mut options)?, options::take_config(&mut arguments)?, environment.config()];
    let mut loaded = Loaded::default();
    let mut flat = Flat::default();
    flat.add(options)?;
    flat.add(arguments)?;
    if let Some(config) = named.into_iter().flatten().next() {
        flat.add(read(&config)?)?;
        loaded.file = Some(config.any_text()?);
        loaded.origins.record(CONFIG.to_owned(), config.origin);
    }
    flat.settings.extend(environment.settings()?);
    flat.settings.extend(otel::settings(&environment, &mut loaded.warnings));
    loaded.take(&flat)?;
    otel::disable_metrics(&mut loaded);
    resolve::export(&mut loaded, &environment)?;
    check::whole(&mut loaded)?;
    Ok(loaded)
}

impl Loaded {
    /// Takes what the sources set, strongest first.
    pub(super) fn take(&mut self, flat: &Flat) -> Result<(), ConfigError> {
        for key in keys::all() {
            for setting in flat.settings.iter().filter(|setting| setting.key == key.name) {
                self.apply(key, setting)?;
            }
        }
        // Weakest first, so that the strongest list stays.
        for (list, tables) in flat.lists.iter().rev() {
            self.list(list, tables)?;
        }
        Ok(())
    }

    /// Takes the value, unless a stronger source has set the key; then the value is only checked.
    fn apply(&mut self, key: &Key<Config>, setting: &Setting) -> Result<(), ConfigError> {
        let decided = self.origins.is_set(&setting.path);
        if decided && setting.origin.is_lenient() {
            return Ok(());
        }
        let outcome =
            if decided { (key.set)(&mut self.config.clone(), setting) } else { (key.set)(&mut self.config, setting) };
        match outcome {
            Ok(()) if decided => {}
            Ok(()) => self.origins.record(setting.path.clone(), setting.origin.clone()),
            Err(error) if setting.origin.is_lenient() => self.warnings.push(format!("{error}; ignored")),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn list(&mut self, list: &List, tables: &[Table]) -> Result<(), ConfigError> {
        (list.take)(&mut self.config, tables)?;
        self.origins.forget(list.name);
        for setting in tables.iter().flat_map(|table| &table.settings) {
            self.origins.record(setting.path.clone(), setting.origin.clone());
        }
        Ok(())
    }
}
