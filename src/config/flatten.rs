//! A source's tree against the table of keys: a list of settings, or the first thing that no key takes.

use std::collections::BTreeMap;

use super::error::{ConfigError, Hint};
use super::keys::{self, BACKEND_KEYS, BACKENDS};
use super::origin::Origin;
use super::setting::Setting;
use super::value::{Content, Entries, Node, Value, one_line};

/// What the sources set, strongest first.
#[derive(Debug, Default)]
pub(super) struct Flat {
    pub(super) settings: Vec<Setting>,
    /// Each source's list of backends. A stronger list replaces a weaker one.
    pub(super) backends: Vec<Vec<BackendTable>>,
    /// Where the source that is being added has its list.
    list: Option<Origin>,
}

/// One table of `health.backend`.
#[derive(Debug)]
pub(super) struct BackendTable {
    /// The dotted key, with the backend's name where it has one.
    pub(super) path: String,
    pub(super) origin: Origin,
    pub(super) settings: Vec<Setting>,
}

impl Flat {
    /// Adds the next weaker source.
    pub(super) fn add(&mut self, source: Entries) -> Result<(), ConfigError> {
        self.list = None;
        let from = self.settings.len();
        self.table("", source)?;
        refuse_repeated(self.settings.iter().skip(from))
    }

    fn table(&mut self, path: &str, entries: Entries) -> Result<(), ConfigError> {
        for (name, node) in entries {
            self.node(joined(path, &name), node)?;
        }
        Ok(())
    }

    fn node(&mut self, path: String, node: Node) -> Result<(), ConfigError> {
        if path == BACKENDS {
            return self.backends(node);
        }
        if let Some(key) = keys::names_at(&path) {
            return self.entry(key.name, path, node);
        }
        if let Some(key) = keys::find(keys::all(), &path) {
            self.settings.push(Setting { key: key.name, path, origin: node.origin.clone(), value: node.into_value() });
            return Ok(());
        }
        match node.content {
            Content::Table(entries) if keys::is_section(&path) => self.table(&path, entries),
            _ if keys::is_section(&path) => Err(wrong_type(path, node, "a table")),
            _ => Err(ConfigError::UnknownKey { hint: keys::hint(&path), key: one_line(&path), origin: node.origin }),
        }
    }

    /// Something in a table that takes any names. A dot in a name may also be a table in a table.
    fn entry(&mut self, key: &'static str, path: String, node: Node) -> Result<(), ConfigError> {
        if let Content::Table(entries) = node.content {
            return self.table(&path, entries);
        }
        // RFC 9110, section 5.1: the names of headers have no case.
        let path = if keys::is_headers(key) { path.to_lowercase() } else { path };
        let setting = Setting { key, path, origin: node.origin.clone(), value: node.into_value() };
        if setting.path == key {
            return Err(setting.wrong_type("a table"));
        }
        self.settings.push(setting);
        Ok(())
    }

    fn backends(&mut self, node: Node) -> Result<(), ConfigError> {
        if let Some(first) = self.list.replace(node.origin.clone()) {
            return Err(repeated(BACKENDS, &node.origin, &first));
        }
        let tables = match node.content {
            Content::List(items) => {
                items.into_iter().zip(1..).map(|(item, number)| backend(number, item)).collect::<Result<_, _>>()?
            }
            // An empty list and an empty table look the same in Lua.
            Content::Table(entries) if entries.is_empty() => Vec::new(),
            _ => return Err(wrong_type(BACKENDS.to_owned(), node, "a list of tables")),
        };
        self.backends.push(tables);
        Ok(())
    }
}

/// The table that stands at `number` in the list, counted from 1.
fn backend(number: usize, node: Node) -> Result<BackendTable, ConfigError> {
    let unnamed = format!("{BACKENDS}[{number}]");
    let Content::Table(entries) = node.content else { return Err(wrong_type(unnamed, node, "a table")) };
    let name = entries.iter().find_map(|(key, node)| match &node.content {
        Content::Leaf(Value::Text(name)) if key == "name" && !name.is_empty() => Some(one_line(name)),
        _ => None,
    });
    let path = name.map_or(unnamed, |name| joined(BACKENDS, &name));
    let settings: Vec<_> =
        entries.into_iter().map(|(name, node)| backend_setting(&path, &name, node)).collect::<Result<_, _>>()?;
    refuse_repeated(settings.iter())?;
    Ok(BackendTable { path, origin: node.origin, settings })
}

fn backend_setting(table: &str, name: &str, node: Node) -> Result<Setting, ConfigError> {
    let path = joined(table, name);
    let Some(key) = keys::find(BACKEND_KEYS, name) else {
        let known: Vec<_> = BACKEND_KEYS.iter().map(|key| key.name).collect();
        let hint = Hint::key(name, &known, &known);
        return Err(ConfigError::UnknownKey { key: one_line(&path), origin: node.origin, hint });
    };
    Ok(Setting { key: key.name, path, origin: node.origin.clone(), value: node.into_value() })
}

/// A Lua table may hold `a.b` beside `a = { b }`, and an argument may stand twice.
fn refuse_repeated<'a>(settings: impl Iterator<Item = &'a Setting>) -> Result<(), ConfigError> {
    let mut seen = BTreeMap::new();
    for Setting { path, origin, .. } in settings {
        if let Some(first) = seen.insert(path, origin) {
            return Err(repeated(path, origin, first));
        }
    }
    Ok(())
}

/// `key` stands twice in one source.
pub(super) fn repeated(key: &str, origin: &Origin, first: &Origin) -> ConfigError {
    ConfigError::Repeated { key: one_line(key), origin: origin.clone(), first: first.clone() }
}

fn wrong_type(key: String, node: Node, expected: &'static str) -> ConfigError {
    let origin = node.origin.clone();
    ConfigError::WrongType { key, origin, expected, found: node.into_value().with_kind() }
}

fn joined(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
