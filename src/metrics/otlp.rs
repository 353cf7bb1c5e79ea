//! Metrics as OTLP messages. `opentelemetry/proto/metrics/v1/metrics.proto`. Cold: once per push.

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data as ProtoData;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Exemplar as ProtoExemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge,
    Histogram, HistogramDataPoint, Metric as ProtoMetric, NumberDataPoint, Sum, exemplar,
};

use super::{Attributes, Data, Exemplar, HistogramPoint, Metric, NumberPoint, Value};

/// What a metric's numbers count, and when they were read. Unix time, nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Numbers count from here.
    pub start: u64,
    /// To here.
    pub end: u64,
    /// Whether they count from the last push.
    pub delta: bool,
    /// Exemplars up to this number have been sent.
    pub exemplars_sent: u64,
}

/// Appends `metric` to `out` as one `ScopeMetrics.metrics` entry; says how many points it has.
pub fn encode(metric: &Metric, window: Window, out: &mut Vec<u8>) -> u64 {
    let (data, points) = data(&metric.data, window);
    let message = ProtoMetric {
        name: metric.name.to_owned(),
        description: metric.description.to_owned(),
        unit: metric.unit.to_owned(),
        metadata: Vec::new(),
        data: Some(data),
    };
    prost::encoding::message::encode(SCOPE_METRICS_METRICS, &message, out);
    points
}

fn data(data: &Data, window: Window) -> (ProtoData, u64) {
    let temporality = if window.delta { AggregationTemporality::Delta } else { AggregationTemporality::Cumulative };
    let aggregation_temporality = temporality as i32;
    let sum = |points: &[NumberPoint], is_monotonic| {
        let data_points = points.iter().map(|point| number(point, window)).collect();
        ProtoData::Sum(Sum { data_points, aggregation_temporality, is_monotonic })
    };
    match data {
        Data::Counter(points) => (sum(points, true), points.len() as u64),
        Data::UpDownCounter(points) => (sum(points, false), points.len() as u64),
        Data::Gauge(points) => {
            let data_points = points.iter().map(|point| number(point, window)).collect();
            (ProtoData::Gauge(Gauge { data_points }), points.len() as u64)
        }
        Data::Histogram { bounds, points } => {
            let exponential = points.iter().any(|point| point.exponential.is_some());
            let data = if exponential {
                let data_points = points.iter().filter_map(|point| exponential_point(point, window)).collect();
                ProtoData::ExponentialHistogram(ExponentialHistogram { data_points, aggregation_temporality })
            } else {
                let data_points = points.iter().map(|point| explicit_point(point, bounds, window)).collect();
                ProtoData::Histogram(Histogram { data_points, aggregation_temporality })
            };
            (data, points.len() as u64)
        }
    }
}

fn number(point: &NumberPoint, window: Window) -> NumberDataPoint {
    NumberDataPoint {
        attributes: attributes(&point.attributes),
        start_time_unix_nano: window.start,
        time_unix_nano: window.end,
        value: Some(Number::AsInt(point.value)),
        ..NumberDataPoint::default()
    }
}

fn explicit_point(point: &HistogramPoint, bounds: &[f64], window: Window) -> HistogramDataPoint {
    HistogramDataPoint {
        attributes: attributes(&point.attributes),
        start_time_unix_nano: window.start,
        time_unix_nano: window.end,
        count: point.count,
        sum: Some(point.sum),
        bucket_counts: point.buckets.clone(),
        explicit_bounds: bounds.to_vec(),
        exemplars: exemplars(point, window),
        flags: 0,
        min: Some(point.min).filter(|min| min.is_finite() && !window.delta),
        max: Some(point.max).filter(|max| max.is_finite() && !window.delta),
    }
}

fn exponential_point(point: &HistogramPoint, window: Window) -> Option<ExponentialHistogramDataPoint> {
    let exponential = point.exponential.as_ref()?;
    let (offset, counts) = exponential.buckets();
    Some(ExponentialHistogramDataPoint {
        attributes: attributes(&point.attributes),
        start_time_unix_nano: window.start,
        time_unix_nano: window.end,
        count: point.count,
        sum: Some(point.sum),
        scale: exponential.scale(),
        zero_count: exponential.zero(),
        positive: Some(Buckets { offset, bucket_counts: counts.to_vec() }),
        negative: None,
        flags: 0,
        exemplars: exemplars(point, window),
        min: Some(point.min).filter(|min| min.is_finite() && !window.delta),
        max: Some(point.max).filter(|max| max.is_finite() && !window.delta),
        zero_threshold: 0.0,
    })
}

fn exemplars(point: &HistogramPoint, window: Window) -> Vec<ProtoExemplar> {
    let new = point.exemplars.iter().flatten().filter(|exemplar| exemplar.order > window.exemplars_sent);
    new.map(one_exemplar).collect()
}

fn one_exemplar(given: &Exemplar) -> ProtoExemplar {
    ProtoExemplar {
        filtered_attributes: Vec::new(),
        time_unix_nano: given.time_unix_nanos,
        span_id: given.span_id.to_vec(),
        trace_id: given.trace_id.to_vec(),
        value: Some(exemplar::Value::AsDouble(given.value)),
    }
}

fn attributes(attributes: &Attributes) -> Vec<KeyValue> {
    let any = |value: &Value| match value {
        Value::Text(text) => Any::StringValue(text.clone().into_owned()),
        Value::Int(number) => Any::IntValue(*number),
        Value::Bool(flag) => Any::BoolValue(*flag),
    };
    let pair = |(name, value): (&str, &Value)| KeyValue {
        key: name.to_owned(),
        value: Some(AnyValue { value: Some(any(value)) }),
        ..KeyValue::default()
    };
    attributes.iter().map(pair).collect()
}

/// `ScopeMetrics.metrics`.
const SCOPE_METRICS_METRICS: u32 = 2;
