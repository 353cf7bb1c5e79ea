//! Health checks: what HAProxy does with its servers when gRPC backends answer, or do not.

mod agent;
mod agent_replies;
mod api;
mod bridge;
mod bridge_ways;
mod checks;
mod commands;
mod discovery;
mod documented;
mod drain;
mod dynamic;
mod events;
mod facts;
mod faults;
mod foreign;
mod foreign_faults;
mod foreign_tls;
mod hostile;
mod init;
mod life;
mod lines;
mod listeners;
mod log;
mod many;
mod metrics;
mod native;
mod operator;
mod panic;
mod reload;
mod resolve;
mod services;
mod show;
mod skipped;
mod spans;
mod states;
mod stats_socket;
mod tls;
mod traffic;
mod watch;
mod weights;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use haproxy_vitals_tests::client::{self, Response};
use haproxy_vitals_tests::haproxy::Builder;
use haproxy_vitals_tests::{GrpcBackend, Haproxy, SOON, poll};

/// Start to start between two checks in [`SETTINGS`].
const INTERVAL: Duration = Duration::from_millis(300);
/// `SWEEP_TICKS` of `lua/health.lua`: how soon what no event tells is noticed.
const SWEEP: Duration = Duration::from_secs(1);
/// What a busy machine may add to any bound.
const SLACK: Duration = Duration::from_millis(500);

/// One backend, `b`, whose servers are put in by [`proxy`].
const CONFIG: &str = "
global
  nbthread 2
.if version_atleast(3.1)
  tune.lua.bool-sample-conversion normal
.endif
  log ${log} local0
  lua-prepend-path ${module}/?.so cpath
  ${load} ${lua}/otel.lua config=${dir}/vitals.toml
defaults
  mode http
  log global
  timeout connect 500ms
  timeout client 15s
  timeout server 15s
  retries 0
frontend front
  bind 127.0.0.1:${port:http}
  default_backend b
backend b
  balance roundrobin
  http-response set-header x-server %s
SERVERS
";

const SETTINGS: &str = r#"
[traces]
enabled = false
[[health.backend]]
name = "b"
interval = "300ms"
fast_interval = "300ms"
down_interval = "300ms"
connect_timeout = "150ms"
rpc_timeout = "150ms"
"#;

/// A proxy whose backend `b` has these servers, by name and address with options.
fn proxy(servers: &[(&str, &str)]) -> Builder {
    let lines: Vec<String> = servers.iter().map(|(name, line)| format!("  server {name} {line}")).collect();
    Haproxy::config(&CONFIG.replace("SERVERS", &lines.join("\n")))
        .module()
        .set("load", "lua-load")
        .file("vitals.toml", SETTINGS)
        // A backend without servers is an alert of HAProxy's, and what many of these cases bring about.
        .allow_alert("has no server available")
}

/// [`proxy`] with one server, `s`.
fn proxy_of(backend: &GrpcBackend) -> Builder {
    proxy(&[("s", &backend.addr().to_string())])
}

/// What HAProxy shows as the status of each server of `b`.
fn statuses(haproxy: &Haproxy) -> BTreeMap<String, String> {
    let csv = haproxy.cli("show stat b 4 -1");
    let mut lines = csv.lines();
    let names: Vec<&str> = lines.next().unwrap().trim_start_matches("# ").split(',').collect();
    let column = |name| names.iter().position(|other| *other == name).unwrap();
    let (server, status) = (column("svname"), column("status"));
    let rows = lines.map(|line| line.split(',').collect::<Vec<_>>());
    rows.filter(|row| row.len() > status).map(|row| (row[server].to_owned(), row[status].to_owned())).collect()
}

#[track_caller]
fn status(haproxy: &Haproxy, server: &str) -> String {
    let all = statuses(haproxy);
    all.get(server).unwrap_or_else(|| panic!("no server `{server}` in {all:?}")).clone()
}

/// HAProxy calls a server that is up and has no `check` so.
fn is_up(status: &str) -> bool {
    status == "no check" || status == "UP"
}

/// Waits for a server to get requests; returns how long it took.
#[track_caller]
fn wait_up(haproxy: &Haproxy, server: &str, within: Duration) -> Duration {
    let begin = Instant::now();
    poll::until(within, &format!("{server} is up"), || is_up(&status(haproxy, server)));
    begin.elapsed()
}

/// Waits for a server to be forced down; returns how long it took.
#[track_caller]
fn wait_down(haproxy: &Haproxy, server: &str, within: Duration) -> Duration {
    let begin = Instant::now();
    poll::until(within, &format!("{server} is down"), || status(haproxy, server) == "DOWN");
    begin.elapsed()
}

/// The line about one server of `b` in `show vitals health`; empty when there is none.
fn told(haproxy: &Haproxy, server: &str) -> String {
    let begin = format!("b/{server} ");
    let text = haproxy.cli("show vitals health");
    text.lines().find(|line| line.starts_with(&begin)).unwrap_or_default().to_owned()
}

/// Waits for words in the line about one server.
#[track_caller]
fn wait_told(haproxy: &Haproxy, server: &str, words: &str) -> String {
    let found = poll::try_until(SOON, || Some(told(haproxy, server)).filter(|line| line.contains(words)));
    found.unwrap_or_else(|| panic!("`{words}` is not told about {server}:\n{}", haproxy.cli("show vitals health")))
}

fn get(haproxy: &Haproxy) -> Response {
    client::get(haproxy.addr("http"), "/", &[])
}

/// Which server answers the next request.
#[track_caller]
fn served_by(haproxy: &Haproxy) -> String {
    let response = get(haproxy);
    response.header("x-server").unwrap_or_else(|| panic!("no server answered: {}", response.status)).to_owned()
}

/// The mean time between so many Checks that come from now on.
#[track_caller]
fn gap_of(backend: &GrpcBackend, checks: usize) -> Duration {
    let before = backend.checks();
    backend.wait_checks(checks + 1, SOON);
    let asked = backend.asked();
    let (first, last) = (&asked[before], &asked[before + checks]);
    last.at.duration_since(first.at) / u32::try_from(checks).unwrap()
}

/// Fails unless exactly one checker asks, at the configured pace.
#[track_caller]
fn assert_one_checker(backend: &GrpcBackend) {
    let gap = gap_of(backend, 8);
    // Two would halve it; the jitter is at most a tenth.
    assert!(gap > INTERVAL.mul_f64(0.85), "more than one checker: a check every {gap:?}");
    assert!(gap < INTERVAL.mul_f64(1.5), "a check every {gap:?}");
}
