//! HAProxy's hooks: the only folder that names `mlua`. Thin: it turns Lua's values into ours and back.
//!
//! Nothing that happens in here reaches HAProxy as an error or a panic once it runs: see `boundary`.

mod attribute;
mod boundary;
mod checks;
mod command;
mod engine;
mod headers;
mod health;
mod leaving;
mod metrics;
mod native;
mod options;
mod process;
mod raw;
mod recent;
mod settings;
mod show;
mod signals;
mod tracer;

use mlua::prelude::*;

/// What `require("haproxy_vitals")` returns: the Lua API. `haproxy` is Lua's global table in a HAProxy state.
pub fn open(lua: &Lua) -> LuaResult<LuaTable> {
    let core: LuaTable = lua
        .globals()
        .get("core")
        .map_err(|_| LuaError::runtime("haproxy_vitals: this module works inside HAProxy only (no `core` here)"))?;
    let native = functions(lua)?;
    let part = |source: &'static str, name: &str| lua.load(source).set_name(name);
    let health: LuaTable = part(HEALTH, "=haproxy_vitals.health").call((&core, &native))?;
    let register_filter: LuaFunction = part(FILTER, "=haproxy_vitals").call((&core, &native))?;
    let register_tracing: LuaFunction = part(TRACING, "=haproxy_vitals").call((&core, &native, register_filter))?;
    part(API, "=haproxy_vitals").call((core, native, health, register_tracing))
}

/// The functions that the Lua side builds on. Their names are this crate's own business.
fn functions(lua: &Lua) -> LuaResult<LuaTable> {
    let native = lua.create_table()?;
    native.set("version", crate::VERSION)?;
    engine::install(lua, &native)?;
    raw::install(lua, &native)?;
    attribute::install(lua, &native)?;
    boundary::install(lua, &native)?;
    headers::install(lua, &native)?;
    settings::install(lua, &native)?;
    process::install(lua, &native)?;
    health::install(lua, &native)?;
    metrics::install(lua, &native)?;
    show::install(lua, &native)?;
    command::install(lua, &native)?;
    Ok(native)
}

/// The Lua side: what is cheaper, or clearer, to say there.
const API: &str = include_str!("../lua/api.lua");
const FILTER: &str = include_str!("../lua/filter.lua");
const HEALTH: &str = include_str!("../lua/health.lua");
const TRACING: &str = include_str!("../lua/tracing.lua");
