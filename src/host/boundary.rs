//! The one boundary between HAProxy and this module's faults.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use mlua::prelude::*;

use crate::log::{self, Level, RateLimit};
use crate::stats;

/// Puts `fault(site, what)` into `native`: for errors that the Lua side has caught.
pub(super) fn install(lua: &Lua, native: &LuaTable) -> LuaResult<()> {
    let fault = |_: &Lua, (site, what): (String, LuaValue)| {
        report(&site, &what.to_string().unwrap_or_default());
        Ok(())
    };
    native.set("fault", lua.create_function(fault)?)
}

/// Runs a callback of HAProxy's. An error or a panic is counted, said at most once per second, and answered with
/// `otherwise`: this module's faults never change a request or a server.
pub(super) fn fail_open<T>(site: &'static str, otherwise: T, body: impl FnOnce() -> LuaResult<T>) -> T {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(value)) => value,
        Ok(Err(error)) => {
            report(site, &error.to_string());
            otherwise
        }
        Err(_) => {
            report(site, "panic");
            otherwise
        }
    }
}

/// Counts a fault and says it, rate-limited.
pub(super) fn report(site: &str, what: &str) {
    stats::FAULTS.add(1);
    let mut limit = LIMIT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(held_back) = limit.pass(Instant::now()) {
        let first_line = what.lines().next().unwrap_or_default();
        log::say(Level::Warning, format!("fault in {site}, request untouched: {first_line} ({held_back} more before)"));
    }
}

static LIMIT: Mutex<RateLimit> = Mutex::new(RateLimit::per(Duration::from_secs(1)));
