//! Values that only health checks have: read from a setting, and shown.

use std::path::PathBuf;

use http::{HeaderName, HeaderValue};

use super::super::text;
use crate::config::error::ConfigError;
use crate::config::setting::{HIDDEN, Setting};
use crate::config::tree::{CodeRule, Codes, MetadataValue};
use crate::config::value::{Value, one_line};

impl Setting {
    /// One service or a list of them.
    pub(super) fn services(&self) -> Result<Vec<String>, ConfigError> {
        if let Value::Text(text) = &self.value {
            return Ok(vec![text.clone()]);
        }
        let mut services = Vec::new();
        for service in self.texts()? {
            if !services.contains(&service) {
                services.push(service);
            }
        }
        if services.is_empty() || services.len() > MAX_SERVICES {
            return Err(self.bad_text("a service or a list of 1 to 16"));
        }
        Ok(services)
    }

    /// A table of header names; each value is text, `{ file = "..." }` or `{ env = "..." }`.
    pub(super) fn metadata(&self) -> Result<Vec<(String, MetadataValue)>, ConfigError> {
        let Value::Table(entries) = &self.value else { return Err(self.wrong_type("a table of names and values")) };
        if entries.len() > MAX_METADATA {
            return Err(self.bad_text("at most 32 names"));
        }
        entries.iter().map(|(name, value)| self.below(name, value.clone()).metadatum(name)).collect()
    }

    fn metadatum(&self, name: &str) -> Result<(String, MetadataValue), ConfigError> {
        let name: HeaderName = name.parse().map_err(|_| self.bad_text("a header's name"))?;
        if is_reserved(name.as_str()) {
            return Err(self.bad_text("a name that gRPC leaves to its users"));
        }
        let value = match &self.value {
            Value::Text(text) => {
                HeaderValue::from_str(text).map_err(|_| self.bad_text("text that a header can carry"))?;
                MetadataValue::Text(text.clone())
            }
            Value::Table(entries) => match entries.as_slice() {
                [(key, Value::Text(path))] if key == "file" => MetadataValue::File(PathBuf::from(path)),
                [(key, Value::Text(name))] if key == "env" => MetadataValue::Env(name.clone()),
                _ => return Err(self.bad_text(METADATA_FORMS)),
            },
            _ => return Err(self.bad_text(METADATA_FORMS)),
        };
        Ok((name.as_str().to_owned(), value))
    }

    pub(super) fn user_agent(&self) -> Result<Option<String>, ConfigError> {
        let text = self.some_text()?;
        HeaderValue::from_str(&text).map_err(|_| self.bad_text("text that a header can carry"))?;
        Ok(Some(text))
    }

    /// A table: `pass`, `fail`, `drain` and `hold`, each with codes and ranges of codes such as `"5,7-9"`.
    pub(super) fn codes(&self) -> Result<Codes, ConfigError> {
        let Value::Table(entries) = &self.value else { return Err(self.wrong_type("a table of rules and codes")) };
        let mut codes = Codes::default();
        for (name, value) in entries {
            let setting = self.below(name, value.clone());
            let Some((_, rule)) = RULES.iter().find(|(word, _)| word == name) else {
                return Err(setting.bad_text("a rule: `pass`, `fail`, `drain` or `hold`"));
            };
            for code in setting.code_list()? {
                if !codes.add(code, *rule) {
                    return Err(setting.bad_text("codes of 1 to 16, each in one rule only"));
                }
            }
        }
        Ok(codes)
    }

    fn code_list(&self) -> Result<Vec<usize>, ConfigError> {
        let refused = || self.bad_text("codes and ranges such as `5,7-9`");
        let text = match &self.value {
            Value::Integer(code) => code.to_string(),
            Value::Text(text) => text.clone(),
            _ => return Err(refused()),
        };
        let mut codes = Vec::new();
        for part in text.split(',').map(str::trim) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let code = |text: &str| text.trim().parse().ok().filter(|code: &usize| *code <= MAX_CODE);
            let (first, last) = (code(first).ok_or_else(refused)?, code(last).ok_or_else(refused)?);
            if first > last {
                return Err(refused());
            }
            codes.extend(first..=last);
        }
        Ok(codes)
    }

    /// One path or a list of them.
    pub(super) fn paths(&self) -> Result<Vec<PathBuf>, ConfigError> {
        let texts = match &self.value {
            Value::Text(text) => vec![text.clone()],
            _ => self.texts()?,
        };
        if texts.is_empty() || texts.len() > MAX_CA_FILES || texts.iter().any(String::is_empty) {
            return Err(self.bad_text("a path or a list of 1 to 16"));
        }
        Ok(texts.into_iter().map(PathBuf::from).collect())
    }

    pub(super) fn path(&self) -> Result<Option<PathBuf>, ConfigError> {
        self.some_text().map(|text| Some(PathBuf::from(text)))
    }

    /// A name or an IP address, without a port.
    pub(super) fn host_name(&self) -> Result<Option<String>, ConfigError> {
        let text = self.some_text()?;
        let is_name = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        if text.len() > MAX_NAME || !(text.parse::<std::net::IpAddr>().is_ok() || is_name(&text)) {
            return Err(self.bad_text("a host's name or address, without a port"));
        }
        Ok(Some(text))
    }

    /// The entry `name` of this table, as a setting of its own.
    fn below(&self, name: &str, value: Value) -> Self {
        Self { value, path: format!("{}.{}", self.path, one_line(name)), ..self.clone() }
    }
}

pub(super) fn show_services(services: &[String]) -> String {
    match services {
        [one] => text(one),
        several => list(several.iter().map(|one| text(one))),
    }
}

/// The names alone: values are secrets.
pub(super) fn show_metadata(metadata: &[(String, MetadataValue)]) -> String {
    let entries: Vec<_> = metadata.iter().map(|(name, _)| format!("{name} = {HIDDEN}")).collect();
    if entries.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", entries.join(", ")) }
}

#[expect(clippy::ref_option, reason = "the table of keys hands the field over")]
pub(super) fn show_user_agent(agent: &Option<String>) -> String {
    text(agent.as_deref().unwrap_or(concat!("haproxy-vitals/", env!("CARGO_PKG_VERSION"))))
}

pub(super) fn show_codes(codes: &Codes) -> String {
    let entries: Vec<_> = RULES
        .iter()
        .map(|(word, rule)| (word, codes.with(*rule)))
        .filter(|(_, codes)| !codes.is_empty())
        .map(|(word, codes)| {
            let codes: Vec<_> = codes.iter().map(ToString::to_string).collect();
            format!("{word} = \"{}\"", codes.join(","))
        })
        .collect();
    if entries.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", entries.join(", ")) }
}

pub(super) fn show_paths(paths: &[PathBuf]) -> String {
    if paths.is_empty() {
        return "(the system's)".to_owned();
    }
    list(paths.iter().map(|path| text(&path.display().to_string())))
}

#[expect(clippy::ref_option, reason = "the table of keys hands the field over")]
pub(super) fn show_path(path: &Option<PathBuf>) -> String {
    path.as_ref().map_or("(none)".to_owned(), |path| text(&path.display().to_string()))
}

#[expect(clippy::ref_option, reason = "the table of keys hands the field over")]
pub(super) fn show_server_name(name: &Option<String>) -> String {
    name.as_ref().map_or("(the authority's)".to_owned(), |name| text(name))
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

/// gRPC over HTTP/2, Requests: what the protocol itself sends, and what HTTP/2 forbids. Binary values end in `-bin`.
fn is_reserved(name: &str) -> bool {
    name.starts_with("grpc-") || name.ends_with("-bin") || RESERVED.contains(&name)
}

/// The key whose values are secrets.
pub(in crate::config) const METADATA: &str = "metadata";

const RULES: [(&str, CodeRule); 4] =
    [("pass", CodeRule::Pass), ("fail", CodeRule::Fail), ("drain", CodeRule::Drain), ("hold", CodeRule::Hold)];
const METADATA_FORMS: &str = "text, `{ file = \"...\" }` or `{ env = \"...\" }`";
const RESERVED: [&str; 10] = [
    "connection",
    "content-length",
    "content-type",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];
/// gRPC's status codes: 0 to 16.
const MAX_CODE: usize = 16;
const MAX_SERVICES: usize = 16;
const MAX_METADATA: usize = 32;
const MAX_CA_FILES: usize = 16;
/// RFC 1035, section 2.3.4.
const MAX_NAME: usize = 255;
