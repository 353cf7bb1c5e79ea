//! How late checks begin: the one figure that says whether the checker keeps up.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counts checks by how long after they were due they began, in fixed buckets.
#[derive(Debug, Default)]
pub(crate) struct Lateness {
    counts: [AtomicU64; BUCKETS],
    /// Microseconds.
    sum: AtomicU64,
}

impl Lateness {
    /// A check began so long after it was due.
    pub(crate) fn note(&self, late: Duration) {
        let bounds = LatenessSeen::BOUNDS;
        let bucket = bounds.iter().position(|bound| late.as_secs_f64() <= *bound).unwrap_or(bounds.len());
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(u64::try_from(late.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// What was counted so far.
    pub(crate) fn read(&self) -> LatenessSeen {
        let count = |bucket| self.counts.get(bucket).map_or(0, |count: &AtomicU64| count.load(Ordering::Relaxed));
        LatenessSeen { counts: std::array::from_fn(count), sum: self.sum.load(Ordering::Relaxed) }
    }
}

/// Checks by how late they began. A check that found no room at all is not among them: it is overdue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LatenessSeen {
    counts: [u64; BUCKETS],
    /// Microseconds.
    sum: u64,
}

impl LatenessSeen {
    /// The checks that began since `earlier` was taken.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut counts = self.counts;
        for (count, before) in counts.iter_mut().zip(earlier.counts) {
            *count = count.wrapping_sub(before);
        }
        Self { counts, sum: self.sum.wrapping_sub(earlier.sum) }
    }

    /// How many checks that is.
    pub fn checks(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Checks by lateness: one for each of [`LatenessSeen::BOUNDS`], and the later ones. Not cumulative.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// How late they were together, in seconds.
    pub fn seconds(&self) -> f64 {
        Duration::from_micros(self.sum).as_secs_f64()
    }

    /// The bound within which this share of the checks began, 0 to 1: that of a bucket, so at most so much. None without
    /// checks, and where it is more than [`LatenessSeen::MOST`].
    pub fn within(&self, share: f64) -> Option<Duration> {
        let mut left = (self.checks() as f64 * share).ceil();
        for (count, bound) in self.counts.iter().zip(Self::BOUNDS) {
            left -= *count as f64;
            if left <= 0.0 && self.checks() > 0 {
                return Some(Duration::from_secs_f64(bound));
            }
        }
        None
    }

    /// The bound of the last bucket that has one.
    pub const MOST: Duration = Duration::from_secs(5);

    /// The upper bounds of the buckets, in seconds; one more takes the rest.
    pub const BOUNDS: [f64; BUCKETS - 1] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0];
}

const BUCKETS: usize = 13;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_lies_within_the_bound_of_its_bucket() {
        let lateness = Lateness::default();
        assert_eq!(lateness.read().within(0.99), None);
        for _ in 0..98 {
            lateness.note(Duration::from_micros(900));
        }
        lateness.note(Duration::from_millis(1));
        lateness.note(Duration::from_millis(3));
        let seen = lateness.read();
        assert_eq!((seen.checks(), seen.within(0.99)), (100, Some(Duration::from_millis(1))));
        assert_eq!(seen.within(1.0), Some(Duration::from_millis(5)));
    }

    #[test]
    fn what_is_later_than_the_last_bound_has_none() {
        let lateness = Lateness::default();
        lateness.note(Duration::from_secs(6));
        assert_eq!((lateness.read().checks(), lateness.read().within(0.5)), (1, None));
    }

    #[test]
    fn only_the_checks_since_then_count() {
        let lateness = Lateness::default();
        lateness.note(Duration::from_secs(6));
        let before = lateness.read();
        lateness.note(Duration::ZERO);
        let since = lateness.read().since(&before);
        assert_eq!((since.checks(), since.within(1.0)), (1, Some(Duration::from_millis(1))));
    }
}
