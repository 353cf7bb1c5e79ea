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

use haproxy_vitals_tests::haproxy::{Builder, Haproxy};
use haproxy_vitals_tests::vitals::Door;
use haproxy_vitals_tests::{OtlpReceiver, Upstream};

/// How `otel.lua` is loaded.
const PER_THREAD: &str = "lua-load-per-thread ${lua}/otel.lua";

/// A traced proxy in front of one origin; `GLOBAL` and `RULES` are filled in by [`config`].
const TRACED: &str = "
global
.if feature(OPENSSL)
  httpclient.ssl.verify none
.endif
.if version_atleast(3.1)
  tune.lua.bool-sample-conversion normal
.endif
  log ${log} local0
  lua-prepend-path ${module}/?.so cpath
  GLOBAL
defaults
  mode http
  timeout connect 2s
  timeout client 10s
  timeout server 10s
frontend front
  bind 127.0.0.1:${port:http}
RULES  default_backend back
backend back
  server one ${upstream}
";

/// The text of a traced proxy's configuration; `global` are further lines of its global section, one of which loads the
/// module.
fn config(door: Door, global: &[&str]) -> String {
    let engine = if door.is_lua() { "setenv HAPROXY_VITALS_TRACES_ENGINE lua\n  " } else { "" };
    TRACED.replace("GLOBAL", &(engine.to_owned() + &global.join("\n  "))).replace("RULES", door.rules())
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
