//! Backends that die, hang, or do not know the question.

use std::time::{Duration, Instant};

use haproxy_vitals_tests::grpc_backend::{Answer, GrpcBackend};
use haproxy_vitals_tests::{Haproxy, Port, SOON, poll};
use tonic::Code;

use super::{INTERVAL, SETTINGS, SLACK, get, is_up, proxy, proxy_of, status, told, wait_down, wait_told, wait_up};

#[test]
fn killed_backend_is_down_after_fall_and_up_again_when_it_is_back() {
    let backend = GrpcBackend::start();
    let haproxy = proxy_of(&backend).start();
    wait_up(&haproxy, "s", SOON);
    for _ in 0..2 {
        backend.stop();
        let down = wait_down(&haproxy, "s", SOON);
        // `fall` is 3.
        assert!(down >= INTERVAL, "one failure is not enough: down after {down:?}");
        assert!(down <= 4 * INTERVAL + SLACK, "down after {down:?}");
        assert!(told(&haproxy, "s").contains("class=connect"), "{}", told(&haproxy, "s"));
        assert_eq!(get(&haproxy).status, 503);
        backend.restart();
        let up = wait_up(&haproxy, "s", SOON);
        assert!(up <= 3 * INTERVAL + SLACK, "up after {up:?}");
        assert_eq!(get(&haproxy).status, 200);
    }
    haproxy.finish();
}

#[test]
fn killed_backend_gets_no_request_once_its_failures_are_enough() {
    let (interval, fast) = (Duration::from_millis(600), Duration::from_millis(200));
    let (one, two) = (GrpcBackend::start(), GrpcBackend::start());
    let settings = SETTINGS.replace("interval = \"300ms\"\nfast", "interval = \"600ms\"\nfast");
    let settings = settings.replace("fast_interval = \"300ms\"", "fast_interval = \"200ms\"");
    let haproxy = proxy(&[("one", &one.addr().to_string()), ("two", &two.addr().to_string())])
        .file("vitals.toml", &settings.replace("\"150ms\"", "\"100ms\""))
        .start();
    for _ in 0..3 {
        wait_up(&haproxy, "one", SOON);
        wait_up(&haproxy, "two", SOON);
        one.stop();
        let (killed, mut last) = (Instant::now(), Duration::ZERO);
        poll::until(SOON, "no request has failed for a second", || {
            if get(&haproxy).status != 200 {
                last = killed.elapsed();
            }
            killed.elapsed() > last + Duration::from_secs(1)
        });
        // It is noticed within an interval; then come the other failures of `fall`, which is 3.
        assert!(last <= interval + 3 * fast + SLACK, "the last request was lost after {last:?}");
        assert_eq!(status(&haproxy, "one"), "DOWN");
        one.restart();
    }
    haproxy.finish();
}

#[test]
fn restart_between_two_checks_changes_nothing() {
    let backend = GrpcBackend::start();
    let haproxy = proxy_of(&backend).start();
    wait_up(&haproxy, "s", SOON);
    for _ in 0..4 {
        backend.wait_checks(1, SOON);
        backend.stop();
        backend.restart();
        backend.wait_checks(1, SOON);
        assert!(is_up(&status(&haproxy, "s")));
        // The connection that had gone is replaced within the same check, so nothing failed.
        assert!(told(&haproxy, "s").contains("fall=0/3"), "{}", told(&haproxy, "s"));
    }
    haproxy.finish();
}

#[test]
fn every_fault_has_its_class_and_takes_its_server_down() {
    let (refused, hanging, mute, broken) =
        (Port::reserve(), GrpcBackend::start(), GrpcBackend::without_health(), GrpcBackend::start());
    hanging.answer(Answer::Hang);
    broken.answer(Answer::Fail(Code::Internal));
    let silent = Port::reserve();
    // Accepts connections and never says a word.
    let _listener = silent.listen();
    let servers = [
        ("refused", refused.addr(), "connect"),
        ("hanging", hanging.addr(), "timeout"),
        ("mute", mute.addr(), "unimplemented"),
        ("broken", broken.addr(), "rpc_error"),
        ("silent", silent.addr(), "connect"),
    ];
    let lines = servers.map(|(name, addr, _)| (name, addr.to_string()));
    let haproxy = proxy(&lines.each_ref().map(|(name, addr)| (*name, addr.as_str()))).start();
    for (name, _, class) in servers {
        let line = wait_told(&haproxy, name, &format!("class={class}"));
        assert!(line.contains(" down "), "{line}");
        assert_eq!(status(&haproxy, name), "DOWN", "{name}");
        haproxy.wait_log(&format!("b/{name} is DOWN: "), SOON);
    }
    assert_eq!(get(&haproxy).status, 503);
    hanging.answer(Answer::Normal);
    broken.answer(Answer::Normal);
    wait_up(&haproxy, "hanging", SOON);
    wait_up(&haproxy, "broken", SOON);
    haproxy.finish();
}

#[test]
fn soft_failures_fewer_than_fall_change_nothing() {
    let backend = GrpcBackend::start();
    let haproxy = proxy_of(&backend).file("vitals.toml", &format!("{SETTINGS}fall = 100\n")).start();
    wait_up(&haproxy, "s", SOON);
    backend.answer(Answer::Fail(Code::Unavailable));
    backend.wait_checks(5, SOON);
    assert!(is_up(&status(&haproxy, "s")));
    assert!(told(&haproxy, "s").contains("class=rpc_error"), "{}", told(&haproxy, "s"));
    assert!(!told(&haproxy, "s").contains("fall=0/100"));
    haproxy.finish();
}

#[test]
fn named_service_alone_decides() {
    let backend = GrpcBackend::start();
    let haproxy = named(&backend);
    // Known to the server as a whole only.
    let line = wait_told(&haproxy, "s", "class=service_unknown");
    assert!(line.contains(" down "), "{line}");
    assert_eq!(status(&haproxy, "s"), "DOWN");
    haproxy.wait_log("is `service` spelled as the server registers it?", SOON);
    backend.set_serving("shop.Cart");
    backend.set_not_serving("");
    wait_up(&haproxy, "s", SOON);
    poll::always(2 * INTERVAL, "the whole server's status does not matter", || is_up(&status(&haproxy, "s")));
    backend.set_not_serving("shop.Cart");
    wait_down(&haproxy, "s", SOON);
    assert!(backend.asked().iter().all(|asked| asked.service == "shop.Cart"));
    haproxy.finish();
}

fn named(backend: &GrpcBackend) -> Haproxy {
    proxy_of(backend).file("vitals.toml", &format!("{SETTINGS}service = \"shop.Cart\"\n")).start()
}
