//! Our filter beside HAProxy's implicit ones.
//!
//! HAProxy adds its filters for the cache, `FastCGI` and compression by itself, where settings need them, and refuses to start when it
//! then finds a filter of another kind: those must be written. A configuration must not be refused for a filter that the module
//! added. So while HAProxy checks the filters of such a section, ours carries the cache's name: all three pass over that one. A
//! second filter, at the front of the list, gives the name before the checks; ours takes it off after them, and the second out.
#![expect(unsafe_code, reason = "HAProxy's list of a section's filters")]

use std::ffi::{c_char, c_int};
use std::ptr;
use std::sync::{Mutex, PoisonError};

use nix::libc;

use super::abi::{Filter, FilterConfig, FilterFields, FilterOps, List, Proxy, Stream};
use super::fence::fence;
use super::filter::fields_of;
use super::{Engine, engine};

/// Prepares a filter of ours that HAProxy's parser has just put at the end of the section's list. `false`: the list is not as
/// expected, and nothing was done.
///
/// # Safety
///
/// `config` must be that filter, while HAProxy reads its configuration.
pub(super) unsafe fn prepare(engine: &Engine, px: *mut Proxy, config: *mut FilterConfig) -> bool {
    // SAFETY: the caller's promise; neighbours in the list are written once they are seen to be neighbours.
    unsafe {
        let own = &raw mut (*fields_of(engine, config)).list;
        let head = (*own).next;
        let within = head.addr().wrapping_sub(px.addr()) < LARGEST;
        if !within || (*head).prev != own {
            return false;
        }
        let first = (*head).next;
        if first == own {
            return true;
        }
        // HAProxy frees what is in the list when it stops.
        let front: *mut FilterConfig = libc::calloc(1, ROOM).cast();
        if front.is_null() {
            return false;
        }
        let fields = fields_of(engine, front);
        if engine.layout.filter_fields > 0 {
            // `flt_conf.name`, which HAProxy compares.
            front.cast::<*const c_char>().write(c"lua.otel.front".as_ptr());
        }
        (*fields).id = c"haproxy-vitals".as_ptr();
        (*fields).ops = &raw const FRONT;
        let list = &raw mut (*fields).list;
        list.write(List { next: first, prev: head });
        (*first).prev = list;
        (*head).next = list;
        pairs().push((front.addr(), config.expose_provenance()));
        true
    }
}

/// HAProxy has checked the filters before ours: its own name again, and no second filter.
///
/// # Safety
///
/// Only in HAProxy's check of `config`.
pub(super) unsafe fn checked(engine: &Engine, config: *mut FilterConfig) {
    let mut pairs = pairs();
    let Some(found) = pairs.iter().position(|(_, own)| *own == config.addr()) else { return };
    let (front, _) = pairs.swap_remove(found);
    let front: *mut FilterConfig = ptr::with_exposed_provenance_mut(front);
    // SAFETY: made by `prepare`; HAProxy's walk through the list has passed it.
    unsafe {
        (*fields_of(engine, config)).id = c"haproxy-vitals".as_ptr();
        let List { next, prev } = (&raw const (*fields_of(engine, front)).list).read();
        (*prev).next = next;
        (*next).prev = prev;
        libc::free(front.cast());
    }
}

static FRONT: FilterOps = FilterOps { check: Some(hide), attach: Some(attach), ..FilterOps::NONE };

unsafe extern "C" fn hide(_: *mut Proxy, front: *mut FilterConfig) -> c_int {
    fence("check", 0, || {
        let own = pairs().iter().find(|(at, _)| *at == front.addr()).map(|(_, own)| *own);
        if let (Some(engine), Some(own)) = (engine(), own) {
            let own: *mut FilterConfig = ptr::with_exposed_provenance_mut(own);
            // SAFETY: both are in the same list, so alive; HAProxy's constant name.
            unsafe {
                let name = engine.symbols.cache_store_flt_id.read();
                (*fields_of(engine, front)).id = name;
                (*fields_of(engine, own)).id = name;
            }
        }
        0
    })
}

/// Takes part in no stream.
unsafe extern "C" fn attach(_: *mut Stream, _: *mut Filter) -> c_int {
    0
}

/// Front filters and those that they are for.
fn pairs() -> std::sync::MutexGuard<'static, Vec<(usize, usize)>> {
    PAIRS.lock().unwrap_or_else(PoisonError::into_inner)
}

static PAIRS: Mutex<Vec<(usize, usize)>> = Mutex::new(Vec::new());

/// Bytes of a proxy within which its list of filters begins.
const LARGEST: usize = 16 * 1024;

/// Bytes of `flt_conf` in any version, with room for growth.
const ROOM: usize = size_of::<FilterFields>() + 64;
