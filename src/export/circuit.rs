//! The circuit breaker: a collector that is down costs one attempt per backoff, whatever waits in the queue.
//!
//! | state | when | what is sent |
//! |---|---|---|
//! | `closed` | the last attempt was answered, or fewer than [`OPENS_AFTER`] in a row were not | the oldest batch, again after a backoff |
//! | `open` | [`OPENS_AFTER`] attempts in a row failed | nothing until the backoff is over |
//! | `half_open` | the backoff is over | the oldest batch, once: the probe |
//!
//! An answer, also one that refuses the batch for good, closes it. The backoff is one for all batches: it goes on growing while
//! batches come and go, and begins anew after an answer.

use std::time::Duration;

use super::retry::{Backoff, Retry};
use crate::stats::{Circuit as State, ExportStats};

/// Failures in a row, and the wait that follows from them.
#[derive(Debug)]
pub(super) struct Circuit {
    failures: u32,
    backoff: Backoff,
    max_interval: Duration,
    stats: &'static ExportStats,
}

impl Circuit {
    /// Closed. No wait is longer than `max_interval`, but for the collector's own wish.
    pub(super) fn new(max_interval: Duration, stats: &'static ExportStats) -> Self {
        Self { failures: 0, backoff: Backoff::up_to(max_interval), max_interval, stats }
    }

    /// An attempt begins.
    pub(super) fn attempt(&self) {
        if self.is_open() {
            self.stats.set_circuit(State::HalfOpen);
        }
    }

    /// The collector answered.
    pub(super) fn answered(&mut self) {
        self.failures = 0;
        self.backoff = Backoff::up_to(self.max_interval);
        self.stats.set_circuit(State::Closed);
    }

    /// An attempt failed in a way that is retried; returns how long to wait.
    pub(super) fn failed(&mut self, retry: Retry) -> Duration {
        self.failures = self.failures.saturating_add(1);
        if self.is_open() {
            self.stats.set_circuit(State::Open);
        }
        if self.failures == OPENS_AFTER {
            self.stats.circuit_opened.add(1);
        }
        let interval = self.backoff.interval();
        if let Retry::After(wish) = retry { wish.max(interval) } else { interval }
    }

    fn is_open(&self) -> bool {
        self.failures >= OPENS_AFTER
    }
}

/// Failed attempts in a row: with the backoff of 0.5 s that doubles, some eight seconds.
pub(super) const OPENS_AFTER: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    fn circuit() -> (Circuit, &'static ExportStats) {
        let stats: &'static ExportStats = Box::leak(Box::new(ExportStats::new()));
        (Circuit::new(Duration::from_secs(30), stats), stats)
    }

    #[test]
    fn it_opens_after_so_many_failures_in_a_row_and_is_counted_once() {
        let (mut circuit, stats) = circuit();
        for failures in 1..=2 * OPENS_AFTER {
            circuit.attempt();
            circuit.failed(Retry::Backoff);
            let expected = if failures < OPENS_AFTER { State::Closed } else { State::Open };
            assert_eq!(stats.circuit(), expected, "{failures}");
        }
        assert_eq!(stats.circuit_opened.value(), 1);
    }

    #[test]
    fn a_probe_half_opens_it_and_an_answer_closes_it() {
        let (mut circuit, stats) = circuit();
        for _ in 0..OPENS_AFTER {
            circuit.failed(Retry::Backoff);
        }
        circuit.attempt();
        assert_eq!(stats.circuit(), State::HalfOpen);
        circuit.answered();
        assert_eq!(stats.circuit(), State::Closed);
        circuit.failed(Retry::Backoff);
        assert_eq!((stats.circuit(), stats.circuit_opened.value()), (State::Closed, 1));
    }

    #[test]
    fn the_wait_grows_over_batches_up_to_its_bound_and_begins_anew_after_an_answer() {
        let (mut circuit, _) = circuit();
        let waits: Vec<f64> = (0..9).map(|_| circuit.failed(Retry::Backoff).as_secs_f64()).collect();
        for (wait, expected) in waits.into_iter().zip([0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]) {
            assert!((expected * 0.8..=expected * 1.2).contains(&wait), "{wait} is not about {expected}");
        }
        circuit.answered();
        assert!(circuit.failed(Retry::Backoff) <= Duration::from_millis(600));
        assert_eq!(circuit.failed(Retry::After(Duration::from_mins(2))), Duration::from_mins(2));
    }
}
