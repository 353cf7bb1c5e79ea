//! One histogram instrument: a distribution for each attribute set, up to a bound.

use std::collections::HashMap;
use std::fmt::Write as _;

use super::{Attributes, Data, Exemplar, Exponential, HistogramPoint, Metric};

/// Bounded: beyond `limit` attribute sets, values are counted in one set `otel.metric.overflow=true`. Metrics SDK
/// specification, "Cardinality limits".
#[derive(Debug)]
pub struct Histogram {
    info: Info,
    exponential: bool,
    limit: usize,
    /// Where the points are of what a key stands for.
    series: HashMap<Box<[u8]>, usize>,
    points: Vec<HistogramPoint>,
    /// The key that came last, and its point: the next one is often the same.
    last: Option<(Vec<u8>, usize)>,
}

/// What does not change about an instrument.
#[derive(Debug, Clone, Copy)]
pub struct Info {
    /// The name in the semantic conventions.
    pub name: &'static str,
    /// One sentence.
    pub description: &'static str,
    /// UCUM.
    pub unit: &'static str,
    /// Upper bounds, ascending.
    pub bounds: &'static [f64],
}

impl Histogram {
    /// Without values, of at most `limit` attribute sets, the overflow's included. `exponential`: also in exponential buckets.
    pub fn new(info: Info, exponential: bool, limit: usize) -> Self {
        Self { info, exponential, limit, series: HashMap::new(), points: Vec::new(), last: None }
    }

    /// Counts a value.
    pub fn record(&mut self, attributes: Attributes, value: f64, exemplar: Option<Exemplar>) {
        let mut key = String::new();
        for (name, value) in attributes.iter() {
            let _ = write!(key, "{name}={value:?}\0");
        }
        self.record_as(key.as_bytes(), || attributes, value, exemplar);
    }

    /// Counts a value under a `key`, which stands for the same `attributes` each time: they are made for the first value alone.
    pub fn record_as(
        &mut self,
        key: &[u8],
        attributes: impl FnOnce() -> Attributes,
        value: f64,
        exemplar: Option<Exemplar>,
    ) {
        let place = match &self.last {
            Some((last, place)) if last == key => *place,
            _ => self.place(key, attributes),
        };
        let bounds = self.info.bounds;
        let Some(point) = self.points.get_mut(place) else { return };
        point.count += 1;
        point.sum += value;
        point.min = point.min.min(value);
        point.max = point.max.max(value);
        if let Some(exponential) = &mut point.exponential {
            exponential.record(value);
        }
        // Bounds are inclusive: metrics data model, "Histogram: Bucket inclusivity".
        let bucket = bounds.partition_point(|bound| *bound < value);
        if let Some(count) = point.buckets.get_mut(bucket) {
            *count += 1;
        }
        if exemplar.is_some() {
            point.exemplars.resize(bounds.len() + 1, None);
            if let Some(last) = point.exemplars.get_mut(bucket) {
                *last = exemplar;
            }
        }
    }

    /// Where the points of a key are, which may be those of the overflow.
    fn place(&mut self, key: &[u8], attributes: impl FnOnce() -> Attributes) -> usize {
        let known = self.series.get(key).copied();
        let place = known.unwrap_or_else(|| {
            // One place is the overflow's.
            let full = self.series.len() + 1 >= self.limit;
            let attributes = if full { Attributes::overflow() } else { attributes() };
            // Different texts may look the same once what is not UTF-8 is gone.
            let place =
                self.points.iter().position(|point| point.attributes == attributes).unwrap_or(self.points.len());
            if place == self.points.len() {
                self.points.push(empty(attributes, self.info.bounds, self.exponential));
            }
            if !full {
                self.series.insert(key.into(), place);
            }
            place
        });
        let (last, at) = self.last.get_or_insert_default();
        last.clear();
        last.extend_from_slice(key);
        *at = place;
        place
    }

    /// `None` before the first value.
    pub fn collect(&self) -> Option<Metric> {
        if self.points.is_empty() {
            return None;
        }
        let Info { name, description, unit, bounds } = self.info;
        let points = self.points.clone();
        Some(Metric { name, description, unit, data: Data::Histogram { bounds, points } })
    }
}

fn empty(attributes: Attributes, bounds: &[f64], exponential: bool) -> HistogramPoint {
    let point = HistogramPoint::of_buckets(attributes, vec![0; bounds.len() + 1], 0.0);
    HistogramPoint { exponential: exponential.then(Exponential::new), ..point }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const INFO: Info = Info { name: "n", description: "", unit: "s", bounds: &[0.1, 1.0] };

    fn points(histogram: &Histogram) -> Vec<HistogramPoint> {
        match histogram.collect().unwrap().data {
            Data::Histogram { points, .. } => points,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_value_on_a_bound_is_in_the_bucket_that_ends_there() {
        let mut histogram = Histogram::new(INFO, false, 10);
        assert_eq!(histogram.collect(), None);
        for value in [0.0, 0.1, 0.100_001, 1.0, 1.5] {
            histogram.record(Attributes::none(), value, None);
        }
        let points = points(&histogram);
        assert_eq!(points[0].buckets, [2, 2, 1]);
        assert_eq!((points[0].min, points[0].max), (0.0, 1.5));
    }

    #[test]
    fn an_exemplar_is_kept_for_each_bucket_and_the_last_one_stays() {
        let mut histogram = Histogram::new(INFO, false, 10);
        for (value, n) in [(0.05, 1), (0.06, 2), (5.0, 3)] {
            let exemplar = Exemplar { value, time_unix_nanos: n, order: n, trace_id: [1; 16], span_id: [2; 8] };
            histogram.record(Attributes::none(), value, Some(exemplar));
        }
        histogram.record(Attributes::none(), 0.5, None);
        let times: Vec<_> = points(&histogram)[0].exemplars.iter().map(|e| e.map(|e| e.time_unix_nanos)).collect();
        assert_eq!(times, [Some(2), None, Some(3)]);
    }

    proptest! {
        #[test]
        fn no_value_is_lost_and_no_more_series_are_kept_than_allowed(
            values in proptest::collection::vec((0_i64..60, 0.0_f64..3.0), 1..400), limit in 2_usize..50,
        ) {
            let mut histogram = Histogram::new(INFO, true, limit);
            for (key, value) in &values {
                histogram.record(Attributes::none().with("k", *key), *value, None);
            }
            let points = points(&histogram);
            prop_assert!(points.len() <= limit);
            prop_assert_eq!(points.iter().map(|p| p.count).sum::<u64>(), values.len() as u64);
            for point in &points {
                prop_assert_eq!(point.buckets.iter().sum::<u64>(), point.count);
            }
            let distinct = values.iter().map(|(key, _)| key).collect::<std::collections::HashSet<_>>().len();
            let overflown = points.iter().any(|p| p.attributes == Attributes::overflow());
            prop_assert_eq!(overflown, distinct >= limit);
        }
    }
}
