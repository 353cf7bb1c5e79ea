//! Servers that tell their changes by themselves.

use std::time::Duration;

use haproxy_vitals_tests::SOON;
use haproxy_vitals_tests::grpc_backend::GrpcBackend;
use haproxy_vitals_tests::haproxy::Builder;

use super::{SETTINGS, SLACK, proxy_of, wait_down, wait_told, wait_up};

/// Checks would come too late: only the stream is as fast.
fn watched(backend: &GrpcBackend) -> Builder {
    let settings = SETTINGS.replace("\"300ms\"", "\"1h\"").replace("\"150ms\"", "\"2s\"");
    proxy_of(backend).file("vitals.toml", &format!("{settings}mode = \"watch\"\nwatch_recheck = \"1h\"\n"))
}

#[test]
fn change_reaches_haproxy_at_once() {
    let backend = GrpcBackend::start();
    let haproxy = watched(&backend).start();
    wait_up(&haproxy, "s", SOON);
    wait_told(&haproxy, "s", " up,watched ");
    for _ in 0..3 {
        backend.set_not_serving("");
        let down = wait_down(&haproxy, "s", SOON);
        assert!(down < SLACK, "down after {down:?}");
        backend.set_serving("");
        let up = wait_up(&haproxy, "s", SOON);
        assert!(up < SLACK, "up after {up:?}");
    }
    assert_eq!((backend.watches(), backend.checks()), (1, 0));
    haproxy.finish();
}

#[test]
fn service_that_is_forgotten_and_comes_back_is_followed() {
    let backend = GrpcBackend::start();
    backend.set_serving("shop.Cart");
    let settings = SETTINGS.replace("\"300ms\"", "\"1h\"").replace("\"150ms\"", "\"2s\"");
    let settings = format!("{settings}mode = \"watch\"\nservice = [\"\", \"shop.Cart\"]\n");
    let haproxy = proxy_of(&backend).file("vitals.toml", &settings).start();
    wait_up(&haproxy, "s", SOON);
    backend.forget("shop.Cart");
    wait_down(&haproxy, "s", SOON);
    wait_told(&haproxy, "s", "class=service_unknown");
    backend.set_serving("shop.Cart");
    wait_up(&haproxy, "s", SOON);
    haproxy.finish();
}

#[test]
fn killed_server_is_down_and_watched_again_when_it_is_back() {
    let backend = GrpcBackend::start();
    let haproxy = watched(&backend).start();
    wait_up(&haproxy, "s", SOON);
    backend.stop();
    let down = wait_down(&haproxy, "s", SOON);
    // Three attempts with pauses of 1 s and 1.6 s, ± 20 %.
    assert!(down > Duration::from_secs(2), "down after {down:?}");
    backend.restart();
    wait_up(&haproxy, "s", SOON);
    wait_told(&haproxy, "s", " up,watched ");
    backend.set_not_serving("");
    wait_down(&haproxy, "s", SOON);
    haproxy.finish();
}

#[test]
fn checks_beside_the_stream_go_on() {
    let backend = GrpcBackend::start();
    let settings = format!("{SETTINGS}mode = \"watch\"\nwatch_recheck = \"300ms\"\n");
    let haproxy = proxy_of(&backend).file("vitals.toml", &settings).start();
    wait_up(&haproxy, "s", SOON);
    backend.wait_checks(4, SOON);
    assert_eq!(backend.watches(), 1);
    haproxy.finish();
}
