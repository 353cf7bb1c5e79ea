//! The checker's questions and answers as Lua tables. `lua/health.lua` asks and applies.

use mlua::prelude::*;

use super::{boundary, process, settings};
use crate::health::{Action, ServerSeen};
use crate::log::{self, Level};

/// Puts the `health_*` functions into `native`.
pub(super) fn install(lua: &Lua, native: &LuaTable) -> LuaResult<()> {
    native.set("health_backends", lua.create_function(|_, ()| Ok(backends()))?)?;
    native.set(
        "health_known_backends",
        lua.create_function(|_, known: Vec<String>| {
            warn_of_unknown(&known);
            Ok(())
        })?,
    )?;
    native.set("health_initial", lua.create_function(|lua, seen: LuaTable| actions(lua, &seen, Round::Initial))?)?;
    native.set("health_sweep", lua.create_function(|lua, seen: LuaTable| actions(lua, &seen, Round::Sweep))?)?;
    native.set("health_changes", lua.create_function(changes)?)?;
    native.set(
        "health_stop",
        lua.create_function(|_, ()| {
            stop();
            Ok(())
        })?,
    )
}

#[derive(Clone, Copy)]
enum Round {
    Initial,
    Sweep,
}

fn backends() -> Vec<String> {
    settings::loaded()
        .map(|loaded| loaded.config.health.backends.iter().map(|backend| backend.name.clone()).collect())
        .unwrap_or_default()
}

fn warn_of_unknown(known: &[String]) {
    let unknown = process::checker().map(|checker| checker.unknown_backends(known));
    for name in unknown.unwrap_or_default() {
        log::say(Level::Warning, format!("health.backend `{name}`: HAProxy has no backend of that name"));
    }
}

fn actions(lua: &Lua, seen: &LuaTable, round: Round) -> LuaResult<LuaTable> {
    let actions = boundary::fail_open("health", Vec::new(), || {
        let Some(checker) = process::checker() else { return Ok(Vec::new()) };
        let servers = seen.sequence_values::<LuaTable>().map(|server| read(&server?)).collect::<LuaResult<Vec<_>>>()?;
        Ok(match round {
            Round::Initial => checker.initial(&servers),
            Round::Sweep => checker.sweep(&servers),
        })
    });
    write(lua, actions)
}

fn changes(lua: &Lua, (): ()) -> LuaResult<LuaTable> {
    write(lua, process::checker().map(|checker| checker.changes()).unwrap_or_default())
}

fn stop() {
    if let Some(checker) = process::checker() {
        checker.stop();
    }
}

fn read(server: &LuaTable) -> LuaResult<ServerSeen> {
    Ok(ServerSeen {
        backend: server.get("backend")?,
        server: server.get("server")?,
        id: server.get("id")?,
        address: server.get("address")?,
        status: server.get("status")?,
        native_check: server.get("native_check")?,
        tracks: server.get("tracks")?,
        // HAProxy 3.2 does not show these two to Lua: absent unless somebody else tells.
        tls: server.get("tls")?,
        name: server.get("name")?,
    })
}

fn write(lua: &Lua, actions: Vec<Action>) -> LuaResult<LuaTable> {
    let list = lua.create_table_with_capacity(actions.len(), 0)?;
    for action in actions {
        let entry = lua.create_table()?;
        entry.set("backend", action.backend)?;
        entry.set("server", action.server)?;
        entry.set("id", action.id)?;
        entry.set("force", action.force.word())?;
        list.push(entry)?;
    }
    Ok(list)
}
