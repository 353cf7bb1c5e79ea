//! The actions: `lua.otel_start`, `lua.otel_end`, `lua.otel_attr`, as HAProxy's own.
//!
//! A rule's data hangs on a keyword of its own: what follows `kw` in a rule differs between versions.
#![expect(unsafe_code, reason = "callbacks of HAProxy's, with its pointers")]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;

use super::abi::{ActRule, ActionKw, ActionKwList, List, Proxy, RunAction, Session, Stream as RawStream};
use super::fence::fence;
use super::fetch::Expression;
use super::{Engine, engine, fence, filter, handlers, registry, section, side, words};
use crate::stats;

/// Where an action may stand, and what it is.
#[derive(Debug, Clone, Copy)]
struct Place {
    what: What,
    of_response: bool,
}

#[derive(Debug, Clone, Copy)]
enum What {
    Start,
    End,
    Attribute,
}

/// What a rule says.
enum Rule {
    Start,
    End,
    Attribute(Box<str>, Expression),
}

/// Gives HAProxy the keywords.
pub(super) fn register(engine: &Engine) {
    let symbols = &engine.symbols;
    let request = [symbols.tcp_req_cont_keywords_register, symbols.http_req_keywords_register];
    let http_response = [symbols.http_res_keywords_register, symbols.http_after_res_keywords_register];
    for registers in request {
        enlist(registers, c"lua.otel_start", Place { what: What::Start, of_response: false });
        enlist(registers, c"lua.otel_attr", Place { what: What::Attribute, of_response: false });
    }
    for registers in http_response {
        enlist(registers, c"lua.otel_end", Place { what: What::End, of_response: true });
    }
    for registers in http_response.into_iter().chain([symbols.tcp_res_cont_keywords_register]) {
        enlist(registers, c"lua.otel_attr", Place { what: What::Attribute, of_response: true });
    }
}

fn enlist(registers: unsafe extern "C" fn(*mut ActionKwList), name: &'static CStr, place: Place) {
    let place: *mut Place = Box::leak(Box::new(place));
    let kw = ActionKw { kw: name.as_ptr(), parse: Some(parse), flags: 0, private: place.cast(), context: [0; 2] };
    let list = List { next: ptr::null_mut(), prev: ptr::null_mut() };
    let list = Box::leak(Box::new(ActionKwList { list, kw, end: [0; 8] }));
    // SAFETY: HAProxy links the list, which is never freed, into its own.
    unsafe { registers(list) };
}

/// A rule with an action of ours. 0: it is fine.
unsafe extern "C" fn parse(
    args: *mut *const c_char,
    at: *mut c_int,
    px: *mut Proxy,
    rule: *mut ActRule,
    err: *mut *mut c_char,
) -> c_int {
    fence("action line", REFUSED, || {
        let Some(engine) = engine() else { return REFUSED };
        // SAFETY: HAProxy's rule, which names the keyword that it found.
        let kw = unsafe { (&raw const (*rule).kw).read() };
        // SAFETY: as above.
        let Some(kw) = (unsafe { ours(kw) }) else {
            fence::broken("a rule's action is not ours");
            return REFUSED;
        };
        // SAFETY: HAProxy's words, and its place in them.
        let (given, next) = unsafe { (words::from(args, at.read()), at.read()) };
        // SAFETY: put there by `enlist`.
        let place = unsafe { *kw.private.cast::<Place>() };
        match said(engine, place.what, &given) {
            Ok((said, count)) => {
                section::action_seen(px, matches!(said, Rule::Start));
                let said: *mut Rule = Box::leak(Box::new(said));
                let own: &ActionKw = Box::leak(Box::new(ActionKw { private: said.cast(), ..*kw }));
                // SAFETY: HAProxy's new rule, and its place in its words.
                unsafe {
                    (&raw mut (*rule).action).write(0);
                    (&raw mut (*rule).action_ptr).write(Some(run_of(place)));
                    (&raw mut (*rule).kw).write(own);
                    at.write(next + count);
                }
                0
            }
            Err(problem) => {
                // SAFETY: HAProxy's place for a message.
                unsafe { words::complain(&engine.symbols, err, &problem) };
                REFUSED
            }
        }
    })
}

/// What the words say, and how many of them are the action's.
fn said(engine: &Engine, what: What, given: &[String]) -> Result<(Rule, c_int), String> {
    match what {
        What::Start => Ok((Rule::Start, 0)),
        What::End => Ok((Rule::End, 0)),
        What::Attribute => {
            let is_argument = |word: &&String| !matches!(word.as_str(), "if" | "unless");
            let expected = "expected a name and a variable: lua.otel_attr NAME txn.VARIABLE";
            let (name, variable) = match given {
                [name, variable, ..] if is_argument(&name) && is_argument(&variable) => (name, variable),
                _ => return Err(expected.to_owned()),
            };
            let expression = Expression::parse_with(engine, &format!("var({variable})"))?;
            Ok((Rule::Attribute(name.as_str().into(), expression), 2))
        }
    }
}

fn run_of(place: Place) -> RunAction {
    if place.of_response { run::<true> } else { run::<false> }
}

/// A rule applies: HAProxy's rule and stream, on the stream's thread.
unsafe extern "C" fn run<const OF_RESPONSE: bool>(
    rule: *mut ActRule,
    _: *mut Proxy,
    _: *mut Session,
    s: *mut RawStream,
    _: c_int,
) -> c_int {
    let said = fence("action", None, || {
        // SAFETY: HAProxy's rule.
        let kw = unsafe { ours((&raw const (*rule).kw).read()) };
        if kw.is_none() {
            fence::broken("a rule's action is not ours");
        }
        // SAFETY: put there by `parse`, which is the only one that names `run`.
        kw.and_then(|kw| unsafe { kw.private.cast::<Rule>().as_ref() })
    });
    let Some(said) = said else { return CONTINUE };
    let Some(f) = registry::filter_of(s) else {
        if matches!(said, Rule::Attribute(..)) {
            stats::ATTRIBUTES_LEFT_OUT.add(1);
        }
        return CONTINUE;
    };
    // SAFETY: entered in `attach`, and taken out in `detach`.
    unsafe {
        filter::call("action", (), s, f, |call, slot| {
            let Some(engine) = engine() else { return };
            let side = if OF_RESPONSE { side::response(s, engine) } else { side::request(s) };
            let mut stream = call.stream(side);
            match (said, slot) {
                (Rule::Start, slot) => handlers::start_by_action(call.line, slot, &mut stream),
                (Rule::End, Some(live)) => handlers::after_response(live, call.line, &mut stream),
                (Rule::Attribute(name, expression), Some(live)) => {
                    handlers::attribute(live, name.as_bytes(), stream.evaluate(*expression));
                }
                (Rule::Attribute(..), None) => stats::ATTRIBUTES_LEFT_OUT.add(1),
                (Rule::End, None) => {}
            }
        });
    }
    CONTINUE
}

/// The keyword, if it is one of ours.
///
/// # Safety
///
/// Null, or what a rule of HAProxy's names.
unsafe fn ours<'a>(kw: *const ActionKw) -> Option<&'a ActionKw> {
    // SAFETY: the caller's promise.
    let kw = unsafe { kw.as_ref() }?;
    let is_ours = kw.parse.is_some_and(|named| named as *const c_void == parse as *const c_void);
    (is_ours && !kw.private.is_null()).then_some(kw)
}

/// `ACT_RET_CONT`.
const CONTINUE: c_int = 0;
/// `ACT_RET_PRS_ERR`.
const REFUSED: c_int = 1;
