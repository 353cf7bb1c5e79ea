//! One tracer for each of HAProxy's threads.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{boundary, process};
use crate::trace::hot::Hot;

/// Runs `body` with this thread's tracer. `None`: it panicked, which is counted, or the tracer is in use by a caller.
pub(super) fn with_hot<T>(body: impl FnOnce(&mut Hot) -> T) -> Option<T> {
    let run = || {
        HOT.with(|slot| {
            let mut slot = slot.try_borrow_mut().ok()?;
            Some(body(slot.get_or_insert_with(process::attach_thread)))
        })
    };
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| {
        boundary::report("tracing", "panic");
        None
    })
}

thread_local! {
    static HOT: RefCell<Option<Hot>> = const { RefCell::new(None) };
}
