//! A response's trailers: HAProxy shows a filter its bytes only if it counts it among those that want them.
//!
//! The count's place is found through the filter's own list and believed only where it agrees with what the list's filters say of
//! themselves. Otherwise the trailers are left out, and that is counted.
#![expect(unsafe_code, reason = "HAProxy's list of a stream's filters")]

use std::ptr;

use super::Engine;
use super::abi::{Channel, Filter, List, Stream, WANTS_REQUEST_DATA, WANTS_RESPONSE_DATA};
use crate::stats::ATTRIBUTES_LEFT_OUT;

/// Asks for the response's bytes, in its `http_headers`, if the place of HAProxy's count is certain.
///
/// # Safety
///
/// All must be what HAProxy handed to the callback.
pub(super) unsafe fn ask(engine: &Engine, s: *mut Stream, f: *mut Filter, channel: *mut Channel) {
    // SAFETY: the caller's promise.
    unsafe {
        if (*f).flags & WANTS_RESPONSE_DATA != 0 {
            return;
        }
        let count = if engine.layout.filters_by_channel { of_channel(f, channel) } else { of_stream(s, f) };
        match count {
            Some(count) if *count < u8::MAX => {
                (*f).flags |= WANTS_RESPONSE_DATA;
                *count += 1;
            }
            _ => ATTRIBUTES_LEFT_OUT.add(1),
        }
    }
}

/// Before 3.4: `strm_flt`, in the stream, has both counts.
unsafe fn of_stream(s: *mut Stream, f: *mut Filter) -> Option<*mut u8> {
    // SAFETY: fields of HAProxy's, within a stream and its filters.
    unsafe {
        let found = walk(f, LIST, s.addr()..s.addr() + WITHIN_STREAM)?;
        let head = found.head.cast::<u8>();
        let flags = found.head.wrapping_byte_add(STREAM_FLAGS).cast::<u16>().read();
        let (requests, responses) = (head.add(STREAM_FLAGS + 2), head.add(STREAM_FLAGS + 3));
        let agrees = flags & !KNOWN_FLAGS == 0
            && flags & HAS_FILTERS != 0
            && usize::from(*requests) == found.requests
            && usize::from(*responses) == found.responses;
        agrees.then_some(responses)
    }
}

/// Since 3.4: `chn_flt`, in the channel.
unsafe fn of_channel(f: *mut Filter, channel: *mut Channel) -> Option<*mut u8> {
    // SAFETY: fields of HAProxy's, within a channel and its filters.
    unsafe {
        let found = walk(f, RESPONSE_LIST, channel.addr()..channel.addr() + WITHIN_CHANNEL)?;
        let count = found.head.cast::<u8>().add(CHANNEL_COUNT);
        (usize::from(*count) == found.responses).then_some(count)
    }
}

/// What a list of filters has.
struct Found {
    head: *mut List,
    requests: usize,
    responses: usize,
}

/// Walks through the list that is at `at` in each filter, from `f` round to `f`. One entry, the head, is where `heads` says; no filter
/// can be there.
unsafe fn walk(f: *mut Filter, at: usize, heads: std::ops::Range<usize>) -> Option<Found> {
    // SAFETY: an entry that is not the head is a filter's, and is believed only if its neighbour points back.
    unsafe {
        let own: *mut List = f.wrapping_byte_add(at).cast();
        let mut found = Found { head: ptr::null_mut(), requests: 0, responses: 0 };
        let mut entry = own;
        for _ in 0..MOST {
            if heads.contains(&entry.addr()) {
                if !found.head.is_null() {
                    return None;
                }
                found.head = entry;
            } else {
                let flags = (&raw const (*entry.wrapping_byte_sub(at).cast::<Filter>()).flags).read();
                found.requests += usize::from(flags & WANTS_REQUEST_DATA != 0);
                found.responses += usize::from(flags & WANTS_RESPONSE_DATA != 0);
            }
            let next = (*entry).next;
            if next.is_null() || !next.is_aligned() || (*next).prev != entry {
                return None;
            }
            if next == own {
                return (!found.head.is_null()).then_some(found);
            }
            entry = next;
        }
        None
    }
}

/// Filters of a stream.
const MOST: usize = 64;

/// Where `filter.list` and `filter.res_list` are.
const LIST: usize = 48;
const RESPONSE_LIST: usize = 80;

/// In `strm_flt`: `flags`, then the counts of the request and of the response.
const STREAM_FLAGS: usize = 32;
const HAS_FILTERS: u16 = 1;
const KNOWN_FLAGS: u16 = 3;

/// In `chn_flt`.
const CHANNEL_COUNT: usize = 24;

/// Bytes that every known version's stream has, and its channel.
const WITHIN_STREAM: usize = 880;
const WITHIN_CHANNEL: usize = 104;
