//! What Lua's hooks call for each request, as plain C functions.
//!
//! mlua's safe callbacks were measured at some 1 100 instructions more per call than these. One of the two places with unsafe
//! code; the other is `native`.
#![expect(unsafe_code, reason = "Lua's C interface; each use says why it is sound")]

use std::cell::RefCell;
use std::ffi::{c_char, c_int};
use std::net::IpAddr;

use mlua::ffi::{
    LUA_TBOOLEAN, LUA_TNUMBER, LUA_TSTRING, lua_State, lua_gettop, lua_pushlstring, lua_toboolean, lua_tointegerx,
    lua_tolstring, lua_type,
};
use mlua::prelude::*;

use super::tracer::with_hot;
use crate::trace::headers::Block;
use crate::trace::hot::{Begun, Hot, TracestateAction};
use crate::trace::incoming::{Arrival, Incoming};
use crate::trace::record::{Field, Head, Numbers, Verdict, Writer, bits, hex};

/// Puts `begin` and `finish` into `native`.
pub(super) fn install(lua: &Lua, native: &LuaTable) -> LuaResult<()> {
    // SAFETY: both follow Lua's calling convention, keep to the stack slots that Lua guarantees, and never unwind.
    let (begin, finish) = unsafe { (lua.create_c_function(begin)?, lua.create_c_function(finish)?) };
    native.set("begin", begin)?;
    native.set("finish", finish)
}

/// `begin(header block, method, target, version, "single" or "", "looked", "TCP" or "" [, frontend, source, TLS])` gives what
/// HAProxy holds, its traceparent, and where the `tracestate` does not stay as it came, what replaces it or `""`. See
/// [`Hot::begin`].
///
/// Nothing where the request has a `traceparent` and the caller has not looked whether it is this module's own (`""` for
/// `"looked"`): a look at the headers costs less than asking for a variable.
unsafe extern "C-unwind" fn begin(state: *mut lua_State) -> c_int {
    // SAFETY: reads the number of arguments.
    let count = unsafe { lua_gettop(state) };
    // SAFETY: the strings stay on Lua's stack, so alive and in place, until this function returns.
    let given = |index| unsafe { argument(state, index) };
    let arrival =
        (count >= 10).then(|| Arrival { frontend: given(8), source: address(given(9)), tls: given(10) == b"1" });
    let request = Incoming {
        headers: Block::Text(given(1)),
        method: given(2),
        target: given(3),
        version: given(4),
        single_span: !given(5).is_empty(),
        connection: !given(7).is_empty(),
        arrival,
    };
    let looked = !given(6).is_empty();
    // Lua may leave a call that allocates by a long jump: nothing is borrowed while something is pushed.
    let begun = with_hot(|hot| {
        RECORD.with(|record| {
            let mut record = record.try_borrow_mut().ok()?;
            let begun = if looked {
                Some(hot.begin(&request, &mut record))
            } else {
                hot.begin_unless_begun(&request, &mut record)
            };
            Some(begun.map(|begun| (begun, &raw const *record.as_bytes(), &raw const *hot.tracestate())))
        })
    });
    match begun {
        Some(Some(Some((begun, record, tracestate)))) => {
            // SAFETY: both buffers are this thread's and stay as they are until its next request begins; this is a call of
            // Lua's, which guarantees 20 slots.
            unsafe { push_begun(state, &begun, &*record, &*tracestate) }
        }
        Some(Some(None)) => 0,
        // HAProxy is owed a header: one of a request that is not traced.
        // SAFETY: as above.
        _ => unsafe { push_begun(state, &Hot::detached_request(), b"", b"") },
    }
}

/// Pushes what HAProxy holds, the traceparent, and the `tracestate` where it does not stay as it came. The number of values.
///
/// # Safety
///
/// `state` must be Lua's, in a call of its own with three free slots.
unsafe fn push_begun(state: *mut lua_State, begun: &Begun, record: &[u8], tracestate: &[u8]) -> c_int {
    let bare;
    let held = if begun.recorded {
        record
    } else {
        bare = unrecorded(begun).to_bytes();
        &bare
    };
    // SAFETY: the caller promises the slots.
    unsafe {
        push(state, held);
        push(state, &begun.traceparent());
    }
    let replacement = match begun.tracestate {
        TracestateAction::Keep => return 2,
        TracestateAction::Delete => b"",
        TracestateAction::Replace => tracestate,
    };
    // SAFETY: as above.
    unsafe { push(state, replacement) };
    3
}

/// The head of a request whose end is not wanted: rules and other formats' headers ask for its ids.
fn unrecorded(begun: &Begun) -> Head {
    let sent = &begun.sent;
    Head {
        verdict: Verdict::default(),
        flags: sent.flags,
        trace_id: hex(&sent.trace_id).unwrap_or_default(),
        client_span: hex(&sent.span_id).unwrap_or_default(),
        server_span: [0; 8],
        parent: [0; 8],
        started: 0,
    }
}

/// Pushes a text.
///
/// # Safety
///
/// `state` must be Lua's, in a call of its own with a free slot. A failing allocation inside ends HAProxy, as it does everywhere
/// in Lua without a protected call.
unsafe fn push(state: *mut lua_State, text: &[u8]) {
    // SAFETY: Lua copies the bytes; the caller promises the slot.
    unsafe { lua_pushlstring(state, text.as_ptr().cast::<c_char>(), text.len()) };
}

/// `finish(what HAProxy holds, state, status, backend, server, server's address, server's port, client's address, client's
/// port, frontend, frontend's port, TLS, handshake, idle, request headers, queue, connection, response headers, retries,
/// redispatched, date in microseconds, client's HTTP version, server's, reused, server's status, server's TLS, local address,
/// bytes in, bytes out, cipher, server name, protocol of TLS, values that the settings ask for...)`. An absent one is nil. See
/// [`Hot::finish`].
unsafe extern "C-unwind" fn finish(state: *mut lua_State) -> c_int {
    // SAFETY: as in `begin`.
    let held = unsafe { argument(state, 1) };
    with_hot(|hot| {
        // SAFETY: this is a call of Lua's, whose slots stay as they are until it returns.
        hot.finish(held, |record| unsafe { append_end(record, state) });
    });
    0
}

/// Appends what the arguments say of a request's end.
///
/// # Safety
///
/// `state` must be Lua's, in a call of its own.
unsafe fn append_end(record: &mut Writer, state: *mut lua_State) {
    // SAFETY: any index may be asked for; texts are copied while their slot holds them.
    let text = |index| unsafe { argument(state, index) };
    // SAFETY: any index may be asked for.
    let number = |index| unsafe { integer(state, index) };
    let short = |index| number(index).and_then(|number| u16::try_from(number).ok()).unwrap_or(0);
    let timer = |index| number(index).and_then(|number| i32::try_from(number).ok()).unwrap_or(-1);
    let small = |index| number(index).and_then(|number| u8::try_from(number).ok()).unwrap_or(0);
    let count = |index| number(index).and_then(|number| u64::try_from(number).ok());
    let bit = |index, bit| if number(index) == Some(1) { bit } else { 0 };
    let known = |index, bit| if number(index).is_some() { bit } else { 0 };
    let numbers = Numbers {
        state: text(2).first_chunk().copied().unwrap_or(*b"--"),
        status: short(3),
        server_status: short(25),
        server_port: short(7),
        client_port: short(9),
        frontend_port: short(11),
        client_http_major: small(22),
        server_http_major: small(23),
        bits: bit(20, bits::REDISPATCHED)
            | known(24, bits::REUSE_KNOWN)
            | bit(24, bits::REUSED)
            | known(26, bits::SERVER_TLS_KNOWN)
            | bit(26, bits::SERVER_TLS),
        retries: number(19).and_then(|number| u32::try_from(number).ok()).unwrap_or(0),
        timers: [timer(13), timer(14), timer(15), timer(16), timer(17), timer(18)],
        began: count(21).and_then(|micros| micros.checked_mul(1000)).unwrap_or(0),
        bytes_in: count(28).unwrap_or(u64::MAX),
        bytes_out: count(29).unwrap_or(u64::MAX),
        ..Numbers::default()
    };
    record.numbers(&numbers);
    let fields = [
        (Field::Backend, 4),
        (Field::Server, 5),
        (Field::Frontend, 10),
        (Field::Tls, 12),
        (Field::Cipher, 30),
        (Field::ServerName, 31),
        (Field::NextProtocol, 32),
    ];
    for (field, index) in fields {
        record.present(field, text(index));
    }
    for (field, index) in [(Field::ServerAddress, 6), (Field::ClientAddress, 8), (Field::LocalAddress, 27)] {
        match address(text(index)) {
            Some(IpAddr::V4(address)) => _ = record.field(field, &address.octets()),
            Some(IpAddr::V6(address)) => _ = record.field(field, &address.octets()),
            None => {}
        }
    }
    // SAFETY: reads the number of arguments.
    let last = unsafe { lua_gettop(state) };
    for (place, index) in (0_u8..).zip(FIRST_GATHERED..=last) {
        // SAFETY: as above.
        if let Some(value) = unsafe { present(state, index) } {
            record.gathered(place, value, gathered_bytes(last));
        }
    }
}

/// Bytes that are taken of each value that the settings ask for.
fn gathered_bytes(last: c_int) -> usize {
    let count = usize::try_from(last - FIRST_GATHERED + 1).unwrap_or(1);
    crate::trace::plan::value_bytes(count)
}

/// An address as text. Other things, such as unix sockets, have none.
fn address(text: &[u8]) -> Option<IpAddr> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Where the values begin that the settings ask for.
const FIRST_GATHERED: c_int = 33;

/// The whole number at `index`; booleans are 1 and 0.
///
/// # Safety
///
/// `state` must be Lua's, in a call of its own.
unsafe fn integer(state: *mut lua_State, index: c_int) -> Option<i64> {
    let mut is_number = 0;
    // SAFETY: any index may be asked for.
    let number = unsafe { lua_tointegerx(state, index, &raw mut is_number) };
    if is_number != 0 {
        return Some(number);
    }
    // SAFETY: as above.
    unsafe { (lua_type(state, index) == LUA_TBOOLEAN).then(|| i64::from(lua_toboolean(state, index) != 0)) }
}

/// The bytes of the string or number at `index`; `None` for anything else.
///
/// # Safety
///
/// As for [`argument`].
unsafe fn present<'a>(state: *mut lua_State, index: c_int) -> Option<&'a [u8]> {
    // SAFETY: any index may be asked for.
    match unsafe { lua_type(state, index) } {
        LUA_TSTRING | LUA_TNUMBER => {
            // SAFETY: the caller promises it.
            Some(unsafe { argument(state, index) })
        }
        LUA_TBOOLEAN => {
            // SAFETY: any index may be asked for.
            Some(if unsafe { lua_toboolean(state, index) } != 0 { b"1" } else { b"0" })
        }
        _ => None,
    }
}

/// The bytes of the string or number at `index`; empty for anything else.
///
/// # Safety
///
/// The slice must not outlive the slot's value.
unsafe fn argument<'a>(state: *mut lua_State, index: c_int) -> &'a [u8] {
    let mut len = 0;
    // SAFETY: Lua accepts any index here and gives null for what is no string or number.
    let start = unsafe { lua_tolstring(state, index, &raw mut len) };
    if start.is_null() {
        return &[];
    }
    // SAFETY: Lua gives `len` initialised bytes at `start`, which it neither moves nor changes.
    unsafe { std::slice::from_raw_parts(start.cast::<u8>(), len) }
}

thread_local! {
    /// Where this thread's requests begin their records.
    static RECORD: RefCell<Writer> = RefCell::new(Writer::new());
}
