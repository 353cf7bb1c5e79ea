//! The settings: read once per process, by the first Lua state that registers.

use mlua::prelude::*;
use once_cell::sync::OnceCell;

use super::{engine, options};
use crate::config::{self, Environment, ExporterKind, Loaded, Sources};
use crate::export::{Sender, SetupError, Signal};
use crate::health::Checker;
use crate::trace::plan::{Gather, Plan};

/// Puts `configure` into `native`: the error or nothing, and the warnings; and `plan`.
pub(super) fn install(lua: &Lua, native: &LuaTable) -> LuaResult<()> {
    native.set("plan", lua.create_function(|lua, ()| plan(lua))?)?;
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
        Ok(loaded) if first => match choose_engine() {
            Ok(warning) => (None, loaded.warnings.iter().cloned().chain(warning).collect()),
            Err(problem) => (Some(problem), Vec::new()),
        },
        Ok(_) => (None, Vec::new()),
        Err(problem) => (Some(problem), Vec::new()),
    }
}

fn load(given: &LuaTable) -> Result<Loaded, String> {
    let (options, arguments) = options::read(given).map_err(|error| error.to_string())?;
    let loaded = config::load(Sources { options, arguments, environment: Environment::of_process() })
        .map_err(|error| error.to_string())?;
    check_export(&loaded).map_err(|error| error.to_string())?;
    Checker::verify(&loaded.config.health).map_err(|error| error.to_string())?;
    Ok(loaded)
}

/// Not under the lock of the settings: native hooks read them.
fn choose_engine() -> Result<Option<String>, String> {
    loaded().map_or(Ok(None), |loaded| engine::choose(loaded.config.traces.engine))
}

/// What Lua's hooks must do: gather how a request came in and a list of `{ kind, name }`, and see to headers. `frontends`: those
/// that the settings name.
fn plan(lua: &Lua) -> LuaResult<LuaTable> {
    let plan = loaded().map(|loaded| Plan::new(&loaded.config)).unwrap_or_default();
    let gathered = lua.create_table()?;
    for gather in plan.gathered {
        let (kind, name) = match gather {
            Gather::ResponseHeader(name) => ("header", name),
            Gather::Variable(name) => ("variable", name),
            // Lua's names of fetches have no dots.
            Gather::Fetch(name) => ("fetch", name.replace('.', "_")),
        };
        let entry = lua.create_table()?;
        entry.set("kind", kind)?;
        entry.set("name", name)?;
        gathered.push(entry)?;
    }
    let frontends = loaded().map(|loaded| loaded.config.traces.trust_of.iter().map(|(name, _)| name.as_str()));
    let table = lua.create_table()?;
    table.set("frontends", lua.create_sequence_from(frontends.into_iter().flatten())?)?;
    table.set("arrival", plan.arrival)?;
    table.set("gathered", gathered)?;
    table.set("traceparent", !plan.headers.without_tracecontext)?;
    table.set("changes_requests", plan.headers.changes_requests())?;
    table.set("response", plan.headers.response_name())?;
    table.set("variables", plan.headers.variables)?;
    Ok(table)
}

/// Files of certificates and the like, so that `haproxy -c` refuses what a start would. Touches no network.
fn check_export(loaded: &Loaded) -> Result<(), SetupError> {
    let config = &loaded.config;
    let otlp = |exporters: &[ExporterKind]| exporters.contains(&ExporterKind::Otlp);
    let traces = config.traces.enabled;
    let measured = traces || !config.health.backends.is_empty();
    let signals = [
        (Signal::Traces, traces && otlp(&config.export.exporters)),
        (Signal::Metrics, measured && config.metrics.enabled && otlp(&config.metrics.exporters)),
        (Signal::Logs, traces && config.logs.enabled && otlp(&config.logs.exporters)),
    ];
    let mut used = signals.into_iter().filter(|(_, used)| *used);
    used.try_for_each(|(signal, _)| Sender::check(&config.export, signal))
}

static LOADED: OnceCell<Loaded> = OnceCell::new();
