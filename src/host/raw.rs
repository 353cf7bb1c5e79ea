//! The two converters, as plain C functions.
//!
//! mlua's safe callbacks were measured at some 1 100 instructions more per call than these: a tenth of what an
//! unsampled request may cost. This is the one file with unsafe code.
#![expect(unsafe_code, reason = "Lua's C interface; each use says why it is sound")]

use std::cell::RefCell;
use std::ffi::{c_char, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};

use mlua::ffi::{lua_State, lua_gettop, lua_isinteger, lua_pushlstring, lua_tointegerx, lua_tolstring};
use mlua::prelude::*;

use super::{boundary, process};
use crate::trace::carry::TRACEPARENT_LEN;
use crate::trace::hot::Hot;
use crate::trace::incoming::{Head, Incoming};

/// Puts `begin`, `begin_parts`, `finish` and `finish_connection` into `native`.
pub(super) fn install(lua: &Lua, native: &LuaTable) -> LuaResult<()> {
    // SAFETY: all follow Lua's calling convention, keep to the stack slots that Lua guarantees, and never unwind.
    let (begin, begin_parts, finish) =
        unsafe { (lua.create_c_function(begin)?, lua.create_c_function(begin_parts)?, lua.create_c_function(finish)?) };
    // SAFETY: as above.
    native.set("finish_connection", unsafe { lua.create_c_function(finish_connection)? })?;
    native.set("begin", begin)?;
    native.set("begin_parts", begin_parts)?;
    native.set("finish", finish)
}

/// Sets environment variables for HAProxy's parser to read. For `configure` alone, which runs while HAProxy reads its
/// configuration.
pub(super) fn publish(variables: &[(&'static str, String)]) {
    for (name, value) in variables {
        // SAFETY: HAProxy reads its configuration on one thread, and starts others when it has read all of it.
        unsafe { std::env::set_var(name, value) };
    }
}

/// `begin(what the profile hands over) -> what HAProxy carries`. See [`Hot::begin`].
unsafe extern "C-unwind" fn begin(state: *mut lua_State) -> c_int {
    // SAFETY: the string stays on Lua's stack, so alive and in place, until this function returns.
    let request = Incoming::of_profile(unsafe { argument(state, 1) });
    // SAFETY: this is a call of Lua's, which guarantees 20 slots.
    let answer = |carried: &[u8]| unsafe { push(state, carried) };
    // A header value is owed to HAProxy: an untraced, valid one.
    with_hot(|hot| answer(hot.begin(&request))).unwrap_or_else(|| answer(&Hot::detached_traceparent()));
    1
}

/// `begin_parts(header block, method, target, version [, "single" or "", "asked" [, frontend, source, tls]]) -> what HAProxy
/// carries, its traceparent, its verdict where it is not to be passed over`. See [`Hot::begin`]. Nothing where the request has a
/// `traceparent` and the caller has not asked whether it is this module's own: a look at the headers costs less than asking.
unsafe extern "C-unwind" fn begin_parts(state: *mut lua_State) -> c_int {
    // SAFETY: reads the number of arguments.
    let count = unsafe { lua_gettop(state) };
    // SAFETY: the strings stay on Lua's stack, so alive and in place, until this function returns.
    let given = |index| unsafe { argument(state, index) };
    let head = (count >= 9).then(|| Head { frontend: given(7), source: given(8), tls: given(9) == b"1" });
    let request = Incoming {
        headers: given(1),
        method: given(2),
        target: given(3),
        version: given(4),
        single_span: !given(5).is_empty(),
        head,
    };
    let asked = count >= 6;
    // SAFETY: this is a call of Lua's, which guarantees 20 slots.
    let answer = |carried: &[u8]| unsafe { push_parts(state, carried) };
    let begun =
        with_hot(
            |hot| if asked { Some(answer(hot.begin(&request))) } else { hot.begin_unless_begun(&request).map(answer) },
        );
    match begun {
        Some(pushed) => pushed.unwrap_or(0),
        None => answer(&Hot::detached_traceparent()),
    }
}

/// Pushes what [`Hot::begin`] gives, its traceparent, and its verdict as a text where the `tracestate` does not stay as it came.
/// The number of values.
///
/// # Safety
///
/// As for [`push`], with three free slots.
unsafe fn push_parts(state: *mut lua_State, carried: &[u8]) -> c_int {
    let traceparent = carried.get(..TRACEPARENT_LEN).unwrap_or_default();
    // SAFETY: the caller promises the slots.
    unsafe {
        push(state, carried);
        push(state, traceparent);
    }
    match carried.get(TRACEPARENT_LEN..=TRACEPARENT_LEN) {
        None | Some(b"S" | b"R" | b"X") => 2,
        Some(verdict) => {
            // SAFETY: as above.
            unsafe { push(state, verdict) };
            3
        }
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

/// `finish(record, ...) -> ""`: the parts are joined by single spaces. See [`Hot::end`].
unsafe extern "C-unwind" fn finish(state: *mut lua_State) -> c_int {
    // SAFETY: reads the number of arguments.
    let count = unsafe { lua_gettop(state) };
    with_hot(|hot| {
        // SAFETY: as in `begin`.
        let first = unsafe { argument(state, 1) };
        if count <= 1 {
            hot.end(first);
            return;
        }
        // SAFETY: this is a call of Lua's with `count` arguments.
        hot.end_parts(first, |record| unsafe { append_rest(record, state, count) });
    });
    // SAFETY: an empty string; one slot is free.
    unsafe { lua_pushlstring(state, c"".as_ptr(), 0) };
    1
}

/// `finish_connection(what HAProxy carries, ...)`: the parts are joined by single spaces. See [`Hot::end_connection`].
unsafe extern "C-unwind" fn finish_connection(state: *mut lua_State) -> c_int {
    // SAFETY: reads the number of arguments.
    let count = unsafe { lua_gettop(state) };
    with_hot(|hot| {
        // SAFETY: as in `begin`.
        let first = unsafe { argument(state, 1) };
        // SAFETY: this is a call of Lua's with `count` arguments.
        hot.end_connection(first, |record| unsafe { append_rest(record, state, count) });
    });
    0
}

/// Appends a space and its text for each argument after the first.
///
/// # Safety
///
/// `state` must be Lua's, in a call of its own with `count` arguments.
unsafe fn append_rest(record: &mut Vec<u8>, state: *mut lua_State, count: c_int) {
    for index in 2..=count {
        record.push(b' ');
        // SAFETY: any index may be asked for; texts are copied while their slot holds them.
        unsafe { append(record, state, index) };
    }
}

/// Appends the value at `index` as text. Whole numbers are written here: Lua would make a string of its own of each.
///
/// # Safety
///
/// `state` must be Lua's, in a call of its own.
unsafe fn append(record: &mut Vec<u8>, state: *mut lua_State, index: c_int) {
    // SAFETY: any index may be asked for.
    if unsafe { lua_isinteger(state, index) } != 0 {
        // SAFETY: the slot holds a number.
        let number = unsafe { lua_tointegerx(state, index, std::ptr::null_mut()) };
        let mut text = itoa::Buffer::new();
        record.extend_from_slice(text.format(number).as_bytes());
    } else {
        // SAFETY: copied at once.
        record.extend_from_slice(unsafe { argument(state, index) });
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

/// Runs `body` with this thread's tracer. `None`: it panicked, which is counted, or the tracer is in use by a caller.
fn with_hot<T>(body: impl FnOnce(&mut Hot) -> T) -> Option<T> {
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
