//! Headers beyond `traceparent`, for the doors that do not set them natively.

use mlua::prelude::*;
use once_cell::sync::OnceCell;

use super::{boundary, settings};
use crate::trace::plan::Plan;
use crate::trace::propagation::doors::DoorPlan;

/// Puts `request_headers` and `response_value` into `native`.
///
/// `request_headers(carried, frontend)` gives a list of names, each followed by its value, or by `false` where the header is to be
/// deleted. `response_value(carried)` gives a value, or nothing.
pub(super) fn install(lua: &Lua, native: &LuaTable) -> LuaResult<()> {
    let request = |lua: &Lua, (carried, frontend): (LuaString, LuaString)| {
        let changes = boundary::fail_open("request headers", Vec::new(), || {
            Ok(plan().request_headers(&carried.as_bytes(), &frontend.as_bytes()))
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
    let response = |lua: &Lua, carried: LuaString| {
        let value = boundary::fail_open("response header", None, || Ok(plan().response_value(&carried.as_bytes())));
        value.map(|value| lua.create_string(value)).transpose()
    };
    native.set("response_value", lua.create_function(response)?)
}

fn plan() -> &'static DoorPlan {
    PLAN.get_or_init(|| settings::loaded().map(|loaded| Plan::new(&loaded.config).headers).unwrap_or_default())
}

/// As the settings have it, which are loaded before the first request.
static PLAN: OnceCell<DoorPlan> = OnceCell::new();
