//! Which filter of ours takes part in a stream: for actions, and for backends, whose filters come after a frontend's.
//!
//! One table for each of HAProxy's threads, which never hand a stream to another. Used only where the configuration has such.

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};

use super::abi::{Filter, Stream};

/// From here on filters are entered. While HAProxy reads its configuration.
pub(super) fn use_it() {
    USED.store(true, Ordering::Relaxed);
}

fn used() -> bool {
    USED.load(Ordering::Relaxed)
}

/// The first of our filters that takes part in the stream.
pub(super) fn filter_of(stream: *mut Stream) -> Option<*mut Filter> {
    if !used() {
        return None;
    }
    TABLE.with(|table| table.borrow().get(&stream.addr()).map(|filter| std::ptr::with_exposed_provenance_mut(*filter)))
}

/// Enters a filter, unless there is one.
pub(super) fn enter(stream: *mut Stream, filter: *mut Filter) {
    if used() {
        TABLE.with(|table| {
            table.borrow_mut().entry(stream.addr()).or_insert_with(|| filter.expose_provenance());
        });
    }
}

/// Takes it out.
pub(super) fn leave(stream: *mut Stream, filter: *mut Filter) {
    if used() {
        TABLE.with(|table| {
            if let Entry::Occupied(entered) = table.borrow_mut().entry(stream.addr())
                && *entered.get() == filter.addr()
            {
                entered.remove();
            }
        });
    }
}

static USED: AtomicBool = AtomicBool::new(false);

thread_local! {
    static TABLE: RefCell<HashMap<usize, usize, BuildHasherDefault<AddressHasher>>> = RefCell::default();
}

/// Addresses are well spread, but for their lowest bits.
#[derive(Default)]
struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_usize(usize::from(*byte));
        }
    }

    fn write_usize(&mut self, number: usize) {
        self.0 = (self.0 ^ number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}
