//! One server's rise and fall. Pure: no clock, no I/O.

use super::outcome::Outcome;

/// What the checks say about a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    /// No verdict yet.
    Pending,
    /// May get requests.
    Up,
    /// May get no new clients.
    Drain,
    /// May get none.
    Down,
}

impl Health {
    /// The word that stands for it in commands and logs.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Up => "up",
            Self::Drain => "drain",
            Self::Down => "down",
        }
    }
}

/// How much one result counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weight {
    /// As one of those that `rise` and `fall` count.
    Counted,
    /// Alone: the server told a change by itself.
    Decisive,
}

/// How soon the next check is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Nothing is in doubt: `interval`.
    Normal,
    /// A verdict is pending: `fast_interval`.
    Fast,
    /// Down, and nothing speaks for it: `down_interval`.
    Down,
}

/// The first verdict decides alone; then `rise` passes in a row bring a server up, and `fall` soft failures in a row,
/// or one hard failure, take it down. A server that is down is not drained: that would bring clients back. Holds change
/// nothing.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    rise: u32,
    fall: u32,
    health: Health,
    passes: u32,
    failures: u32,
}

impl Machine {
    /// A server about which nothing is known. `rise` and `fall` of 0 count as 1.
    pub(crate) fn new(rise: u32, fall: u32) -> Self {
        Self { rise, fall, health: Health::Pending, passes: 0, failures: 0 }
    }

    /// Takes one check's outcome in; true when the health changes.
    pub(crate) fn feed(&mut self, outcome: Outcome, weight: Weight) -> bool {
        let Some(next) = self.next(outcome, weight == Weight::Decisive) else { return false };
        *self = Self { health: next, ..Self::new(self.rise, self.fall) };
        true
    }

    /// What the outcome makes of the health; none where that stays.
    fn next(&mut self, outcome: Outcome, decisive: bool) -> Option<Health> {
        match (self.health, outcome) {
            (_, Outcome::Hold(_)) => None,
            (Health::Pending, Outcome::Pass) => Some(Health::Up),
            (Health::Pending | Health::Up | Health::Drain, Outcome::HardFail(_))
            | (Health::Pending, Outcome::SoftFail(_)) => Some(Health::Down),
            (Health::Pending | Health::Up, Outcome::Drain(_)) => Some(Health::Drain),
            (Health::Up, Outcome::Pass) => {
                self.failures = 0;
                None
            }
            (Health::Drain, Outcome::Drain(_)) => {
                (self.passes, self.failures) = (0, 0);
                None
            }
            (Health::Down, Outcome::HardFail(_) | Outcome::SoftFail(_) | Outcome::Drain(_)) => {
                self.passes = 0;
                None
            }
            (Health::Up | Health::Drain, Outcome::SoftFail(_)) => {
                self.passes = 0;
                self.failures += 1;
                (decisive || self.failures >= self.fall).then_some(Health::Down)
            }
            (Health::Down | Health::Drain, Outcome::Pass) => {
                self.failures = 0;
                self.passes += 1;
                (decisive || self.passes >= self.rise).then_some(Health::Up)
            }
        }
    }

    /// The verdict so far.
    pub(crate) fn health(&self) -> Health {
        self.health
    }

    /// Passes in a row that have not yet brought it up, and how many do.
    pub(crate) fn rising(&self) -> (u32, u32) {
        (self.passes, self.rise)
    }

    /// Soft failures in a row that have not yet taken it down, and how many do.
    pub(crate) fn falling(&self) -> (u32, u32) {
        (self.failures, self.fall)
    }

    /// How soon to look again.
    pub(crate) fn pace(&self) -> Pace {
        match self.health {
            Health::Pending => Pace::Fast,
            _ if self.failures > 0 || self.passes > 0 => Pace::Fast,
            Health::Up | Health::Drain => Pace::Normal,
            Health::Down => Pace::Down,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::outcome::Class;
    use super::*;

    const PASS: Outcome = Outcome::Pass;
    const HARD: Outcome = Outcome::HardFail(Class::NotServing);
    const SOFT: Outcome = Outcome::SoftFail(Class::Timeout);
    const DRAIN: Outcome = Outcome::Drain(Class::NotServing);
    const HOLD: Outcome = Outcome::Hold(Class::Overdue);

    fn after(outcomes: &[Outcome]) -> Machine {
        let mut machine = Machine::new(2, 3);
        for outcome in outcomes {
            machine.feed(*outcome, Weight::Counted);
        }
        machine
    }

    #[test]
    fn first_result_decides_alone() {
        assert_eq!(after(&[]).health(), Health::Pending);
        assert_eq!(after(&[HOLD]).health(), Health::Pending);
        assert_eq!(after(&[PASS]).health(), Health::Up);
        assert_eq!(after(&[SOFT]).health(), Health::Down);
        assert_eq!(after(&[HARD]).health(), Health::Down);
    }

    #[test]
    fn not_serving_takes_down_at_once() {
        assert_eq!(after(&[PASS, PASS, HARD]).health(), Health::Down);
    }

    #[test]
    fn three_soft_failures_take_it_down() {
        assert_eq!(after(&[PASS, SOFT, SOFT]).health(), Health::Up);
        assert_eq!(after(&[PASS, SOFT, SOFT, PASS, SOFT, SOFT]).health(), Health::Up);
        assert_eq!(after(&[PASS, SOFT, SOFT, SOFT]).health(), Health::Down);
    }

    #[test]
    fn two_passes_bring_it_up() {
        assert_eq!(after(&[HARD, PASS]).health(), Health::Down);
        assert_eq!(after(&[HARD, PASS, HARD, PASS]).health(), Health::Down);
        assert_eq!(after(&[HARD, PASS, PASS]).health(), Health::Up);
    }

    #[test]
    fn draining_is_immediate_but_never_brings_back_what_is_down() {
        assert_eq!(after(&[DRAIN]).health(), Health::Drain);
        assert_eq!(after(&[PASS, DRAIN]).health(), Health::Drain);
        assert_eq!(after(&[HARD, DRAIN, DRAIN]).health(), Health::Down);
        assert_eq!(after(&[DRAIN, PASS]).health(), Health::Drain);
        assert_eq!(after(&[DRAIN, PASS, PASS]).health(), Health::Up);
        assert_eq!(after(&[DRAIN, SOFT, SOFT]).health(), Health::Drain);
        assert_eq!(after(&[DRAIN, SOFT, SOFT, SOFT]).health(), Health::Down);
        assert_eq!(after(&[DRAIN, SOFT, SOFT, DRAIN, SOFT, SOFT]).health(), Health::Drain);
        assert_eq!(after(&[DRAIN, HARD]).health(), Health::Down);
    }

    #[test]
    fn what_a_server_tells_by_itself_counts_at_once() {
        let mut machine = after(&[PASS]);
        assert!(machine.feed(SOFT, Weight::Decisive));
        assert_eq!(machine.health(), Health::Down);
        assert!(machine.feed(PASS, Weight::Decisive));
        assert_eq!(machine.health(), Health::Up);
        assert!(!machine.feed(HOLD, Weight::Decisive));
    }

    #[test]
    fn checks_come_faster_while_a_verdict_is_pending() {
        assert_eq!(after(&[]).pace(), Pace::Fast);
        assert_eq!(after(&[PASS]).pace(), Pace::Normal);
        assert_eq!(after(&[PASS, SOFT]).pace(), Pace::Fast);
        assert_eq!(after(&[HARD]).pace(), Pace::Down);
        assert_eq!(after(&[HARD, PASS]).pace(), Pace::Fast);
        assert_eq!(after(&[HARD, PASS, PASS]).pace(), Pace::Normal);
    }

    fn outcome() -> impl Strategy<Value = Outcome> {
        prop_oneof![Just(PASS), Just(HARD), Just(SOFT), Just(DRAIN), Just(HOLD)]
    }

    proptest! {
        #[test]
        fn holds_change_nothing(outcomes in prop::collection::vec(outcome(), 0..60), rise in 0u32..5, fall in 0u32..5) {
            let (mut with, mut without) = (Machine::new(rise, fall), Machine::new(rise, fall));
            for outcome in outcomes {
                let changed = with.feed(outcome, Weight::Counted);
                if outcome != HOLD {
                    prop_assert_eq!(changed, without.feed(outcome, Weight::Counted));
                }
                prop_assert_eq!(with.health(), without.health());
                prop_assert_eq!(with.pace(), without.pace());
            }
        }

        #[test]
        fn the_last_results_explain_the_health(
            outcomes in prop::collection::vec(outcome(), 1..60), rise in 1usize..5, fall in 1usize..5,
        ) {
            let mut machine = Machine::new(u32::try_from(rise).unwrap(), u32::try_from(fall).unwrap());
            let mut verdicts = Vec::new();
            for outcome in outcomes {
                let before = machine.health();
                let changed = machine.feed(outcome, Weight::Counted);
                prop_assert_eq!(changed, machine.health() != before);
                if outcome != HOLD {
                    verdicts.push(outcome);
                }
                let tail = |n: usize| &verdicts[verdicts.len().saturating_sub(n)..];
                if changed && verdicts.len() > 1 {
                    match machine.health() {
                        Health::Up => prop_assert!(tail(rise).iter().all(|o| *o == PASS)),
                        Health::Drain => prop_assert!(outcome == DRAIN),
                        _ => prop_assert!(outcome == HARD || tail(fall).iter().all(|o| *o == SOFT)),
                    }
                }
                prop_assert!(machine.health() != Health::Up || verdicts.last() != Some(&HARD));
            }
        }
    }
}
