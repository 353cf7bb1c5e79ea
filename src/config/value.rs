//! A value as a source has it, before a key gives it a type.

use super::origin::Origin;

/// A value from Lua, free of Lua's types. The file, the environment and arguments are turned into it too.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `true` or `false`.
    Bool(bool),
    /// A number without a fraction.
    Integer(i64),
    /// A number with a fraction.
    Float(f64),
    /// Text.
    Text(String),
    /// A list, in order.
    List(Vec<Value>),
    /// A table, in the source's order. A Lua table without entries is an empty table.
    Table(Vec<(String, Value)>),
}

impl Value {
    /// For the reader of an error: what was found, with its kind.
    pub(super) fn with_kind(&self) -> String {
        match self {
            Self::Bool(_) | Self::List(_) | Self::Table(_) => self.quoted(),
            Self::Integer(_) | Self::Float(_) => format!("number {}", self.quoted()),
            Self::Text(_) => format!("text {}", self.quoted()),
        }
    }

    /// For the reader of an error: what was found.
    pub(super) fn quoted(&self) -> String {
        match self {
            Self::Bool(value) => format!("`{value}`"),
            Self::Integer(value) => format!("`{value}`"),
            Self::Float(value) => format!("`{value:?}`"),
            Self::Text(value) => quoted(value),
            Self::List(_) => "a list".to_owned(),
            Self::Table(_) => "a table".to_owned(),
        }
    }
}

/// A value that knows for each part where it came from.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) content: Content,
    pub(super) origin: Origin,
}

/// What a [`Node`] holds.
#[derive(Debug, Clone)]
pub(super) enum Content {
    /// Neither a list nor a table.
    Leaf(Value),
    List(Vec<Node>),
    Table(Entries),
}

/// A table's entries.
pub(super) type Entries = Vec<(String, Node)>;

impl Node {
    /// `value` with `origin` for each of its parts.
    pub(super) fn of(value: Value, origin: &Origin) -> Self {
        let content = match value {
            Value::List(items) => Content::List(items.into_iter().map(|item| Self::of(item, origin)).collect()),
            Value::Table(entries) => {
                Content::Table(entries.into_iter().map(|(name, value)| (name, Self::of(value, origin))).collect())
            }
            leaf => Content::Leaf(leaf),
        };
        Self { content, origin: origin.clone() }
    }

    /// The value alone.
    pub(super) fn into_value(self) -> Value {
        match self.content {
            Content::Leaf(value) => value,
            Content::List(items) => Value::List(items.into_iter().map(Self::into_value).collect()),
            Content::Table(entries) => {
                Value::Table(entries.into_iter().map(|(name, node)| (name, node.into_value())).collect())
            }
        }
    }
}

/// `text` between backticks, on one line, at most [`MAX_QUOTED`] characters of it.
pub(super) fn quoted(text: &str) -> String {
    format!("`{}`", one_line(text))
}

/// `text` on one line, at most [`MAX_QUOTED`] characters of it.
pub(super) fn one_line(text: &str) -> String {
    let mut line = String::new();
    for character in text.chars().take(MAX_QUOTED) {
        if character.is_control() { line.extend(character.escape_default()) } else { line.push(character) }
    }
    if text.chars().nth(MAX_QUOTED).is_some() {
        line.push_str("...");
    }
    line
}

/// Characters of foreign text that one message repeats.
const MAX_QUOTED: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_stays_on_one_line_and_short() {
        assert_eq!(quoted("a\nb"), "`a\\nb`");
        assert_eq!(quoted(&"x".repeat(81)), format!("`{}...`", "x".repeat(80)));
    }

    #[test]
    fn a_number_and_the_text_of_a_number_are_told_apart() {
        assert_eq!(Value::Integer(2).with_kind(), "number `2`");
        assert_eq!(Value::Float(2.0).with_kind(), "number `2.0`");
        assert_eq!(Value::Text("2".to_owned()).with_kind(), "text `2`");
    }
}
