//! ORCA load reports (Open Request Cost Aggregation): messages, the forms they come in, and what they say about a weight.
//!
//! gRFC A51 "Custom Backend Metrics Support" and A58; `xds/data/orca/v3/orca_load_report.proto` and
//! `xds/service/orca/v3/orca.proto` of the xDS API.

use std::collections::HashMap;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::HeaderMap;
use prost::Message;
use serde_json::Value;

use crate::config::OrcaMetric;

/// `xds.data.orca.v3.OrcaLoadReport`, without what no weight is made of.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct OrcaLoadReport {
    /// A fraction of what is available; may exceed 1.
    #[prost(double, tag = "1")]
    pub(crate) cpu_utilization: f64,
    /// A fraction of what is available.
    #[prost(double, tag = "2")]
    pub(crate) mem_utilization: f64,
    /// Fractions of what is available, by resource.
    #[prost(map = "string, double", tag = "5")]
    pub(crate) utilization: HashMap<String, f64>,
    /// Anything.
    #[prost(map = "string, double", tag = "8")]
    pub(crate) named_metrics: HashMap<String, f64>,
    /// A fraction of what is available; may exceed 1.
    #[prost(double, tag = "9")]
    pub(crate) application_utilization: f64,
}

/// `xds.service.orca.v3.OrcaLoadReportRequest`, without `request_cost_names`: none, for all.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct OrcaLoadReportRequest {
    /// Between two reports.
    #[prost(message, optional, tag = "1")]
    pub(crate) report_interval: Option<Interval>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Interval {
    #[prost(int64, tag = "1")]
    pub(crate) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(crate) nanos: i32,
}

/// Why a report is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReportError {
    /// Not what its form says.
    #[error("malformed")]
    Malformed,
    /// More than one, which leaves open which counts: gRFC A51.
    #[error("more than one")]
    Several,
}

/// The report in these headers or trailers, if there is one.
pub(crate) fn read(headers: &HeaderMap) -> Result<Option<OrcaLoadReport>, ReportError> {
    let mut found =
        [BINARY, ANY, JSON].into_iter().flat_map(|name| headers.get_all(name).iter().map(move |value| (name, value)));
    let Some((name, value)) = found.next() else { return Ok(None) };
    if found.next().is_some() {
        return Err(ReportError::Several);
    }
    let text = value.to_str().map_err(|_| ReportError::Malformed)?.trim();
    let report = match name {
        BINARY => binary(text),
        JSON => json(text),
        _ => match text.split_once(' ') {
            Some(("BIN", rest)) => binary(rest.trim()),
            Some(("JSON", rest)) => json(rest.trim()),
            Some(("TEXT", rest)) => native(rest),
            _ => native(text),
        },
    };
    report.map(Some)
}

impl OrcaLoadReport {
    /// One utilisation, at least 0. None where the report does not say it: protobuf does not tell an absent number from 0, so
    /// 0 counts as absent, as gRFC A58 has it.
    pub(crate) fn load(&self, metric: &OrcaMetric) -> Option<f64> {
        let said = |value: f64| (value > 0.0).then_some(value);
        let load = match metric {
            OrcaMetric::Cpu => said(self.cpu_utilization),
            OrcaMetric::Memory => said(self.mem_utilization),
            OrcaMetric::Application => said(self.application_utilization),
            OrcaMetric::Named(name) => self.named_metrics.get(name).copied(),
            OrcaMetric::Utilization(name) => self.utilization.get(name).copied(),
        };
        load.filter(|load| load.is_finite() && *load >= 0.0)
    }

    fn set(&mut self, name: &str, value: f64) {
        match name.split_once('.') {
            Some(("named_metrics", name)) => self.named_metrics.insert(name.to_owned(), value),
            Some(("utilization", name)) => self.utilization.insert(name.to_owned(), value),
            _ => {
                match name {
                    "cpu_utilization" | "cpuUtilization" => self.cpu_utilization = value,
                    "mem_utilization" | "memUtilization" => self.mem_utilization = value,
                    "application_utilization" | "applicationUtilization" => self.application_utilization = value,
                    // What no weight is made of.
                    _ => {}
                }
                None
            }
        };
    }
}

/// The weight that is left at `load`, in percent: 100 when idle, 0 when full.
pub(crate) fn percent(load: f64) -> f64 {
    (100.0 * (1.0 - load)).clamp(0.0, 100.0)
}

/// gRPC over HTTP/2, Binary-Header: base64, with padding or without.
fn binary(text: &str) -> Result<OrcaLoadReport, ReportError> {
    let bytes = BASE64.decode(text).map_err(|_| ReportError::Malformed)?;
    decode(&bytes)
}

/// An encoded `OrcaLoadReport`.
pub(crate) fn decode(bytes: &[u8]) -> Result<OrcaLoadReport, ReportError> {
    OrcaLoadReport::decode(bytes).map_err(|_| ReportError::Malformed)
}

/// protobuf's JSON form, with names in either spelling.
fn json(text: &str) -> Result<OrcaLoadReport, ReportError> {
    let Ok(Value::Object(fields)) = serde_json::from_str(text) else { return Err(ReportError::Malformed) };
    let mut report = OrcaLoadReport::default();
    for (name, value) in fields {
        match (name.as_str(), value) {
            ("named_metrics" | "namedMetrics", Value::Object(map)) => add(&map, &mut report.named_metrics)?,
            ("utilization", Value::Object(map)) => add(&map, &mut report.utilization)?,
            (name, value @ Value::Number(_)) => report.set(name, number(&value)?),
            (name, value @ Value::String(_)) if name.to_lowercase().ends_with("utilization") => {
                report.set(name, number(&value)?);
            }
            _ => {}
        }
    }
    Ok(report)
}

fn add(map: &serde_json::Map<String, Value>, values: &mut HashMap<String, f64>) -> Result<(), ReportError> {
    for (name, value) in map.iter().filter(|(_, value)| !value.is_null()) {
        values.insert(name.clone(), number(value)?);
    }
    Ok(())
}

/// A number, or its text: `NaN` and `Infinity` have no other form.
fn number(value: &Value) -> Result<f64, ReportError> {
    let number = match value {
        Value::String(text) => text.parse().ok(),
        value => value.as_f64(),
    };
    number.ok_or(ReportError::Malformed)
}

/// `cpu_utilization=0.3, named_metrics.queue=0.5`; some servers write a colon.
fn native(text: &str) -> Result<OrcaLoadReport, ReportError> {
    let mut report = OrcaLoadReport::default();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once(['=', ':']).ok_or(ReportError::Malformed)?;
        report.set(name.trim(), value.trim().parse().map_err(|_| ReportError::Malformed)?);
    }
    Ok(report)
}

/// gRFC A51, "Per-Query Metrics Reporting".
const BINARY: &str = "endpoint-load-metrics-bin";
/// ORCA's design document, as Envoy reads it: `TEXT`, `JSON` or `BIN` before the report.
const ANY: &str = "endpoint-load-metrics";
/// Envoy's earlier form.
const JSON: &str = "endpoint-load-metrics-json";

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

#[cfg(test)]
mod tests {
    use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    fn report() -> OrcaLoadReport {
        OrcaLoadReport {
            cpu_utilization: 0.5,
            mem_utilization: 0.25,
            application_utilization: 1.5,
            utilization: [("gpu".to_owned(), 0.75)].into(),
            named_metrics: [("queue".to_owned(), 0.125)].into(),
        }
    }

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        [(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())].into_iter().collect()
    }

    #[test]
    fn every_form_says_the_same() {
        let bytes = report().encode_to_vec();
        let json = r#"{"cpuUtilization":0.5,"mem_utilization":0.25,"application_utilization":1.5,"rps":7,
            "namedMetrics":{"queue":0.125},"utilization":{"gpu":0.75}}"#
            .replace('\n', " ");
        let text = "cpu_utilization=0.5, mem_utilization=0.25,application_utilization=1.5,utilization.gpu=0.75,named_metrics.queue=0.125,eps=1";
        for (name, value) in [
            (BINARY, BASE64_STANDARD.encode(&bytes)),
            (BINARY, BASE64_STANDARD_NO_PAD.encode(&bytes)),
            (ANY, format!("BIN {}", BASE64_STANDARD.encode(&bytes))),
            (ANY, format!("JSON {json}")),
            (JSON, json),
            (ANY, format!("TEXT {text}")),
            (ANY, text.replace('=', ": ")),
        ] {
            assert_eq!(read(&headers(name, &value)), Ok(Some(report())), "{value}");
        }
    }

    #[test]
    fn the_published_encoding_is_read() {
        // Field 1 and field 9 as doubles: 0.5 and 0.25, written by hand from the .proto.
        let bytes = [0x09, 0, 0, 0, 0, 0, 0, 0xe0, 0x3f, 0x49, 0, 0, 0, 0, 0, 0, 0xd0, 0x3f];
        let report = decode(&bytes).unwrap();
        assert_eq!(report.load(&OrcaMetric::Cpu), Some(0.5));
        assert_eq!(report.load(&OrcaMetric::Application), Some(0.25));
        assert_eq!(report.load(&OrcaMetric::Memory), None);
    }

    #[test]
    fn each_metric_is_found_by_its_name() {
        let report = report();
        for (metric, load) in [
            (OrcaMetric::Memory, Some(0.25)),
            (OrcaMetric::Application, Some(1.5)),
            (OrcaMetric::Named("queue".to_owned()), Some(0.125)),
            (OrcaMetric::Named("gpu".to_owned()), None),
            (OrcaMetric::Utilization("gpu".to_owned()), Some(0.75)),
        ] {
            assert_eq!(report.load(&metric), load, "{metric:?}");
        }
        let nonsense = OrcaLoadReport { cpu_utilization: -1.0, mem_utilization: f64::INFINITY, ..report };
        assert_eq!((nonsense.load(&OrcaMetric::Cpu), nonsense.load(&OrcaMetric::Memory)), (None, None));
    }

    #[test]
    fn what_protobuf_writes_as_text_in_json_is_read() {
        let text = r#"{"cpu_utilization":"0.5","rpsFractional":"NaN","note":"x","named_metrics":{"queue":"0.25","idle":"Infinity","gone":null},"utilization":null}"#;
        let report = read(&headers(JSON, text)).unwrap().unwrap();
        assert_eq!(report.load(&OrcaMetric::Cpu), Some(0.5));
        assert_eq!(report.load(&OrcaMetric::Named("queue".to_owned())), Some(0.25));
        for name in ["idle", "gone"] {
            assert_eq!(report.load(&OrcaMetric::Named(name.to_owned())), None);
        }
        for text in [r#"{"named_metrics":{"queue":"much"}}"#, r#"{"cpuUtilization":"much"}"#] {
            assert_eq!(read(&headers(JSON, text)), Err(ReportError::Malformed));
        }
    }

    #[test]
    fn what_is_no_report_is_refused() {
        assert_eq!(read(&HeaderMap::new()), Ok(None));
        for (name, value) in
            [(BINARY, "!"), (BINARY, "CQ"), (ANY, "cpu"), (ANY, "JSON 1"), (ANY, "TEXT cpu_utilization=x"), (JSON, "{")]
        {
            assert_eq!(read(&headers(name, value)), Err(ReportError::Malformed), "{value}");
        }
        let mut two = headers(ANY, "cpu_utilization=1");
        two.append(BINARY, HeaderValue::from_static(""));
        assert_eq!(read(&two), Err(ReportError::Several));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[ -~]{0,80}", bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            for name in [BINARY, ANY, JSON] {
                let _ = read(&headers(name, &text));
            }
            let _ = decode(&bytes);
        }

        #[test]
        fn more_load_is_never_more_weight(one in 0.0..3.0, other in 0.0..3.0) {
            let (low, high) = if one < other { (one, other) } else { (other, one) };
            prop_assert!(percent(low) >= percent(high));
            prop_assert!((0.0..=100.0).contains(&percent(one)));
        }
    }
}
