//! Ready configurations with the module in them, and what cases about tracing share.
//!
//! Each has a frontend `front` on `${port:http}` and a backend `back` with one server, `${upstream}`.

use std::collections::BTreeMap;

use crate::haproxy::{Builder, Haproxy};
use crate::otlp::{OtlpReceiver, SpanKind, SpanView};
use crate::poll::{self, SOON};
use crate::upstream::Upstream;

/// How requests come to the tracer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Not at all: the proxy without the module.
    None,
    /// Native hooks, and no line in the frontend.
    ZeroLines,
    /// `filter lua.otel`, native.
    Filter,
    /// `lua.otel_start` and `lua.otel_end`, native.
    Actions,
    /// `filter lua.otel`, by Lua's hooks.
    LuaFilter,
    /// `lua.otel_start` and `lua.otel_end`, by Lua's hooks.
    LuaActions,
}

impl Door {
    /// Those that trace.
    pub const ALL: Doors = Doors(&[Self::ZeroLines, Self::Filter, Self::Actions, Self::LuaFilter, Self::LuaActions]);

    /// One of each engine, for what does not depend on where in a request's life it is looked at.
    pub const ENGINES: Doors = Doors(&[Self::ZeroLines, Self::LuaActions]);

    /// By Lua's hooks.
    pub fn is_lua(self) -> bool {
        matches!(self, Self::LuaFilter | Self::LuaActions)
    }

    /// What stands in the frontend.
    pub fn rules(self) -> &'static str {
        match self {
            Self::None | Self::ZeroLines => "",
            Self::Filter | Self::LuaFilter => FILTER,
            Self::Actions | Self::LuaActions => RULES,
        }
    }

    /// Lines of the global section.
    pub fn load(self) -> String {
        match self {
            Self::None => String::new(),
            Self::ZeroLines | Self::Filter | Self::Actions => LOAD.to_owned(),
            Self::LuaFilter | Self::LuaActions => LOAD.trim_end().to_owned() + " traces.engine=lua\n",
        }
    }
}

/// Doors to go through one after the other, without those of an engine that is left out: `VITALS_ENGINES=native` leaves out Lua's.
#[derive(Clone, Copy, Debug)]
pub struct Doors(pub &'static [Door]);

impl Doors {
    /// Something for each.
    pub fn map<T>(self, each: impl FnMut(Door) -> T) -> Vec<T> {
        self.into_iter().map(each).collect()
    }
}

impl IntoIterator for Doors {
    type Item = Door;
    type IntoIter = std::iter::Filter<std::iter::Copied<std::slice::Iter<'static, Door>>, fn(&Door) -> bool>;

    fn into_iter(self) -> Self::IntoIter {
        let is_wanted: fn(&Door) -> bool = if with_lua() { |_| true } else { |door| !door.is_lua() };
        self.0.iter().copied().filter(is_wanted)
    }
}

#[expect(clippy::disallowed_methods, reason = "the harness has no settings tree of its own")]
fn with_lua() -> bool {
    match std::env::var("VITALS_ENGINES").as_deref() {
        Err(_) => true,
        Ok("native") => false,
        Ok(other) => panic!("VITALS_ENGINES={other}: `native` is all that it may say"),
    }
}

/// A proxy through a door: `frontend` are more lines of the frontend, `rest` more sections.
pub fn config(door: Door, frontend: &str, rest: &str) -> Builder {
    let (global, rules) = (door.load(), door.rules());
    let builder = Haproxy::config(&format!(
        "global\n  nbthread 2\n{global}{DEFAULTS}frontend front\n{FRONT}{rules}{frontend}{BACK}{rest}"
    ));
    if door == Door::None { builder } else { builder.module().settings("") }
}

/// A whole text with [`LOAD`] in it.
pub fn whole(text: &str) -> Builder {
    Haproxy::config(text).module().settings("")
}

/// The loader's line alone.
pub fn zero_lines(frontend: &str, rest: &str) -> Builder {
    config(Door::ZeroLines, frontend, rest)
}

/// A configuration that is written for others, with the module and its loader where they are here.
pub fn at_home(text: &str) -> String {
    text.replace("    lua-load-per-thread", "    lua-prepend-path ${module}/?.so cpath\n    lua-load-per-thread")
        .replace("/usr/local/share/haproxy-vitals/otel.lua", "${lua}/otel.lua")
}

/// The actions, in a frontend.
pub fn actions(frontend: &str, rest: &str) -> Builder {
    config(Door::Actions, frontend, rest)
}

/// The filter, in a frontend.
pub fn filter(frontend: &str, rest: &str) -> Builder {
    config(Door::Filter, frontend, rest)
}

impl Builder {
    /// Puts an origin behind `${upstream}`.
    pub fn upstream(self, upstream: &Upstream) -> Self {
        self.set("upstream", upstream.addr())
    }

    /// What stands in the settings file; of several the last one.
    pub fn settings(self, toml: &str) -> Self {
        self.file("vitals.toml", toml)
    }

    /// Exports every 100 ms with `http/protobuf`.
    pub fn export_http(self, receiver: &OtlpReceiver) -> Self {
        self.export("http/protobuf", &receiver.http_endpoint())
    }

    /// Exports every 100 ms with `http/json`.
    pub fn export_json(self, receiver: &OtlpReceiver) -> Self {
        self.export("http/json", &receiver.http_endpoint())
    }

    /// Exports every 100 ms with `grpc`.
    pub fn export_grpc(self, receiver: &OtlpReceiver) -> Self {
        self.export("grpc", &receiver.grpc_endpoint())
    }

    fn export(self, protocol: &str, endpoint: &str) -> Self {
        self.env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
            .env("OTEL_BSP_SCHEDULE_DELAY", 100)
    }
}

/// What `show vitals traces` says, by name.
#[track_caller]
pub fn counters(haproxy: &Haproxy) -> BTreeMap<String, u64> {
    let answer = haproxy.cli("show vitals traces");
    let pairs = answer.lines().filter_map(|line| line.split_once(char::is_whitespace));
    pairs.filter_map(|(name, value)| Some((name.to_owned(), value.trim().parse().ok()?))).collect()
}

/// Waits until so many requests have ended and every span of theirs has arrived; panics when anything was dropped.
#[track_caller]
pub fn wait_exported(haproxy: &Haproxy, receiver: &OtlpReceiver, requests: u64) -> BTreeMap<String, u64> {
    let done = |c: &BTreeMap<String, u64>| {
        let idle = c["requests.ended"] >= requests && c["spans.exported"] == c["spans.created"];
        idle && receiver.server_spans().len() as u64 >= requests
    };
    let settled = poll::try_until(SOON, || Some(counters(haproxy)).filter(done));
    let counters = settled.unwrap_or_else(|| panic!("not {requests} exported: {:#?}", counters(haproxy)));
    assert_nothing_lost(&counters);
    counters
}

/// Panics when anything was dropped, or was a fault of the module's.
#[track_caller]
pub fn assert_nothing_lost(counters: &BTreeMap<String, u64>) {
    let lost = counters.iter().filter(|(name, value)| name.contains("dropped") && **value > 0);
    assert_eq!(lost.count(), 0, "{counters:#?}");
    assert_eq!((counters["faults"], counters["tasks.panicked"]), (0, 0), "{counters:#?}");
}

/// The `n`th trace id.
pub fn trace_id(n: u64) -> String {
    format!("{:032x}", 0x1000 + n)
}

/// The span id of the caller in the `n`th trace.
pub const CALLER: &str = "00f067aa0ba902b7";

/// A sampled `traceparent` of the `n`th trace.
pub fn traceparent(n: u64) -> String {
    format!("00-{}-{CALLER}-01", trace_id(n))
}

/// Waits for the SERVER span of a trace, and for it to stay alone.
#[track_caller]
pub fn server_span(receiver: &OtlpReceiver, trace_id: &str) -> SpanView {
    let is_ours = |span: &&SpanView| span.trace_id == trace_id && span.kind == SpanKind::Server;
    let spans = receiver.wait_for(SOON, |spans| spans.iter().any(|span| is_ours(&span)));
    let found: Vec<&SpanView> = spans.iter().filter(is_ours).collect();
    assert_eq!(found.len(), 1, "SERVER spans of one request: {found:#?}");
    found[0].clone()
}

/// Lines of the global section that load the module.
pub const LOAD: &str = ".if version_atleast(3.1)
  tune.lua.bool-sample-conversion normal
.endif
  lua-prepend-path ${module}/?.so cpath
  lua-load-per-thread ${lua}/otel.lua config=${dir}/vitals.toml
";

const DEFAULTS: &str = "
defaults
  mode http
  timeout connect 100ms
  timeout client 5s
  timeout server 300ms
  timeout tunnel 5s
  retries 2
";

const FRONT: &str = "  bind 127.0.0.1:${port:http}
  timeout client 5s
  default_backend back
";

const FILTER: &str = "  filter lua.otel\n";

const RULES: &str = "  http-request lua.otel_start
  http-after-response lua.otel_end
";

const BACK: &str = "
backend back
  server one ${upstream}
";
