//! When a server is checked: one task per target, all sharing a bounded number of checks under way.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::outcome::{CheckResult, Class};
use super::probe::{IDLE_INTERVALS, Probe};
use super::state::Weight;
use super::target::Target;
use crate::runtime::Stop;
use crate::stats;

/// Checks `target` with `probe`, first when its book says so, until the process stops. Takes part in `room`.
pub(crate) async fn run(target: Arc<Target>, mut probe: impl Probe, room: Arc<Semaphore>, mut stop: Stop) {
    tokio::select! {
        () = rounds(&target, &mut probe, &room) => {}
        () = stop.wait() => {}
    }
}

async fn rounds(target: &Target, probe: &mut impl Probe, room: &Semaphore) {
    loop {
        round(target, probe, room).await;
    }
}

/// Waits until the next check is due, or wanted at once, and makes it.
pub(crate) async fn round(target: &Target, probe: &mut impl Probe, room: &Semaphore) {
    let due = target.book().next;
    tokio::select! {
        () = sleep_until(due) => {}
        () = target.wanted_now() => {}
    }
    let due = due.min(Instant::now());
    let latest = due + target.interval();
    let (result, took) = match timeout_at(latest, room.acquire()).await {
        Ok(_permit) => {
            target.begin(due);
            let start = Instant::now();
            // A check's own state is large: it is there while the check runs, and not between checks.
            let result = Box::pin(fenced(probe.check())).await.unwrap_or_else(|| {
                probe.reset();
                fault()
            });
            (result, start.elapsed())
        }
        Err(_) => (overdue(), Duration::ZERO),
    };
    target.record(result, took, Weight::Counted);
    let pause = jittered(target.interval(), rand::random());
    if pause > target.profile.config.interval.saturating_mul(IDLE_INTERVALS) {
        probe.reset();
    }
    // After a pause of the whole process the missed checks are not made up for.
    target.book().next = (due + pause).max(Instant::now());
}

/// The result of a check that panicked.
pub(crate) fn fault() -> CheckResult {
    CheckResult::hold(Class::Fault, "the check itself failed: a fault of haproxy-vitals")
}

/// The result of a check that was not made.
pub(crate) fn overdue() -> CheckResult {
    CheckResult::hold(Class::Overdue, "the check found no room")
}

/// How long the `nth` target found in one round waits for its first check. Few targets are checked at once; many are
/// spread over `interval` or 2 s, whichever is shorter. `random` is 0 to 1.
pub(crate) fn first_delay(nth: usize, interval: Duration, random: f64) -> Duration {
    let nth = u32::try_from(nth).unwrap_or(u32::MAX);
    let spread = FIRST_STEP.saturating_mul(nth.saturating_add(1)).min(interval).min(FIRST_SPREAD);
    spread.mul_f64(random.clamp(0.0, 1.0))
}

/// `interval` ± 10 %. `random` is 0 to 1.
pub(crate) fn jittered(interval: Duration, random: f64) -> Duration {
    interval.mul_f64(0.9 + 0.2 * random.clamp(0.0, 1.0))
}

/// `None` when `check` panicked: counted, and nobody's state changes for it.
pub(crate) async fn fenced<T>(check: impl Future<Output = T>) -> Option<T> {
    let mut check = pin!(check);
    std::future::poll_fn(|cx| {
        let poll = catch_unwind(AssertUnwindSafe(|| check.as_mut().poll(cx)));
        poll.map_or_else(
            |_| {
                stats::TASK_PANICS.add(1);
                Poll::Ready(None)
            },
            |poll| poll.map(Some),
        )
    })
    .await
}

/// Widens the spread of first checks, per target found in the same round.
const FIRST_STEP: Duration = Duration::from_millis(10);

/// The widest spread of first checks.
const FIRST_SPREAD: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Mutex;

    use proptest::prelude::*;
    use tokio::sync::watch;

    use super::super::group::Group;
    use super::super::observe::Figures;
    use super::super::outcome::Outcome;
    use super::super::profile::Profile;
    use super::super::state::Health;
    use super::super::voice::Voice;
    use super::*;
    use crate::config::BackendConfig;
    use crate::runtime::Tasks;

    type Script = Arc<Mutex<VecDeque<Outcome>>>;

    /// Answers from a script, then `pass`; a fault in the script panics. Notes when it was asked.
    struct Scripted {
        script: Script,
        asked: Arc<Mutex<Vec<Instant>>>,
        takes: Duration,
    }

    impl Probe for Scripted {
        async fn check(&mut self) -> CheckResult {
            self.asked.lock().unwrap().push(Instant::now());
            tokio::time::sleep(self.takes).await;
            let outcome = self.script.lock().unwrap().pop_front().unwrap_or(Outcome::Pass);
            assert_ne!(outcome, Outcome::Hold(Class::Fault), "as the script wants");
            CheckResult::new(outcome, "")
        }

        fn reset(&mut self) {}
    }

    struct Bench {
        target: Arc<Target>,
        asked: Arc<Mutex<Vec<Instant>>>,
        room: Arc<Semaphore>,
        stop: watch::Sender<bool>,
        tasks: Tasks,
    }

    impl Bench {
        fn new() -> Self {
            let (stop, stopped) = watch::channel(false);
            let voice = Arc::new(Voice::new(Box::new(|_, _, _| {}), 1));
            let profile = Arc::new(Profile::load(&BackendConfig::named("b")).unwrap());
            let group = Arc::new(Group::new("b", 0, Arc::clone(&voice)));
            let address = "127.0.0.1:1".to_owned();
            let figures = Arc::new(Figures::new());
            let target = Target::new(profile, group, "s".to_owned(), address, voice, Instant::now(), figures);
            Self {
                target: Arc::new(target),
                asked: Arc::default(),
                room: Arc::new(Semaphore::new(1)),
                stop,
                tasks: Tasks::new(tokio::runtime::Handle::current(), stopped),
            }
        }

        async fn run(&self, script: &[Outcome], takes: Duration, time: Duration) {
            let script: Script = Arc::new(Mutex::new(script.iter().copied().collect()));
            let probe = Scripted { script, asked: Arc::clone(&self.asked), takes };
            let task = run(Arc::clone(&self.target), probe, Arc::clone(&self.room), self.tasks.stop());
            self.tasks.spawn("test", task);
            tokio::time::sleep(time).await;
        }

        fn gaps(&self) -> Vec<f64> {
            let asked = self.asked.lock().unwrap();
            asked.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect()
        }

        fn health(&self) -> Health {
            self.target.book().machine.health()
        }
    }

    const SOFT: Outcome = Outcome::SoftFail(Class::Timeout);
    const HARD: Outcome = Outcome::HardFail(Class::NotServing);

    #[tokio::test(start_paused = true)]
    async fn checks_start_one_interval_apart_however_long_they_take() {
        let bench = Bench::new();
        bench.run(&[], Duration::from_millis(900), Duration::from_secs(200)).await;
        let gaps = bench.gaps();
        assert!(gaps.len() >= 90);
        assert!(gaps.iter().all(|gap| (1.79..2.21).contains(gap)), "{gaps:?}");
        assert!(gaps.iter().any(|gap| (gap - gaps[0]).abs() > 0.01), "no jitter");
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_in_doubt_is_checked_faster_and_a_dead_one_slower() {
        let bench = Bench::new();
        bench.run(&[Outcome::Pass, SOFT, HARD, HARD], Duration::ZERO, Duration::from_secs(20)).await;
        let expected = [2.0, 1.0, 5.0, 5.0, 1.0, 2.0];
        for (gap, expected) in bench.gaps().iter().zip(expected) {
            assert!((gap / expected - 1.0).abs() < 0.11, "{gap} instead of {expected}");
        }
        assert_eq!(bench.health(), Health::Up);
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_that_is_wanted_at_once_does_not_wait() {
        let bench = Bench::new();
        bench.run(&[], Duration::ZERO, Duration::from_millis(100)).await;
        let asked = bench.asked.lock().unwrap().len();
        bench.target.check_now();
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(bench.asked.lock().unwrap().len(), asked + 1);
    }

    #[tokio::test(start_paused = true)]
    async fn overloaded_checker_holds() {
        let bench = Bench::new();
        bench.run(&[], Duration::ZERO, Duration::from_secs(1)).await;
        assert_eq!(bench.health(), Health::Up);
        let permit = bench.room.acquire().await.unwrap();
        let asked = bench.asked.lock().unwrap().len();
        tokio::time::sleep(Duration::from_mins(10)).await;
        assert_eq!(bench.asked.lock().unwrap().len(), asked);
        assert_eq!(bench.health(), Health::Up);
        assert!(bench.target.book().overdue > 100);
        drop(permit);
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert!(bench.asked.lock().unwrap().len() > asked);
    }

    #[tokio::test(start_paused = true)]
    async fn a_fault_in_a_check_changes_nothing_and_checks_go_on() {
        let bench = Bench::new();
        let fault = Outcome::Hold(Class::Fault);
        bench.run(&[Outcome::Pass, fault, fault, fault, fault, HARD], Duration::ZERO, Duration::from_secs(9)).await;
        assert_eq!(bench.health(), Health::Up);
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(bench.health(), Health::Down);
    }

    #[tokio::test(start_paused = true)]
    async fn checks_end_when_the_process_stops() {
        let bench = Bench::new();
        bench.run(&[], Duration::ZERO, Duration::from_secs(10)).await;
        bench.stop.send(true).unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
        let asked = bench.asked.lock().unwrap().len();
        tokio::time::sleep(Duration::from_mins(1)).await;
        assert_eq!(bench.asked.lock().unwrap().len(), asked);
        assert_eq!(Arc::strong_count(&bench.target), 1);
    }

    proptest! {
        #[test]
        fn first_checks_are_prompt_for_few_and_spread_for_many(nth: usize, millis in 1u64..10_000, random in 0.0..1.0) {
            let interval = Duration::from_millis(millis);
            let delay = first_delay(nth, interval, random);
            prop_assert!(delay <= interval && delay <= Duration::from_secs(2));
            prop_assert!(nth > 9 || delay <= Duration::from_millis(100));
        }
    }
}
