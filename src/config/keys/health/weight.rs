//! The keys of weights: read from a setting, and shown.

use http::HeaderName;

use super::super::text;
use crate::config::error::ConfigError;
use crate::config::setting::Setting;
use crate::config::tree::OrcaMetric;
use crate::config::value::Value;

impl Setting {
    /// A metadata key; empty text is none.
    pub(super) fn weight_metadata(&self) -> Result<Option<String>, ConfigError> {
        let text = self.text()?;
        if text.is_empty() {
            return Ok(None);
        }
        let name: HeaderName = text.parse().map_err(|_| self.bad_text("a header's name"))?;
        // gRPC over HTTP/2, Custom-Metadata: what ends so is binary, and `grpc-` is gRPC's own.
        if name.as_str().starts_with("grpc-") || name.as_str().ends_with("-bin") {
            return Err(self.bad_text("a name that gRPC leaves to its users, for text"));
        }
        Ok(Some(name.as_str().to_owned()))
    }

    /// `off`, or a utilisation of a load report.
    pub(super) fn orca(&self) -> Result<Option<OrcaMetric>, ConfigError> {
        let refused = || self.bad_text(ORCA_FORMS);
        Ok(Some(match self.text()? {
            "off" => return Ok(None),
            "cpu" => OrcaMetric::Cpu,
            "memory" => OrcaMetric::Memory,
            "application" => OrcaMetric::Application,
            text => match text.split_once(':').ok_or_else(refused)? {
                (_, name) if name.is_empty() || name.len() > MAX_NAME => return Err(refused()),
                ("named", name) => OrcaMetric::Named(name.to_owned()),
                ("utilization", name) => OrcaMetric::Utilization(name.to_owned()),
                _ => return Err(refused()),
            },
        }))
    }

    /// A share below 1: with 1 nothing new would ever count.
    pub(super) fn smoothing(&self) -> Result<f64, ConfigError> {
        let share = self.share()?;
        if share > MAX_SMOOTHING { Err(self.bad_text("a number from 0 to 0.99")) } else { Ok(share) }
    }

    /// `80` or `"80%"`.
    pub(super) fn percent(&self, least: u8) -> Result<u8, ConfigError> {
        let number = match &self.value {
            Value::Text(text) => text.strip_suffix('%').map(str::trim),
            _ => None,
        };
        match number {
            Some(number) => Self { value: Value::Integer(number.parse().unwrap_or(-1)), ..self.clone() },
            None => self.clone(),
        }
        .whole(least..=100)
    }
}

#[expect(clippy::ref_option, reason = "the table of keys hands the field over")]
pub(super) fn show_weight_metadata(name: &Option<String>) -> String {
    name.as_ref().map_or("(none)".to_owned(), |name| text(name))
}

#[expect(clippy::ref_option, reason = "the table of keys hands the field over")]
pub(super) fn show_orca(metric: &Option<OrcaMetric>) -> String {
    text(&match metric {
        None => "off".to_owned(),
        Some(OrcaMetric::Cpu) => "cpu".to_owned(),
        Some(OrcaMetric::Memory) => "memory".to_owned(),
        Some(OrcaMetric::Application) => "application".to_owned(),
        Some(OrcaMetric::Named(name)) => format!("named:{name}"),
        Some(OrcaMetric::Utilization(name)) => format!("utilization:{name}"),
    })
}

const ORCA_FORMS: &str =
    "`off`, `cpu`, `memory`, `application`, `named:NAME` or `utilization:NAME`, a name of 1 to 128 bytes";
const MAX_NAME: usize = 128;
const MAX_SMOOTHING: f64 = 0.99;
