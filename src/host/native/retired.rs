//! Words that are gone: HAProxy's parser answers them with what to write instead.
#![expect(unsafe_code, reason = "callbacks of HAProxy's, with its pointers")]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;
use std::sync::OnceLock;

use super::abi::{Arg, List, Sample, SampleConv, SampleConvList, kind};
use super::fence::fence;
use super::symbols::Symbols;
use super::words;

/// The converters of the file `otel.cfg` that earlier versions came with. Lua's hooks have none of these names.
const CONVERTERS: [&CStr; 2] = [c"lua.otel_begin", c"lua.otel_end"];

const INSTEAD: &str = "haproxy-vitals: otel.cfg is gone: the loader's line alone traces every frontend. Leave the file out, \
                       write `frontend NAME` in place of `frontend NAME from otel`, and no `${VITALS_LOG}`";

/// Gives HAProxy the words.
pub(super) fn register(symbols: Symbols) {
    let symbols = SYMBOLS.get_or_init(|| symbols);
    for name in CONVERTERS {
        let list = Box::leak(Box::new(SampleConvList {
            list: List { next: ptr::null_mut(), prev: ptr::null_mut() },
            kw: SampleConv {
                kw: name.as_ptr(),
                process: Some(process),
                arg_mask: 0,
                val_args: Some(refuse),
                in_type: kind::STR,
                out_type: kind::STR,
                private: ptr::null_mut(),
                context: [0; 2],
            },
            end: [0; 8],
        }));
        // SAFETY: HAProxy links the list, which is never freed, into its own.
        unsafe { (symbols.sample_register_convs)(list) };
    }
}

/// An expression has such a converter. 0: refused, with a message.
unsafe extern "C" fn refuse(
    _: *mut Arg,
    _: *mut SampleConv,
    _: *const c_char,
    _: c_int,
    err: *mut *mut c_char,
) -> c_int {
    fence("retired converter", 0, || {
        if let Some(symbols) = SYMBOLS.get() {
            // SAFETY: HAProxy's place for a message.
            unsafe { words::complain(symbols, err, INSTEAD) };
        }
        0
    })
}

/// HAProxy runs none that it refused. 0: no value.
unsafe extern "C" fn process(_: *const Arg, _: *mut Sample, _: *mut c_void) -> c_int {
    0
}

static SYMBOLS: OnceLock<Symbols> = OnceLock::new();
