//! `show vitals config`: each setting with its source.

use super::keys::{self, BACKEND_KEYS, BACKENDS, CONFIG, Key, Show};
use super::load::Loaded;
use super::value::one_line;

impl Loaded {
    /// One line for each setting, in the order of the tree: `key = value  # source`. Secrets are hidden.
    pub fn describe(&self) -> String {
        let lines = self.lines();
        let width = |part: fn(&Line) -> &str| lines.iter().map(|line| part(line).chars().count()).max().unwrap_or(0);
        let (keys, values) = (width(|line| &line.key), width(|line| &line.value).min(MAX_PADDED));
        let line = |Line { key, value, source }: &Line| format!("{key:keys$} = {value:values$}  # {source}\n");
        lines.iter().map(line).collect()
    }

    fn lines(&self) -> Vec<Line> {
        let file = self.file.iter().map(|file| self.line(CONFIG, format!("\"{}\"", one_line(file))));
        let keys = keys::all().flat_map(|key| self.lines_of("", key, &self.config));
        let backends = self.config.health.backends.iter().flat_map(|backend| {
            let table = format!("{BACKENDS}.{}.", one_line(&backend.name));
            BACKEND_KEYS.iter().flat_map(move |key| self.lines_of(&table, key, backend))
        });
        file.chain(keys).chain(backends).collect()
    }

    fn lines_of<T>(&self, table: &str, key: &Key<T>, tree: &T) -> Vec<Line> {
        let path = format!("{table}{}", key.name);
        match key.show {
            Show::One(show) => vec![self.line(&path, show(tree))],
            Show::Each(show) => {
                show(tree).into_iter().map(|(name, value)| self.line(&format!("{path}.{name}"), value)).collect()
            }
        }
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
