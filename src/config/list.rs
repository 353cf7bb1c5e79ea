//! Lists of tables: keys such as `health.backend` that stand for any number of tables of one kind.

use super::error::{ConfigError, Hint};
use super::flatten::{joined, refuse_repeated, wrong_type};
use super::keys::{self, Key};
use super::origin::Origin;
use super::setting::Setting;
use super::tree::Config;
use super::value::{Content, Node, Value, one_line};

/// What one table of a list becomes. This and a line in [`LISTS`](keys::LISTS) make a list.
pub(super) trait Item: Sized + 'static {
    /// The list's dotted key.
    const LIST: &'static str;
    /// Tables that the list may have.
    const MOST: usize;
    /// The keys of one table.
    const KEYS: &'static [Key<Self>];

    /// The defaults of one.
    fn unset() -> Self;

    /// The list's place in the tree.
    fn place(config: &mut Config) -> &mut Vec<Self>;

    /// What stands there.
    fn all(config: &Config) -> &[Self];

    /// The key `name`, where tables have one: paths end in it. Others are called by their number.
    fn name(&self) -> Option<&str> {
        None
    }

    /// Checks one item when all its keys are read.
    fn check(&self, table: &Table) -> Result<(), ConfigError>;

    /// Checks the items against each other.
    fn check_all(_items: &[Self], _tables: &[Table]) -> Result<(), ConfigError> {
        Ok(())
    }
}

/// A list of tables, whatever the tables become.
pub(super) struct List {
    pub(super) name: &'static str,
    most: usize,
    /// The keys of one table.
    pub(super) known: fn() -> Vec<&'static str>,
    /// Reads the tables into their place, or leaves the tree as it was.
    pub(super) take: fn(&mut Config, &[Table]) -> Result<(), ConfigError>,
    /// Each table's path, and its keys with their values.
    pub(super) show: fn(&Config) -> Vec<Shown>,
}

/// One table of a list: its path, and its keys with their values.
pub(super) type Shown = (String, Vec<(String, String)>);

/// One table of a list, as a source has it.
#[derive(Debug)]
pub(super) struct Table {
    /// The dotted key, with the table's name or number.
    pub(super) path: String,
    pub(super) origin: Origin,
    pub(super) settings: Vec<Setting>,
}

impl List {
    /// The section that the list stands in.
    fn section(&self) -> &'static str {
        self.name.rsplit_once('.').map_or("", |(section, _)| section)
    }

    /// Whether `path` is a key of its tables that was set beside the list.
    pub(super) fn is_meant_by(&self, path: &str) -> bool {
        path.rsplit_once('.').is_some_and(|(section, name)| section == self.section() && (self.known)().contains(&name))
    }

    /// The list of `T`.
    pub(super) const fn of<T: Item>() -> Self {
        Self { name: T::LIST, most: T::MOST, known: known::<T>, take: take::<T>, show: show::<T> }
    }

    /// The tables in `node`.
    pub(super) fn tables(&self, node: Node) -> Result<Vec<Table>, ConfigError> {
        match node.content {
            Content::List(items) if items.len() > self.most => Err(ConfigError::OutOfRange {
                key: self.name.to_owned(),
                origin: node.origin,
                allowed: format!("at most {} tables", self.most),
                found: items.len().to_string(),
            }),
            Content::List(items) => items.into_iter().zip(1..).map(|(item, number)| self.table(number, item)).collect(),
            // An empty list and an empty table look the same in Lua.
            Content::Table(entries) if entries.is_empty() => Ok(Vec::new()),
            _ => Err(wrong_type(self.name.to_owned(), node, "a list of tables")),
        }
    }

    /// The table that stands at `number` in the list, counted from 1.
    fn table(&self, number: usize, node: Node) -> Result<Table, ConfigError> {
        let unnamed = numbered(self.name, number);
        let Content::Table(entries) = node.content else { return Err(wrong_type(unnamed, node, "a table")) };
        let known = (self.known)();
        let name = entries.iter().find_map(|(key, node)| match &node.content {
            Content::Leaf(Value::Text(name)) if key == NAME && !name.is_empty() => Some(one_line(name)),
            _ => None,
        });
        let name = name.filter(|_| known.contains(&NAME));
        let path = name.map_or(unnamed, |name| joined(self.name, &name));
        let settings: Vec<_> = entries
            .into_iter()
            .map(|(name, node)| self.setting(&path, &known, &name, node))
            .collect::<Result<_, _>>()?;
        refuse_repeated(settings.iter())?;
        Ok(Table { path, origin: node.origin, settings })
    }

    fn setting(&self, table: &str, known: &[&'static str], name: &str, node: Node) -> Result<Setting, ConfigError> {
        let path = joined(table, name);
        let Some(key) = known.iter().find(|key| **key == name) else {
            // It may be one of the section's own.
            let beside = keys::find(keys::all(), &joined(self.section(), name));
            let hint = beside.map_or_else(|| Hint::key(name, known, known), |key| Hint::is(key.name));
            return Err(ConfigError::UnknownKey { key: one_line(&path), origin: node.origin, hint });
        };
        Ok(Setting { key, path, origin: node.origin.clone(), value: node.into_value() })
    }
}

impl Table {
    /// Who set `key` of this table.
    pub(super) fn origin_of(&self, key: &str) -> Origin {
        let setting = self.settings.iter().find(|setting| setting.key == key);
        setting.map_or(Origin::Default, |setting| setting.origin.clone())
    }
}

fn known<T: Item>() -> Vec<&'static str> {
    T::KEYS.iter().map(|key| key.name).collect()
}

fn take<T: Item>(config: &mut Config, tables: &[Table]) -> Result<(), ConfigError> {
    let items: Vec<T> = tables.iter().map(read).collect::<Result<_, _>>()?;
    T::check_all(&items, tables)?;
    *T::place(config) = items;
    Ok(())
}

/// One item, without a look at the others.
fn read<T: Item>(table: &Table) -> Result<T, ConfigError> {
    let mut item = T::unset();
    for setting in &table.settings {
        if let Some(key) = keys::find(T::KEYS, setting.key) {
            (key.set)(&mut item, setting)?;
        }
    }
    item.check(table)?;
    Ok(item)
}

fn show<T: Item>(config: &Config) -> Vec<Shown> {
    let path = |item: &T, number| match item.name() {
        Some(name) => joined(T::LIST, &one_line(name)),
        None => numbered(T::LIST, number),
    };
    let values = |item: &T| T::KEYS.iter().flat_map(|key| key.values(item)).collect();
    T::all(config).iter().zip(1..).map(|(item, number)| (path(item, number), values(item))).collect()
}

fn numbered(list: &str, number: usize) -> String {
    format!("{list}[{number}]")
}

/// The key that tables are called by.
const NAME: &str = "name";
