//! Metrics as text for Prometheus: the text format 0.0.4, and `OpenMetrics` 1.0 with exemplars.
//!
//! Names and labels follow the OpenTelemetry specification, "Prometheus and `OpenMetrics` Compatibility": dots become `_`, the unit
//! and `_total` are appended, the scope is in `otel_scope_*` labels, the resource in `target_info`.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{Attributes, Data, Exemplar, HistogramPoint, Metric, NumberPoint, Value};
use crate::export::envelope::{SCHEMA_URL, SCOPE};

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The text format 0.0.4: every scraper reads it.
    Text,
    /// `OpenMetrics` 1.0: with units and exemplars.
    OpenMetrics,
}

impl Format {
    /// What a scraper's `Accept` asks for: `OpenMetrics` where it is named at all.
    pub fn negotiate(accept: &str) -> Self {
        let names = |part: &str| part.trim_start().to_ascii_lowercase().starts_with("application/openmetrics-text");
        if accept.split(',').any(names) { Self::OpenMetrics } else { Self::Text }
    }

    /// `Content-Type` of the answer.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// All of `metrics`, and `resource` as `target_info`.
pub fn write(metrics: &[Metric], resource: &[(String, String)], format: Format) -> String {
    let mut text = Text { out: String::new(), format };
    text.target_info(resource);
    for metric in metrics {
        text.metric(metric);
    }
    if format == Format::OpenMetrics {
        text.out.push_str("# EOF\n");
    }
    text.out
}

struct Text {
    out: String,
    format: Format,
}

impl Text {
    fn target_info(&mut self, resource: &[(String, String)]) {
        let (family, kind) = match self.format {
            Format::Text => ("target_info", "gauge"),
            Format::OpenMetrics => ("target", "info"),
        };
        let _ = writeln!(self.out, "# TYPE {family} {kind}\n# HELP {family} Target metadata");
        self.out.push_str("target_info{");
        let pairs = resource.iter().map(|(name, value)| (name.as_str(), value.clone()));
        push_labels(&mut self.out, pairs);
        self.out.push_str("} 1\n");
    }

    fn metric(&mut self, metric: &Metric) {
        let (unit, name) = (unit(metric.unit), metric.name.replace('.', "_"));
        let family = match unit {
            Some(unit) if !name.ends_with(unit) => format!("{name}_{unit}"),
            _ => name,
        };
        match &metric.data {
            Data::Counter(points) => {
                self.head(metric, &family, unit, "counter");
                for point in points {
                    self.number(&format!("{family}_total"), point);
                }
            }
            Data::UpDownCounter(points) | Data::Gauge(points) => {
                self.head(metric, &family, unit, "gauge");
                for point in points {
                    self.number(&family, point);
                }
            }
            Data::Histogram { bounds, points } => {
                self.head(metric, &family, unit, "histogram");
                for point in points {
                    self.histogram(&family, bounds, point);
                }
            }
        }
    }

    fn head(&mut self, metric: &Metric, family: &str, unit: Option<&str>, kind: &str) {
        // In the text format the family of a counter has the name of its sample.
        let total = if kind == "counter" && self.format == Format::Text { "_total" } else { "" };
        let _ = writeln!(self.out, "# TYPE {family}{total} {kind}");
        if let Some(unit) = unit.filter(|_| self.format == Format::OpenMetrics) {
            let _ = writeln!(self.out, "# UNIT {family} {unit}");
        }
        let _ = writeln!(self.out, "# HELP {family}{total} {}", metric.description);
    }

    fn number(&mut self, name: &str, point: &NumberPoint) {
        self.sample(name, &scoped(&point.attributes), None);
        let _ = writeln!(self.out, " {}", point.value);
    }

    fn histogram(&mut self, family: &str, bounds: &[f64], point: &HistogramPoint) {
        let (name, labels) = (format!("{family}_bucket"), scoped(&point.attributes));
        let mut below = 0;
        for (number, count) in point.buckets.iter().enumerate() {
            below += count;
            let bound = bounds.get(number).map_or_else(|| "+Inf".to_owned(), |bound| format!("{bound:?}"));
            self.sample(&name, &labels, Some(&bound));
            let _ = write!(self.out, " {below}");
            let exemplar = point.exemplars.get(number).and_then(Option::as_ref);
            if let Some(exemplar) = exemplar.filter(|_| self.format == Format::OpenMetrics) {
                self.exemplar(exemplar);
            }
            self.out.push('\n');
        }
        self.sample(&format!("{family}_sum"), &labels, None);
        let _ = writeln!(self.out, " {:?}", point.sum);
        self.sample(&format!("{family}_count"), &labels, None);
        let _ = writeln!(self.out, " {}", point.count);
    }

    /// A sample's name and labels.
    fn sample(&mut self, name: &str, labels: &str, le: Option<&str>) {
        for part in [name, "{", labels] {
            self.out.push_str(part);
        }
        if let Some(le) = le {
            let _ = write!(self.out, ",le=\"{le}\"");
        }
        self.out.push('}');
    }

    /// `OpenMetrics` 1.0, "Exemplars": time in seconds.
    fn exemplar(&mut self, exemplar: &Exemplar) {
        self.out.push_str(" # {trace_id=\"");
        push_hex(&mut self.out, &exemplar.trace_id);
        self.out.push_str("\",span_id=\"");
        push_hex(&mut self.out, &exemplar.span_id);
        let (seconds, nanos) = (exemplar.time_unix_nanos / 1_000_000_000, exemplar.time_unix_nanos % 1_000_000_000);
        let _ = write!(self.out, "\"}} {:?} {seconds}.{:03}", exemplar.value, nanos / 1_000_000);
    }
}

/// The labels of a point: the scope's, and its own.
fn scoped(attributes: &Attributes) -> String {
    let mut out = format!(
        "otel_scope_name=\"{SCOPE}\",otel_scope_version=\"{}\",otel_scope_schema_url=\"{SCHEMA_URL}\"",
        crate::VERSION
    );
    let mut pairs = attributes.iter().map(|(name, value)| (name, plain(value))).peekable();
    if pairs.peek().is_some() {
        out.push(',');
        push_labels(&mut out, pairs);
    }
    out
}

/// Names that become the same label share it: their values are joined by `;`.
fn push_labels<'n>(out: &mut String, pairs: impl Iterator<Item = (&'n str, String)>) {
    let mut sorted: Vec<_> = pairs.collect();
    sorted.sort_by_key(|(name, _)| *name);
    let mut labels: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in sorted {
        let joined = labels.entry(label(name)).and_modify(|joined| joined.push(';')).or_default();
        joined.push_str(&value);
    }
    for (number, (name, value)) in labels.iter().enumerate() {
        let comma = if number > 0 { "," } else { "" };
        let _ = write!(out, "{comma}{name}=\"");
        push_escaped(out, value);
        out.push('"');
    }
}

/// The unit's word in a name; none for counts of things, which stand in braces.
fn unit(unit: &str) -> Option<&'static str> {
    match unit {
        "s" => Some("seconds"),
        "ms" => Some("milliseconds"),
        "By" => Some("bytes"),
        "%" => Some("percent"),
        _ => None,
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone().into_owned(),
        Value::Int(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
    }
}

/// A name as a label: letters, digits and `_`, no digit first. Several `_` become one.
fn label(name: &str) -> String {
    let mut label = String::with_capacity(name.len());
    for c in name.chars() {
        let c = if c.is_ascii_alphanumeric() { c } else { '_' };
        if !(c == '_' && label.ends_with('_')) {
            label.push(c);
        }
    }
    if label.is_empty() || label.starts_with(|c: char| c.is_ascii_digit()) {
        label.insert(0, '_');
    }
    label
}

/// Text format 0.0.4 and `OpenMetrics`: backslash, quote and line feed.
fn push_escaped(out: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
}

fn push_hex(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(out, "{byte:02x}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number(name: &'static str, unit: &'static str, attributes: Attributes) -> Metric {
        let points = vec![NumberPoint { attributes, value: 3 }];
        Metric { name, description: "What it is.", unit, data: Data::Counter(points) }
    }

    #[test]
    fn names_carry_units_and_totals_and_each_format_its_own_head() {
        let resource = [("service.name".to_owned(), "edge".to_owned()), ("service_name".to_owned(), "b".to_owned())];
        let metrics = [number("otel.sdk.span.started", "{span}", Attributes::none().with("error.type", "a"))];
        let scope = format!(
            "otel_scope_name=\"haproxy-vitals\",otel_scope_version=\"{}\",otel_scope_schema_url=\"{SCHEMA_URL}\"",
            crate::VERSION
        );
        let text = write(&metrics, &resource, Format::Text);
        let expected = format!(
            "# TYPE target_info gauge\n# HELP target_info Target metadata\ntarget_info{{service_name=\"edge;b\"}} 1\n\
             # TYPE otel_sdk_span_started_total counter\n# HELP otel_sdk_span_started_total What it is.\n\
             otel_sdk_span_started_total{{{scope},error_type=\"a\"}} 3\n"
        );
        assert_eq!(text, expected);
        let text = write(&[number("a.bytes.sent", "By", Attributes::none())], &[], Format::OpenMetrics);
        let expected = format!(
            "# TYPE target info\n# HELP target Target metadata\ntarget_info{{}} 1\n# TYPE a_bytes_sent_bytes counter\n\
             # UNIT a_bytes_sent_bytes bytes\n# HELP a_bytes_sent_bytes What it is.\n\
             a_bytes_sent_bytes_total{{{scope}}} 3\n# EOF\n"
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn buckets_are_cumulative_and_exemplars_stand_in_openmetrics_alone() {
        let exemplar = Exemplar {
            value: 0.5,
            time_unix_nanos: 1_700_000_000_123_456_789,
            order: 1,
            trace_id: [1; 16],
            span_id: [2; 8],
        };
        let point = HistogramPoint {
            attributes: Attributes::none(),
            count: 5,
            sum: 4.0,
            min: 0.1,
            max: 2.0,
            buckets: vec![2, 2, 1],
            exponential: None,
            exemplars: vec![None, Some(exemplar), None],
        };
        let data = Data::Histogram { bounds: &[0.25, 1.0], points: vec![point] };
        let metrics = [Metric { name: "d", description: "D.", unit: "s", data }];
        let text = write(&metrics, &[], Format::OpenMetrics);
        let mark = format!(
            "le=\"1.0\"}} 4 # {{trace_id=\"{}\",span_id=\"{}\"}} 0.5 1700000000.123\n",
            "01".repeat(16),
            "02".repeat(8)
        );
        assert!(text.contains(&mark), "{text}");
        assert!(text.contains("le=\"0.25\"} 2\n") && text.contains("le=\"+Inf\"} 5\n"), "{text}");
        assert!(text.contains("# UNIT d_seconds seconds\n"), "{text}");
        assert!(!write(&metrics, &[], Format::Text).contains("trace_id"));
    }

    #[test]
    fn openmetrics_is_answered_to_whom_asks_for_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
        assert_eq!(Format::negotiate(prometheus), Format::OpenMetrics);
        assert_eq!(Format::negotiate("text/plain, Application/OpenMetrics-Text"), Format::OpenMetrics);
        for accept in ["", "*/*", "text/plain;version=0.0.4"] {
            assert_eq!(Format::negotiate(accept), Format::Text, "{accept}");
        }
    }

    proptest! {
        #[test]
        fn any_value_stays_within_its_quotes(value in ".*", name in ".{0,12}") {
            let text = write(&[], &[(name.clone(), value.clone())], Format::Text);
            let line = text.lines().last().unwrap();
            let (label, rest) = line.strip_prefix("target_info{").unwrap().split_once("=\"").unwrap();
            prop_assert!(label.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'));
            prop_assert!(!label.starts_with(|c: char| c.is_ascii_digit()));
            let quoted = rest.strip_suffix("\"} 1").unwrap();
            let mut read = String::new();
            let mut chars = quoted.chars();
            while let Some(c) = chars.next() {
                prop_assert!(c != '"' && c != '\n');
                read.push(match c {
                    '\\' => match chars.next() { Some('n') => '\n', Some(c) => c, None => return Err(TestCaseError::fail("cut")) },
                    c => c,
                });
            }
            prop_assert_eq!(read, value);
        }
    }
}
