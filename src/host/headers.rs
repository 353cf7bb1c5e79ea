//! Headers beyond `traceparent`, for the doors that do not set them natively.

use mlua::prelude::*;
use once_cell::sync::OnceCell;

use super::{boundary, settings};
use crate::trace::plan::Plan;
use crate::trace::propagation::Sent;
use crate::trace::propagation::doors::DoorPlan;
use crate::trace::record::Head;

/// Puts `request_headers`, `response_value` and `context` into `native`. All take what HAProxy holds of a request.
///
/// `request_headers(held, frontend)` gives a list of names, each followed by its value, or by `false` where the header is to be
/// deleted. `response_value(held)` gives a value, or nothing. `context(held)` gives the trace's id, the SERVER span's or nothing,
/// and whether it is sampled.
pub(super) fn install(lua: &Lua, native: &LuaTable) -> LuaResult<()> {
    let request = |lua: &Lua, (held, frontend): (LuaString, LuaString)| {
        let changes = boundary::fail_open("request headers", Vec::new(), || {
            Ok(sent(&held).map(|sent| plan().request_headers(&sent, &frontend.as_bytes())).unwrap_or_default())
        });
        let list = lua.create_table_with_capacity(2 * changes.len(), 0)?;
        for (name, value) in changes {
            list.push(name)?;
            match value {
                Some(value) => list.push(lua.create_string(value)?)?,
                None => list.push(false)?,
            }
        }
        Ok(list)
    };
    native.set("request_headers", lua.create_function(request)?)?;
    let response = |lua: &Lua, held: LuaString| {
        let value = boundary::fail_open("response header", None, || {
            Ok(sent(&held).and_then(|sent| plan().response_value(&sent)))
        });
        value.map(|value| lua.create_string(value)).transpose()
    };
    native.set("response_value", lua.create_function(response)?)?;
    let context = |lua: &Lua, held: LuaString| {
        let Some(sent) = sent(&held) else { return Ok((None, None, None)) };
        let span = sent.server_span.map(|span| lua.create_string(span)).transpose()?;
        Ok((Some(lua.create_string(sent.trace_id)?), span, Some(sent.is_sampled())))
    };
    native.set("context", lua.create_function(context)?)
}

fn sent(held: &LuaString) -> Option<Sent> {
    Head::read(&held.as_bytes()).map(|(head, _)| Sent::of(&head))
}

fn plan() -> &'static DoorPlan {
    PLAN.get_or_init(|| settings::loaded().map(|loaded| Plan::new(&loaded.config).headers).unwrap_or_default())
}

/// As the settings have it, which are loaded before the first request.
static PLAN: OnceCell<DoorPlan> = OnceCell::new();
