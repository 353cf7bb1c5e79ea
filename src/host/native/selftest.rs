//! What is tried before the engine is used: that HAProxy's memory is what its version says.
#![expect(unsafe_code, reason = "asks HAProxy for a keyword")]

use std::ptr;

use super::abi::FilterKw;
use super::fetch::{Expression, Fetch, Owner, Value};
use super::{Engine, Unavailable, faults, filter};

/// Constants come back through HAProxy's parser and evaluation, a fetch has its own name, and a keyword is found again.
pub(super) fn run(engine: &Engine) -> Result<(), Unavailable> {
    if faults::breaks("selftest") {
        return Err(Unavailable::SelfTest("on purpose"));
    }
    let constants = [
        ("int(-42)", Value::Int(-42)),
        ("bool(true)", Value::Bool(true)),
        ("str(vitals)", Value::Text(b"vitals")),
        ("bin(00ff)", Value::Bin(b"\0\xff")),
        ("ipv4(192.0.2.1)", Value::V4([192, 0, 2, 1])),
        ("str(VITALS),lower", Value::Text(b"vitals")),
    ];
    for (text, expected) in constants {
        let expression = Expression::parse_with(engine, text).map_err(|_| Unavailable::SelfTest("an expression"))?;
        let none = Owner { px: ptr::null_mut(), sess: ptr::null_mut(), strm: ptr::null_mut(), opt: 0 };
        // SAFETY: a constant asks for nothing of its owner.
        if unsafe { expression.call(engine, &none) } != Some(expected) {
            return Err(Unavailable::SelfTest("a constant's value"));
        }
    }
    if Fetch::find(engine, "fe_name").is_none() || Fetch::find(engine, "no_such_fetch").is_some() {
        return Err(Unavailable::SelfTest("a fetch"));
    }
    let registered: *const FilterKw = filter::register(engine, filter::INTERNAL);
    // SAFETY: a name that ends in zero.
    let found = unsafe { (engine.symbols.flt_find_kw)(filter::INTERNAL.as_ptr()) };
    if ptr::eq(found, registered) { Ok(()) } else { Err(Unavailable::SelfTest("a filter's keyword")) }
}
