//! The module's life inside HAProxy: how it starts, stops and reloads, what it is told, and collectors that fail.

mod commands;
mod configuration;
mod lifecycle;
mod loader;
mod outage;
mod reload;
mod resource;
mod sinks;
mod stop;
mod unwilling;
mod variables;

use haproxy_vitals_tests::haproxy::{Builder, Haproxy, lua_dir};
use haproxy_vitals_tests::{OtlpReceiver, Upstream};

/// A way to trace a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    Profile,
    Actions,
}

const DOORS: [Door; 2] = [Door::ZeroLines, Door::Actions];

/// How `otel.lua` is loaded.
const PER_THREAD: &str = "lua-load-per-thread ${lua}/otel.lua";

/// A traced proxy in front of one origin; `GLOBAL`, `PROFILE`, `FROM` and `RULES` are filled in by [`config`].
const TRACED: &str = "
global
  httpclient.ssl.verify none
  tune.lua.bool-sample-conversion normal
  log ${log} local0
  lua-prepend-path ${module}/?.so cpath
  GLOBAL
PROFILE
defaults plain
  mode http
  timeout connect 2s
  timeout client 10s
  timeout server 10s
frontend front from FROM
  bind 127.0.0.1:${port:http}
  timeout client 10s
  RULES
  default_backend back
backend back from plain
  server one ${upstream}
";

/// The text of a traced proxy's configuration; `global` are further lines of its global section, one of which loads the
/// module.
fn config(door: Door, global: &[&str]) -> String {
    let profile = || std::fs::read_to_string(lua_dir().join("otel.cfg")).unwrap();
    let (profile, from, rules) = match door {
        Door::ZeroLines => (profile(), "otel", ""),
        Door::Actions => (String::new(), "plain", "http-request lua.otel_start\n  http-after-response lua.otel_end"),
    };
    let text = TRACED.replace("GLOBAL", &global.join("\n  ")).replace("FROM", from).replace("RULES", rules);
    text.replace("PROFILE", &profile)
}

/// A proxy by this configuration. Spans are sent soon; each test names the collector.
fn proxy(config: &str, upstream: &Upstream) -> Builder {
    Haproxy::config(config)
        .module()
        .set("upstream", upstream.addr())
        .env("OTEL_SERVICE_NAME", "edge")
        .env("OTEL_BSP_SCHEDULE_DELAY", 20)
}

/// A traced proxy with two threads, a Lua state each.
fn traced(door: Door, upstream: &Upstream) -> Builder {
    proxy(&config(door, &["nbthread 2", PER_THREAD]), upstream)
}

/// The same, with its spans sent to `receiver` over HTTP.
fn traced_to(door: Door, upstream: &Upstream, receiver: &OtlpReceiver) -> Builder {
    traced(door, upstream).env("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.http_endpoint())
}

/// One number of `show vitals traces`.
#[track_caller]
fn count(haproxy: &Haproxy, name: &str) -> u64 {
    field(haproxy, name).parse().unwrap()
}

/// One line of `show vitals traces`, without its name.
#[track_caller]
fn field(haproxy: &Haproxy, name: &str) -> String {
    let answer = haproxy.cli("show vitals traces");
    let found = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    found.unwrap_or_else(|| panic!("show vitals traces has no `{name}`:\n{answer}")).trim().to_owned()
}

/// Spans dropped for any reason.
fn dropped(haproxy: &Haproxy) -> u64 {
    let answer = haproxy.cli("show vitals traces");
    let reasons = answer.lines().filter(|line| line.starts_with("spans.dropped."));
    reasons.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum()
}
