//! What servers get before their first result.

use std::time::Duration;

use haproxy_vitals_tests::client::{Load, Until};
use haproxy_vitals_tests::grpc_backend::{Answer, GrpcBackend};
use haproxy_vitals_tests::{Mode, SOON, poll};

use super::{SETTINGS, SWEEP, get, is_up, proxy_of, status, told, wait_down, wait_told, wait_up};

/// No result for a while.
fn slow(more: &str) -> String {
    let settings = SETTINGS.replace("\"150ms\"", "\"5s\"").replace("\"300ms\"", "\"10s\"");
    format!("{settings}{more}\n")
}

#[test]
fn server_that_starts_up_is_served_before_its_first_result() {
    let backend = GrpcBackend::start();
    backend.answer(Answer::Hang);
    for init in ["up", "hold"] {
        let haproxy = proxy_of(&backend).file("vitals.toml", &slow(&format!("init = \"{init}\""))).start();
        wait_told(&haproxy, "s", " pending ");
        poll::always(SWEEP, "it is served", || is_up(&status(&haproxy, "s")) && get(&haproxy).status == 200);
        haproxy.finish();
    }
}

#[test]
fn reload_with_hold_loses_no_request() {
    let backend = GrpcBackend::start();
    let settings = format!("{SETTINGS}init = \"hold\"\n");
    let haproxy = proxy_of(&backend).file("vitals.toml", &settings).mode(Mode::MasterWorker).start();
    wait_up(&haproxy, "s", SOON);
    wait_told(&haproxy, "s", " up ");
    backend.answer(Answer::Delay(Duration::from_millis(100)));
    let load = Load::new(2, Until::Stopped, "/").spawn(haproxy.addr("http"));
    for _ in 0..3 {
        haproxy.reload();
        haproxy.wait_one_worker(SOON);
        wait_told(&haproxy, "s", " up ");
    }
    let report = load.stop();
    assert_eq!((report.failed, report.ok), (0, report.total()), "{report:?}");
    backend.set_not_serving("");
    wait_down(&haproxy, "s", SOON);
    haproxy.finish();
}

#[test]
fn first_failure_takes_down_what_was_held() {
    let backend = GrpcBackend::without_health();
    let haproxy = proxy_of(&backend).file("vitals.toml", &format!("{SETTINGS}init = \"hold\"\n")).start();
    wait_down(&haproxy, "s", SOON);
    assert!(told(&haproxy, "s").contains("class=unimplemented"), "{}", told(&haproxy, "s"));
    haproxy.finish();
}
