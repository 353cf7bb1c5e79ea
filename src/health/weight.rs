//! From reported weights to the one that HAProxy gets: smoothed, bounded, and not restless. Pure: no clock, no I/O.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::WeightConfig;

/// What HAProxy gives a server without our doing, in percent of the server's own weight.
const WHOLE: u8 = 100;

/// One server's weight, in percent of its own.
#[derive(Debug, Clone)]
pub(crate) struct Weigher {
    smoothing: f64,
    min: u8,
    max: u8,
    step: u8,
    expiry: Duration,
    /// The exponentially weighted mean, and when it last changed. Absent while nothing is reported.
    mean: Option<(f64, Instant)>,
    weight: u8,
}

impl Weigher {
    /// Nothing reported yet: the whole weight.
    pub(crate) fn new(config: &WeightConfig) -> Self {
        Self {
            smoothing: config.smoothing,
            min: config.min.min(config.max),
            max: config.max,
            step: config.step,
            expiry: config.expiry,
            mean: None,
            weight: WHOLE,
        }
    }

    /// Takes a report in, in percent; any number. True when the weight changes.
    pub(crate) fn report(&mut self, percent: f64, now: Instant) -> bool {
        if percent.is_nan() {
            return false;
        }
        let new = percent.clamp(0.0, 100.0);
        let mean = match self.mean {
            Some((old, _)) => self.smoothing * old + (1.0 - self.smoothing) * new,
            None => new,
        };
        self.mean = Some((mean, now));
        self.settle(mean)
    }

    /// True when reports have stopped for so long that the weight is whole again: said once.
    pub(crate) fn expire(&mut self, now: Instant) -> bool {
        let Some((_, last)) = self.mean else { return false };
        if now.saturating_duration_since(last) < self.expiry {
            return false;
        }
        self.mean = None;
        self.weight = WHOLE;
        true
    }

    /// Whether reports come.
    pub(crate) fn is_reported(&self) -> bool {
        self.mean.is_some()
    }

    /// What HAProxy is to give it.
    pub(crate) fn weight(&self) -> u8 {
        self.weight
    }

    /// The bounds themselves are always reached: a step too small to be made would keep a server from its limit.
    fn settle(&mut self, mean: f64) -> bool {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 100")]
        let wanted = (mean.round() as u8).clamp(self.min, self.max);
        let far = wanted.abs_diff(self.weight) >= self.step.max(1);
        let at_bound = wanted != self.weight && (wanted == self.min || wanted == self.max);
        if far || at_bound || !(self.min..=self.max).contains(&self.weight) {
            self.weight = wanted;
            return true;
        }
        false
    }
}

/// One server's weight as HAProxy shows it, and what must be set.
#[derive(Debug, Default)]
pub(crate) struct Scale {
    /// As it was shown, or set since; absent where that is not known.
    now: Option<u32>,
    /// What its line in HAProxy's configuration says. HAProxy does not tell it: it is what shows after a weight of 100 %.
    initial: Option<u32>,
    /// The weight may be ours, from a load that was reported.
    ours: bool,
}

impl Scale {
    /// HAProxy's word.
    pub(crate) fn show(&mut self, now: Option<u32>) {
        self.now = now;
    }

    /// The weight to set, in percent, where the server has another than is `wanted`. Whole before the first one: what is shown
    /// then is what all are percentages of. Whole, once, when nothing is wanted any more.
    pub(crate) fn next(&mut self, wanted: Option<u8>) -> Option<u8> {
        let Some(wanted) = wanted else { return self.give_back() };
        let now = self.now?;
        let Some(initial) = self.initial.or(self.ours.then_some(now)) else {
            (self.ours, self.now) = (true, None);
            return Some(WHOLE);
        };
        let percent = of_initial(wanted, initial);
        let then = effective(percent, initial);
        (self.initial, self.now) = (Some(initial), Some(then));
        (now != then).then_some(percent)
    }

    /// The whole weight, where it may have been changed here.
    pub(crate) fn give_back(&mut self) -> Option<u8> {
        self.initial = None;
        let weight = std::mem::take(&mut self.ours).then_some(WHOLE);
        self.now.take_if(|_| weight.is_some());
        weight
    }

    /// The server's own weight, where it is so small that percentages of it are coarse.
    pub(crate) fn coarse(&self) -> Option<u32> {
        self.initial.filter(|initial| (1..COARSE).contains(initial))
    }
}

/// The percentage of `initial` to ask HAProxy for. It rounds down, and a server whose weight is rounded to 0 gets no requests
/// at all: so at least 1 is left, unless 0 is wanted.
fn of_initial(percent: u8, initial: u32) -> u8 {
    let least = if percent == 0 || initial == 0 { 0 } else { 100u32.div_ceil(initial) };
    percent.max(u8::try_from(least).unwrap_or(WHOLE)).min(WHOLE)
}

/// What HAProxy makes of `percent`: `iweight * w / 100` (`src/server.c`, `server_parse_weight_change_request`).
fn effective(percent: u8, initial: u32) -> u32 {
    initial.saturating_mul(u32::from(percent)) / 100
}

/// Below this, percentages of a server's own weight are coarser than a tenth.
const COARSE: u32 = 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn weigher(change: impl FnOnce(&mut WeightConfig)) -> Weigher {
        let mut config = WeightConfig { smoothing: 0.0, min: 0, max: 100, step: 0, ..WeightConfig::default() };
        change(&mut config);
        Weigher::new(&config)
    }

    #[test]
    fn a_report_is_followed_at_once_without_smoothing() {
        let mut weigher = weigher(|_| {});
        assert!(weigher.report(40.0, Instant::now()));
        assert!(!weigher.report(40.4, Instant::now()));
        assert_eq!((weigher.weight(), weigher.is_reported()), (40, true));
    }

    #[test]
    fn smoothing_keeps_a_share_of_what_was() {
        let mut weigher = weigher(|config| config.smoothing = 0.5);
        let weights: Vec<_> =
            [100.0, 0.0, 0.0].map(|percent| (weigher.report(percent, Instant::now()), weigher.weight())).into();
        assert_eq!(weights, [(false, 100), (true, 50), (true, 25)]);
    }

    #[test]
    fn small_steps_are_not_made_but_bounds_are_reached() {
        let mut weigher = weigher(|config| (config.step, config.min) = (10, 20));
        let mut after = |percent| {
            weigher.report(percent, Instant::now());
            weigher.weight()
        };
        assert_eq!(
            [50.0, 59.0, 60.0, 51.0, 25.0, 20.0, 0.0, 29.0, 30.0].map(&mut after),
            [50, 50, 60, 60, 25, 20, 20, 20, 30]
        );
    }

    #[test]
    fn without_reports_the_weight_is_whole_again() {
        let mut weigher = weigher(|config| (config.expiry, config.max) = (Duration::from_secs(9), 80));
        let start = Instant::now();
        assert!(!weigher.expire(start + Duration::from_hours(1)));
        weigher.report(30.0, start);
        assert!(!weigher.expire(start + Duration::from_secs(8)));
        assert!(weigher.expire(start + Duration::from_secs(9)));
        assert_eq!((weigher.weight(), weigher.is_reported()), (WHOLE, false));
        assert!(!weigher.expire(start + Duration::from_secs(10)));
    }

    #[test]
    fn a_small_weight_is_not_rounded_to_none() {
        for (percent, initial, asked) in
            [(50, 1, 100), (50, 2, 50), (10, 3, 34), (10, 100, 10), (0, 1, 0), (1, 256, 1), (7, 0, 7)]
        {
            assert_eq!(of_initial(percent, initial), asked, "{percent} of {initial}");
        }
    }

    proptest! {
        #[test]
        fn weights_stay_in_their_bounds(
            reports in prop::collection::vec(any::<f64>(), 1..40), smoothing in 0.0..0.99, a in 0u8..=100, b in 1u8..=100, step in 0u8..=100,
        ) {
            let (min, max) = (a.min(b), b.max(a));
            let mut weigher = weigher(|config| (config.smoothing, config.min, config.max, config.step) = (smoothing, min, max, step));
            for report in reports {
                weigher.report(report, Instant::now());
                prop_assert!(!weigher.is_reported() || (min..=max).contains(&weigher.weight()));
            }
        }

        #[test]
        fn more_is_never_less(one in 0.0..100.0, other in 0.0..100.0, former in 0.0..100.0, smoothing in 0.0..0.99) {
            let after = |report: f64| {
                let mut weigher = weigher(|config| config.smoothing = smoothing);
                weigher.report(former, Instant::now());
                weigher.report(report, Instant::now());
                weigher.weight()
            };
            let (low, high) = if one < other { (one, other) } else { (other, one) };
            prop_assert!(after(low) <= after(high));
        }

        #[test]
        fn rounding_leaves_at_least_one_and_keeps_the_order(percent in 1u8..=100, initial in 1u32..=256) {
            let asked = of_initial(percent, initial);
            prop_assert!(effective(asked, initial) >= 1);
            prop_assert!(effective(asked, initial) >= effective(percent, initial));
            prop_assert!(asked <= 100);
        }
    }
}
