//! The filter: `filter lua.otel`, and its internal twin that stands in where nothing is written.
#![expect(unsafe_code, reason = "callbacks of HAProxy's, with its pointers")]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::{self, NonNull};

use crate::trace::htx;

use super::abi::{
    Channel, FILTERS_HTX, Filter, FilterConfig, FilterFields, FilterKw, FilterKwList, FilterOps, HAS_BACKEND, HttpMsg,
    List, Proxy, Stream as RawStream,
};
use super::fence::fence;
use super::handlers::{self, Live};
use super::line::{Line, Mode};
use super::stream::{Side, Stream};
use super::{Engine, beside, engine, faults, fence, fetch, registry, section, side, trailers, words};

/// What users write.
pub(super) const NAME: &CStr = c"lua.otel";
/// What the module writes where they write nothing.
pub(super) const INTERNAL: &CStr = c"lua.otel.auto";

/// Gives HAProxy the keyword. Returns where it is.
pub(super) fn register(engine: &Engine, name: &'static CStr) -> *const FilterKw {
    let kw = |name: *const c_char, parse| FilterKw { kw: name, parse, private: ptr::null_mut() };
    let none = || kw(ptr::null(), None);
    let list = Box::leak(Box::new(FilterKwList {
        scope: c"VITALS".as_ptr(),
        list: List { next: ptr::null_mut(), prev: ptr::null_mut() },
        kw: [kw(name.as_ptr(), Some(parse)), none(), none()],
    }));
    let list = ptr::from_mut(list);
    // SAFETY: HAProxy links the list, which is never freed, into its own.
    unsafe { (engine.symbols.flt_register_keywords)(list) };
    // SAFETY: as above.
    unsafe { (&raw const (*list).kw).cast() }
}

/// A `filter` line of ours.
unsafe extern "C" fn parse(
    args: *mut *mut c_char,
    at: *mut c_int,
    px: *mut Proxy,
    config: *mut FilterConfig,
    err: *mut *mut c_char,
    _: *mut c_void,
) -> c_int {
    fence("filter line", -1, || {
        let Some(engine) = engine() else { return -1 };
        // SAFETY: HAProxy's words, the first of which is the keyword.
        let first = unsafe { at.read() };
        // SAFETY: as above.
        let given: Vec<String> = unsafe { words::from(args.cast(), first) };
        match line(engine, &given, px) {
            Ok((line, count)) => {
                if line.mode != Mode::Filter {
                    section::added(config);
                }
                // SAFETY: HAProxy's new, empty `flt_conf`.
                unsafe {
                    let fields = fields_of(engine, config);
                    let id = if line.mode == Mode::Filter { ID.as_ptr() } else { passed_over(engine) };
                    (&raw mut (*fields).id).write(id);
                    (&raw mut (*fields).ops).write(&raw const OPS);
                    (&raw mut (*fields).conf).write(ptr::from_ref(Box::leak(Box::new(line))).cast_mut().cast());
                    (*fields).flags |= FILTERS_HTX;
                    at.write(first + count);
                }
                0
            }
            Err(problem) => {
                // SAFETY: HAProxy's place for a message.
                unsafe { words::complain(&engine.symbols, err, &problem) };
                -1
            }
        }
    })
}

/// What HAProxy calls our filters.
const ID: &CStr = c"haproxy-vitals";

/// What our filter is called that nobody has written, while HAProxy checks its configuration. It refuses a cache or a `FastCGI`
/// application beside any filter but the one for compression, unless it is written out what their order is: ours is the last one,
/// and changes no data.
fn passed_over(engine: &Engine) -> *const c_char {
    // SAFETY: HAProxy's constant.
    unsafe { engine.symbols.compression.read() }
}

/// What the words say, and how many they are.
fn line(engine: &Engine, given: &[String], px: *mut Proxy) -> Result<(Line, c_int), String> {
    let mut given = given.iter();
    let keyword = given.next().map_or("", String::as_str);
    let name = fetch::proxy_name(engine, px).unwrap_or_default();
    if keyword.as_bytes() == INTERNAL.to_bytes() {
        let mode = section::mode_wanted().ok_or("for the module's own use; write `filter lua.otel`")?;
        return Ok((Line::new(mode, true, name), 1));
    }
    let (mut client_span, mut count) = (true, 1);
    for argument in given {
        match argument.as_str() {
            "client-span=on" => client_span = true,
            "client-span=off" => client_span = false,
            other => return Err(format!("haproxy-vitals: {keyword}: {}", words::unknown(other, &ARGUMENTS))),
        }
        count += 1;
    }
    section::filter_seen(px);
    Ok((Line::new(Mode::Filter, client_span, name), count))
}

const ARGUMENTS: [&str; 2] = ["client-span=on", "client-span=off"];

static OPS: FilterOps = FilterOps {
    init: Some(init),
    check: Some(check),
    attach: Some(attach),
    stream_stop: Some(stop),
    detach: Some(detach),
    channel_start_analyze: Some(start),
    channel_end_analyze: Some(end),
    http_headers: Some(headers),
    http_payload: Some(payload),
    ..FilterOps::NONE
};

/// HAProxy checks its configuration: once for each section with a filter of ours. Gives the number of errors.
unsafe extern "C" fn check(_: *mut Proxy, config: *mut FilterConfig) -> c_int {
    let _ = fence::always("check", || {
        if let Some(engine) = engine() {
            // SAFETY: HAProxy's check of it.
            unsafe { beside::checked(engine, config) };
        }
    });
    0
}

/// Before threads start.
unsafe extern "C" fn init(px: *mut Proxy, config: *mut FilterConfig) -> c_int {
    fence("init", 0, || {
        let Some(engine) = engine() else { return 0 };
        // SAFETY: the `flt_conf` that `parse` has filled; from here on it goes by its own name.
        unsafe { (&raw mut (*fields_of(engine, config)).id).write(ID.as_ptr()) };
        // A `listen` section may be another frontend's backend.
        if section::is(engine, px, HAS_BACKEND) {
            registry::use_it();
        }
        // SAFETY: HAProxy's `flt_conf` of a filter of ours.
        if let Some(line) = unsafe { line_in(engine, config) }
            && handlers::wants_after_response(line)
        {
            return section::add_after_response(engine, px);
        }
        0
    })
}

/// A stream begins or gets its backend. 1: takes part in it.
unsafe extern "C" fn attach(s: *mut RawStream, f: *mut Filter) -> c_int {
    // SAFETY: HAProxy's stream and filter, on its thread.
    unsafe {
        call("attach", 0, s, f, |call, _| {
            let takes_part =
                handlers::attach(call.line, &mut call.stream(Side::Neither), registry::filter_of(s).is_none());
            if takes_part {
                registry::enter(s, f);
            }
            c_int::from(takes_part)
        })
    }
}

unsafe extern "C" fn start(s: *mut RawStream, f: *mut Filter, channel: *mut Channel) -> c_int {
    // SAFETY: as in `attach`; the channel is the stream's.
    unsafe {
        call("start", 1, s, f, |call, slot| {
            match side::of(s, channel) {
                Some(side @ Side::Request(_)) => handlers::start(call.line, slot, &mut call.stream(side)),
                Some(side) => live(slot, |live| handlers::connected(live, call.line, &mut call.stream(side))),
                None => {}
            }
            1
        })
    }
}

unsafe extern "C" fn headers(s: *mut RawStream, f: *mut Filter, message: *mut HttpMsg) -> c_int {
    // SAFETY: as in `start`; a message names its channel.
    unsafe {
        call("headers", 1, s, f, |call, slot| {
            let channel = (&raw const (*message).chn).read();
            match side::of(s, channel) {
                Some(side @ Side::Request(_)) => handlers::leaving(call.line, slot, &mut call.stream(side)),
                Some(side) => live(slot, |live| {
                    if handlers::answered(live, call.line, &mut call.stream(side)) {
                        trailers::ask(call.engine, s, f, channel);
                    }
                }),
                None => {}
            }
            1
        })
    }
}

/// Bytes of the response, whose trailers are wanted. All of them go on.
unsafe extern "C" fn payload(s: *mut RawStream, f: *mut Filter, message: *mut HttpMsg, _: u32, len: u32) -> c_int {
    let all = c_int::try_from(len).unwrap_or(c_int::MAX);
    // SAFETY: as in `headers`.
    unsafe {
        call("payload", all, s, f, |call, slot| {
            if let Some(side @ Side::Response(_)) = side::of(s, (&raw const (*message).chn).read()) {
                live(slot, |live| {
                    if let Some(message) = call.stream(side).message() {
                        let trailers = htx::Message::trailers(message.bytes(), message.layout());
                        trailers.into_iter().flatten().for_each(|(name, value)| handlers::trailer(live, name, value));
                    }
                });
            }
            all
        })
    }
}

unsafe extern "C" fn end(s: *mut RawStream, f: *mut Filter, channel: *mut Channel) -> c_int {
    // SAFETY: as in `start`.
    unsafe {
        call("end", 1, s, f, |call, slot| {
            if let Some(side @ Side::Response(_)) = side::of(s, channel) {
                live(slot, |live| handlers::response_over(live, call.line, &mut call.stream(side)));
            }
            1
        })
    }
}

unsafe extern "C" fn stop(s: *mut RawStream, f: *mut Filter) {
    // SAFETY: as in `attach`.
    unsafe {
        call("stop", (), s, f, |call, slot| {
            if let Some(live) = slot.take() {
                handlers::stop(live, call.line, &mut call.stream(Side::Neither));
            }
        });
    }
}

/// A backend's filter leaves when the analysis ends, and knows no `stop`.
unsafe extern "C" fn detach(s: *mut RawStream, f: *mut Filter) {
    // SAFETY: as in `attach`.
    unsafe {
        call("detach", (), s, f, |call, slot| {
            if let Some(live) = slot.take() {
                handlers::stop(live, call.line, &mut call.stream(Side::Neither));
            }
        });
        // Whatever came before: nothing is left behind.
        let is_clean = fence::always("detach", || {
            registry::leave(s, f);
            if let Some(engine) = engine()
                && line_of(engine, f).is_some()
            {
                drop(slot_of(f).take());
            }
        });
        if !is_clean {
            // Another stream in the same place would meet this one's.
            fence::switch_off("a stream could not be left");
        }
    }
}

fn live(slot: &mut Option<Box<Live>>, each: impl FnOnce(&mut Live)) {
    if let Some(live) = slot {
        each(live);
    }
}

/// A callback, for a filter of ours.
pub(super) struct Call {
    engine: &'static Engine,
    pub(super) line: &'static Line,
    raw: NonNull<RawStream>,
}

impl Call {
    /// The stream, for what is about this side.
    pub(super) fn stream(&self, side: Side) -> Stream<'_> {
        // SAFETY: made by `call` alone, for the time of a callback; sides are of this stream.
        unsafe { Stream::new(self.raw, side, self.engine) }
    }
}

/// Runs a callback's body with the filter's place for a [`Live`].
///
/// # Safety
///
/// Both must be what HAProxy handed to a callback, on its thread.
pub(super) unsafe fn call<T: Copy>(
    site: &'static str,
    otherwise: T,
    s: *mut RawStream,
    f: *mut Filter,
    body: impl FnOnce(&Call, &mut Option<Box<Live>>) -> T,
) -> T {
    fence(site, otherwise, || {
        let (Some(engine), Some(raw)) = (engine(), NonNull::new(s)) else { return otherwise };
        // SAFETY: the caller's promise.
        let Some(line) = (unsafe { line_of(engine, f) }).filter(|_| !faults::breaks("conf")) else {
            fence::broken("a filter's configuration is not ours");
            return otherwise;
        };
        // SAFETY: as above; ours, as its line is.
        let slot = unsafe { slot_of(f) };
        body(&Call { engine, line, raw }, slot)
    })
}

/// The line that a filter is of; `None`: it is none of ours.
unsafe fn line_of(engine: &Engine, f: *mut Filter) -> Option<&'static Line> {
    // SAFETY: the caller promises a filter; what it leads to is looked at only where it is our own table, which ours alone name.
    unsafe { line_in(engine, (&raw const (*f).config).read()) }
}

/// The line of a filter's configuration; `None`: it is none of ours.
unsafe fn line_in(engine: &Engine, config: *mut FilterConfig) -> Option<&'static Line> {
    // SAFETY: as above.
    unsafe {
        let fields = fields_of(engine, NonNull::new(config)?.as_ptr());
        if (&raw const (*fields).ops).read() != &raw const OPS {
            return None;
        }
        let line = (&raw const (*fields).conf).read().cast::<Line>().as_ref()?;
        line.is_ours().then_some(line)
    }
}

/// `filter.ctx`: null, or a box of ours.
unsafe fn slot_of<'a>(f: *mut Filter) -> &'a mut Option<Box<Live>> {
    // SAFETY: HAProxy zeroes it, and we alone write it: an empty `Option` of a box is null.
    unsafe { &mut *(&raw mut (*f).ctx).cast() }
}

/// The fields of a filter's configuration.
pub(super) fn fields_of(engine: &Engine, config: *mut FilterConfig) -> *mut FilterFields {
    config.wrapping_byte_add(engine.layout.filter_fields).cast()
}

const _: () = assert!(size_of::<Option<Box<Live>>>() == size_of::<*mut c_void>());
