//! The service `lua.otel_metrics`: what Prometheus pulls through HAProxy.

use mlua::prelude::*;

use super::{boundary, process};

/// Puts `metrics` and `close_listeners` into `native`.
pub(super) fn install(lua: &Lua, native: &LuaTable) -> LuaResult<()> {
    native
        .set("metrics", lua.create_function(|_, accept: Option<String>| Ok(metrics(&accept.unwrap_or_default())))?)?;
    native.set(
        "close_listeners",
        lua.create_function(|_, ()| {
            process::close_listeners();
            Ok(())
        })?,
    )
}

/// Content type and text; nothing where no metrics are made.
fn metrics(accept: &str) -> (Option<&'static str>, Option<String>) {
    boundary::fail_open("otel_metrics", (None, None), || {
        let answer = process::exposition().map(|exposition| exposition.answer(accept));
        Ok(answer.map_or((None, None), |(content_type, text)| (Some(content_type), Some(text))))
    })
}
