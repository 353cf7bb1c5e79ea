//! What the OTLP data model demands of metrics, beyond what protobuf does.

use std::collections::HashSet;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{AggregationTemporality, HistogramDataPoint, Metric, NumberDataPoint};

use super::strict::{of_attributes, of_resource, of_scope};

/// One sentence for each breach.
pub(super) fn breaches(export: &ExportMetricsServiceRequest) -> Vec<String> {
    let mut found = Vec::new();
    for resource in &export.resource_metrics {
        found.extend(of_resource(resource.resource.as_ref()));
        for scope in &resource.scope_metrics {
            found.extend(of_scope(scope.scope.as_ref()));
            let mut names = HashSet::new();
            for metric in &scope.metrics {
                if !names.insert(&metric.name) {
                    found.push(format!("metric `{}` twice in one scope", metric.name));
                }
                found.extend(of_metric(metric).into_iter().map(|what| format!("metric `{}`: {what}", metric.name)));
            }
        }
    }
    if export.resource_metrics.iter().all(|r| r.scope_metrics.iter().all(|s| s.metrics.is_empty())) {
        found.push("request without a metric".to_owned());
    }
    found
}

fn of_metric(metric: &Metric) -> Vec<String> {
    let mut found = Vec::new();
    if metric.name.is_empty() {
        found.push("no name".to_owned());
    }
    match &metric.data {
        Some(Data::Gauge(gauge)) => found.extend(of_numbers(&gauge.data_points)),
        Some(Data::Sum(sum)) => {
            found.extend(of_temporality(sum.aggregation_temporality));
            found.extend(of_numbers(&sum.data_points));
            if sum.is_monotonic && sum.data_points.iter().any(|point| point.start_time_unix_nano == 0) {
                found.push("monotonic sum without a start".to_owned());
            }
        }
        Some(Data::Histogram(histogram)) => {
            found.extend(of_temporality(histogram.aggregation_temporality));
            found.extend(histogram.data_points.iter().flat_map(of_histogram));
            found.extend(of_points(
                histogram.data_points.iter().map(|p| (&p.attributes, p.start_time_unix_nano, p.time_unix_nano)),
            ));
        }
        Some(Data::ExponentialHistogram(histogram)) => {
            found.extend(of_temporality(histogram.aggregation_temporality));
            found.extend(of_points(
                histogram.data_points.iter().map(|p| (&p.attributes, p.start_time_unix_nano, p.time_unix_nano)),
            ));
        }
        Some(Data::Summary(_)) => found.push("a summary, which only old formats may have".to_owned()),
        None => found.push("no data".to_owned()),
    }
    found
}

fn of_temporality(temporality: i32) -> Option<String> {
    let known = AggregationTemporality::try_from(temporality);
    let specified = known.is_ok_and(|known| known != AggregationTemporality::Unspecified);
    (!specified).then(|| "no temporality".to_owned())
}

fn of_numbers(points: &[NumberDataPoint]) -> Vec<String> {
    let empty = points.iter().filter(|point| point.value.is_none()).map(|_| "data point without a value".to_owned());
    empty.chain(of_points(points.iter().map(|p| (&p.attributes, p.start_time_unix_nano, p.time_unix_nano)))).collect()
}

fn of_histogram(point: &HistogramDataPoint) -> Vec<String> {
    let (bounds, counts) = (&point.explicit_bounds, &point.bucket_counts);
    let demands = [
        (counts.is_empty() && bounds.is_empty() || counts.len() == bounds.len() + 1, "buckets do not fit the bounds"),
        (counts.is_empty() || counts.iter().sum::<u64>() == point.count, "buckets do not add up to the count"),
        (bounds.windows(2).all(|pair| pair[0] < pair[1]), "bounds do not rise"),
    ];
    demands.into_iter().filter(|(holds, _)| !holds).map(|(_, what)| what.to_owned()).collect()
}

/// Attributes, start and time of every point of one metric.
fn of_points<'a>(points: impl Iterator<Item = (&'a Vec<KeyValue>, u64, u64)>) -> Vec<String> {
    let (mut found, mut seen) = (Vec::new(), HashSet::new());
    for (attributes, start, time) in points {
        if time == 0 {
            found.push("data point without a time".to_owned());
        }
        if start > time {
            found.push("data point ends before it starts".to_owned());
        }
        found.extend(of_attributes(attributes));
        let mut pairs: Vec<String> = attributes.iter().map(|pair| format!("{pair:?}")).collect();
        pairs.sort();
        if !seen.insert(pairs) {
            found.push("two data points with the same attributes".to_owned());
        }
    }
    if seen.is_empty() {
        found.push("no data point".to_owned());
    }
    found
}
