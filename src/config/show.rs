//! `show vitals config`: each setting with its source.

use super::flatten::joined;
use super::keys::{self, CONFIG};
use super::load::Loaded;
use super::value::one_line;

impl Loaded {
    /// One line for each setting, in the order of the tree: `key = value  # source`. Secrets are hidden.
    pub fn describe(&self) -> String {
        self.describe_where(|_| true)
    }

    /// The same for some of the keys.
    pub(super) fn describe_where(&self, wanted: impl Fn(&str) -> bool) -> String {
        let lines: Vec<_> = self.lines().into_iter().filter(|line| wanted(&line.key)).collect();
        let width = |part: fn(&Line) -> &str| lines.iter().map(|line| part(line).chars().count()).max().unwrap_or(0);
        let (keys, values) = (width(|line| &line.key), width(|line| &line.value).min(MAX_PADDED));
        let line = |Line { key, value, source }: &Line| format!("{key:keys$} = {value:values$}  # {source}\n");
        lines.iter().map(line).collect()
    }

    fn lines(&self) -> Vec<Line> {
        let file = self.file.iter().map(|file| self.line(CONFIG, format!("\"{}\"", one_line(file))));
        let keys = keys::all().flat_map(|key| key.values(&self.config));
        let keys = keys.map(|(path, value)| self.line(&path, value));
        let tables = keys::LISTS.iter().flat_map(|list| (list.show)(&self.config));
        let tables = tables.flat_map(|(table, values)| {
            values.into_iter().map(move |(key, value)| self.line(&joined(&table, &key), value))
        });
        file.chain(keys).chain(tables).collect()
    }

    fn line(&self, path: &str, value: String) -> Line {
        Line { source: self.origins.of(path).to_string(), key: one_line(path), value }
    }
}

struct Line {
    key: String,
    value: String,
    source: String,
}

/// Columns. A longer value moves its own source only.
const MAX_PADDED: usize = 56;
