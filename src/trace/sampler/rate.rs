//! So many in a second: one bucket of tokens for all of HAProxy's threads.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// A bucket that holds one second's tokens and is full at first. In any `s` seconds at most `rate * s + rate` are taken. One
/// atomic number: the time when the bucket would be full again (the generic cell rate algorithm).
#[derive(Debug)]
pub(super) struct Rate {
    full_at: AtomicU64,
    /// Nanoseconds for one token.
    interval: u64,
    /// Nanoseconds for all tokens but one.
    depth: u64,
}

impl Rate {
    /// `per_second` is at least 1.
    pub(super) fn new(per_second: u32) -> Self {
        let per_second = u64::from(per_second.max(1));
        let interval = SECOND / per_second;
        Self { full_at: AtomicU64::new(0), interval, depth: interval * (per_second - 1) }
    }

    /// Takes a token, if there is one.
    pub(super) fn take(&self) -> bool {
        self.take_at(u64::try_from(START.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// `now`: nanoseconds since any moment.
    fn take_at(&self, now: u64) -> bool {
        let next = |full_at: u64| {
            let from = full_at.max(now);
            (from - now <= self.depth).then(|| from.saturating_add(self.interval))
        };
        self.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }
}

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

const SECOND: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_full_bucket_is_one_second_of_tokens_and_fills_again() {
        let rate = Rate::new(10);
        assert_eq!((0..100).filter(|_| rate.take_at(0)).count(), 10);
        assert!(!rate.take_at(99_999_999));
        assert!(rate.take_at(100_000_000) && !rate.take_at(100_000_000));
        assert_eq!((0..100).filter(|_| rate.take_at(3_000_000_000)).count(), 10);
    }

    proptest! {
        #[test]
        fn no_window_has_more_than_its_share_and_one_second(
            per_second in 1_u32..50, gaps in proptest::collection::vec(0_u64..200_000_000, 1..400),
        ) {
            let rate = Rate::new(per_second);
            let mut now = 0;
            let mut taken = Vec::new();
            for gap in gaps {
                now += gap;
                if rate.take_at(now) {
                    taken.push(now);
                }
            }
            for (n, from) in taken.iter().enumerate() {
                for (count, to) in (1..).zip(&taken[n..]) {
                    // An interval is whole nanoseconds, so a little short.
                    let seconds = (to - from) as f64 / 1e9 * 1.000_001;
                    prop_assert!(f64::from(count) <= f64::from(per_second) * (seconds + 1.0) + 1e-6);
                }
            }
        }
    }
}
