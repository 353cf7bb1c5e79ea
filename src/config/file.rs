//! The TOML file. Read once, before HAProxy's chroot hides it.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::ConfigError;
use super::origin::Origin;
use super::setting::Setting;
use super::value::{Content, Entries, Node, Value, one_line};

/// Reads the file that the setting `config` names.
pub(super) fn read(config: &Setting) -> Result<Entries, ConfigError> {
    let path = config.text()?;
    let unreadable = |source| ConfigError::Unreadable { path: one_line(path), origin: config.origin.clone(), source };
    let bytes = bytes_of(path).map_err(unreadable)?;
    parse(path, &bytes)
}

/// The entries in the file's order, each with its line. `path` is for messages.
pub(super) fn parse(path: &str, bytes: &[u8]) -> Result<Entries, ConfigError> {
    let document = Document::new(path, bytes);
    let text = std::str::from_utf8(bytes).map_err(|error| document.syntax(error.valid_up_to(), &error.to_string()))?;
    let table = DeTable::parse(text)
        .map_err(|error| document.syntax(error.span().map_or(0, |span| span.start), error.message()))?;
    document.entries("", table.get_ref())
}

/// Longer files are refused: a settings file is a few kilobytes, a device or a log is without end.
const MAX_BYTES: u64 = 1024 * 1024;

const HUGE: &str = "a number of more than 64 bits";

fn bytes_of(path: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "longer than 1 MiB"));
    }
    Ok(bytes)
}

struct Document {
    path: Arc<str>,
    /// Where each line ends.
    lines: Vec<usize>,
}

impl Document {
    fn new(path: &str, bytes: &[u8]) -> Self {
        let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        Self { path: one_line(path).into(), lines: ends.map(|(offset, _)| offset).collect() }
    }

    fn entries(&self, path: &str, table: &DeTable<'_>) -> Result<Entries, ConfigError> {
        let mut sorted: Vec<_> = table.iter().collect();
        sorted.sort_by_key(|(key, _)| key.span().start);
        let entry = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
            let name: &str = AsRef::<str>::as_ref(key.get_ref());
            let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
            Ok((name.to_owned(), self.node(&path, &key.span(), value.get_ref())?))
        };
        sorted.into_iter().map(entry).collect()
    }

    fn node(&self, path: &str, span: &Range<usize>, value: &DeValue<'_>) -> Result<Node, ConfigError> {
        let content = match value {
            DeValue::String(text) => Content::Leaf(Value::Text(text.clone().into_owned())),
            DeValue::Boolean(value) => Content::Leaf(Value::Bool(*value)),
            DeValue::Integer(number) => {
                let value = i64::from_str_radix(number.as_str(), number.radix()).ok();
                Content::Leaf(Value::Integer(value.ok_or_else(|| self.unfit(path, span, HUGE))?))
            }
            DeValue::Float(number) => {
                let value = number.as_str().parse().ok();
                Content::Leaf(Value::Float(value.ok_or_else(|| self.unfit(path, span, HUGE))?))
            }
            DeValue::Datetime(_) => return Err(self.unfit(path, span, "a date")),
            DeValue::Array(items) => Content::List(
                items.iter().map(|item| self.node(path, &item.span(), item.get_ref())).collect::<Result<_, _>>()?,
            ),
            DeValue::Table(table) => Content::Table(self.entries(path, table)?),
        };
        Ok(Node { content, origin: self.origin(span) })
    }

    fn origin(&self, span: &Range<usize>) -> Origin {
        Origin::File { path: Arc::clone(&self.path), line: self.position(span.start).0 }
    }

    /// A kind of value that no key takes. Not repeated: it may stand where a secret belongs.
    fn unfit(&self, path: &str, span: &Range<usize>, found: &str) -> ConfigError {
        ConfigError::WrongType {
            key: one_line(path),
            origin: self.origin(span),
            expected: "text, a boolean, or a number of 64 bits",
            found: found.to_owned(),
        }
    }

    fn syntax(&self, offset: usize, message: &str) -> ConfigError {
        let (line, column) = self.position(offset);
        ConfigError::Syntax { path: self.path.to_string(), line, column, message: one_line(message) }
    }

    /// Line and column, counted from 1; the column in bytes.
    fn position(&self, offset: usize) -> (usize, usize) {
        let line = self.lines.partition_point(|end| *end < offset);
        let start = line.checked_sub(1).and_then(|above| self.lines.get(above)).map_or(0, |end| end + 1);
        (line + 1, offset.saturating_sub(start) + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn error(text: &[u8]) -> String {
        parse("vitals.toml", text).unwrap_err().to_string()
    }

    #[test]
    fn entries_keep_the_order_of_the_file_and_know_their_line() {
        let entries = parse("vitals.toml", b"[traces]\nsampler = 'x'\n\nenabled = true\n").unwrap();
        let Content::Table(traces) = &entries[0].1.content else { panic!("no table") };
        let lines: Vec<_> = traces.iter().map(|(name, node)| format!("{name} {}", node.origin)).collect();
        assert_eq!(lines, ["sampler vitals.toml:2", "enabled vitals.toml:4"]);
    }

    #[test]
    fn a_table_in_a_list_has_the_line_of_its_head() {
        let entries = parse("v.toml", b"[[health.backend]]\nname = 'a'\n\n[[health.backend]]\nname = 'b'\n").unwrap();
        let Content::Table(health) = &entries[0].1.content else { panic!("no table") };
        let Content::List(backends) = &health[0].1.content else { panic!("no list") };
        let lines: Vec<_> = backends.iter().map(|node| node.origin.to_string()).collect();
        assert_eq!(lines, ["v.toml:1", "v.toml:4"]);
    }

    #[test]
    fn an_error_names_line_and_column() {
        let message =
            "vitals.toml:2:7: expected TOML, found an error: string values must be quoted, expected literal string";
        assert_eq!(error(b"[a]\nkey = word\n"), message);
    }

    #[test]
    fn bytes_that_are_no_text_are_an_error_with_their_place() {
        let message = "vitals.toml:2:2: expected TOML, found an error: invalid utf-8 sequence of 1 bytes from index 4";
        assert_eq!(error(b"#a\n#\xff\n"), message);
    }

    #[test]
    fn dates_and_huge_numbers_are_values_that_no_key_takes() {
        let message = "`a.b` (vitals.toml:1): expected text, a boolean, or a number of 64 bits, found a date";
        assert_eq!(error(b"a.b = 1979-05-27"), message);
        assert!(error(b"a = 9223372036854775808").ends_with("found a number of more than 64 bits"));
    }

    #[test]
    fn a_file_without_end_is_refused() {
        let config = Setting::of("config", Value::Text("/dev/zero".to_owned()), Origin::Argument);
        let message =
            "`config` (lua-load argument): expected a file that can be read, found /dev/zero: longer than 1 MiB";
        assert_eq!(read(&config).unwrap_err().to_string(), message);
    }

    #[test]
    fn a_deep_file_is_refused() {
        let message = "vitals.toml:1:1: expected TOML, found an error: recursion limit";
        assert_eq!(error(format!("{}a = 1", "a.".repeat(100_000)).as_bytes()), message);
        assert!(parse("vitals.toml", format!("a = {}", "[".repeat(100_000)).as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse("vitals.toml", &bytes);
        }

        #[test]
        fn arbitrary_text_never_panics(text in "[\\[\\]a-c.=\"'0-9{},\n -]{0,80}") {
            let _ = parse("vitals.toml", text.as_bytes());
        }
    }
}
