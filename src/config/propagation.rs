//! The settings about propagation whose values have rules of their own.

use super::error::{ConfigError, Hint};
use super::setting::Setting;
use super::tree::{Frontends, MAX_BAGGAGE_KEYS, MAX_FRONTENDS, Propagator};
use super::value::{Value, quoted};
use super::words::Word;

/// The word that stands alone, for no propagator at all.
const NONE: &str = "none";

/// The word that stands alone, for whatever the rest of the configuration asks for.
const AUTO: &str = "auto";

impl Setting {
    /// Propagators without repetition. `none` stands alone, and so does an empty list.
    pub(super) fn propagators(&self) -> Result<Vec<Propagator>, ConfigError> {
        let texts = self.texts()?;
        if !texts.iter().any(|text| self.is_none(text)) {
            return self.words();
        }
        if texts.len() > 1 {
            return Err(self.bad_text("`none` alone, or other propagators"));
        }
        Ok(Vec::new())
    }

    /// Names of frontends with `*`, `?` and `!`, or `auto` alone.
    pub(super) fn frontends(&self) -> Result<Frontends, ConfigError> {
        let names = match &self.value {
            Value::Text(one) if !self.origin.is_text() => vec![one.clone()],
            _ => self.texts()?,
        };
        if matches!(names.as_slice(), [one] if one == AUTO) {
            return Ok(Frontends::Auto);
        }
        let valid = |name: &String| {
            let name = name.strip_prefix('!').unwrap_or(name);
            !name.is_empty() && name.bytes().all(|byte| is_name(byte) || matches!(byte, b'*' | b'?'))
        };
        if !names.iter().all(valid) {
            return Err(self.bad_text("`auto` alone, or names of frontends with `*`, `?`, and `!` before exceptions"));
        }
        if names.len() > MAX_FRONTENDS {
            return Err(self.bad_text("at most 256 names of frontends"));
        }
        Ok(Frontends::List(names))
    }

    /// The name of a frontend, as HAProxy has them; the last part of the path. `known`: how many there are.
    pub(super) fn frontend(&self, known: usize) -> Result<String, ConfigError> {
        let name = self.name();
        if name.is_empty() || !name.bytes().all(is_name) {
            return Err(self.bad_text("a key that is a frontend's name"));
        }
        if known >= MAX_FRONTENDS {
            return Err(self.bad_text("at most 256 frontends"));
        }
        Ok(name.to_owned())
    }

    /// Keys of baggage, without repetition. W3C Baggage, 3.2.1.1: tokens.
    pub(super) fn baggage_keys(&self) -> Result<Vec<String>, ConfigError> {
        let mut keys: Vec<String> = Vec::new();
        for key in self.texts()? {
            if key.is_empty() || key.len() > MAX_KEY || !key.bytes().all(is_token) {
                return Err(self.bad_text("keys of baggage, of at most 255 bytes"));
            }
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        if keys.len() > MAX_BAGGAGE_KEYS {
            return Err(self.bad_text("at most 64 keys of baggage"));
        }
        Ok(keys)
    }

    fn is_none(&self, text: &str) -> bool {
        text == NONE || (self.origin.is_text() && text.eq_ignore_ascii_case(NONE))
    }
}

/// `OTEL_PROPAGATORS` without the names that nobody knows, each of which is a warning. `None`: nothing is left.
pub(super) fn known(variable: &str, text: &str, warnings: &mut Vec<String>) -> Option<Value> {
    let words: Vec<_> = Propagator::WORDS.iter().map(|(word, _)| *word).chain([NONE]).collect();
    let is_known = |name: &&str| words.iter().any(|word| word.eq_ignore_ascii_case(name));
    let names = || text.split(',').map(str::trim).filter(|name| !name.is_empty());
    let unknown = names().filter(|name| !is_known(name));
    warnings.extend(unknown.map(|name| {
        let hint = Hint::near(name, &words);
        format!("{variable}: unknown propagator {}{hint}; ignored", quoted(name))
    }));
    let known: Vec<_> = names().filter(is_known).collect();
    (!known.is_empty()).then(|| Value::Text(known.join(",")))
}

/// HAProxy's configuration manual, "Proxies": what a section's name may have in it.
const fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':')
}

/// RFC 9110, section 5.6.2.
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
}

/// Bytes of the longest key: an attribute's name is not longer.
const MAX_KEY: usize = 255;
