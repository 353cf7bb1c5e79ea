//! Sections of HAProxy's configuration: what each has of ours, and what is added at its end.
#![expect(unsafe_code, reason = "HAProxy's list of sections, and its parser")]

use std::ffi::{CStr, CString, c_char, c_int};
use std::ptr;
use std::sync::{Mutex, PoisonError};

use super::abi::{CfgSection, FilterConfig, HAS_BACKEND, HAS_FRONTEND, ParseSection, PostSection, Proxy};
use super::fence::fence;
use super::filter::INTERNAL;
use super::line::{Kind, Mode, Section};
use super::{Engine, Unavailable, beside, engine, fetch, handlers, registry, ways, words};

/// Has HAProxy call us at the end of each section. Before 3.2 it knows one such call per kind of section, which it does not use.
pub(super) fn register(engine: &Engine) -> Result<(), Unavailable> {
    for (name, hook) in HOOKS {
        let set = if engine.layout.section_hooks {
            // SAFETY: HAProxy keeps the name, which is constant, and the function.
            unsafe { (engine.symbols.cfg_register_section)(name.as_ptr(), None, Some(hook)) != 0 }
        } else {
            // SAFETY: while HAProxy reads its configuration, on its only thread.
            unsafe { put_into_list(engine, name, hook) }
        };
        if !set {
            return Err(Unavailable::SelfTest("hooks at the end of sections"));
        }
    }
    // SAFETY: HAProxy keeps the function.
    unsafe { (engine.symbols.hap_register_pre_check)(Some(checked)) };
    Ok(())
}

/// HAProxy has read all of its configuration: under `-c` too.
unsafe extern "C" fn checked() -> c_int {
    fence("end of configuration", 0, || {
        let (Some(engine), Some(problem)) = (engine(), ways::checked()) else { return 0 };
        let Ok(problem) = CString::new(problem + "\n") else { return ALERT | FATAL };
        // SAFETY: HAProxy prints the text, which ends in zero.
        unsafe { (engine.symbols.ha_alert)(c"%s".as_ptr(), problem.as_ptr()) };
        ALERT | FATAL
    })
}

// `include/haproxy/errors.h`.
const FATAL: c_int = 0x02;
const ALERT: c_int = 0x10;

const HOOKS: [(&CStr, PostSection); 4] =
    [(c"frontend", frontend), (c"listen", listen), (c"backend", backend), (c"defaults", defaults)];

unsafe extern "C" fn frontend() -> c_int {
    fence("end of frontend", 0, || over(Kind::Frontend))
}

unsafe extern "C" fn listen() -> c_int {
    fence("end of listen", 0, || over(Kind::Listen))
}

unsafe extern "C" fn backend() -> c_int {
    fence("end of backend", 0, || over(Kind::Backend))
}

/// Rules in `defaults` are parsed once, for sections that are not there yet.
unsafe extern "C" fn defaults() -> c_int {
    fence("end of defaults", 0, || {
        let px = engine().map_or(ptr::null_mut(), current);
        let mut seen = seen();
        if seen.actions.contains(&px.addr()) {
            seen.actions_in_defaults = true;
        }
        0
    })
}

/// A section that may carry requests ends. Gives HAProxy's code of errors.
fn over(kind: Kind) -> c_int {
    let Some(engine) = engine() else { return 0 };
    let px = current(engine);
    let (has_filter, has_actions) = {
        let mut seen = seen();
        // A section that HAProxy refused leaves the one before it in place.
        if px.is_null() || seen.over.contains(&px.addr()) {
            return 0;
        }
        seen.over.push(px.addr());
        (seen.filters.contains(&px.addr()), seen.actions_in_defaults || seen.actions.contains(&px.addr()))
    };
    let Some(name) = fetch::proxy_name(engine, px) else { return 0 };
    let needs = if kind == Kind::Backend { HAS_BACKEND } else { HAS_FRONTEND };
    if !is(engine, px, needs) {
        super::fence::broken("a section's name leads to another section");
        return 0;
    }
    match handlers::section(Section { name: &name, kind, has_filter, has_actions }) {
        Some(mode) => add_filter(engine, px, mode),
        None => 0,
    }
}

/// The proxy is what HAProxy finds by its name, among those with these capabilities.
pub(super) fn is(engine: &Engine, px: *mut Proxy, capabilities: c_int) -> bool {
    let name = fetch::proxy_name(engine, px).and_then(|name| CString::new(&*name).ok());
    // SAFETY: a name that ends in zero.
    name.is_some_and(|name| unsafe { (engine.symbols.proxy_find_by_name)(name.as_ptr(), capabilities, 0) } == px)
}

/// Adds our internal filter to the section that ends, by HAProxy's own parser. HAProxy's filter for compression comes before it: it
/// adds that itself only where it finds no other. Gives HAProxy's code of errors.
fn add_filter(engine: &Engine, px: *mut Proxy, mode: Mode) -> c_int {
    // SAFETY: HAProxy's function, for its own section, on the thread that reads the configuration. It prints what it refuses, and
    // will do so again when it checks.
    unsafe { (engine.symbols.check_implicit_http_comp_flt)(px) };
    seen().mode = Some(mode);
    let code = add(engine, &[c"filter", INTERNAL]);
    let added = {
        let mut seen = seen();
        seen.mode = None;
        seen.added.take()
    };
    let Some(added) = added else { return code };
    // SAFETY: just added, at the end of the list.
    if !unsafe { beside::prepare(engine, px, ptr::with_exposed_provenance_mut(added)) } {
        super::fence::broken("a section's filters are not a list in it");
    }
    code
}

/// HAProxy's parser has this filter of ours, and will put it into its list.
pub(super) fn added(config: *mut FilterConfig) {
    seen().added = Some(config.expose_provenance());
}

/// Adds `http-after-response lua.otel_end` to a section. After HAProxy has checked its configuration: it warns of such rules in TCP
/// mode, where they do nothing. Gives a negative number if that fails.
pub(super) fn add_after_response(engine: &Engine, px: *mut Proxy) -> c_int {
    let current = engine.symbols.curproxy;
    // SAFETY: HAProxy's variable, which only its parser uses, on its only thread.
    let code = unsafe {
        let before = current.replace(px);
        let code = add(engine, &[c"http-after-response", c"lua.otel_end"]);
        current.write(before);
        code
    };
    if code == 0 { 0 } else { -1 }
}

/// Adds a line to the section that ends. Gives HAProxy's code of errors.
fn add(engine: &Engine, line: &[&CStr]) -> c_int {
    let empty = CString::default();
    let mut owned: Vec<CString> = line.iter().map(|word| CString::from(*word)).collect();
    owned.resize(words::MOST + 1, empty);
    let mut args: Vec<*mut c_char> = owned.iter().map(|word| word.as_ptr().cast_mut()).collect();
    // SAFETY: as many words as HAProxy has in a line, each ending in zero; it copies what it keeps.
    unsafe { (engine.symbols.cfg_parse_listen)(c"haproxy-vitals".as_ptr(), 0, args.as_mut_ptr(), 0) }
}

/// The section that HAProxy reads.
fn current(engine: &Engine) -> *mut Proxy {
    // SAFETY: HAProxy's variable, on the thread that reads the configuration.
    unsafe { engine.symbols.curproxy.read() }
}

/// A section for requests that HAProxy has read before the loader's line, if any: it has had no hook at its end.
pub(super) fn read_before(engine: &Engine) -> Option<String> {
    let px = current(engine);
    let name = fetch::proxy_name(engine, px).filter(|_| !px.is_null())?;
    [HAS_FRONTEND, HAS_BACKEND].iter().any(|needs| is(engine, px, *needs)).then(|| name.to_string())
}

/// HAProxy has parsed `filter lua.otel` for the proxy.
pub(super) fn filter_seen(px: *mut Proxy) {
    let mut seen = seen();
    // The first of two takes part.
    if seen.filters.contains(&px.addr()) {
        registry::use_it();
    }
    seen.filters.push(px.addr());
}

/// HAProxy has parsed an action of ours for the proxy. `starts`: it starts requests.
pub(super) fn action_seen(px: *mut Proxy, starts: bool) {
    registry::use_it();
    if starts {
        seen().actions.push(px.addr());
    }
}

/// What the internal filter is for, while it is added.
pub(super) fn mode_wanted() -> Option<Mode> {
    seen().mode
}

/// Sets the hook of a kind of section, in a list where each kind is once and has none.
///
/// # Safety
///
/// Only while HAProxy reads its configuration.
unsafe fn put_into_list(engine: &Engine, name: &CStr, hook: PostSection) -> bool {
    let parser: ParseSection = engine.symbols.cfg_parse_listen;
    let head = engine.symbols.sections;
    // SAFETY: a circular list of HAProxy's; an entry's fields are trusted once its parser is the one expected.
    unsafe {
        let mut at = (*head).next;
        for _ in 0..100 {
            if at.is_null() || at == head {
                break;
            }
            let entry: *mut CfgSection = at.cast();
            let is_proxy = (*entry).section_parser.is_some_and(|known| known as usize == parser as usize);
            if is_proxy && CStr::from_ptr((*entry).section_name) == name && (*entry).post_section_parser.is_none() {
                (*entry).post_section_parser = Some(hook);
                return true;
            }
            at = (*at).next;
        }
    }
    false
}

/// What was seen while HAProxy reads its configuration: addresses of proxies.
struct Seen {
    filters: Vec<usize>,
    actions: Vec<usize>,
    actions_in_defaults: bool,
    /// Sections that have ended.
    over: Vec<usize>,
    mode: Option<Mode>,
    /// What was added last.
    added: Option<usize>,
}

fn seen() -> std::sync::MutexGuard<'static, Seen> {
    SEEN.lock().unwrap_or_else(PoisonError::into_inner)
}

static SEEN: Mutex<Seen> = Mutex::new(Seen {
    filters: Vec::new(),
    actions: Vec::new(),
    actions_in_defaults: false,
    over: Vec::new(),
    mode: None,
    added: None,
});
