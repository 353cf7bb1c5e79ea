//! Base-2 exponential histograms. OpenTelemetry specification, metrics data model, `ExponentialHistogram`, and metrics SDK,
//! "Base2 Exponential Bucket Histogram Aggregation".

/// Values above zero, in buckets whose bounds are powers of `2^(2^-scale)`: bucket `n` holds `(base^n, base^(n+1)]`.
///
/// At most `MAX_BUCKETS` (160) buckets: where the values spread further, the scale falls and buckets are joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exponential {
    scale: i32,
    zero: u64,
    offset: i32,
    counts: Vec<u64>,
}

impl Exponential {
    /// Without values, at the finest scale.
    pub const fn new() -> Self {
        Self { scale: MAX_SCALE, zero: 0, offset: 0, counts: Vec::new() }
    }

    /// Counts a value. One that is not above zero, or no number, counts as zero.
    pub fn record(&mut self, value: f64) {
        if !(value >= f64::MIN_POSITIVE && value.is_finite()) {
            self.zero += 1;
            return;
        }
        let index = index(value, self.scale);
        if self.counts.is_empty() {
            self.offset = index;
            self.counts.push(1);
            return;
        }
        let by = self.joins_needed(index);
        self.join(by);
        let index = index >> by;
        let (first, last) = (self.offset.min(index), self.last().max(index));
        self.widen(first, last);
        let at = usize::try_from(index - self.offset).unwrap_or_default();
        if let Some(count) = self.counts.get_mut(at) {
            *count += 1;
        }
    }

    /// What was counted since `earlier`, an earlier state of this histogram.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut earlier = earlier.clone();
        earlier.join((earlier.scale - self.scale).max(0));
        let mut since = self.clone();
        since.zero = self.zero.saturating_sub(earlier.zero);
        for (index, count) in (earlier.offset..).zip(earlier.counts) {
            let at = usize::try_from(index - since.offset).ok();
            if let Some(now) = at.and_then(|at| since.counts.get_mut(at)) {
                *now = now.saturating_sub(count);
            }
        }
        since
    }

    /// Of the bounds.
    pub const fn scale(&self) -> i32 {
        self.scale
    }

    /// Values that were zero.
    pub const fn zero(&self) -> u64 {
        self.zero
    }

    /// The number of the first bucket, and the values in it and in those that follow.
    pub fn buckets(&self) -> (i32, &[u64]) {
        (self.offset, &self.counts)
    }

    fn last(&self) -> i32 {
        self.offset + i32::try_from(self.counts.len()).unwrap_or(i32::MAX) - 1
    }

    /// How often buckets must be joined in pairs, so that `index` finds room.
    fn joins_needed(&self, index: i32) -> i32 {
        let (mut first, mut last) = (self.offset.min(index), self.last().max(index));
        let mut by = 0;
        while last - first >= MAX_BUCKETS && by < 32 {
            (first, last) = (first >> 1, last >> 1);
            by += 1;
        }
        by
    }

    fn join(&mut self, by: i32) {
        if by == 0 {
            return;
        }
        let (old, counts) = (self.offset, std::mem::take(&mut self.counts));
        self.scale -= by;
        self.offset >>= by;
        for (index, count) in (old..).zip(counts) {
            let at = usize::try_from((index >> by) - self.offset).unwrap_or_default();
            if at >= self.counts.len() {
                self.counts.resize(at + 1, 0);
            }
            if let Some(joined) = self.counts.get_mut(at) {
                *joined += count;
            }
        }
    }

    fn widen(&mut self, first: i32, last: i32) {
        let before = usize::try_from(self.offset - first).unwrap_or_default();
        self.counts.splice(0..0, std::iter::repeat_n(0, before));
        self.offset = first;
        let len = usize::try_from(last - first + 1).unwrap_or_default();
        self.counts.resize(len.max(self.counts.len()), 0);
    }
}

impl Default for Exponential {
    fn default() -> Self {
        Self::new()
    }
}

/// The bucket of a normal value above zero.
#[expect(
    clippy::cast_possible_truncation,
    reason = "logarithms of doubles are below 2^11, scales at most 20: below 2^31"
)]
fn index(value: f64, scale: i32) -> i32 {
    let bits = value.to_bits();
    let exponent = i32::try_from(bits >> 52 & 0x7ff).unwrap_or_default() - 1023;
    let power_of_two = bits & ((1 << 52) - 1) == 0;
    if scale <= 0 {
        return (exponent - i32::from(power_of_two)) >> -scale;
    }
    if power_of_two {
        // Exact, where a logarithm may miss the bound by its last bit.
        return (exponent << scale) - 1;
    }
    (value.log2() * f64::from(1 << scale)).ceil() as i32 - 1
}

/// Buckets of one histogram. Metrics SDK specification: the default of `MaxSize`.
const MAX_BUCKETS: i32 = 160;

/// The finest scale. Metrics SDK specification: the default of `MaxScale`.
const MAX_SCALE: i32 = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(values: &[f64]) -> Exponential {
        let mut histogram = Exponential::new();
        for value in values {
            histogram.record(*value);
        }
        histogram
    }

    fn total(histogram: &Exponential) -> u64 {
        histogram.zero() + histogram.buckets().1.iter().sum::<u64>()
    }

    #[test]
    fn zero_and_what_is_no_number_are_counted_apart() {
        let histogram = of(&[0.0, -1.0, f64::NAN, f64::INFINITY, 1.0]);
        assert_eq!((histogram.zero(), total(&histogram), histogram.scale()), (4, 5, MAX_SCALE));
        assert_eq!(histogram.buckets(), (-1, &[1][..]));
    }

    #[test]
    fn extremes_lower_the_scale_and_keep_every_value() {
        let histogram = of(&[f64::MIN_POSITIVE, 1.0, f64::MAX]);
        assert_eq!(total(&histogram), 3);
        assert!(histogram.buckets().1.len() <= 160 && histogram.scale() < 0, "{histogram:?}");
    }

    proptest! {
        #[test]
        fn every_value_is_counted_in_its_bucket_within_the_bound(values in proptest::collection::vec(1e-9_f64..1e9, 1..300)) {
            let histogram = of(&values);
            prop_assert_eq!(total(&histogram), values.len() as u64);
            let (offset, counts) = histogram.buckets();
            prop_assert!(counts.len() <= 160);
            let base = 2_f64.powf(2_f64.powi(-histogram.scale()));
            for (index, count) in (offset..).zip(counts) {
                let (low, high) = (base.powi(index), base.powi(index + 1));
                let near = |value: f64| 1e-6 * value;
                let inside = values.iter().filter(|v| **v > low + near(low) && **v <= high - near(high)).count() as u64;
                let around = values.iter().filter(|v| **v > low - near(low) && **v <= high + near(high)).count() as u64;
                prop_assert!((inside..=around).contains(count), "{} {} {}", inside, count, around);
            }
        }

        #[test]
        fn what_came_since_is_the_difference(
            before in proptest::collection::vec(1e-6_f64..1e6, 0..100), after in proptest::collection::vec(1e-6_f64..1e6, 0..100),
        ) {
            let mut histogram = of(&before);
            let earlier = histogram.clone();
            for value in &after {
                histogram.record(*value);
            }
            prop_assert_eq!(total(&histogram.since(&earlier)), after.len() as u64);
        }
    }
}
