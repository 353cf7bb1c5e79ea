//! A collection of metrics: what every way out writes in its own form.

use std::borrow::Cow;

use super::Exponential;

/// One metric with all its points.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// The name in the semantic conventions.
    pub name: &'static str,
    /// One sentence.
    pub description: &'static str,
    /// UCUM, as OpenTelemetry writes it: `s`, `By`, `{request}`.
    pub unit: &'static str,
    /// Its points.
    pub data: Data,
}

impl Metric {
    /// A count that only grows.
    pub const fn counter(
        name: &'static str,
        description: &'static str,
        unit: &'static str,
        points: Vec<NumberPoint>,
    ) -> Self {
        Self { name, description, unit, data: Data::Counter(points) }
    }

    /// A count that also falls.
    pub const fn level(
        name: &'static str,
        description: &'static str,
        unit: &'static str,
        points: Vec<NumberPoint>,
    ) -> Self {
        Self { name, description, unit, data: Data::UpDownCounter(points) }
    }

    /// A level that has no sum.
    pub const fn gauge(
        name: &'static str,
        description: &'static str,
        unit: &'static str,
        points: Vec<NumberPoint>,
    ) -> Self {
        Self { name, description, unit, data: Data::Gauge(points) }
    }

    /// Whether it has no points.
    pub const fn is_empty(&self) -> bool {
        match &self.data {
            Data::Counter(points) | Data::UpDownCounter(points) | Data::Gauge(points) => points.is_empty(),
            Data::Histogram { points, .. } => points.is_empty(),
        }
    }
}

/// The points of a metric. All are cumulative, from the start of the process.
#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    /// A count that only grows.
    Counter(Vec<NumberPoint>),
    /// A count that also falls.
    UpDownCounter(Vec<NumberPoint>),
    /// A level.
    Gauge(Vec<NumberPoint>),
    /// A distribution.
    Histogram {
        /// Upper bounds of all buckets but the last, which has none. Ascending.
        bounds: &'static [f64],
        /// Its points.
        points: Vec<HistogramPoint>,
    },
}

/// One number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberPoint {
    /// Whose it is.
    pub attributes: Attributes,
    /// Now.
    pub value: i64,
}

impl NumberPoint {
    /// A count; as much of it as OTLP holds.
    pub fn new(attributes: Attributes, value: u64) -> Self {
        Self { attributes, value: i64::try_from(value).unwrap_or(i64::MAX) }
    }
}

/// One distribution.
#[derive(Debug, Clone, PartialEq)]
pub struct HistogramPoint {
    /// Whose it is.
    pub attributes: Attributes,
    /// How many values there were.
    pub count: u64,
    /// Of all values.
    pub sum: f64,
    /// The least value; not finite where it is not known.
    pub min: f64,
    /// The greatest value; not finite where it is not known.
    pub max: f64,
    /// Values in each bucket: one more than there are bounds.
    pub buckets: Vec<u64>,
    /// The same values in other buckets, where the settings ask for it.
    pub exponential: Option<Exponential>,
    /// For each bucket the last one; empty if there was none at all.
    pub exemplars: Vec<Option<Exemplar>>,
}

impl HistogramPoint {
    /// Of what was counted in buckets, with the sum of all values.
    pub fn of_buckets(attributes: Attributes, buckets: Vec<u64>, sum: f64) -> Self {
        Self {
            attributes,
            count: buckets.iter().sum(),
            sum,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            buckets,
            exponential: None,
            exemplars: Vec::new(),
        }
    }
}

/// A measurement with its trace.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Exemplar {
    /// What was measured.
    pub value: f64,
    /// Unix time, nanoseconds.
    pub time_unix_nanos: u64,
    /// Measurements are numbered, so that each is pushed once: times are older than the measurement, by some milliseconds.
    pub order: u64,
    /// The trace.
    pub trace_id: [u8; 16],
    /// The span whose duration it is.
    pub span_id: [u8; 8],
}

/// A set of attributes. Two sets are the same series if they are equal: names stand in the order of the instrument.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Attributes(Vec<(&'static str, Value)>);

/// An attribute's value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Value {
    /// Text.
    Text(Cow<'static, str>),
    /// A whole number.
    Int(i64),
    /// True or false.
    Bool(bool),
}

impl Attributes {
    /// None.
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// Of all sets beyond a limit. Metrics SDK specification, "Cardinality limits".
    pub fn overflow() -> Self {
        Self::none().with("otel.metric.overflow", true)
    }

    /// With one more.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.0.push((name, value.into()));
        self
    }

    /// With one more, if there is a value.
    #[must_use]
    pub fn with_some(self, name: &'static str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// Each name with its value.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.0.iter().map(|(name, value)| (*name, value))
    }
}

impl Value {
    /// Text from bytes: what is not UTF-8 becomes U+FFFD, and `MAX_TEXT` bytes are kept.
    pub fn lossy(bytes: &[u8]) -> Self {
        let kept = bytes.get(..MAX_TEXT).unwrap_or(bytes);
        Self::Text(Cow::Owned(String::from_utf8_lossy(kept).into_owned()))
    }
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Self {
        Self::Int(number.into())
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Bool(flag)
    }
}

/// Bytes kept of a text.
const MAX_TEXT: usize = 255;
