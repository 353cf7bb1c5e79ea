//! Waiting: the only sleep of the harness. A condition, a deadline, and a sentence that says what was awaited.

use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

/// The usual deadline: far more than anything needs, so that reaching it means a fault and not a slow machine.
pub const SOON: Duration = Duration::from_secs(10);

/// Between two looks at a condition.
const INTERVAL: Duration = Duration::from_millis(3);

/// Waits until `condition` holds; panics with `what` when it does not `within` the time.
#[track_caller]
pub fn until(within: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    until_some(within, what, || condition().then_some(()));
}

/// Waits until `look` finds something and returns it; panics with `what` when it does not `within` the time.
#[track_caller]
pub fn until_some<T>(within: Duration, what: &str, look: impl FnMut() -> Option<T>) -> T {
    let Some(found) = try_until(within, look) else { panic!("not within {within:?}: {what}") };
    found
}

/// Waits until `look` finds something; `None` when it does not `within` the time. It looks at least once.
pub fn try_until<T>(within: Duration, look: impl FnMut() -> Option<T>) -> Option<T> {
    look_until(within * patience(), look)
}

fn look_until<T>(within: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + within;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= end {
            return None;
        }
        thread::sleep(INTERVAL);
    }
}

/// Panics as soon as `condition` fails `during` the time: for what must not happen.
#[track_caller]
pub fn always(during: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let broken = look_until(during, || (!condition()).then_some(()));
    assert!(broken.is_none(), "did not hold for {during:?}: {what}");
}

/// How many times longer to wait: `VITALS_PATIENCE`, for a HAProxy that is emulated and for that reason slow.
#[expect(clippy::disallowed_methods, reason = "the harness has no settings tree of its own")]
fn patience() -> u32 {
    static TIMES: OnceLock<u32> = OnceLock::new();
    *TIMES.get_or_init(|| match std::env::var("VITALS_PATIENCE") {
        Ok(times) => times.parse().unwrap_or_else(|_| panic!("VITALS_PATIENCE={times}: a whole number")),
        Err(_) => 1,
    })
}
