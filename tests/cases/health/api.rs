//! What scripts and rules may ask of the checker.

use std::time::{Duration, Instant};

use haproxy_vitals_tests::client::{self, Load, Until};
use haproxy_vitals_tests::grpc_backend::{Answer, GrpcBackend};
use haproxy_vitals_tests::haproxy::Builder;
use haproxy_vitals_tests::{Haproxy, Port, SOON, poll};

use super::{CONFIG, SETTINGS, wait_down, wait_told, wait_up};

/// `b` has the server `s`; `front` answers `/check/ADDRESS` and `/status/SERVER` through a script.
fn scripted(backend: &GrpcBackend) -> Builder {
    scripted_with(backend, "")
}

/// The same, with more sections.
pub(super) fn scripted_with(backend: &GrpcBackend, more: &str) -> Builder {
    let rules = "  http-request lua.ask if { path_beg /check/ }
  http-request lua.tell if { path_beg /status/ }
  http-request return status 200 content-type text/plain lf-string \"%[var(txn.said)]\" if { var(txn.said) -m found }
  http-request deny deny_status 503 if { lua.vitals_health(b,s) -m str down }
  http-request deny deny_status 404 if { path /unknown } { lua.vitals_health(b,none) -m str unknown }
  default_backend b
";
    let config =
        CONFIG.replace("  default_backend b\n", rules).replace("SERVERS", &format!("  server s {}", backend.addr()));
    let config = config.replace("vitals.toml\n", "vitals.toml\n  ${load} ${dir}/script.lua\n");
    Haproxy::config(&format!("{config}{more}"))
        .module()
        .set("load", "lua-load-per-thread")
        .file("vitals.toml", SETTINGS)
        .file("script.lua", SCRIPT)
        .allow_alert("has no server available")
}

fn said(haproxy: &Haproxy, path: &str) -> String {
    client::get(haproxy.addr("http"), path, &[]).text()
}

#[test]
fn action_waits_for_a_check_of_any_target() {
    let (backend, other, dead) = (GrpcBackend::start(), GrpcBackend::start(), Port::reserve());
    let haproxy = scripted(&backend).start();
    let path = format!("/check/{}", other.addr());
    assert_eq!(said(&haproxy, &path), "true up ok SERVING");
    other.set_not_serving("");
    poll::until(SOON, "a result is given out for a second", || {
        said(&haproxy, &path) == "false down not_serving NOT_SERVING"
    });
    assert!(said(&haproxy, &format!("/check/{}", dead.addr())).starts_with("false down connect "));
    assert!(said(&haproxy, "/check/nonsense").starts_with("nil `address`: expected `host:port`"));
    haproxy.finish();
}

#[test]
fn check_that_is_not_answered_ends_at_its_bound_and_others_are_served_meanwhile() {
    let (backend, silent) = (GrpcBackend::start(), GrpcBackend::start());
    let haproxy = scripted(&backend).start();
    wait_up(&haproxy, "s", SOON);
    silent.answer(Answer::Hang);
    let load = Load::new(2, Until::Stopped, "/").spawn(haproxy.addr("http"));
    let begin = Instant::now();
    assert_eq!(said(&haproxy, &format!("/check/{}?300", silent.addr())), "false down timeout no answer in time");
    let took = begin.elapsed();
    assert!(took >= Duration::from_millis(300) && took < Duration::from_millis(1500), "{took:?}");
    let report = load.stop();
    // Two connections that wait for nobody do far more.
    assert!(report.failed == 0 && report.ok > 20, "{report:?}");
    haproxy.finish();
}

#[test]
fn more_checks_than_there_is_room_for_are_refused_softly() {
    let (backend, silent) = (GrpcBackend::start(), GrpcBackend::start());
    let haproxy = scripted(&backend).start();
    silent.answer(Answer::Hang);
    let path = format!("/check/{}?1500", silent.addr());
    let answers: Vec<String> = std::thread::scope(|scope| {
        let ask = || said(&haproxy, &path);
        let all: Vec<_> = (0..80).map(|_| scope.spawn(ask)).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let refused = answers.iter().filter(|answer| *answer == "nil 64 checks are under way").count();
    assert_eq!(refused, 80 - 64, "{answers:?}");
    haproxy.finish();
}

#[test]
fn status_and_fetch_tell_what_the_checks_say() {
    let backend = GrpcBackend::start();
    let haproxy = scripted(&backend).start();
    wait_told(&haproxy, "s", " up ");
    wait_up(&haproxy, "s", SOON);
    assert_eq!(said(&haproxy, "/status/b/s"), format!("up ok {}", backend.addr()));
    assert_eq!(said(&haproxy, "/status/b/none"), "nil");
    assert_eq!(client::get(haproxy.addr("http"), "/", &[]).status, 200);
    assert_eq!(client::get(haproxy.addr("http"), "/unknown", &[]).status, 404);
    backend.set_not_serving("");
    wait_down(&haproxy, "s", SOON);
    assert_eq!(said(&haproxy, "/status/b/s"), format!("down not_serving {}", backend.addr()));
    let denied = client::get(haproxy.addr("http"), "/", &[]);
    assert_eq!(denied.status, 503);
    assert_eq!(denied.header("x-server"), None);
    haproxy.finish();
}

/// A script that watches `address` on the first thread and logs what it is told.
fn watching(backend: &GrpcBackend, address: &str) -> Builder {
    let watch = format!(
        "require('haproxy_vitals').watch({{ address = '{address}', interval = 0.2, on_change = function(result) \
         core.Info('told ' .. result.state) end }})"
    );
    scripted(backend).file("script.lua", &format!("{SCRIPT}\nif core.thread == 1 then {watch} end\n"))
}

fn told(haproxy: &Haproxy, state: &str, times: usize) {
    let line = format!("told {state}");
    poll::until(SOON, &line, || haproxy.log().matches(&line).count() == times);
}

#[test]
fn task_is_told_each_change_of_a_target_that_it_watches_without_asking_again() {
    let (backend, other) = (GrpcBackend::start(), GrpcBackend::start());
    let haproxy = watching(&backend, &other.addr().to_string()).start();
    told(&haproxy, "up", 1);
    other.set_not_serving("");
    told(&haproxy, "down", 1);
    other.set_serving("");
    told(&haproxy, "up", 2);
    assert_eq!((other.watches(), other.checks()), (1, 0));
    haproxy.finish();
}

#[test]
fn watched_target_that_comes_back_is_told_too() {
    let (backend, other) = (GrpcBackend::start(), GrpcBackend::start());
    other.stop();
    let haproxy = watching(&backend, &other.addr().to_string()).start();
    told(&haproxy, "down", 1);
    other.restart();
    told(&haproxy, "up", 1);
    assert_eq!((other.watches(), other.checks()), (1, 0));
    haproxy.finish();
}

#[test]
fn what_haproxy_lets_a_task_compute_does_not_end_a_watch() {
    let (backend, other) = (GrpcBackend::start(), GrpcBackend::start());
    let watch = format!(
        "require('haproxy_vitals').watch({{ address = '{}', interval = 0.1, on_change = function(result)
           for _ = 1, 300000 do end core.Info('told ' .. result.state .. '.') end }})",
        other.addr()
    );
    let bounds = "  nbthread 2\n  tune.lua.task-timeout 40ms\n  tune.lua.forced-yield 100\n";
    let config = CONFIG.replace("  nbthread 2\n", bounds).replace("SERVERS", &format!("  server s {}", backend.addr()));
    let haproxy = Haproxy::config(&config.replace("vitals.toml\n", "vitals.toml\n  ${load} ${dir}/script.lua\n"))
        .module()
        .set("load", "lua-load")
        .file("vitals.toml", SETTINGS)
        .file("script.lua", &watch)
        .start();
    for change in 1..=50 {
        told(&haproxy, "up.", change);
        other.set_not_serving("");
        told(&haproxy, "down.", change);
        other.set_serving("");
    }
    haproxy.finish();
}

#[test]
fn interval_that_is_no_number_is_refused() {
    let (backend, other) = (GrpcBackend::start(), GrpcBackend::start());
    let watch = "local fine, handle, problem = pcall(require('haproxy_vitals').watch, \
                 { address = '127.0.0.1:1', interval = 0/0, on_change = function() end })
                 core.Info('refused: ' .. tostring(fine) .. ' ' .. tostring(handle) .. ' ' .. tostring(problem))";
    let haproxy =
        watching(&backend, &other.addr().to_string()).file("script.lua", &format!("{SCRIPT}\n{watch}")).start();
    haproxy.wait_log("refused: true nil `interval`: expected seconds, 0.1 to 3600", SOON);
    haproxy.finish();
}

#[test]
fn without_health_checks_scripts_get_a_reason() {
    let backend = GrpcBackend::start();
    let (traces, _) = SETTINGS.split_once("[[").unwrap();
    let haproxy = scripted(&backend).file("vitals.toml", traces).start();
    assert_eq!(said(&haproxy, &format!("/check/{}", backend.addr())), "nil health checks are off");
    assert_eq!(said(&haproxy, "/status/b/s"), "nil");
    assert_eq!(client::get(haproxy.addr("http"), "/unknown", &[]).status, 404);
    haproxy.finish();
}

#[test]
fn soft_stop_does_not_wait_for_checks_of_scripts() {
    let (backend, silent) = (GrpcBackend::start(), GrpcBackend::start());
    silent.answer(Answer::Hang);
    let spec = format!("address = '{}', timeout = 30", silent.addr());
    let wait = format!(
        "core.register_task(function() require('haproxy_vitals').check({{ {spec} }}) end)
         require('haproxy_vitals').watch({{ {spec}, on_change = function() end }})"
    );
    let haproxy =
        scripted(&backend).file("script.lua", &format!("{SCRIPT}\nif core.thread == 1 then {wait} end\n")).start();
    poll::until(SOON, "a check and a watch under way", || (silent.checks(), silent.watches()) == (1, 1));
    let begin = Instant::now();
    haproxy.soft_stop();
    assert_eq!(haproxy.wait_exit(SOON).code(), Some(0));
    assert!(begin.elapsed() < Duration::from_secs(2), "left after {:?}", begin.elapsed());
    haproxy.finish();
}

/// `/check/ADDRESS?MILLISECONDS`, `/status/SERVER`.
const SCRIPT: &str = r#"
local vitals = require("haproxy_vitals")
core.register_action("ask", { "http-req" }, function(txn)
    local bound = tonumber(txn.f:query() or "")
    local result, problem = vitals.check({
        address = txn.f:path():sub(#"/check/" + 1),
        service = "",
        timeout = bound and bound / 1000,
    })
    local said = "nil " .. tostring(problem)
    if result then
        said = table.concat({ tostring(result.ok), result.state, result.class, result.text }, " ")
    end
    txn:set_var("txn.said", said)
end)
core.register_action("tell", { "http-req" }, function(txn)
    local status = vitals.status(txn.f:path():sub(#"/status/" + 1))
    txn:set_var("txn.said", status and table.concat({ status.state, status.class, status.address }, " ") or "nil")
end)
"#;
