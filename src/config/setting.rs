//! One key's value from one source, and the types it can be read as.

use std::ops::RangeInclusive;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::duration;
use super::error::{ConfigError, Hint};
use super::keys;
use super::origin::Origin;
use super::value::{Value, one_line};
use super::words::Word;

/// One key's value from one source.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    /// The key in its table of keys.
    pub(super) key: &'static str,
    /// The whole dotted key. Under a key that takes any names it ends in the name.
    pub(super) path: String,
    pub(super) value: Value,
    pub(super) origin: Origin,
}

impl Setting {
    /// A setting whose path is its key.
    pub(super) fn of(key: &'static str, value: Value, origin: Origin) -> Self {
        Self { key, path: key.to_owned(), value, origin }
    }

    /// The last part of the path, where the key takes any names.
    pub(super) fn name(&self) -> &str {
        self.path.strip_prefix(self.key).and_then(|rest| rest.strip_prefix('.')).unwrap_or(&self.path)
    }

    /// Text, also without any letters.
    pub(super) fn text(&self) -> Result<&str, ConfigError> {
        match &self.value {
            Value::Text(text) => Ok(text),
            _ => Err(self.wrong_type("text")),
        }
    }

    pub(super) fn any_text(&self) -> Result<String, ConfigError> {
        self.text().map(str::to_owned)
    }

    pub(super) fn some_text(&self) -> Result<String, ConfigError> {
        match self.text()? {
            "" => Err(self.bad_text("text that is not empty")),
            text => Ok(text.to_owned()),
        }
    }

    /// A list of texts; where the source is text, they are separated by commas. Space around each is gone, and so are empty
    /// ones.
    pub(super) fn texts(&self) -> Result<Vec<String>, ConfigError> {
        let split =
            |text: &str| text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect();
        match &self.value {
            Value::Text(text) if self.origin.is_text() => Ok(split(text)),
            Value::List(items) => items
                .iter()
                .map(|item| match item {
                    Value::Text(text) => Ok(text.clone()),
                    _ => Err(self.wrong_type("a list of texts")),
                })
                .collect(),
            // An empty list and an empty table look the same in Lua.
            Value::Table(entries) if entries.is_empty() => Ok(Vec::new()),
            _ => Err(self.wrong_type("a list of texts")),
        }
    }

    /// One text or a list of them, none of them empty.
    pub(super) fn some_texts(&self) -> Result<Vec<String>, ConfigError> {
        let texts = match &self.value {
            Value::Text(text) => vec![text.clone()],
            _ => self.texts()?,
        };
        if texts.is_empty() || texts.iter().any(String::is_empty) {
            return Err(self.wrong_type("one text or more, none of them empty"));
        }
        Ok(texts)
    }

    /// A table of texts with no other names than those `known`.
    pub(super) fn texts_of(&self, known: &[&str]) -> Result<Vec<(String, String)>, ConfigError> {
        let Value::Table(entries) = &self.value else { return Err(self.wrong_type("a table")) };
        let entry = |(name, value): &(String, Value)| {
            let path = format!("{}.{name}", self.path);
            if !known.contains(&name.as_str()) {
                let hint = Hint::key(name, known, known);
                return Err(ConfigError::UnknownKey { key: one_line(&path), origin: self.origin.clone(), hint });
            }
            let one = Self { key: self.key, path, value: value.clone(), origin: self.origin.clone() };
            Ok((name.clone(), one.any_text()?))
        };
        entries.iter().map(entry).collect()
    }

    /// A list of words of a type's, without repetition.
    pub(super) fn words<T: Word>(&self) -> Result<Vec<T>, ConfigError> {
        let mut words = Vec::new();
        for text in self.texts()? {
            let one = Self { value: Value::Text(text), ..self.clone() };
            let word = one.word()?;
            if !words.contains(&word) {
                words.push(word);
            }
        }
        Ok(words)
    }

    /// RFC 9113, section 8.3.1, `:authority`.
    pub(super) fn authority(&self) -> Result<Option<String>, ConfigError> {
        let text = self.text()?;
        let is_host = |authority: &http::uri::Authority| {
            let (host, all) = (authority.host(), authority.as_str());
            !host.is_empty() && !all.contains('@') && (host == all || authority.port_u16().is_some())
        };
        match text.parse() {
            Ok(authority) if is_host(&authority) => Ok(Some(text.to_owned())),
            _ => Err(self.bad_text("a host, with a port or without")),
        }
    }

    /// A resource attribute: numbers and booleans are taken as their text.
    pub(super) fn attribute(&self) -> Result<String, ConfigError> {
        match &self.value {
            Value::Text(text) => Ok(text.clone()),
            Value::Bool(value) => Ok(value.to_string()),
            Value::Integer(value) => Ok(value.to_string()),
            Value::Float(value) => Ok(value.to_string()),
            Value::List(_) | Value::Table(_) => Err(self.wrong_type("text")),
        }
    }

    /// A header that can be sent as it is. RFC 9110, section 5.
    pub(super) fn header(&self) -> Result<(String, String), ConfigError> {
        let name: HeaderName = self.name().parse().map_err(|_| self.bad_text("a header's name"))?;
        let value = self.text()?;
        HeaderValue::from_str(value).map_err(|_| self.bad_text("text that a header can carry"))?;
        Ok((name.as_str().to_owned(), value.to_owned()))
    }

    pub(super) fn flag(&self) -> Result<bool, ConfigError> {
        match &self.value {
            Value::Bool(value) => Ok(*value),
            Value::Text(text) if self.origin.is_text() && text.eq_ignore_ascii_case("true") => Ok(true),
            Value::Text(text) if self.origin.is_text() && text.eq_ignore_ascii_case("false") => Ok(false),
            _ => Err(self.wrong_type("`true` or `false`")),
        }
    }

    pub(super) fn whole<T>(&self, allowed: RangeInclusive<T>) -> Result<T, ConfigError>
    where
        T: TryFrom<i64> + PartialOrd + std::fmt::Display,
    {
        let number = match &self.value {
            Value::Integer(number) => Some(*number),
            Value::Text(text) if self.origin.is_text() => text.parse().ok(),
            _ => None,
        };
        let number = number.ok_or_else(|| self.wrong_type("a whole number"))?;
        let found = T::try_from(number).ok().filter(|number| allowed.contains(number));
        found.ok_or_else(|| self.out_of_range(format!("{} to {}", allowed.start(), allowed.end())))
    }

    /// A share of the whole, 0 to 1.
    pub(super) fn share(&self) -> Result<f64, ConfigError> {
        let number = match &self.value {
            Value::Integer(number) => Some(*number as f64),
            Value::Float(number) => Some(*number),
            Value::Text(text) if self.origin.is_text() => text.parse().ok(),
            _ => None,
        };
        let number = number.ok_or_else(|| self.wrong_type("a number"))?;
        if (0.0..=1.0).contains(&number) { Ok(number) } else { Err(self.out_of_range("0 to 1".to_owned())) }
    }

    /// Text with a unit; whole milliseconds in the variables of the OpenTelemetry specification.
    pub(super) fn duration(&self, allowed: RangeInclusive<Duration>) -> Result<Duration, ConfigError> {
        let found = match &self.value {
            Value::Text(text) if self.origin.is_lenient() => text.parse().ok().map(Duration::from_millis),
            Value::Text(text) => duration::parse(text),
            _ => return Err(self.wrong_type(DURATION)),
        };
        let found = found.ok_or_else(|| self.bad_duration())?;
        if allowed.contains(&found) {
            return Ok(found);
        }
        Err(self.out_of_range(format!("{} to {}", duration::show(*allowed.start()), duration::show(*allowed.end()))))
    }

    /// One of the type's words; in any case where the source is text.
    pub(super) fn word<T: Word>(&self) -> Result<T, ConfigError> {
        let text = self.text()?;
        let same = |word: &str| word == text || (self.origin.is_text() && word.eq_ignore_ascii_case(text));
        let found = T::WORDS.iter().find(|(word, _)| same(word)).map(|(_, value)| *value);
        found.ok_or_else(|| self.bad_choice(&T::WORDS.iter().map(|(word, _)| *word).collect::<Vec<_>>()))
    }

    pub(super) fn wrong_type(&self, expected: &'static str) -> ConfigError {
        let found = if self.is_secret() { HIDDEN.to_owned() } else { self.value.with_kind() };
        ConfigError::WrongType { key: self.path.clone(), origin: self.origin.clone(), expected, found }
    }

    pub(super) fn bad_text(&self, expected: &'static str) -> ConfigError {
        ConfigError::BadText { key: self.path.clone(), origin: self.origin.clone(), expected, found: self.found() }
    }

    /// The same without what was found: a password may be in it.
    pub(super) fn bad_secret(&self, expected: &'static str) -> ConfigError {
        let found = HIDDEN.to_owned();
        ConfigError::BadText { key: self.path.clone(), origin: self.origin.clone(), expected, found }
    }

    /// For the reader of an error: what was found, unless it is a secret.
    pub(super) fn found(&self) -> String {
        if self.is_secret() { HIDDEN.to_owned() } else { self.value.quoted() }
    }

    fn out_of_range(&self, allowed: String) -> ConfigError {
        ConfigError::OutOfRange { key: self.path.clone(), origin: self.origin.clone(), allowed, found: self.found() }
    }

    fn bad_choice(&self, words: &[&str]) -> ConfigError {
        let hint = self.text().map(|text| Hint::near(text, words)).unwrap_or_default();
        ConfigError::BadChoice {
            key: self.path.clone(),
            origin: self.origin.clone(),
            allowed: words.join(" or "),
            found: self.found(),
            hint,
        }
    }

    fn bad_duration(&self) -> ConfigError {
        let expected = if self.origin.is_lenient() { "whole milliseconds" } else { DURATION };
        ConfigError::BadDuration { key: self.path.clone(), origin: self.origin.clone(), expected, found: self.found() }
    }

    fn is_secret(&self) -> bool {
        keys::is_headers(self.key) || keys::is_metadata(self.key)
    }
}

/// What stands in place of a secret.
pub(super) const HIDDEN: &str = "(hidden)";

const DURATION: &str = "a duration such as `500ms`, `2s` or `1m`";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn argument(text: &str) -> Setting {
        Setting::of("runtime.workers", Value::Text(text.to_owned()), Origin::Argument)
    }

    #[test]
    fn numbers_and_booleans_are_read_from_text_where_the_source_has_nothing_else() {
        assert_eq!(argument("3").whole(1..=64_usize).unwrap(), 3);
        assert!((argument("0.5").share().unwrap() - 0.5).abs() < f64::EPSILON);
        assert!(argument("TRUE").flag().unwrap());
    }

    #[test]
    fn the_text_of_a_number_is_no_number_where_the_source_has_numbers() {
        let setting = Setting { origin: Origin::Option, ..argument("3") };
        let message = "`runtime.workers` (option in Lua): expected a whole number, found text `3`";
        assert_eq!(setting.whole(1..=64_usize).unwrap_err().to_string(), message);
    }

    #[test]
    fn a_share_that_is_no_number_is_out_of_range() {
        for text in ["NaN", "inf", "-0.1", "1.1"] {
            assert!(argument(text).share().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in ".*") {
            let setting = argument(&text);
            let lenient = Setting { origin: Origin::OpenTelemetry("OTEL_X"), ..setting.clone() };
            for setting in [setting, lenient] {
                let _ = setting.whole(1..=64_usize);
                let _ = setting.share();
                let _ = setting.flag();
                let _ = setting.duration(Duration::ZERO..=Duration::from_secs(1));
                let _ = setting.authority();
                let _ = setting.header();
            }
        }
    }
}
