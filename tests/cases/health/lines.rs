//! What else a server's line may say, and what that makes of a forced state.

use haproxy_vitals_tests::{GrpcBackend, OddServer, SOON, poll};

use super::{INTERVAL, SWEEP, get, is_up, proxy, served_by, status, statuses, told, wait_down, wait_told, wait_up};

#[test]
fn tracker_of_a_server_that_is_forced_follows_it_and_is_not_checked() {
    let (backend, agent) = (GrpcBackend::start(), OddServer::saying(b"100%\n"));
    let asks = format!("{} agent-check agent-port {} agent-inter 100ms", backend.addr(), agent.addr().port());
    let haproxy = proxy(&[("s", &asks), ("t", &format!("{} track b/s", backend.addr()))]).start();
    wait_up(&haproxy, "s", SOON);
    wait_up(&haproxy, "t", SOON);
    assert!(told(&haproxy, "t").contains("skipped: it follows another server (`track`)"), "{}", told(&haproxy, "t"));
    backend.set_not_serving("");
    // Their agent counts as passed: `DOWN 0/2`.
    poll::until(SOON, "both are down", || statuses(&haproxy).values().all(|status| status.starts_with("DOWN")));
    assert_eq!(get(&haproxy).status, 503);
    backend.set_serving("");
    wait_up(&haproxy, "s", SOON);
    wait_up(&haproxy, "t", SOON);
    haproxy.finish();
}

#[test]
fn agent_that_says_up_is_put_right_each_time() {
    let (backend, agent) = (GrpcBackend::start(), OddServer::saying(b"up\n"));
    backend.set_not_serving("");
    let asks = format!("{} agent-check agent-port {} agent-inter 300ms", backend.addr(), agent.addr().port());
    let haproxy = proxy(&[("s", &asks)]).start();
    wait_told(&haproxy, "s", " down ");
    poll::until(SOON, "HAProxy's agent raises it", || {
        haproxy.log_contains("Server b/s is UP, reason: Layer7 check passed")
    });
    // Each `up` lasts for a moment.
    let (mut looks, mut ups) = (0, 0);
    poll::always(3 * SWEEP, "it is looked at", || {
        looks += 1;
        ups += usize::from(is_up(&status(&haproxy, "s")));
        true
    });
    assert!(ups * 10 < looks, "up in {ups} of {looks} looks");
    haproxy.finish();
}

#[test]
fn server_without_weight_is_judged_and_gets_nothing_even_when_it_is_up() {
    let (idle, busy) = (GrpcBackend::start(), GrpcBackend::start());
    let haproxy = proxy(&[("idle", &format!("{} weight 0", idle.addr())), ("busy", &busy.addr().to_string())]).start();
    wait_up(&haproxy, "idle", SOON);
    wait_up(&haproxy, "busy", SOON);
    poll::always(INTERVAL, "busy gets all", || served_by(&haproxy) == "busy");
    idle.set_not_serving("");
    wait_down(&haproxy, "idle", SOON);
    idle.set_serving("");
    wait_up(&haproxy, "idle", SOON);
    poll::always(INTERVAL, "busy gets all", || served_by(&haproxy) == "busy");
    // An operator gives it a weight.
    haproxy.cli("set server b/idle weight 256");
    poll::until(SOON, "idle gets requests", || served_by(&haproxy) == "idle");
    poll::always(SWEEP, "nobody undoes it", || statuses(&haproxy).values().all(|status| is_up(status)));
    haproxy.finish();
}
