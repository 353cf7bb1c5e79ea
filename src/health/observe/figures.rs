//! Figures of each checked server, counted without a lock, and all of them at one moment.

use std::time::Duration;

use super::super::outcome::{Class, Outcome};
use super::super::state::Health;
use super::super::status::ServerState;
use crate::stats::Counter;

/// One server's counters. Some 700 bytes.
#[derive(Debug)]
pub(crate) struct Figures {
    /// By result, then by class; index 0 is a pass without a class.
    checks: [[Counter; Class::ALL.len() + 1]; RESULTS.len()],
    /// Checks that took at most the bound of the same index; the last one took longer.
    durations: [Counter; DURATION_BOUNDS.len() + 1],
    /// Microseconds.
    sum: Counter,
    /// Changes to up, drain and down.
    moved: [Counter; MOVES.len()],
}

impl Figures {
    pub(crate) const fn new() -> Self {
        Self {
            checks: [const { [const { Counter::new() }; Class::ALL.len() + 1] }; RESULTS.len()],
            durations: [const { Counter::new() }; DURATION_BOUNDS.len() + 1],
            sum: Counter::new(),
            moved: [const { Counter::new() }; MOVES.len()],
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

    /// Counts a change of state.
    pub(crate) fn moved(&self, to: Health) {
        let index = MOVES.iter().position(|word| *word == to.word());
        if let Some(counter) = index.and_then(|index| self.moved.get(index)) {
            counter.add(1);
        }
    }

    /// Each result and class that there was, with its count.
    pub(crate) fn checks(&self) -> Vec<(&'static str, &'static str, u64)> {
        let classes = || std::iter::once("ok").chain(Class::ALL.into_iter().map(Class::word));
        let rows = RESULTS.into_iter().zip(&self.checks);
        rows.flat_map(|(result, row)| {
            row.iter().zip(classes()).map(move |(count, class)| (result, class, count.value()))
        })
        .filter(|(.., count)| *count > 0)
        .collect()
    }

    pub(crate) fn durations(&self) -> Vec<u64> {
        self.durations.iter().map(Counter::value).collect()
    }

    pub(crate) fn seconds(&self) -> f64 {
        Duration::from_micros(self.sum.value()).as_secs_f64()
    }

    pub(crate) fn moves(&self) -> Vec<(&'static str, u64)> {
        MOVES.into_iter().zip(self.moved.iter().map(Counter::value)).collect()
    }
}

/// One server's figures at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerFigures {
    /// The backend's name.
    pub backend: String,
    /// The server's name.
    pub server: String,
    /// What it may get.
    pub state: ServerState,
    /// How long its checks have said what they say.
    pub age: Duration,
    /// Its weight from its load, in percent.
    pub weight: Option<u8>,
    /// Result (`pass`, `fail`, `drain`, `hold`), class (`ok` or [`Class::word`]), and how many checks: those that there were.
    pub checks: Vec<(&'static str, &'static str, u64)>,
    /// Checks by duration: one for each of [`DURATION_BOUNDS`], and the longer ones. Not cumulative.
    pub durations: Vec<u64>,
    /// What they took together, in seconds.
    pub seconds: f64,
    /// Changes to `up`, `drain` and `down`.
    pub moves: Vec<(&'static str, u64)>,
}

/// All figures of the checks at one moment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Snapshot {
    /// Every checked server, by backend and name.
    pub servers: Vec<ServerFigures>,
    /// Checks under way.
    pub in_flight: u64,
    /// HTTP/2 connections that checks keep or make.
    pub connections: u64,
    /// How often too few servers of a backend were healthy.
    pub panics: u64,
    /// Load reports that could not be read.
    pub load_reports_malformed: u64,
    /// Checks that found no room on their way to become spans.
    pub events_dropped: u64,
}

/// Upper bounds of the durations, in seconds. They contain those of haproxy-grpc-agent.
pub const DURATION_BOUNDS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0];

const RESULTS: [&str; 4] = ["pass", "fail", "drain", "hold"];
const MOVES: [&str; 3] = ["up", "drain", "down"];

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
        let checks = figures.checks();
        assert_eq!(checks.len(), 1 + 3 * Class::ALL.len());
        assert!(checks.iter().all(|(.., count)| *count == 1), "{checks:?}");
        assert_eq!(checks[0], ("pass", "ok", 1));
        assert!(checks.contains(&("hold", "fault", 1)));
    }

    #[test]
    fn durations_fall_into_the_first_bucket_that_holds_them() {
        let figures = Figures::new();
        for millis in [1, 2, 1000, 10_000, 60_000] {
            figures.check(Outcome::Pass, Duration::from_millis(millis));
        }
        let durations = figures.durations();
        assert_eq!((durations[0], durations[1], durations[9], durations[12], durations[13]), (1, 1, 1, 1, 1));
        assert!((figures.seconds() - 71.003).abs() < 1e-9);
    }

    #[test]
    fn moves_are_counted_by_where_they_lead() {
        let figures = Figures::new();
        for health in [Health::Up, Health::Down, Health::Up, Health::Pending] {
            figures.moved(health);
        }
        assert_eq!(figures.moves(), [("up", 2), ("drain", 0), ("down", 1)]);
    }
}
