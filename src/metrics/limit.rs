//! A bound on the attribute sets of one metric. Metrics SDK specification, "Cardinality limits".

use super::{Attributes, Data, HistogramPoint, Metric, NumberPoint};

impl Metric {
    /// With at most `limit` points: the first ones, and one with `otel.metric.overflow=true` that is the sum of all others. What
    /// has no sum, a gauge, has only the first ones.
    #[must_use]
    pub fn within(mut self, limit: usize) -> Self {
        // One place is the overflow's.
        let kept = limit.saturating_sub(1);
        match &mut self.data {
            Data::Counter(points) | Data::UpDownCounter(points) if points.len() > limit => {
                let value = points.drain(kept..).map(|point| point.value).sum();
                points.push(NumberPoint { attributes: Attributes::overflow(), value });
            }
            Data::Gauge(points) => points.truncate(limit),
            Data::Histogram { points, .. } if points.len() > limit => {
                let rest = points.drain(kept..).reduce(|one, other| joined(one, &other));
                points.extend(rest.map(|rest| HistogramPoint { attributes: Attributes::overflow(), ..rest }));
            }
            Data::Counter(_) | Data::UpDownCounter(_) | Data::Histogram { .. } => {}
        }
        self
    }
}

/// Both distributions in one, in explicit buckets.
fn joined(one: HistogramPoint, other: &HistogramPoint) -> HistogramPoint {
    let buckets = one.buckets.iter().zip(&other.buckets).map(|(one, other)| one + other).collect();
    HistogramPoint {
        count: one.count + other.count,
        sum: one.sum + other.sum,
        min: one.min.min(other.min),
        max: one.max.max(other.max),
        buckets,
        exponential: None,
        exemplars: Vec::new(),
        attributes: one.attributes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(n: usize) -> Attributes {
        Attributes::none().with("n", i64::try_from(n).unwrap())
    }

    proptest! {
        #[test]
        fn no_count_is_lost_and_the_first_sets_stay(counts in proptest::collection::vec(0_u64..1000, 0..40), limit in 2_usize..50) {
            let points = || counts.iter().enumerate().map(|(n, count)| NumberPoint::new(of(n), *count)).collect::<Vec<_>>();
            let Data::Counter(kept) = Metric::counter("n", "", "", points()).within(limit).data else { panic!() };
            prop_assert!(kept.len() <= limit);
            let total = |points: &[NumberPoint]| points.iter().map(|point| point.value).sum::<i64>();
            prop_assert_eq!(total(&kept), total(&points()));
            let overflows = counts.len() > limit;
            let own = kept.len() - usize::from(overflows);
            prop_assert_eq!(&kept[..own], &points()[..own]);
            prop_assert_eq!(kept.last().is_some_and(|last| last.attributes == Attributes::overflow()), overflows);

            let points = counts.iter().enumerate().map(|(n, count)| {
                HistogramPoint::of_buckets(of(n), vec![*count, 1], 0.5)
            });
            let data = Data::Histogram { bounds: &[1.0], points: points.collect() };
            let metric = Metric { name: "n", description: "", unit: "s", data }.within(limit);
            let Data::Histogram { points, .. } = metric.data else { panic!() };
            prop_assert!(points.len() <= limit);
            let all = counts.iter().sum::<u64>() + counts.len() as u64;
            prop_assert_eq!(points.iter().map(|point| point.count).sum::<u64>(), all);
            prop_assert!(points.iter().all(|point| point.buckets.iter().sum::<u64>() == point.count));
        }
    }

    #[test]
    fn a_gauge_has_no_sum() {
        let points = (0..5).map(|n| NumberPoint::new(of(n), 1)).collect();
        let Data::Gauge(kept) = Metric::gauge("n", "", "", points).within(3).data else { panic!() };
        assert_eq!(kept.iter().map(|point| point.attributes.clone()).collect::<Vec<_>>(), [of(0), of(1), of(2)]);
    }
}
