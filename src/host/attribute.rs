//! `lua.otel_attr`: a HAProxy variable on the span.

use std::fmt::Write;

use mlua::prelude::*;

use super::boundary;
use crate::stats;
use crate::trace::carry::{self, AttributeValue};

/// Puts `attribute` into `native`: what HAProxy carries, with one attribute more; nothing if it does not fit.
pub(super) fn install(lua: &Lua, native: &LuaTable) -> LuaResult<()> {
    let attribute = |lua: &Lua, (carried, name, value): (LuaString, LuaString, LuaValue)| {
        let longer = boundary::fail_open("otel_attr", None, || Ok(with_value(&carried, &name, &value)));
        if longer.is_none() {
            stats::ATTRIBUTES_LEFT_OUT.add(1);
        }
        longer.map(|bytes| lua.create_string(bytes)).transpose()
    };
    native.set("attribute", lua.create_function(attribute)?)?;
    native.set("hex", lua.create_function(|_, (value, most): (LuaValue, usize)| Ok(hex(&value, most)))?)
}

/// The first `most` bytes of a value as HAProxy's converter `hex` writes them; `-` if there is none.
fn hex(value: &LuaValue, most: usize) -> String {
    let text = match value {
        LuaValue::Nil => return "-".to_owned(),
        LuaValue::Boolean(flag) => if *flag { b"1" } else { b"0" }.to_vec(),
        LuaValue::String(text) => text.as_bytes().to_vec(),
        other => other.to_string().unwrap_or_default().into_bytes(),
    };
    text.iter().take(most).fold(String::with_capacity(2 * most), |mut digits, byte| {
        let _ = write!(digits, "{byte:02X}");
        digits
    })
}

fn with_value(carried: &LuaString, name: &LuaString, value: &LuaValue) -> Option<Vec<u8>> {
    let (carried, name) = (carried.as_bytes(), name.as_bytes());
    let with = |value| carry::with_attribute(&carried, &name, value);
    match value {
        LuaValue::Boolean(flag) => with(AttributeValue::Bool(*flag)),
        LuaValue::Integer(number) => with(AttributeValue::Integer(*number)),
        LuaValue::String(text) => with(AttributeValue::Text(&text.as_bytes())),
        other => with(AttributeValue::Text(other.to_string().ok()?.as_bytes())),
    }
}
