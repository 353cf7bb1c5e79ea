//! `way = "bridge"`: HAProxy's own checks, over HTTP.

use haproxy_vitals_tests::haproxy::Builder;
use haproxy_vitals_tests::{GrpcBackend, Haproxy, Mode, SOON, poll};

use super::{CONFIG, SETTINGS, SWEEP, get, served_by, status};

/// One server, `s`. `WHERE` is where the bridge listens.
const CHECKS: &str = r#"
  option httpchk
  http-check send meth GET uri-lf "/%[be_name]/%[srv_name]"
  http-check disable-on-404
  default-server inter 100ms rise 1 fall 1
  server s ADDRESS check addr WHERE init-state fully-down
"#;

fn bridged(backend: &GrpcBackend, listen: &str, server: &str, more: &str) -> Builder {
    let checks = CHECKS.replace("ADDRESS", &backend.addr().to_string()).replace("WHERE", server);
    let settings = format!("[bridge]\nlisten = \"{listen}\"\n{SETTINGS}way = \"bridge\"\n{more}");
    Haproxy::config(&CONFIG.replace("SERVERS", &checks))
        .module()
        .set("load", "lua-load")
        .file("vitals.toml", &settings)
        .allow_alert("has no server available")
}

fn over_tcp(backend: &GrpcBackend, more: &str) -> Builder {
    bridged(backend, "127.0.0.1:${port:bridge}", "127.0.0.1 port ${port:bridge}", more)
}

fn over_unix(backend: &GrpcBackend) -> Builder {
    bridged(backend, "unix@${dir}/bridge.sock", "unix@${dir}/bridge.sock port 1", "")
}

#[track_caller]
fn wait_status(haproxy: &Haproxy, expected: &str) {
    let found = poll::try_until(SOON, || (status(haproxy, "s") == expected).then_some(()));
    found.unwrap_or_else(|| panic!("{} and not {expected}\n{}", status(haproxy, "s"), haproxy.log()));
}

#[test]
fn native_check_follows_what_grpc_says_over_tcp_and_unix() {
    for unix in [false, true] {
        let backend = GrpcBackend::start();
        let haproxy = if unix { over_unix(&backend) } else { over_tcp(&backend, "") }.start();
        wait_status(&haproxy, "UP");
        assert_eq!(served_by(&haproxy), "s");
        backend.set_not_serving("");
        wait_status(&haproxy, "DOWN");
        haproxy.wait_log("NOT_SERVING (service", SOON);
        assert_eq!(get(&haproxy).status, 503);
        // HAProxy's own state machine has the word after maintenance too.
        haproxy.cli("set server b/s state maint");
        haproxy.cli("set server b/s state ready");
        poll::until(SOON, "it is down again", || status(&haproxy, "s") == "DOWN");
        backend.set_serving("");
        wait_status(&haproxy, "UP");
        haproxy.finish();
    }
}

#[test]
fn draining_server_gets_no_new_clients() {
    let backend = GrpcBackend::start();
    let haproxy = over_tcp(&backend, "not_serving = \"drain\"\n").start();
    wait_status(&haproxy, "UP");
    backend.set_not_serving("");
    wait_status(&haproxy, "NOLB");
    backend.set_serving("");
    wait_status(&haproxy, "UP");
    haproxy.finish();
}

#[test]
fn unix_socket_is_handed_over_and_removed_at_the_end() {
    let backend = GrpcBackend::start();
    let haproxy = over_unix(&backend).mode(Mode::MasterWorker).start();
    wait_status(&haproxy, "UP");
    for _ in 0..3 {
        haproxy.reload();
        haproxy.wait_one_worker(SOON);
        wait_status(&haproxy, "UP");
    }
    poll::always(SWEEP, "it stays up", || status(&haproxy, "s") == "UP");
    assert!(!haproxy.log_contains("b/s is DOWN"), "{}", haproxy.log());
    let socket = haproxy.dir().join("bridge.sock");
    assert!(socket.exists());
    haproxy.soft_stop();
    haproxy.wait_exit(SOON);
    poll::until(SOON, "the socket is gone", || !socket.exists());
    haproxy.finish();
}
