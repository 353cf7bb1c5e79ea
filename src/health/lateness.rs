//! How late checks begin: the one figure that says whether the checker keeps up.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counts checks by how long after they were due they began, in fixed buckets.
#[derive(Debug, Default)]
pub(crate) struct Lateness([AtomicU64; BUCKETS]);

impl Lateness {
    /// A check began so long after it was due.
    pub(crate) fn note(&self, late: Duration) {
        let bucket = BOUNDS.iter().position(|bound| late <= *bound).unwrap_or(BOUNDS.len());
        if let Some(count) = self.0.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What was counted so far.
    pub(crate) fn read(&self) -> LatenessSeen {
        LatenessSeen(std::array::from_fn(|bucket| self.0.get(bucket).map_or(0, |count| count.load(Ordering::Relaxed))))
    }
}

/// Checks by how late they began. A check that found no room at all is not among them: it is overdue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LatenessSeen([u64; BUCKETS]);

impl LatenessSeen {
    /// The checks that began since `earlier` was taken.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut counts = self.0;
        for (count, before) in counts.iter_mut().zip(earlier.0) {
            *count = count.wrapping_sub(before);
        }
        Self(counts)
    }

    /// How many checks that is.
    pub fn checks(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The bound within which this share of the checks began, 0 to 1: that of a bucket, so at most so much. None without
    /// checks, and where it is more than [`LatenessSeen::MOST`].
    pub fn within(&self, share: f64) -> Option<Duration> {
        let mut left = (self.checks() as f64 * share).ceil();
        for (count, bound) in self.0.iter().zip(BOUNDS) {
            left -= *count as f64;
            if left <= 0.0 && self.checks() > 0 {
                return Some(bound);
            }
        }
        None
    }

    /// The bound of the last bucket that has one.
    pub const MOST: Duration = Duration::from_secs(5);
}

/// The upper bounds of the buckets; one more takes the rest.
const BOUNDS: [Duration; BUCKETS - 1] = [
    Duration::from_millis(1),
    Duration::from_millis(2),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(20),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    LatenessSeen::MOST,
];

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
