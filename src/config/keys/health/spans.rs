//! `health.spans`: read from a setting, and shown.

use super::super::text;
use crate::config::error::ConfigError;
use crate::config::setting::Setting;
use crate::config::tree::CheckSpans;
use crate::config::value::Value;

impl Setting {
    /// A word, or the share of the checks that change nothing and do not fail.
    pub(super) fn check_spans(&self) -> Result<CheckSpans, ConfigError> {
        match &self.value {
            Value::Text(text) if text == "off" => Ok(CheckSpans::Off),
            Value::Text(text) if text == "changes" => Ok(CheckSpans::Changes),
            Value::Text(text) if text == "failures" => Ok(CheckSpans::Failures),
            _ => self.share().map(CheckSpans::Share).map_err(|_| self.bad_text(FORMS)),
        }
    }
}

pub(super) fn show_check_spans(spans: &CheckSpans) -> String {
    match spans {
        CheckSpans::Off => text("off"),
        CheckSpans::Changes => text("changes"),
        CheckSpans::Failures => text("failures"),
        CheckSpans::Share(share) => share.to_string(),
    }
}

const FORMS: &str = "`off`, `changes`, `failures` or a share from 0 to 1";
