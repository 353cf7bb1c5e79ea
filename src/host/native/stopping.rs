//! The end of HAProxy's threads.
#![expect(unsafe_code, reason = "HAProxy calls it")]

use super::fence;
use super::symbols::Symbols;
use crate::runtime;

/// Has each of HAProxy's threads refuse to be killed by a soft stop before HAProxy takes its handlers away. While HAProxy reads its
/// configuration.
pub(super) fn register(symbols: &Symbols) {
    // SAFETY: a function that stays loaded.
    unsafe { (symbols.hap_register_per_thread_deinit)(Some(thread_ends)) }
}

unsafe extern "C" fn thread_ends() {
    let _ = fence::always("end of a thread", runtime::outlast_soft_stops);
}
