//! Which of a stream's channels a callback is about.
#![expect(unsafe_code, reason = "reads the channels' flags")]

use std::sync::atomic::{AtomicUsize, Ordering};

use super::abi::{Channel, IS_RESPONSE, Stream};
use super::stream::Side;
use super::{Engine, faults, fence};

/// The side that a channel is of. `None`, and the engine is off: it is not where it must be.
///
/// # Safety
///
/// Both must be what HAProxy handed to a callback.
pub(super) unsafe fn of(stream: *mut Stream, channel: *mut Channel) -> Option<Side> {
    // SAFETY: an address within the stream.
    let request = unsafe { &raw mut (*stream).req };
    // SAFETY: HAProxy's channel.
    let is_response = unsafe { (&raw const (*channel).flags).read() } & IS_RESPONSE != 0;
    let at = channel.addr().wrapping_sub(stream.addr());
    let known = if is_response { response_at(at) == at } else { channel == request };
    if !known || faults::breaks("channel") {
        fence::broken("a channel is not where its stream has it");
        return None;
    }
    Some(if is_response { Side::Response(channel) } else { Side::Request(channel) })
}

/// The request's side.
pub(super) fn request(stream: *mut Stream) -> Side {
    Side::Request(stream.wrapping_byte_add(std::mem::offset_of!(Stream, req)).cast())
}

/// The response's side, for rules that may run before HAProxy has shown its channel.
///
/// # Safety
///
/// The stream must be alive.
pub(super) unsafe fn response(stream: *mut Stream, engine: &Engine) -> Side {
    let seen = SEEN.load(Ordering::Relaxed);
    let at = if seen == 0 { engine.layout.response_at } else { seen };
    let channel: *mut Channel = stream.wrapping_byte_add(at).cast();
    // SAFETY: within the stream, which is larger than that in all known versions.
    let is_response = unsafe { (&raw const (*channel).flags).read() } & IS_RESPONSE != 0;
    if is_response { Side::Response(channel) } else { Side::Neither }
}

/// Where the response's channel is: where the first one was.
fn response_at(at: usize) -> usize {
    match SEEN.load(Ordering::Relaxed) {
        0 if at < LARGEST => SEEN.compare_exchange(0, at, Ordering::Relaxed, Ordering::Relaxed).err().unwrap_or(at),
        seen => seen,
    }
}

static SEEN: AtomicUsize = AtomicUsize::new(0);

/// Bytes within which a stream has both channels, with room for growth.
const LARGEST: usize = 512;
