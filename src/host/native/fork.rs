//! A fork that HAProxy makes after its configuration is read: 3.0 makes its worker that way, and leaves the terminal. Later versions
//! read it in the process that serves.
#![expect(unsafe_code, reason = "reads HAProxy's mode and asks libc to tell of forks")]

use std::ffi::c_int;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::libc;

use super::fence;
use super::symbols;

/// Whether the process that will serve is one that HAProxy forks from this one. Then `body` runs there, once, before chroot and
/// setuid. While HAProxy starts, before there is any other thread.
pub(in super::super) fn comes(body: fn()) -> bool {
    let forks = to_come();
    if forks == 0 {
        return false;
    }
    let _ = AFTER.set((forks, body));
    // SAFETY: the handler stays loaded: HAProxy's Lua closes no state before it forks.
    unsafe { libc::pthread_atfork(None, None, Some(forked)) == 0 }
}

/// How many processes are to come after this one, each made by the one before.
fn to_come() -> u32 {
    let forks_late = symbols::version().is_ok_and(|version| symbols::release(&version) == Some((3, 0)));
    let Some(mode) = symbols::mode().filter(|_| forks_late) else { return 0 };
    match (mode & MASTER != 0, mode & DAEMON != 0) {
        (false, false) => 0,
        // The master leaves the terminal when it starts, not at a reload.
        (true, true) if !is_reload() => 2,
        _ => 1,
    }
}

fn is_reload() -> bool {
    // SAFETY: a name that ends in zero; no other thread changes the environment.
    unsafe { !libc::getenv(c"HAPROXY_MWORKER_REEXEC".as_ptr()).is_null() }
}

/// In the new process, whose only thread this is.
unsafe extern "C" fn forked() {
    let _ = fence::always("fork", || {
        let count = FORKS.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some((forks, body)) = AFTER.get()
            && count == *forks
        {
            body();
        }
    });
}

static AFTER: OnceLock<(u32, fn())> = OnceLock::new();
static FORKS: AtomicU32 = AtomicU32::new(0);

/// `MODE_DAEMON`, `MODE_MWORKER`.
const DAEMON: c_int = 0x02;
const MASTER: c_int = 0x80;
