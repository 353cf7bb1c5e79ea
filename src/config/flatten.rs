//! A source's tree against the table of keys: a list of settings, or the first thing that no key takes.

use std::collections::BTreeMap;

use super::error::ConfigError;
use super::keys;
use super::list::{List, Table};
use super::origin::Origin;
use super::setting::Setting;
use super::value::{Content, Entries, Node, one_line};

/// What the sources set, strongest first.
#[derive(Default)]
pub(super) struct Flat {
    pub(super) settings: Vec<Setting>,
    /// Each source's lists of tables. A stronger list replaces a weaker one.
    pub(super) lists: Vec<(&'static List, Vec<Table>)>,
    /// Where the source that is being added has its lists.
    seen: BTreeMap<&'static str, Origin>,
}

impl Flat {
    /// Settings alone, strongest first.
    pub(super) fn of(settings: Vec<Setting>) -> Self {
        Self { settings, ..Self::default() }
    }

    /// Adds the next weaker source.
    pub(super) fn add(&mut self, source: Entries) -> Result<(), ConfigError> {
        self.seen.clear();
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
        if let Some(list) = keys::LISTS.iter().find(|list| list.name == path) {
            return self.list(list, node);
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

    fn list(&mut self, list: &'static List, node: Node) -> Result<(), ConfigError> {
        if let Some(first) = self.seen.insert(list.name, node.origin.clone()) {
            return Err(repeated(list.name, &node.origin, &first));
        }
        self.lists.push((list, list.tables(node)?));
        Ok(())
    }
}

/// A Lua table may hold `a.b` beside `a = { b }`, and an argument may stand twice.
pub(super) fn refuse_repeated<'a>(settings: impl Iterator<Item = &'a Setting>) -> Result<(), ConfigError> {
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

pub(super) fn wrong_type(key: String, node: Node, expected: &'static str) -> ConfigError {
    let origin = node.origin.clone();
    ConfigError::WrongType { key, origin, expected, found: node.into_value().with_kind() }
}

pub(super) fn joined(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
