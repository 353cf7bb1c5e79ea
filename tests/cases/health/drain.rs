//! Servers that get no new clients and keep those they have.

use haproxy_vitals_tests::client;
use haproxy_vitals_tests::grpc_backend::GrpcBackend;
use haproxy_vitals_tests::{Haproxy, SOON, poll};
use tonic::Code;

use super::{CONFIG, INTERVAL, SETTINGS, SWEEP, is_up, proxy, served_by, status, wait_down, wait_told, wait_up};

fn wait_drained(haproxy: &Haproxy, server: &str) {
    poll::until(SOON, &format!("{server} is drained"), || status(haproxy, server).starts_with("NOLB"));
}

#[test]
fn server_that_does_not_serve_keeps_its_clients_and_gets_no_others() {
    let (one, two) = (GrpcBackend::start(), GrpcBackend::start());
    let servers =
        format!("  cookie srv insert\n  server one {} cookie one\n  server two {} cookie two", one.addr(), two.addr());
    let haproxy = Haproxy::config(&CONFIG.replace("SERVERS", &servers))
        .module()
        .set("load", "lua-load")
        .file("vitals.toml", &format!("{SETTINGS}not_serving = \"drain\"\n"))
        .allow_alert("has no server available")
        .start();
    wait_up(&haproxy, "one", SOON);
    wait_up(&haproxy, "two", SOON);
    one.set_not_serving("");
    wait_drained(&haproxy, "one");
    wait_told(&haproxy, "one", " drain ");
    let with_cookie = || client::get(haproxy.addr("http"), "/", &[("cookie", "srv=one")]);
    for _ in 0..4 {
        assert_eq!(served_by(&haproxy), "two");
        assert_eq!(with_cookie().header("x-server"), Some("one"));
    }
    poll::always(SWEEP + INTERVAL, "it stays drained", || status(&haproxy, "one").starts_with("NOLB"));
    one.set_serving("");
    wait_up(&haproxy, "one", SOON);
    poll::until(SOON, "requests for one", || served_by(&haproxy) == "one");
    // What is down is down, also for its clients.
    one.stop();
    wait_down(&haproxy, "one", SOON);
    assert_eq!(with_cookie().header("x-server"), Some("two"));
    haproxy.finish();
}

#[test]
fn a_code_may_drain_and_the_first_result_too() {
    let (one, two) = (GrpcBackend::start(), GrpcBackend::start());
    one.answer(haproxy_vitals_tests::grpc_backend::Answer::Fail(Code::ResourceExhausted));
    let haproxy = proxy(&[("one", &one.addr().to_string()), ("two", &two.addr().to_string())])
        .file("vitals.toml", &format!("{SETTINGS}codes = {{ drain = \"8\", pass = \"12\" }}\n"))
        .start();
    wait_drained(&haproxy, "one");
    wait_up(&haproxy, "two", SOON);
    two.answer(haproxy_vitals_tests::grpc_backend::Answer::Fail(Code::Unimplemented));
    two.wait_checks(4, SOON);
    assert!(is_up(&status(&haproxy, "two")));
    haproxy.finish();
}

#[test]
fn drain_set_again_after_maintenance() {
    let backend = GrpcBackend::start();
    let haproxy = proxy(&[("s", &backend.addr().to_string())])
        .file("vitals.toml", &format!("{SETTINGS}not_serving = \"drain\"\n"))
        .start();
    wait_up(&haproxy, "s", SOON);
    backend.set_not_serving("");
    wait_drained(&haproxy, "s");
    haproxy.cli("set server b/s state maint");
    haproxy.cli("set server b/s state ready");
    wait_drained(&haproxy, "s");
    haproxy.finish();
}
