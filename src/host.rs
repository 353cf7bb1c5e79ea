//! HAProxy through Lua: the only folder that names `mlua`. Thin: it turns Lua's values into ours and back.
//!
//! Nothing that happens in here reaches HAProxy as an error or a panic once it runs: see `boundary`.

mod attribute;
mod boundary;
mod command;
mod health;
mod options;
mod process;
mod raw;
mod settings;
mod show;

use mlua::prelude::*;

/// What `require("haproxy_vitals")` returns: the Lua API. `haproxy` is Lua's global table in a HAProxy state.
pub fn open(lua: &Lua) -> LuaResult<LuaTable> {
    let core: LuaTable = lua
        .globals()
        .get("core")
        .map_err(|_| LuaError::runtime("haproxy_vitals: this module works inside HAProxy only (no `core` here)"))?;
    let native = native(lua)?;
    let health: LuaTable = lua.load(HEALTH).set_name("=haproxy_vitals.health").call((core.clone(), native.clone()))?;
    lua.load(API).set_name("=haproxy_vitals").call((core, native, health))
}

/// The functions that the Lua side builds on. Their names are this crate's own business.
fn native(lua: &Lua) -> LuaResult<LuaTable> {
    let native = lua.create_table()?;
    native.set("version", crate::VERSION)?;
    raw::install(lua, &native)?;
    attribute::install(lua, &native)?;
    boundary::install(lua, &native)?;
    settings::install(lua, &native)?;
    process::install(lua, &native)?;
    health::install(lua, &native)?;
    show::install(lua, &native)?;
    command::install(lua, &native)?;
    Ok(native)
}

/// The Lua side: what is cheaper, or clearer, to say there.
const API: &str = include_str!("../lua/api.lua");
/// The same for health checks.
const HEALTH: &str = include_str!("../lua/health.lua");
