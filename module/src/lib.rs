//! The shared object that HAProxy loads: `require("haproxy_vitals")`. No policy here.

use mlua::prelude::*;

/// Lua's entry point: the module's table.
#[mlua::lua_module(skip_memory_check)]
fn haproxy_vitals(lua: &Lua) -> LuaResult<LuaTable> {
    haproxy_vitals::host::open(lua)
}
