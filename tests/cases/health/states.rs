//! From answers to server states, and how fast.

use std::time::{Duration, Instant};

use haproxy_vitals_tests::client::{Load, Until};
use haproxy_vitals_tests::grpc_backend::{Answer, GrpcBackend};
use haproxy_vitals_tests::{SOON, poll};

use super::{
    INTERVAL, SETTINGS, SLACK, get, is_up, proxy, proxy_of, served_by, status, statuses, told, wait_down, wait_told,
    wait_up,
};

/// One slow answer fits into it.
fn patient() -> String {
    SETTINGS.replace("\"150ms\"", "\"1s\"").replace("\"300ms\"", "\"2s\"")
}

#[test]
fn servers_are_down_before_the_first_result_which_decides_alone() {
    let backend = GrpcBackend::start();
    backend.answer(Answer::Delay(Duration::from_millis(700)));
    let haproxy = proxy_of(&backend).file("vitals.toml", &patient()).start();
    poll::always(Duration::from_millis(300), "nothing is served before the first result", || {
        get(&haproxy).status == 503 && status(&haproxy, "s") == "DOWN"
    });
    assert!(told(&haproxy, "s").contains(" pending "), "{}", told(&haproxy, "s"));
    wait_up(&haproxy, "s", SOON);
    assert_eq!((backend.checks(), served_by(&haproxy).as_str()), (1, "s"));
    haproxy.finish();
}

#[test]
fn first_failure_decides_alone_and_no_request_passes() {
    let backend = GrpcBackend::start();
    backend.set_not_serving("");
    let haproxy = proxy_of(&backend).start();
    wait_told(&haproxy, "s", " down ");
    poll::always(3 * INTERVAL, "a server that never served gets nothing", || {
        get(&haproxy).status == 503 && status(&haproxy, "s") == "DOWN"
    });
    backend.set_serving("");
    wait_up(&haproxy, "s", SOON);
    haproxy.finish();
}

#[test]
fn not_serving_reroutes_within_two_intervals_and_serving_brings_back() {
    let (one, two) = (GrpcBackend::start(), GrpcBackend::start());
    let haproxy = proxy(&[("one", &one.addr().to_string()), ("two", &two.addr().to_string())]).start();
    wait_up(&haproxy, "one", SOON);
    wait_up(&haproxy, "two", SOON);
    let load = Load::new(2, Until::Stopped, "/").spawn(haproxy.addr("http"));
    for _ in 0..3 {
        one.set_not_serving("");
        let down = wait_down(&haproxy, "one", SOON);
        assert!(down <= 2 * INTERVAL + SLACK, "down after {down:?}");
        for _ in 0..4 {
            assert_eq!(served_by(&haproxy), "two");
        }
        one.set_serving("");
        let up = wait_up(&haproxy, "one", SOON);
        // `rise` is 2.
        assert!(up <= 3 * INTERVAL + SLACK, "up after {up:?}");
        poll::until(SOON, "requests for one", || served_by(&haproxy) == "one");
    }
    assert!(is_up(&status(&haproxy, "two")));
    let report = load.stop();
    assert_eq!((report.failed, report.ok), (0, report.total()), "{report:?}");
    haproxy.finish();
}

#[test]
fn last_server_that_goes_down_leaves_503_at_once() {
    let backend = GrpcBackend::start();
    let haproxy = proxy_of(&backend).start();
    wait_up(&haproxy, "s", SOON);
    assert_eq!(get(&haproxy).status, 200);
    backend.set_not_serving("");
    wait_down(&haproxy, "s", SOON);
    let asked = Instant::now();
    assert_eq!(get(&haproxy).status, 503);
    assert!(asked.elapsed() < SLACK, "503 after {:?}", asked.elapsed());
    haproxy.finish();
}

#[test]
fn servers_of_one_backend_are_judged_one_by_one() {
    let (one, two) = (GrpcBackend::start(), GrpcBackend::start());
    two.set_not_serving("");
    let haproxy = proxy(&[("one", &one.addr().to_string()), ("two", &two.addr().to_string())]).start();
    wait_up(&haproxy, "one", SOON);
    wait_told(&haproxy, "two", " down ");
    poll::always(3 * INTERVAL, "one is up and two is down", || {
        let all = statuses(&haproxy);
        is_up(&all["one"]) && all["two"] == "DOWN"
    });
    haproxy.finish();
}
