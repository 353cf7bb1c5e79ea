//! Servers that come, go and move while HAProxy runs.

use std::net::SocketAddr;

use haproxy_vitals_tests::grpc_backend::GrpcBackend;
use haproxy_vitals_tests::{Haproxy, SOON, poll};

use super::{
    INTERVAL, SLACK, SWEEP, assert_one_checker, is_up, proxy_of, served_by, status, statuses, told, wait_down,
    wait_told, wait_up,
};

fn add(haproxy: &Haproxy, name: &str, addr: SocketAddr) {
    let answer = haproxy.cli(&format!("add server b/{name} {addr}"));
    assert!(answer.contains("New server registered"), "{answer}");
}

fn delete(haproxy: &Haproxy, name: &str) {
    haproxy.cli(&format!("disable server b/{name}"));
    let delete = || haproxy.cli(&format!("del server b/{name}"));
    poll::until(SOON, "the server is deleted", || delete().contains("Server deleted"));
}

#[test]
fn added_server_is_checked_before_and_after_it_is_enabled() {
    let (first, second) = (GrpcBackend::start(), GrpcBackend::start());
    let haproxy = proxy_of(&first).start();
    wait_up(&haproxy, "s", SOON);
    add(&haproxy, "dyn", second.addr());
    second.wait_checks(1, SWEEP + INTERVAL + SLACK);
    assert_eq!(status(&haproxy, "dyn"), "MAINT");
    haproxy.cli("enable server b/dyn");
    poll::always(SWEEP + INTERVAL, "a server known to be good is up", || is_up(&status(&haproxy, "dyn")));
    assert_one_checker(&second);
    second.set_not_serving("");
    wait_down(&haproxy, "dyn", 2 * INTERVAL + SLACK);
    assert!(is_up(&status(&haproxy, "s")));
    haproxy.finish();
}

#[test]
fn added_server_that_does_not_serve_is_down_within_a_sweep() {
    let (first, second) = (GrpcBackend::start(), GrpcBackend::start());
    second.set_not_serving("");
    let haproxy = proxy_of(&first).start();
    wait_up(&haproxy, "s", SOON);
    add(&haproxy, "dyn", second.addr());
    haproxy.cli("enable server b/dyn");
    let down = wait_down(&haproxy, "dyn", SOON);
    assert!(down <= SWEEP + SLACK, "down after {down:?}");
    second.set_serving("");
    wait_up(&haproxy, "dyn", SOON);
    haproxy.finish();
}

#[test]
fn deleted_server_is_no_longer_checked_and_its_name_may_come_back_elsewhere() {
    let (first, second, third) = (GrpcBackend::start(), GrpcBackend::start(), GrpcBackend::start());
    let haproxy = proxy_of(&first).start();
    add(&haproxy, "dyn", second.addr());
    haproxy.cli("enable server b/dyn");
    wait_told(&haproxy, "dyn", " up ");
    wait_up(&haproxy, "dyn", SOON);
    delete(&haproxy, "dyn");
    poll::until(SWEEP + SLACK, "it is forgotten", || told(&haproxy, "dyn").is_empty());
    assert!(!statuses(&haproxy).contains_key("dyn"));
    second.clear();
    first.wait_checks(3, SOON);
    assert_eq!(second.checks(), 0);

    third.set_not_serving("");
    add(&haproxy, "dyn", third.addr());
    haproxy.cli("enable server b/dyn");
    wait_down(&haproxy, "dyn", SWEEP + SLACK);
    wait_told(&haproxy, "dyn", &third.addr().to_string());
    third.wait_checks(2, SOON);
    assert_eq!(second.checks(), 0);
    third.set_serving("");
    wait_up(&haproxy, "dyn", SOON);
    haproxy.finish();
}

#[test]
fn name_reused_at_once_does_not_inherit_a_verdict() {
    let (first, second, third) = (GrpcBackend::start(), GrpcBackend::start(), GrpcBackend::start());
    third.set_not_serving("");
    let haproxy = proxy_of(&first).start();
    add(&haproxy, "dyn", second.addr());
    haproxy.cli("enable server b/dyn");
    wait_told(&haproxy, "dyn", " up ");
    delete(&haproxy, "dyn");
    add(&haproxy, "dyn", third.addr());
    haproxy.cli("enable server b/dyn");
    wait_down(&haproxy, "dyn", SWEEP + SLACK);
    poll::always(SWEEP + INTERVAL, "the former server's verdict is not its own", || status(&haproxy, "dyn") == "DOWN");
    haproxy.finish();
}

#[test]
fn server_that_moves_is_checked_at_the_new_place() {
    let (old, new) = (GrpcBackend::start(), GrpcBackend::start());
    new.set_not_serving("");
    let haproxy = proxy_of(&old).start();
    wait_up(&haproxy, "s", SOON);
    haproxy.cli(&format!("set server b/s addr 127.0.0.1 port {}", new.addr().port()));
    wait_down(&haproxy, "s", SWEEP + SLACK);
    new.wait_checks(2, SOON);
    assert_eq!(new.asked()[0].authority, new.addr().to_string());
    old.clear();
    new.wait_checks(2, SOON);
    assert_eq!(old.checks(), 0);
    new.set_serving("");
    wait_up(&haproxy, "s", SOON);
    assert_eq!(served_by(&haproxy), "s");
    haproxy.finish();
}

#[test]
fn servers_that_went_leave_no_descriptor_and_no_task() {
    let (first, second) = (GrpcBackend::start(), GrpcBackend::start());
    let haproxy = proxy_of(&first).start();
    wait_up(&haproxy, "s", SOON);
    let names: Vec<String> = (0..20).map(|number| format!("dyn{number}")).collect();
    let (fds, threads) = (haproxy.open_fds(), haproxy.threads());
    for _ in 0..3 {
        for name in &names {
            add(&haproxy, name, second.addr());
        }
        poll::until(SOON, "each is up", || haproxy.cli("show vitals health").starts_with("servers: 21, up: 21,"));
        // Each has its connection, give or take those of the stats socket.
        assert!(haproxy.open_fds() > fds + names.len() / 2, "{} descriptors after {fds}", haproxy.open_fds());
        for name in &names {
            delete(&haproxy, name);
        }
        poll::until(SOON, "their connections are closed", || haproxy.open_fds() <= fds + 2);
    }
    assert_eq!(haproxy.threads(), threads);
    second.clear();
    first.wait_checks(3, SOON);
    assert_eq!(second.checks(), 0);
    haproxy.finish();
}
