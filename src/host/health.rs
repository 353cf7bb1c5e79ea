//! The checker's questions and answers as Lua tables. `lua/health.lua` asks and applies.

mod call;
mod command;
mod hub;

use mlua::prelude::*;

pub(super) use command::show;
pub(super) use hub::Hub;

use super::{boundary, process, settings};
use crate::health::{Action, Checker, Class, Force, ServerSeen, ServerState, ServerStatus};
use crate::log::{self, Level};

/// Puts the `health_*` functions into `native`.
pub(super) fn install(lua: &Lua, native: &LuaTable) -> LuaResult<()> {
    native.set("health_backends", lua.create_function(|_, ()| Ok(backends()))?)?;
    native.set("health_known_backends", lua.create_function(|_, known: Vec<String>| Ok(known_backends(&known)))?)?;
    native.set("health_initial", lua.create_function(|lua, seen| actions(lua, &seen, Checker::initial))?)?;
    native.set("health_sweep", lua.create_function(|lua, seen| actions(lua, &seen, Checker::sweep))?)?;
    native.set("health_notice", lua.create_function(|lua, seen| actions(lua, &seen, Checker::notice))?)?;
    native.set("health_changes", lua.create_function(changes)?)?;
    native.set(
        "health_forget",
        lua.create_function(|_, (backend, server, id): (String, String, u64)| {
            if let Some(checker) = process::checker() {
                checker.forget(&backend, &server, id);
            }
            Ok(())
        })?,
    )?;
    native.set("health_stop", lua.create_function(|lua, ()| write(lua, process::stop_checks()))?)?;
    native.set(
        "health_weight_refused",
        lua.create_function(|_, (backend, server, reason): (String, String, String)| {
            weight_refused(&backend, &server, &reason);
            Ok(())
        })?,
    )?;
    native.set(
        "health_raised_by_agent",
        lua.create_function(|_, (backend, server): (String, String)| {
            raised_by_agent(&backend, &server);
            Ok(())
        })?,
    )?;
    native.set("health_address", lua.create_function(|_, ()| Ok(process::health_address()))?)?;
    native.set(
        "health_request",
        lua.create_function(|lua, (spec, every): (LuaTable, Option<f64>)| request(lua, &spec, every))?,
    )?;
    native.set("health_answer", lua.create_function(|lua, line: String| answer(lua, &line))?)?;
    native
        .set("health_status", lua.create_function(|lua, server: LuaString| status(lua, &server.to_string_lossy()))?)?;
    native.set(
        "health_word",
        lua.create_function(|_, (backend, server): (LuaString, LuaString)| {
            Ok(word(&backend.to_string_lossy(), &server.to_string_lossy()))
        })?,
    )?;
    command::install(lua, native)
}

fn backends() -> Vec<String> {
    settings::loaded()
        .map(|loaded| loaded.config.health.backends.iter().map(|backend| backend.name.clone()).collect())
        .unwrap_or_default()
}

/// Of HAProxy's backends, those that are checked. Says which names and patterns stand for none.
fn known_backends(known: &[String]) -> Vec<String> {
    let Some(checker) = process::checker() else { return Vec::new() };
    for name in checker.unknown_backends(known) {
        let what = if crate::config::wildcard::is_pattern(&name) {
            "no backend that matches"
        } else {
            "no backend of that name"
        };
        log::say(Level::Warning, format!("health.backend `{name}`: HAProxy has {what}"));
    }
    checker.resolve_backends(known)
}

/// Shows servers to the checker, and answers what it wants done.
fn actions(lua: &Lua, seen: &LuaTable, ask: impl Fn(&Checker, &[ServerSeen]) -> Vec<Action>) -> LuaResult<LuaTable> {
    let actions = boundary::fail_open("health", Vec::new(), || {
        let Some(checker) = process::checker() else { return Ok(Vec::new()) };
        let servers = seen.sequence_values::<LuaTable>().map(|server| read(&server?)).collect::<LuaResult<Vec<_>>>()?;
        Ok(ask(&checker, &servers))
    });
    write(lua, actions)
}

fn changes(lua: &Lua, (): ()) -> LuaResult<LuaTable> {
    write(lua, process::checker().map(|checker| checker.changes()).unwrap_or_default())
}

fn weight_refused(backend: &str, server: &str, reason: &str) {
    if let Some(checker) = process::checker() {
        checker.weight_refused(backend, server, reason);
    }
}

fn raised_by_agent(backend: &str, server: &str) {
    let text = format!(
        "{backend}/{server} was raised while its checks fail: an agent that says `up` does so for a moment each time; let \
         its `agent-check` say weights alone, or set `way = \"agent\"`"
    );
    log::say(Level::Warning, text);
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
        weight: server.get("weight")?,
    })
}

fn write(lua: &Lua, actions: Vec<Action>) -> LuaResult<LuaTable> {
    let list = lua.create_table_with_capacity(actions.len(), 0)?;
    for action in actions {
        let entry = lua.create_table()?;
        entry.set("backend", action.backend)?;
        entry.set("server", action.server)?;
        entry.set("id", action.id)?;
        entry.set("force", action.force.map(Force::word))?;
        entry.set("weight", action.weight)?;
        list.push(entry)?;
    }
    Ok(list)
}

/// The line to send and the bound in seconds, or nothing and why.
fn request(lua: &Lua, spec: &LuaTable, every: Option<f64>) -> LuaResult<(Option<String>, LuaValue)> {
    match call::request(spec, every) {
        Ok((line, seconds)) => Ok((Some(line), LuaValue::Number(seconds))),
        Err(problem) => Ok((None, LuaValue::String(lua.create_string(problem.to_string())?))),
    }
}

/// `{ ok, state, class, text }`, or nothing and why there is no result.
fn answer(lua: &Lua, line: &str) -> LuaResult<(Option<LuaTable>, Option<String>)> {
    let Some(answer) = call::Answer::parse(line) else { return Ok((None, Some("no answer".to_owned()))) };
    let state = match answer.word {
        "pass" => ServerState::Up,
        "drain" => ServerState::Drain,
        "fail" => ServerState::Down,
        "hold" => ServerState::Unknown,
        _ => return Ok((None, Some(answer.text.to_owned()))),
    };
    let table = lua.create_table()?;
    table.set("ok", state == ServerState::Up)?;
    table.set("state", state_word(state))?;
    table.set("class", answer.class)?;
    table.set("text", answer.text)?;
    Ok((Some(table), None))
}

/// `{ state, class, text, address, seconds }` of `BACKEND/SERVER`, or nothing: it is not checked.
fn status(lua: &Lua, server: &str) -> LuaResult<Option<LuaTable>> {
    let Some(ServerStatus { state, since, reason, class, address, .. }) = status_of(server) else { return Ok(None) };
    let table = lua.create_table()?;
    table.set("state", state_word(state))?;
    table.set("class", class.map_or("ok", Class::word))?;
    table.set("text", reason)?;
    table.set("address", address)?;
    table.set("seconds", since.elapsed().as_secs())?;
    Ok(Some(table))
}

fn status_of(server: &str) -> Option<ServerStatus> {
    let (backend, server) = server.split_once('/')?;
    process::checker()?.status(backend, server)
}

/// For `lua.vitals_health(backend,server)`.
fn word(backend: &str, server: &str) -> &'static str {
    let status = process::checker().and_then(|checker| checker.status(backend, server));
    status.map_or("unknown", |status| state_word(status.state))
}

fn state_word(state: ServerState) -> &'static str {
    match state {
        ServerState::Up => "up",
        ServerState::Drain => "drain",
        ServerState::Down => "down",
        ServerState::Unknown => "unknown",
    }
}
