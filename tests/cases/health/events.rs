//! What HAProxy and its servers tell is acted on at once: no sweep is waited for.

use std::time::{Duration, Instant};

use haproxy_vitals_tests::client::Session;
use haproxy_vitals_tests::grpc_backend::GrpcBackend;
use haproxy_vitals_tests::haproxy::Builder;
use haproxy_vitals_tests::{Haproxy, SOON, poll};

use super::{CONFIG, INTERVAL, SETTINGS, SLACK, SWEEP, proxy_of, status, told, wait_down, wait_told, wait_up};

/// Half of the rounds must be faster: a sweep would take [`SWEEP`] / 2 in the middle.
const AT_ONCE: Duration = Duration::from_millis(100);
const ROUNDS: usize = 7;

/// A frontend that says by its status whether HAProxy would send a request to `b`.
fn routed(backend: &GrpcBackend) -> Builder {
    let rule = "  http-request return status 200 if { nbsrv(b) gt 0 }\n  http-request return status 503\n  default_backend b\n";
    let config = CONFIG.replace("  default_backend b\n", rule);
    let settings = SETTINGS.replace("\"300ms\"", "\"1h\"").replace("\"150ms\"", "\"2s\"");
    Haproxy::config(&config.replace("SERVERS", &format!("  server s {}", backend.addr())))
        .module()
        .set("load", "lua-load")
        .file("vitals.toml", &format!("{settings}mode = \"watch\"\nwatch_recheck = \"1h\"\n"))
        .allow_alert("has no server available")
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// From each of so many changes of the backend to HAProxy's routing, sorted; before each `gap` passes.
fn routing_times(changes: usize, gap: Duration) -> Vec<Duration> {
    let backend = GrpcBackend::start();
    let haproxy = routed(&backend).start();
    wait_told(&haproxy, "s", " up,watched ");
    // HAProxy hears it a moment later.
    wait_up(&haproxy, "s", SOON);
    let mut session = Session::connect(haproxy.addr("http"));
    let mut route = move || session.get("/", &[]).unwrap().status;
    let mut times = Vec::new();
    for change in 0..changes {
        let (before, after) = if change % 2 == 0 { (200, 503) } else { (503, 200) };
        poll::always(gap, &format!("nothing changes by itself before change {change}"), || route() == before);
        if after == 503 {
            backend.set_not_serving("");
        } else {
            backend.set_serving("");
        }
        let begin = Instant::now();
        while route() != after {
            assert!(begin.elapsed() < SOON, "change {change} does not reach HAProxy");
        }
        times.push(begin.elapsed());
    }
    haproxy.finish();
    times.sort();
    times
}

/// The time that so many percent do not exceed.
fn percentile(times: &[Duration], share: usize) -> Duration {
    times[(times.len() - 1) * share / 100]
}

#[test]
fn watched_change_reaches_routing_within_fifty_milliseconds() {
    let times = routing_times(200, Duration::from_millis(25));
    assert!(percentile(&times, 99) < Duration::from_millis(50), "{times:?}");
}

#[test]
fn watched_changes_in_quick_succession_all_reach_routing() {
    // One message per 10 ms is read from a server, and the rest is the machine's.
    let times = routing_times(200, Duration::ZERO);
    assert!(percentile(&times, 99) < Duration::from_millis(50), "{times:?}");
}

#[test]
fn server_that_leaves_maintenance_is_put_right_at_once() {
    let backend = GrpcBackend::start();
    let haproxy = proxy_of(&backend).start();
    backend.set_not_serving("");
    wait_told(&haproxy, "s", " down ");
    let round = || {
        haproxy.cli("set server b/s state maint");
        assert_eq!(status(&haproxy, "s"), "MAINT");
        haproxy.cli("set server b/s state ready");
        wait_down(&haproxy, "s", SOON)
    };
    let times: Vec<Duration> = (0..ROUNDS).map(|_| round()).collect();
    assert!(median(times.clone()) < AT_ONCE, "{times:?}");
    haproxy.finish();
}

#[test]
fn server_that_is_added_and_enabled_is_put_right_at_once() {
    let (first, second) = (GrpcBackend::start(), GrpcBackend::start());
    second.set_not_serving("");
    let haproxy = proxy_of(&first).start();
    let round = |number| {
        let name = format!("dyn{number}");
        haproxy.cli(&format!("add server b/{name} {}", second.addr()));
        haproxy.cli(&format!("enable server b/{name}"));
        wait_down(&haproxy, &name, SOON)
    };
    let times: Vec<Duration> = (0..ROUNDS).map(round).collect();
    assert!(median(times.clone()) < AT_ONCE, "{times:?}");
    haproxy.finish();
}

#[test]
fn server_that_is_deleted_is_forgotten_at_once() {
    let (first, second) = (GrpcBackend::start(), GrpcBackend::start());
    let haproxy = proxy_of(&first).start();
    let round = || {
        haproxy.cli(&format!("add server b/dyn {}", second.addr()));
        wait_told(&haproxy, "dyn", " up ");
        let deleted = || haproxy.cli("del server b/dyn").contains("Server deleted");
        poll::until(SOON, "the server is deleted", deleted);
        let begin = Instant::now();
        poll::until(SOON, "it is forgotten", || told(&haproxy, "dyn").is_empty());
        begin.elapsed()
    };
    let times: Vec<Duration> = (0..ROUNDS).map(|_| round()).collect();
    assert!(median(times.clone()) < AT_ONCE, "{times:?}");
    haproxy.finish();
}

#[test]
fn server_that_moves_is_checked_there_at_once() {
    let places = [GrpcBackend::start(), GrpcBackend::start()];
    let haproxy = proxy_of(&places[0]).start();
    wait_up(&haproxy, "s", SOON);
    let round = |number: usize| {
        let place = &places[(number + 1) % 2];
        haproxy.cli(&format!("set server b/s addr 127.0.0.1 port {}", place.addr().port()));
        let begin = Instant::now();
        wait_told(&haproxy, "s", &format!("{} up ", place.addr()));
        begin.elapsed()
    };
    // HAProxy tells of an address before it has it everywhere: each round counts, not the median.
    let times: Vec<Duration> = (0..ROUNDS).map(round).collect();
    assert!(times.iter().all(|time| *time < SLACK), "{times:?}");
    haproxy.finish();
}

#[test]
fn what_an_operator_forces_against_the_results_is_put_right_at_once() {
    let backend = GrpcBackend::start();
    let haproxy = proxy_of(&backend).start();
    wait_up(&haproxy, "s", SOON);
    let round = || {
        haproxy.cli("set server b/s health down");
        wait_up(&haproxy, "s", SOON)
    };
    let times: Vec<Duration> = (0..ROUNDS).map(|_| round()).collect();
    assert!(median(times.clone()) < AT_ONCE, "{times:?}");
    haproxy.finish();
}

#[test]
fn events_do_not_undo_what_an_operator_sets() {
    let backend = GrpcBackend::start();
    let haproxy = proxy_of(&backend).start();
    wait_up(&haproxy, "s", SOON);
    haproxy.cli("set server b/s state maint");
    // Events about this very server: it moves there and back. HAProxy applies addresses later than it answers, and takes a
    // way back that comes before that for no change.
    haproxy.cli(&format!("set server b/s addr 127.0.0.2 port {}", backend.addr().port()));
    wait_told(&haproxy, "s", "127.0.0.2:");
    haproxy.cli(&format!("set server b/s addr 127.0.0.1 port {}", backend.addr().port()));
    poll::always(SWEEP + INTERVAL, "maintenance stays", || status(&haproxy, "s") == "MAINT");
    haproxy.cli("set server b/s state ready");
    wait_told(&haproxy, "s", " up ");
    wait_up(&haproxy, "s", SOON);

    haproxy.cli("set server b/s state drain");
    // Events again: down and up by the checks. A server that moves would be down until its first result.
    backend.set_not_serving("");
    wait_down(&haproxy, "s", SOON);
    backend.set_serving("");
    poll::until(SOON, "drain comes back", || status(&haproxy, "s") == "DRAIN");
    poll::always(SWEEP + INTERVAL, "drain stays", || status(&haproxy, "s") == "DRAIN");
    haproxy.finish();
}

#[test]
fn who_forces_again_and_again_keeps_no_thread_busy() {
    let backend = GrpcBackend::start();
    let config = CONFIG.replace("SERVERS", &format!("  server s {}", backend.addr()));
    let config = config.replace("vitals.toml\n", "vitals.toml\n  ${load} ${dir}/rival.lua\n");
    let haproxy = Haproxy::config(&config)
        .module()
        .set("load", "lua-load")
        .file("vitals.toml", SETTINGS)
        .file("rival.lua", RIVAL)
        .allow_alert("has no server available")
        .start();
    wait_told(&haproxy, "s", " up ");
    haproxy.cli("set server b/s health down");
    // HAProxy says it on its output and to syslog: counted there alone.
    let is_force = |line: &&str| line.contains(" haproxy[") && line.contains("b/s is UP, changed from Lua script");
    let ups = || haproxy.log().lines().filter(is_force).count();
    poll::until(SOON, "both have forced", || ups() > 4);
    let before = ups();
    let rounds = 3;
    poll::always(rounds * SWEEP, "eight events and one sweep per second", || {
        ups() - before <= 10 * (rounds as usize + 1)
    });
    haproxy.finish();
}

/// Forces down whatever comes up.
const RIVAL: &str = r#"
core.event_sub({ "SERVER_UP" }, function(_, data)
    data.reference:check_force_down()
end)
"#;
