//! What operators do on the stats socket comes first.

use haproxy_vitals_tests::grpc_backend::GrpcBackend;
use haproxy_vitals_tests::{SOON, poll};

use super::{INTERVAL, SLACK, SWEEP, get, is_up, proxy, proxy_of, status, wait_down, wait_told, wait_up};

#[test]
fn maintenance_stays_whatever_the_results() {
    let backend = GrpcBackend::start();
    let haproxy = proxy_of(&backend).start();
    wait_up(&haproxy, "s", SOON);
    haproxy.cli("set server b/s state maint");
    for round in 0..2 {
        if round == 0 {
            backend.set_not_serving("");
            wait_told(&haproxy, "s", " down ");
        } else {
            backend.set_serving("");
            wait_told(&haproxy, "s", " up ");
        }
        poll::always(SWEEP + 2 * INTERVAL, "maintenance stays", || status(&haproxy, "s") == "MAINT");
    }
    assert_eq!(get(&haproxy).status, 503);
    haproxy.cli("set server b/s state ready");
    poll::always(SWEEP + INTERVAL, "wanted up, it stays up", || is_up(&status(&haproxy, "s")));
    haproxy.finish();
}

#[test]
fn server_wanted_down_is_down_again_soon_after_maintenance() {
    let backend = GrpcBackend::start();
    let haproxy = proxy_of(&backend).start();
    wait_up(&haproxy, "s", SOON);
    haproxy.cli("set server b/s state maint");
    backend.set_not_serving("");
    wait_told(&haproxy, "s", " down ");
    for _ in 0..2 {
        haproxy.cli("set server b/s state ready");
        let down = wait_down(&haproxy, "s", SOON);
        assert!(down <= SWEEP + SLACK, "down {down:?} after maintenance");
        poll::always(SWEEP + INTERVAL, "it stays down", || status(&haproxy, "s") == "DOWN");
        haproxy.cli("set server b/s state maint");
        assert_eq!(status(&haproxy, "s"), "MAINT");
    }
    backend.set_serving("");
    wait_told(&haproxy, "s", " up ");
    haproxy.cli("set server b/s state ready");
    wait_up(&haproxy, "s", SOON);
    haproxy.finish();
}

#[test]
fn drain_is_left_alone_while_the_server_is_wanted_up() {
    let backend = GrpcBackend::start();
    let haproxy = proxy_of(&backend).start();
    wait_up(&haproxy, "s", SOON);
    haproxy.cli("set server b/s state drain");
    poll::always(SWEEP + 2 * INTERVAL, "drain stays", || status(&haproxy, "s") == "DRAIN");
    backend.set_not_serving("");
    wait_down(&haproxy, "s", SOON);
    backend.set_serving("");
    poll::until(SOON, "drain comes back", || status(&haproxy, "s") == "DRAIN");
    haproxy.cli("set server b/s state ready");
    wait_up(&haproxy, "s", SOON);
    haproxy.finish();
}

#[test]
fn what_an_operator_forces_against_the_results_is_put_right() {
    let backend = GrpcBackend::start();
    let haproxy = proxy_of(&backend).start();
    wait_up(&haproxy, "s", SOON);
    haproxy.cli("set server b/s health down");
    wait_up(&haproxy, "s", SWEEP + SLACK);
    backend.set_not_serving("");
    wait_down(&haproxy, "s", SOON);
    haproxy.cli("set server b/s health up");
    wait_down(&haproxy, "s", SWEEP + SLACK);
    haproxy.finish();
}

#[test]
fn server_that_is_disabled_in_the_configuration_waits_for_its_operator() {
    let backend = GrpcBackend::start();
    let haproxy = proxy(&[("s", &format!("{} disabled", backend.addr()))]).start();
    wait_told(&haproxy, "s", " up ");
    poll::always(SWEEP + INTERVAL, "it stays disabled", || status(&haproxy, "s") == "MAINT");
    haproxy.cli("enable server b/s");
    poll::always(SWEEP + INTERVAL, "its result is known already", || is_up(&status(&haproxy, "s")));
    haproxy.finish();
}
