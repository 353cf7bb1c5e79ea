//! What is counted of checks, without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use super::super::outcome::{Class, Outcome};
use super::super::state::Health;
use crate::stats::Counter;

/// The counters of one server, or of all single checks together. Some 700 bytes.
#[derive(Debug)]
pub(crate) struct Figures {
    /// Figures are numbered as they are made.
    order: u64,
    /// By result, then by class; index 0 is a pass without a class.
    checks: [[Counter; Class::ALL.len() + 1]; RESULTS.len()],
    /// Checks that took at most the bound of the same index; the last one took longer.
    durations: [Counter; DURATION_BOUNDS.len() + 1],
    /// Microseconds.
    sum: Counter,
    /// Changes to up, drain and down.
    moved: [Counter; MOVES.len()],
    /// When the last of them was: Unix time, seconds; 0 means never.
    moved_at: Counter,
}

impl Figures {
    pub(crate) fn new() -> Self {
        Self {
            order: MADE.fetch_add(1, Ordering::Relaxed),
            checks: [const { [const { Counter::new() }; Class::ALL.len() + 1] }; RESULTS.len()],
            durations: [const { Counter::new() }; DURATION_BOUNDS.len() + 1],
            sum: Counter::new(),
            moved: [const { Counter::new() }; MOVES.len()],
            moved_at: Counter::new(),
        }
    }

    /// Counts a check. What a server told by itself took no time, and what found no room was not made: neither has a duration.
    pub(crate) fn check(&self, outcome: Outcome, took: Duration) {
        let word = super::result_word(outcome);
        let class = outcome.class().map_or(0, |class| class as usize + 1);
        let result = RESULTS.iter().position(|result| *result == word).unwrap_or_default();
        if let Some(counter) = self.checks.get(result).and_then(|classes| classes.get(class)) {
            counter.add(1);
        }
        if took.is_zero() {
            return;
        }
        let seconds = took.as_secs_f64();
        let bucket = DURATION_BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(DURATION_BOUNDS.len());
        if let Some(counter) = self.durations.get(bucket) {
            counter.add(1);
        }
        self.sum.add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    /// A check begins that somebody waits for.
    pub(crate) fn begin(&self) -> UnderWay<'_> {
        UnderWay { figures: self, begin: Instant::now(), outcome: Outcome::SoftFail(Class::Timeout) }
    }

    /// Counts a change of state.
    pub(crate) fn moved(&self, to: Health) {
        let index = MOVES.iter().position(|word| *word == to.word());
        if let Some(counter) = index.and_then(|index| self.moved.get(index)) {
            counter.add(1);
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            self.moved_at.set(now.as_secs());
        }
    }

    /// What the checks came to so far.
    pub(crate) fn tally(&self) -> Tally {
        let classes = || std::iter::once(None).chain(Class::ALL.map(Some));
        let rows = RESULTS.into_iter().zip(&self.checks);
        let checks = rows
            .flat_map(|(result, row)| {
                row.iter().zip(classes()).map(move |(count, class)| (result, class, count.value()))
            })
            .filter(|(.., count)| *count > 0)
            .collect();
        Tally {
            checks,
            durations: self.durations.iter().map(Counter::value).collect(),
            seconds: Duration::from_micros(self.sum.value()).as_secs_f64(),
        }
    }

    pub(crate) fn moves(&self) -> Vec<(&'static str, u64)> {
        MOVES.into_iter().zip(self.moved.iter().map(Counter::value)).collect()
    }

    /// When the state last changed: Unix time, seconds.
    pub(crate) fn last_move(&self) -> Option<u64> {
        Some(self.moved_at.value()).filter(|at| *at > 0)
    }

    /// Of two, those with the lower number were made first.
    pub(crate) const fn order(&self) -> u64 {
        self.order
    }
}

/// Counts a check when it is dropped. One that nobody waited for to the end had no answer in time.
pub(crate) struct UnderWay<'f> {
    figures: &'f Figures,
    begin: Instant,
    outcome: Outcome,
}

impl UnderWay<'_> {
    /// The check is over.
    pub(crate) fn end(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.figures.check(self.outcome, self.begin.elapsed());
    }
}

/// What checks came to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tally {
    /// Result (`pass`, `fail`, `drain`, `hold`), why it is no pass, and how many checks: those that there were.
    pub checks: Vec<(&'static str, Option<Class>, u64)>,
    /// Checks by duration: one for each of [`DURATION_BOUNDS`], and the longer ones. Not cumulative.
    pub durations: Vec<u64>,
    /// What they took together, in seconds.
    pub seconds: f64,
}

impl Tally {
    /// How many checks there were of a result and class that are `wanted`.
    pub fn count(&self, wanted: impl Fn(&str, Option<Class>) -> bool) -> u64 {
        self.checks.iter().filter(|(result, class, _)| wanted(result, *class)).map(|(.., count)| count).sum()
    }
}

/// Upper bounds of the durations, in seconds. They contain those of haproxy-grpc-agent.
pub const DURATION_BOUNDS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0];

const RESULTS: [&str; 4] = ["pass", "fail", "drain", "hold"];
const MOVES: [&str; 3] = ["up", "drain", "down"];

static MADE: AtomicU64 = AtomicU64::new(0);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_result_and_class_has_a_counter_of_its_own() {
        let figures = Figures::new();
        figures.check(Outcome::Pass, Duration::from_millis(1));
        for class in Class::ALL {
            for outcome in [Outcome::HardFail(class), Outcome::Drain(class), Outcome::Hold(class)] {
                figures.check(outcome, Duration::ZERO);
            }
        }
        let checks = figures.tally().checks;
        assert_eq!(checks.len(), 1 + 3 * Class::ALL.len());
        assert!(checks.iter().all(|(.., count)| *count == 1), "{checks:?}");
        assert_eq!(checks[0], ("pass", None, 1));
        assert!(checks.contains(&("hold", Some(Class::Fault), 1)));
    }

    #[test]
    fn durations_fall_into_the_first_bucket_that_holds_them() {
        let figures = Figures::new();
        for millis in [1, 2, 1000, 10_000, 60_000] {
            figures.check(Outcome::Pass, Duration::from_millis(millis));
        }
        let Tally { durations, seconds, .. } = figures.tally();
        assert_eq!((durations[0], durations[1], durations[9], durations[12], durations[13]), (1, 1, 1, 1, 1));
        assert!((seconds - 71.003).abs() < 1e-9);
    }

    #[test]
    fn moves_are_counted_by_where_they_lead() {
        let figures = Figures::new();
        assert_eq!(figures.last_move(), None);
        figures.moved(Health::Pending);
        assert_eq!(figures.last_move(), None);
        for health in [Health::Up, Health::Down, Health::Up] {
            figures.moved(health);
        }
        assert_eq!(figures.moves(), [("up", 2), ("drain", 0), ("down", 1)]);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        assert!(figures.last_move().is_some_and(|at| at <= now && at + 60 > now));
    }
}
