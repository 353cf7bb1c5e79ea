//! What is assumed of HAProxy's memory: the structures, as few fields as possible, and the constants.
//!
//! | assumption | 3.0, 3.1, 3.2 | 3.3 | 3.4 | proved by |
//! |---|---|---|---|---|
//! | `flt_conf`: where `id`, `ops`, `conf`, `list`, `flags` begin | 0 | 0 | 8 | `selftest`; each callback: `ops` is ours |
//! | `flt_ops`: 21 callbacks, 168 bytes, this order | yes | yes | yes | tests of the filter: every callback is seen |
//! | `flt_kw_list`, `flt_kw` | yes | yes | yes | `selftest`: `flt_find_kw` gives ours back |
//! | `filter`: `config` 0, `ctx` 8, `flags` 16 | yes | yes | yes | each callback: `config` leads to our `ops` |
//! | `stream`: `flags` 8, `sess` 32, `req` 40 | yes | yes | yes | each callback: the request's channel is at 40 |
//! | `stream.res` | 112 | 104 | 144 | seen at the first response, then compared; before it, its direction's bit |
//! | `session.fe` 0 | yes | yes | yes | `selftest`: a proxy's name comes back |
//! | `channel`: `flags` 0, `buf` 8; `http_msg.chn` 8 | yes | yes | yes | each callback: the direction's bit fits the address |
//! | `buffer` | yes | yes | yes | each message: it holds an HTX message of its own size |
//! | `htx.blocks` | 48 | 40 | 40 | each message: `htx.size` and it make the buffer's size |
//! | `htx.size` 0 | yes | yes | yes | as above |
//! | `htx`: `tail`, `head`, `first`, one after the other, from | 8 | 8 | 8 (3.4.0), 12 (3.4.7) | not assumed: `htx_empty` has -1 there, thrice |
//! | `sample` (152 bytes), `sample_data`, `arg_list` | yes | yes | yes | `selftest`: constants come back with type and value |
//! | `sample_fetch`: `kw` 0, `process` 8, `arg_mask` 16, `private` 48 | yes | yes | yes | `selftest`: `kw` is the name asked for |
//! | `action_kw`: `private` 24 | yes | yes | yes | tests of the actions |
//! | `sample_conv`: `kw` 0, `arg_mask` 16, `val_args` 24, types 32 | yes | yes | yes | `the_profile_of_earlier_versions_is_refused_with_what_to_write_instead` |
//! | `sample_conv`: bytes | 48 | 48 | 64 | not assumed: each list has one, and room for either |
//! | `action_kw`: bytes | 32 | 32 | 48 | not assumed: each list has one, and room for either |
//! | `act_rule`: `action` 24, `action_ptr` 40, `kw` 64 | yes | yes | yes | parsing: `kw` is what was registered |
//! | `flt_conf.list` links the filters of a section, the head within its proxy | yes | yes | yes | looked at before it is changed |
//! | `filter.list` 48, `filter.res_list` (3.4) | 48 | 48 | 80 | `trailers`: counts in the stream or the channel agree |
//! | `cfg_section` | yes | yes | yes | `section`: `cfg_parse_listen` is found in it (3.0, 3.1 only) |
//! | `http_add_header` and `http_replace_header_value`: `int` at the end | no | no | yes | tests of headers; 0 is harmless before |
//!
//! Compared with a C compiler between v3.0.0, v3.1.0, v3.2.0, v3.3.0 and v3.4.0, on x86-64.
use std::ffi::{c_char, c_int, c_ulong, c_void};
use std::mem::offset_of;

use crate::trace::htx;

/// `struct proxy`: an address, nothing else.
#[repr(C)]
pub(super) struct Proxy([u8; 0]);

/// `struct sample_expr`: an address, nothing else.
#[repr(C)]
pub(super) struct SampleExpr([u8; 0]);

/// `struct arg`: an address, nothing else.
#[repr(C)]
pub(super) struct Arg([u8; 0]);

#[repr(C)]
pub(super) struct List {
    pub(super) next: *mut List,
    pub(super) prev: *mut List,
}

/// A text, handed over by value.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Ist {
    pub(super) start: *const u8,
    pub(super) len: usize,
}

impl Ist {
    pub(super) fn of(text: &[u8]) -> Self {
        Self { start: text.as_ptr(), len: text.len() }
    }
}

#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Buffer {
    pub(super) size: usize,
    pub(super) area: *mut u8,
    pub(super) data: usize,
    pub(super) head: usize,
}

#[repr(C)]
pub(super) struct Channel {
    pub(super) flags: u32,
    pub(super) buf: Buffer,
}

/// `CF_ISRESP`: the response's channel.
pub(super) const IS_RESPONSE: u32 = 0x8000_0000;

#[repr(C)]
pub(super) struct HttpMsg {
    before: [u8; 8],
    pub(super) chn: *mut Channel,
}

#[repr(C)]
pub(super) struct Session {
    pub(super) fe: *mut Proxy,
}

#[repr(C)]
pub(super) struct Stream {
    before: [u8; 8],
    pub(super) flags: u32,
    between: [u8; 20],
    pub(super) sess: *mut Session,
    pub(super) req: Channel,
}

/// `SF_HTX`: the channels' buffers hold HTX messages.
pub(super) const IS_HTX: u32 = 0x800;

#[repr(C)]
pub(super) struct Filter {
    pub(super) config: *mut FilterConfig,
    pub(super) ctx: *mut c_void,
    pub(super) flags: u16,
}

/// `FLT_FL_IS_REQ_DATA_FILTER`, `FLT_FL_IS_RSP_DATA_FILTER`.
pub(super) const WANTS_REQUEST_DATA: u16 = 2;
pub(super) const WANTS_RESPONSE_DATA: u16 = 4;

/// `struct flt_conf`, an address: what is in it is a [`FilterFields`], further in since 3.4.
#[repr(C)]
pub(super) struct FilterConfig([u8; 0]);

#[repr(C)]
pub(super) struct FilterFields {
    pub(super) id: *const c_char,
    pub(super) ops: *const FilterOps,
    pub(super) conf: *mut c_void,
    pub(super) list: List,
    pub(super) flags: u32,
}

/// `FLT_CFG_FL_HTX`: not passed over for streams of HTTP.
pub(super) const FILTERS_HTX: u32 = 1;

type OfProxy = unsafe extern "C" fn(*mut Proxy, *mut FilterConfig) -> c_int;
type OfStream = unsafe extern "C" fn(*mut Stream, *mut Filter);
type OfChannel = unsafe extern "C" fn(*mut Stream, *mut Filter, *mut Channel) -> c_int;
type OfMessage = unsafe extern "C" fn(*mut Stream, *mut Filter, *mut HttpMsg) -> c_int;
/// A callback that is not used.
pub(super) type Unused = Option<unsafe extern "C" fn()>;

#[repr(C)]
pub(super) struct FilterOps {
    pub(super) init: Option<OfProxy>,
    pub(super) deinit: Unused,
    pub(super) check: Option<OfProxy>,
    pub(super) per_thread: [Unused; 2],
    pub(super) attach: Option<unsafe extern "C" fn(*mut Stream, *mut Filter) -> c_int>,
    pub(super) stream_start: Unused,
    pub(super) stream_set_backend: Unused,
    pub(super) stream_stop: Option<OfStream>,
    pub(super) detach: Option<OfStream>,
    pub(super) check_timeouts: Unused,
    pub(super) channel_start_analyze: Option<OfChannel>,
    pub(super) pre_and_post: [Unused; 2],
    pub(super) channel_end_analyze: Option<OfChannel>,
    pub(super) http_headers: Option<OfMessage>,
    pub(super) http_payload: Option<unsafe extern "C" fn(*mut Stream, *mut Filter, *mut HttpMsg, u32, u32) -> c_int>,
    pub(super) http_end_reset_reply: [Unused; 3],
    pub(super) tcp_payload: Unused,
}

impl FilterOps {
    /// No callback.
    pub(super) const NONE: Self = Self {
        init: None,
        deinit: None,
        check: None,
        per_thread: [None; 2],
        attach: None,
        stream_start: None,
        stream_set_backend: None,
        stream_stop: None,
        detach: None,
        check_timeouts: None,
        channel_start_analyze: None,
        pre_and_post: [None; 2],
        channel_end_analyze: None,
        http_headers: None,
        http_payload: None,
        http_end_reset_reply: [None; 3],
        tcp_payload: None,
    };
}

#[repr(C)]
pub(super) struct FilterKw {
    pub(super) kw: *const c_char,
    pub(super) parse: Option<ParseFilter>,
    pub(super) private: *mut c_void,
}

pub(super) type ParseFilter = unsafe extern "C" fn(
    *mut *mut c_char,
    *mut c_int,
    *mut Proxy,
    *mut FilterConfig,
    *mut *mut c_char,
    *mut c_void,
) -> c_int;

/// Two keywords, and an empty one that ends the list.
#[repr(C)]
pub(super) struct FilterKwList {
    pub(super) scope: *const c_char,
    pub(super) list: List,
    pub(super) kw: [FilterKw; 3],
}

pub(super) type ParseAction =
    unsafe extern "C" fn(*mut *const c_char, *mut c_int, *mut Proxy, *mut ActRule, *mut *mut c_char) -> c_int;

pub(super) type RunAction = unsafe extern "C" fn(*mut ActRule, *mut Proxy, *mut Session, *mut Stream, c_int) -> c_int;

/// `struct action_kw`, with room for what follows the fields since 3.4.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct ActionKw {
    pub(super) kw: *const c_char,
    pub(super) parse: Option<ParseAction>,
    pub(super) flags: c_int,
    pub(super) private: *mut c_void,
    pub(super) context: [usize; 2],
}

/// One action, and as many zeros as end the list whatever an action's size.
#[repr(C)]
pub(super) struct ActionKwList {
    pub(super) list: List,
    pub(super) kw: ActionKw,
    pub(super) end: [usize; 8],
}

#[repr(C)]
pub(super) struct ActRule {
    before: [u8; 24],
    pub(super) action: u32,
    between: [u8; 12],
    pub(super) action_ptr: Option<RunAction>,
    further: [u8; 16],
    pub(super) kw: *const ActionKw,
}

#[repr(C)]
pub(super) struct CfgSection {
    pub(super) list: List,
    pub(super) section_name: *const c_char,
    pub(super) section_parser: Option<ParseSection>,
    pub(super) post_section_parser: Option<PostSection>,
}

pub(super) type ParseSection = unsafe extern "C" fn(*const c_char, c_int, *mut *mut c_char, c_int) -> c_int;
pub(super) type PostSection = unsafe extern "C" fn() -> c_int;

pub(super) type ProcessFetch = unsafe extern "C" fn(*const Arg, *mut Sample, *const c_char, *mut c_void) -> c_int;

#[repr(C)]
pub(super) struct SampleFetch {
    pub(super) kw: *const c_char,
    pub(super) process: Option<ProcessFetch>,
    pub(super) arg_mask: u64,
    val_args: Unused,
    out_type: c_ulong,
    source: [u32; 2],
    pub(super) private: *mut c_void,
}

/// `struct sample_conv`, with room for what follows the fields since 3.4.
#[repr(C)]
pub(super) struct SampleConv {
    pub(super) kw: *const c_char,
    pub(super) process: Option<ProcessConv>,
    pub(super) arg_mask: u64,
    pub(super) val_args: Option<CheckArguments>,
    pub(super) in_type: c_int,
    pub(super) out_type: c_int,
    pub(super) private: *mut c_void,
    pub(super) context: [usize; 2],
}

/// One converter, and as many zeros as end the list whatever a converter's size.
#[repr(C)]
pub(super) struct SampleConvList {
    pub(super) list: List,
    pub(super) kw: SampleConv,
    pub(super) end: [usize; 8],
}

pub(super) type ProcessConv = unsafe extern "C" fn(*const Arg, *mut Sample, *mut c_void) -> c_int;

pub(super) type CheckArguments =
    unsafe extern "C" fn(*mut Arg, *mut SampleConv, *const c_char, c_int, *mut *mut c_char) -> c_int;

/// `ARGM_MASK`: how many arguments must be there.
pub(super) const ARGUMENTS_NEEDED: u64 = 15;

#[repr(C)]
pub(super) struct Sample {
    pub(super) flags: u32,
    between: u32,
    pub(super) kind: c_int,
    pub(super) value: SampleValue,
    pub(super) ctx: [usize; 8],
    pub(super) px: *mut Proxy,
    pub(super) sess: *mut Session,
    pub(super) strm: *mut Stream,
    pub(super) opt: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub(super) union SampleValue {
    pub(super) sint: i64,
    pub(super) ipv4: [u8; 4],
    pub(super) ipv6: [u8; 16],
    pub(super) text: Buffer,
    pub(super) method: Method,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Method {
    pub(super) method: u8,
    pub(super) text: Buffer,
}

/// `SMP_T_*`.
pub(super) mod kind {
    use std::ffi::c_int;

    pub(in super::super) const BOOL: c_int = 2;
    pub(in super::super) const SINT: c_int = 3;
    pub(in super::super) const IPV4: c_int = 5;
    pub(in super::super) const IPV6: c_int = 6;
    pub(in super::super) const STR: c_int = 7;
    pub(in super::super) const BIN: c_int = 8;
    pub(in super::super) const METH: c_int = 9;
}

/// `HTTP_METH_*`, by number. The next one means that the text is beside it.
pub(super) const METHODS: [&[u8]; 8] = [b"OPTIONS", b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"TRACE", b"CONNECT"];

/// `SMP_OPT_DIR_RES`, `SMP_OPT_FINAL`.
pub(super) const OF_RESPONSE: u32 = 1;
pub(super) const FINAL: u32 = 2;

/// `struct http_hdr_ctx`.
#[repr(C)]
pub(super) struct HeaderContext {
    pub(super) block: *mut c_void,
    pub(super) value: Ist,
    pub(super) blanks: [u16; 2],
}

/// `PR_CAP_FE`, `PR_CAP_BE`.
pub(super) const HAS_FRONTEND: c_int = 1;
pub(super) const HAS_BACKEND: c_int = 2;

/// What differs between versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    /// Bytes of `flt_conf` before `id`.
    pub(super) filter_fields: usize,
    /// Where `stream.res` is, unless a response has shown it.
    pub(super) response_at: usize,
    /// Of `htx`: the positions are looked up in `htx_empty`.
    pub(super) htx: htx::Layout,
    /// Data filters are counted by channel, and filters listed by channel.
    pub(super) filters_by_channel: bool,
    /// HAProxy calls several hooks at the end of a section.
    pub(super) section_hooks: bool,
}

impl Layout {
    /// Of a version whose layout is known.
    pub(super) fn of(major: u32, minor: u32) -> Option<Self> {
        if major != 3 || minor > 4 {
            return None;
        }
        Some(Self {
            filter_fields: if minor >= 4 { 8 } else { 0 },
            response_at: match minor {
                0..=2 => 112,
                3 => 104,
                _ => 144,
            },
            htx: htx::Layout { positions: 8, contents: if minor >= 3 { 40 } else { 48 } },
            filters_by_channel: minor >= 4,
            section_hooks: minor >= 2,
        })
    }
}

const _: () = {
    assert!(size_of::<FilterOps>() == 168);
    assert!(offset_of!(FilterOps, attach) == 40 && offset_of!(FilterOps, stream_stop) == 64);
    assert!(offset_of!(FilterOps, channel_start_analyze) == 88 && offset_of!(FilterOps, http_headers) == 120);
    assert!(offset_of!(FilterFields, flags) == 40 && offset_of!(FilterKwList, kw) == 24);
    assert!(offset_of!(Stream, flags) == 8 && offset_of!(Stream, sess) == 32 && offset_of!(Stream, req) == 40);
    assert!(offset_of!(Channel, buf) == 8 && offset_of!(HttpMsg, chn) == 8 && offset_of!(Filter, flags) == 16);
    assert!(size_of::<Sample>() == 152 && offset_of!(Sample, kind) == 8 && offset_of!(Sample, value) == 16);
    assert!(
        offset_of!(Sample, ctx) == 56
            && offset_of!(Sample, px) == 120
            && offset_of!(Sample, opt) == 144
            && offset_of!(Method, text) == 8
    );
    assert!(offset_of!(SampleFetch, private) == 48 && offset_of!(SampleFetch, arg_mask) == 16);
    assert!(size_of::<SampleConv>() == 64 && offset_of!(SampleConv, val_args) == 24);
    assert!(offset_of!(SampleConv, private) == 40 && offset_of!(SampleConvList, kw) == 16);
    assert!(offset_of!(ActionKw, private) == 24 && offset_of!(ActionKw, context) == 32);
    assert!(offset_of!(ActionKwList, kw) == 16 && offset_of!(ActRule, kw) == 64);
    assert!(offset_of!(ActRule, action) == 24 && offset_of!(ActRule, action_ptr) == 40);
    assert!(size_of::<HeaderContext>() == 32 && offset_of!(CfgSection, post_section_parser) == 32);
};
