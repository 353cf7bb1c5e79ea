//! The ways in which HAProxy's own checks can ask the bridge, or the agent.

use std::net::TcpListener;

use haproxy_vitals_tests::haproxy::Builder;
use haproxy_vitals_tests::{GrpcBackend, Haproxy, Mode, SOON, poll};

use super::{CONFIG, SETTINGS, SWEEP, status};

/// How the checks ask, in `backend b`.
const GET: &str = r#"
  option httpchk
  http-check send meth GET uri-lf "/%[be_name]/%[srv_name]"
"#;
/// The method and the version that `option httpchk` has by itself.
const OPTIONS: &str = r#"
  option httpchk
  http-check send uri-lf "/%[be_name]/%[srv_name]"
"#;
/// For a backend whose checks all go to the bridge: dynamic servers need nothing more than `check`.
const CONNECT_UNIX: &str = r#"
  option httpchk
  http-check connect addr unix@${dir}/bridge.sock
  http-check send meth GET uri-lf "/%[be_name]/%[srv_name]"
"#;
/// The agent speaks in lines, which a TCP check can read.
const TCP_CHECK: &str = r#"
  option tcp-check
  tcp-check connect addr 127.0.0.1 port ${port:bridge}
  tcp-check send-lf "%[be_name]/%[srv_name]\n"
  tcp-check expect rstring ^up
"#;

const TCP: &str = "[bridge]\nlisten = \"127.0.0.1:${port:bridge}\"\n";
const UNIX: &str = "[bridge]\nlisten = \"unix@${dir}/bridge.sock\"\n";
const AGENT: &str = "[agent]\nlisten = \"127.0.0.1:${port:bridge}\"\n";
const AT_TCP: &str = "addr 127.0.0.1 port ${port:bridge}";
const AT_UNIX: &str = "addr unix@${dir}/bridge.sock port 1";
const PACE: &str = "inter 100ms rise 1 fall 1";

/// Backend `b` with these lines; `more` are settings about it.
fn asking(listen: &str, lines: &str, more: &str) -> Builder {
    let way = if listen == AGENT { "agent" } else { "bridge" };
    Haproxy::config(&CONFIG.replace("SERVERS", lines))
        .module()
        .set("load", "lua-load")
        .file("vitals.toml", &format!("{listen}{SETTINGS}way = \"{way}\"\n{more}"))
        .allow_alert("has no server available")
}

/// The same with one server, `s`.
fn one(listen: &str, ask: &str, backend: &GrpcBackend, options: &str) -> Builder {
    asking(listen, &format!("{ask}  server s {} check {PACE} {options}\n", backend.addr()), "")
}

#[track_caller]
fn wait(haproxy: &Haproxy, server: &str, expected: &str) {
    let found = poll::try_until(SOON, || (status(haproxy, server) == expected).then_some(()));
    found.unwrap_or_else(|| panic!("{} and not {expected}\n{}", status(haproxy, server), haproxy.log()));
}

#[test]
fn every_way_to_ask_follows_what_grpc_says() {
    for (listen, ask, options) in [
        (TCP, GET, AT_TCP),
        (UNIX, GET, AT_UNIX),
        (TCP, OPTIONS, AT_TCP),
        (UNIX, CONNECT_UNIX, ""),
        (AGENT, TCP_CHECK, ""),
    ] {
        let backend = GrpcBackend::start();
        let haproxy = one(listen, ask, &backend, &format!("{options} init-state fully-down")).start();
        wait(&haproxy, "s", "UP");
        backend.set_not_serving("");
        wait(&haproxy, "s", "DOWN");
        poll::always(SWEEP / 2, &format!("it stays down: {ask}"), || status(&haproxy, "s") == "DOWN");
        backend.set_serving("");
        wait(&haproxy, "s", "UP");
        haproxy.finish();
    }
}

#[test]
fn tracking_server_follows_one_that_asks_the_bridge() {
    let backend = GrpcBackend::start();
    let at = backend.addr();
    let lines = format!("{GET}  server s {at} check {PACE} {AT_TCP}\n  server t {at} track b/s\n");
    let haproxy = asking(TCP, &lines, "").start();
    wait(&haproxy, "t", "UP");
    backend.set_not_serving("");
    wait(&haproxy, "s", "DOWN");
    poll::until(SOON, "the tracker follows", || status(&haproxy, "t").starts_with("DOWN"));
    backend.set_serving("");
    wait(&haproxy, "t", "UP");
    haproxy.finish();
}

#[test]
fn draining_takes_new_clients_from_a_server_that_is_up_and_raises_none_that_is_down() {
    let backend = GrpcBackend::start();
    let lines = format!("{GET}  http-check disable-on-404\n  server s {} check {PACE} {AT_TCP}\n", backend.addr());
    let haproxy = asking(TCP, &lines, "not_serving = \"drain\"\n").start();
    wait(&haproxy, "s", "UP");
    backend.set_not_serving("");
    wait(&haproxy, "s", "NOLB");
    haproxy.cli("set server b/s health down");
    wait(&haproxy, "s", "DOWN");
    poll::always(SWEEP, "404 raises nobody", || status(&haproxy, "s") == "DOWN");
    // Nor does maintenance.
    haproxy.cli("set server b/s state maint");
    haproxy.cli("set server b/s state ready");
    poll::until(SOON, "maintenance is over", || !status(&haproxy, "s").starts_with("MAINT"));
    backend.set_serving("");
    wait(&haproxy, "s", "UP");
    haproxy.finish();
}

#[test]
fn server_that_was_down_is_down_after_maintenance() {
    let backend = GrpcBackend::start();
    backend.set_not_serving("");
    let haproxy = one(UNIX, GET, &backend, &format!("{AT_UNIX} init-state fully-down")).start();
    wait(&haproxy, "s", "DOWN");
    haproxy.cli("set server b/s state maint");
    wait(&haproxy, "s", "MAINT");
    haproxy.cli("set server b/s state ready");
    poll::until(SOON, "maintenance is over", || !status(&haproxy, "s").starts_with("MAINT"));
    poll::always(SWEEP, "it gets no requests", || status(&haproxy, "s").starts_with("DOWN"));
    haproxy.finish();
}

#[test]
fn disable_on_404_is_needed_in_both_backends_of_a_track() {
    let text = |second: &str| {
        format!(
            "defaults\n  mode http\n  timeout connect 1s\n  timeout client 1s\n  timeout server 1s\n\
             backend a\n  option httpchk\n  http-check disable-on-404\n  server s 127.0.0.1:1 check\n\
             backend c\n  option httpchk\n{second}  server t 127.0.0.1:1 track a/s\n"
        )
    };
    let refused = Haproxy::check(&text(""));
    assert!(!refused.ok && refused.output.contains("disable-on-404"), "{}", refused.output);
    let taken = Haproxy::check(&text("  http-check disable-on-404\n"));
    assert!(taken.ok, "{}", taken.output);
}

/// `add server` takes nothing from `default-server`: what is not in the backend's own lines stands on the command.
#[test]
fn dynamic_server_asks_as_its_backend_does() {
    for (ask, options) in [(GET, AT_UNIX), (CONNECT_UNIX, "")] {
        let (backend, dynamic) = (GrpcBackend::start(), GrpcBackend::start());
        dynamic.set_not_serving("");
        let haproxy = one(UNIX, ask, &backend, options).start();
        wait(&haproxy, "s", "UP");
        let dir = haproxy.dir().display().to_string();
        let options = options.replace("${dir}", &dir);
        let said = haproxy.cli(&format!("add server b/d {} check {PACE} {options}", dynamic.addr()));
        assert!(said.contains("New server registered"), "{said}");
        haproxy.cli("enable health b/d; enable server b/d");
        wait(&haproxy, "d", "DOWN");
        dynamic.set_serving("");
        wait(&haproxy, "d", "UP");
        haproxy.finish();
    }
}

/// With HAProxy's own `init-state`, up, and `fall 1`: one answer that is lost or that says "not yet" would be seen.
#[test]
fn reload_with_the_port_handed_over_takes_no_server_down() {
    let backend = GrpcBackend::start();
    let haproxy = one(TCP, GET, &backend, AT_TCP).mode(Mode::MasterWorker).start();
    wait(&haproxy, "s", "UP");
    for _ in 0..5 {
        haproxy.reload();
        haproxy.wait_one_worker(SOON);
        poll::always(SWEEP / 4, "it stays up", || status(&haproxy, "s") == "UP");
    }
    assert!(!haproxy.log_contains("b/s is DOWN"), "{}", haproxy.log());
    backend.set_not_serving("");
    wait(&haproxy, "s", "DOWN");
    haproxy.finish();
}

/// The new worker takes the path before it learns that it cannot start.
#[test]
fn reload_that_fails_leaves_the_bridge_to_the_old_worker() {
    let (backend, taken) = (GrpcBackend::start(), TcpListener::bind("127.0.0.1:0").unwrap());
    for (listen, at) in [(UNIX, AT_UNIX), (TCP, AT_TCP)] {
        let lines = format!("{GET}  server s {} check inter 1s rise 1 fall 2 {at}\n", backend.addr());
        let haproxy = asking(listen, &lines, "").mode(Mode::MasterWorker).allow_alert("start their listeners");
        let haproxy = haproxy.allow_alert("cannot bind socket").start();
        wait(&haproxy, "s", "UP");
        let second = format!("  bind {}\n  default_backend b\n", taken.local_addr().unwrap());
        let config = CONFIG.replace("SERVERS", &lines).replace("  default_backend b\n", &second);
        haproxy.write("haproxy.cfg", &config);
        let refused = haproxy.try_reload().unwrap_err();
        assert!(refused.contains("Some protocols failed to start"), "{refused}");
        poll::always(2 * SWEEP + SWEEP / 2, "it stays up", || status(&haproxy, "s").starts_with("UP"));
        backend.set_not_serving("");
        wait(&haproxy, "s", "DOWN");
        backend.set_serving("");
        haproxy.kill();
        haproxy.finish();
    }
}
