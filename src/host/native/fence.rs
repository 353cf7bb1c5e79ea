//! What keeps a fault of the engine from HAProxy: one catch around each callback, and a switch.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use super::super::boundary;
use super::faults;
use crate::log::{self, Level};
use crate::stats;

/// Runs a callback of HAProxy's. A panic is counted, said at most once per second, and answered with `otherwise`, as everything
/// is once the engine is off.
pub(super) fn fence<T>(site: &'static str, otherwise: T, body: impl FnOnce() -> T) -> T {
    if is_off() {
        return otherwise;
    }
    caught(site, body).unwrap_or(otherwise)
}

/// The same for what must be done even when the engine is off. False: it panicked.
pub(super) fn always(site: &'static str, body: impl FnOnce()) -> bool {
    caught(site, body).is_some()
}

fn caught<T>(site: &'static str, body: impl FnOnce() -> T) -> Option<T> {
    let guarded = || {
        faults::panic_in(site);
        body()
    };
    match catch_unwind(AssertUnwindSafe(guarded)) {
        Ok(value) => Some(value),
        Err(payload) => {
            // Dropping it could panic again.
            std::mem::forget(payload);
            boundary::report(site, "panic");
            None
        }
    }
}

/// HAProxy's memory is not what its version says: from here on every request passes untouched. Said once per process.
#[cold]
pub(super) fn broken(what: &'static str) {
    stats::FAULTS.add(1);
    let version = super::engine().map_or("", |engine| engine.version.as_str());
    switch_off(&format!("{what}: HAProxy's memory differs from what is known of its version, {version}"));
}

/// From here on every request passes untouched. Said once per process.
#[cold]
pub(super) fn switch_off(why: &str) {
    if !OFF.swap(true, Ordering::Relaxed) {
        log::say(Level::Error, format!("native engine switched off, requests untouched: {why}"));
    }
}

/// Nothing of the engine's runs any more.
pub(super) fn is_off() -> bool {
    OFF.load(Ordering::Relaxed)
}

static OFF: AtomicBool = AtomicBool::new(false);
