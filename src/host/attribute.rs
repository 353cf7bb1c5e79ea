//! `lua.otel_attr`: a HAProxy variable on the span.

use mlua::prelude::*;

use super::boundary;
use crate::stats;
use crate::trace::record::{AttributeValue, Writer, is_name};

/// Puts `attribute` into `native`: what HAProxy holds, with one attribute more; nothing if it does not fit.
pub(super) fn install(lua: &Lua, native: &LuaTable) -> LuaResult<()> {
    let attribute = |lua: &Lua, (held, name, value): (LuaString, LuaString, LuaValue)| {
        let longer = boundary::fail_open("otel_attr", None, || Ok(with_value(&held, &name, &value)));
        longer.map(|bytes| lua.create_string(bytes)).transpose()
    };
    native.set("attribute", lua.create_function(attribute)?)
}

fn with_value(held: &LuaString, name: &LuaString, value: &LuaValue) -> Option<Vec<u8>> {
    let (held, name) = (held.as_bytes(), name.as_bytes());
    let mut record = Writer::new();
    record.resume(&held);
    if !record.is_recorded() {
        return None;
    }
    if !is_name(&name) {
        stats::ATTRIBUTES_LEFT_OUT.add(1);
        return None;
    }
    match value {
        LuaValue::Boolean(flag) => record.attribute(&name, AttributeValue::Bool(*flag)),
        LuaValue::Integer(number) => record.attribute(&name, AttributeValue::Integer(*number)),
        LuaValue::String(text) => record.attribute(&name, AttributeValue::Text(&text.as_bytes())),
        other => record.attribute(&name, AttributeValue::Text(other.to_string().ok()?.as_bytes())),
    }
    Some(record.as_bytes().to_vec())
}
