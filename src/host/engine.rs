//! Which of HAProxy's hooks are used: its own, or Lua's.

use mlua::prelude::*;
use once_cell::sync::OnceCell;

use super::native;
use crate::config;

/// The hooks in use.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Engine {
    Native,
    /// Why not native ones.
    Lua(String),
}

/// Puts `is_native` into `native`: whether Lua registers no hooks of its own.
pub(super) fn install(lua: &Lua, table: &LuaTable) -> LuaResult<()> {
    table.set("is_native", lua.create_function(|_, ()| Ok(is_native()))?)
}

/// Chooses as the settings say, once per process, while HAProxy reads its configuration. A warning where the choice is not the
/// better one; an error where native hooks are demanded and cannot be had.
pub(super) fn choose(wanted: config::Engine) -> Result<Option<String>, String> {
    native::prepare();
    let (engine, warning) = match wanted {
        config::Engine::Lua => (Engine::Lua("traces.engine = \"lua\"".to_owned()), None),
        config::Engine::Auto | config::Engine::Native => match native::register() {
            Ok(()) => (Engine::Native, native::read_before().map(|section| late(&section))),
            Err(reason) if wanted == config::Engine::Native => {
                return Err(format!("`traces.engine`: expected an HAProxy with native hooks, found none: {reason}"));
            }
            Err(reason) => (Engine::Lua(reason.to_string()), Some(fallback(&reason.to_string()))),
        },
    };
    let _ = ENGINE.set(engine);
    Ok(warning)
}

/// Whether native hooks are in use.
pub(super) fn is_native() -> bool {
    ENGINE.get() == Some(&Engine::Native)
}

/// The hooks in use, for an operator.
pub(super) fn describe() -> String {
    match ENGINE.get() {
        None => "none".to_owned(),
        Some(Engine::Native) => "native".to_owned(),
        Some(Engine::Lua(reason)) => format!("lua ({reason})"),
    }
}

fn late(section: &str) -> String {
    format!(
        "HAProxy has read section `{section}` before the loader's line: sections before it are not traced. Put the line into a \
         `global` section above them, in a file that comes before theirs (`-f`)"
    )
}

fn fallback(reason: &str) -> String {
    format!(
        "tracing uses Lua's hooks, which cost more, and traces only sections that say `filter lua.otel` or \
         `http-request lua.otel_start`: {reason}"
    )
}

static ENGINE: OnceCell<Engine> = OnceCell::new();
