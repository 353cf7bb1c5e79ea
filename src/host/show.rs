//! What operators read: the log lines that wait, and the `show vitals` commands of the stats socket.

use std::fmt::Write;

use mlua::prelude::*;

use super::{engine, health, process, recent, settings};
use crate::config::{Loaded, LogTarget};
use crate::log;
use crate::stats::{self, Counter, DropReason, EXPORT, ExportStats, SinkDrop, SinkStats, ThreadStats};

/// Puts `take_log`, `usage` and `show` into `native`.
pub(super) fn install(lua: &Lua, native: &LuaTable) -> LuaResult<()> {
    native.set("take_log", lua.create_function(take_log)?)?;
    native.set("usage", lua.create_function(|_, topic: String| Ok(usage(&topic)))?)?;
    native.set(
        "show",
        lua.create_function(|_, (topic, words): (String, Vec<LuaString>)| Ok(show(&topic, &text(&words))))?,
    )
}

/// The words of a command. What is not UTF-8 is nobody's name, and shown as far as it can be.
pub(super) fn text(words: &[LuaString]) -> Vec<String> {
    words.iter().map(LuaString::to_string_lossy).collect()
}

fn take_log(lua: &Lua, (): ()) -> LuaResult<LuaTable> {
    let list = lua.create_table()?;
    // Where they go elsewhere, a thread takes them.
    if settings::loaded().is_some_and(|loaded| loaded.config.log.to != LogTarget::Haproxy) {
        return Ok(list);
    }
    for line in log::take() {
        let entry = lua.create_table()?;
        entry.set("level", line.level.word())?;
        entry.set("text", line.whole())?;
        list.push(entry)?;
    }
    Ok(list)
}

fn usage(topic: &str) -> &'static str {
    match topic {
        "config" => "every setting with its source",
        "health" => "the servers that are checked over gRPC, and what they answered",
        _ => {
            "requests and spans: started, ended, exported, dropped by reason; \
             last [N] [error] [slow MS] [trace ID] : the last requests as trees"
        }
    }
}

/// `words`: those behind the topic.
fn show(topic: &str, words: &[String]) -> String {
    let nothing = || "nothing is configured\n".to_owned();
    match topic {
        "config" => {
            let engine = format!("# engine in use: {}\n", engine::describe());
            let all = |loaded: &Loaded| engine + &loaded.describe() + &overridden(" = ", "  # stats socket");
            settings::loaded().map_or_else(nothing, all)
        }
        "health" if words.is_empty() => health::show(words) + &doors(),
        "health" => health::show(words),
        _ => match words.iter().position(|word| word == "last") {
            Some(at) => recent::show(words.get(at + 1..).unwrap_or_default()),
            None => traces(),
        },
    }
}

/// What an operator has set at run time, if anything.
fn overridden(equals: &str, source: &str) -> String {
    let shares = process::overrides().map(|overrides| overrides.shares()).unwrap_or_default();
    if shares.is_empty() { String::new() } else { format!("sampling.override{equals}{}{source}\n", shares.describe()) }
}

/// The listeners that were asked.
fn doors() -> String {
    let mut out = String::new();
    for (name, door) in [("agent", &stats::AGENT), ("bridge", &stats::BRIDGE)] {
        if door.accepted.value() > 0 {
            let counters = [&door.accepted, &door.shed, &door.answered, &door.refused].map(Counter::value);
            let [accepted, shed, answered, refused] = counters;
            let _ = writeln!(out, "{name}: connections={accepted} shed={shed} answered={answered} refused={refused}");
        }
    }
    out
}

/// Requests, then spans. Requests: `started = ended + in flight`, and of those that ended some
/// may be `discarded`. Spans: `created = exported + dropped + waiting`.
fn traces() -> String {
    let threads = stats::threads();
    let sum = |counter: fn(&ThreadStats) -> &Counter| threads.iter().map(|thread| counter(thread).value()).sum::<u64>();
    let mut out = format!("{:<32} {}\n", "engine", engine::describe());
    let mut line = |name: &str, value: u64| {
        let _ = writeln!(out, "{name:<32} {value}");
    };
    line("requests.started", sum(|thread| &thread.started));
    line("requests.unsampled", sum(|thread| &thread.unsampled));
    line("requests.ended", sum(|thread| &thread.ended));
    line("requests.kept", EXPORT.kept.value());
    line("requests.discarded", EXPORT.discarded.value());
    line("requests.dropped.ring_full", sum(|thread| &thread.ring_full));
    line("requests.dropped.malformed", EXPORT.dropped(DropReason::Malformed));
    line("spans.created", EXPORT.created.value());
    line("spans.exported", EXPORT.exported.value());
    for reason in DropReason::ALL.into_iter().filter(|reason| *reason != DropReason::Malformed) {
        line(&format!("spans.dropped.{}", reason.word()), EXPORT.dropped(reason));
    }
    line("spans.queued", EXPORT.queued.value());
    line("spans.queued_bytes", EXPORT.queued_bytes.value());
    for (name, sink) in SINKS.into_iter().filter(|(_, sink)| sink.offered.value() > 0) {
        line(&format!("{name}.offered"), sink.offered.value());
        line(&format!("{name}.written"), sink.written.value());
        for reason in SinkDrop::ALL {
            line(&format!("{name}.dropped.{}", reason.word()), sink.dropped(reason));
        }
        line(&format!("{name}.queued"), sink.queued.value());
    }
    for (name, export) in OTHER_SIGNALS.into_iter().filter(|(_, export)| export.is_used()) {
        line(&format!("{name}.exported"), export.exported.value());
        for reason in DropReason::ALL.into_iter().filter(|reason| *reason != DropReason::Malformed) {
            line(&format!("{name}.dropped.{}", reason.word()), export.dropped(reason));
        }
        line(&format!("{name}.queued"), export.queued.value());
    }
    line("export.retries", EXPORT.retries.value());
    line("export.circuit_opened", EXPORT.circuit_opened.value());
    line("export.last_success_unix_ms", EXPORT.last_success.value());
    line("attributes.left_out", stats::ATTRIBUTES_LEFT_OUT.value());
    line("faults", stats::FAULTS.value());
    line("tasks.panicked", stats::TASK_PANICS.value());
    line("log.lines_lost", log::lost());
    let _ = writeln!(out, "{:<32} {}", "export.circuit", EXPORT.circuit().word());
    out += &overridden(&" ".repeat(16), "");
    let _ = writeln!(out, "{:<32} {}", "export.last_error", EXPORT.last_error());
    for (name, export) in OTHER_SIGNALS.into_iter().filter(|(_, export)| export.is_used()) {
        let _ = writeln!(out, "{:<32} {}", format!("{name}.last_error"), export.last_error());
    }
    for (name, sink) in SINKS.into_iter().filter(|(_, sink)| sink.offered.value() > 0) {
        let _ = writeln!(out, "{:<32} {}", format!("{name}.last_error"), sink.last_error());
    }
    out
}

/// Data points and log records, shown once some were on their way to a collector.
const OTHER_SIGNALS: [(&str, &ExportStats); 2] = [("metrics", &stats::METRICS_EXPORT), ("logs", &stats::LOGS_EXPORT)];

/// Each with its name in `show vitals traces`, where it is shown once it was used.
const SINKS: [(&str, &SinkStats); 2] = [("console", &stats::CONSOLE), ("file", &stats::FILE)];
