//! The settings: read once per process, by the first Lua state that registers.

use mlua::prelude::*;
use once_cell::sync::OnceCell;

use super::options;
use crate::config::{self, Environment, Loaded, Sources};
use crate::health::Checker;

/// Puts `configure` into `native`: the error or nothing, and the warnings.
pub(super) fn install(lua: &Lua, native: &LuaTable) -> LuaResult<()> {
    native.set("configure", lua.create_function(|_, given: LuaTable| Ok(configure(&given)))?)
}

/// The settings, once `configure` has succeeded.
pub(super) fn loaded() -> Option<&'static Loaded> {
    LOADED.get()
}

/// Later Lua states get the first one's settings, and no warnings again.
fn configure(given: &LuaTable) -> (Option<String>, Vec<String>) {
    let mut first = false;
    let load = || {
        first = true;
        load(given)
    };
    match LOADED.get_or_try_init(load) {
        Ok(loaded) if first => (None, loaded.warnings.clone()),
        Ok(_) => (None, Vec::new()),
        Err(problem) => (Some(problem), Vec::new()),
    }
}

fn load(given: &LuaTable) -> Result<Loaded, String> {
    let (options, arguments) = options::read(given).map_err(|error| error.to_string())?;
    let loaded = config::load(Sources { options, arguments, environment: Environment::of_process() })
        .map_err(|error| error.to_string())?;
    Checker::verify(&loaded.config.health).map_err(|error| error.to_string())?;
    Ok(loaded)
}

static LOADED: OnceCell<Loaded> = OnceCell::new();
