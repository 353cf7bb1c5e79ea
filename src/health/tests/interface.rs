//! What the checker offers beside sweeps and changes.

use std::time::Duration;

use tonic_health::ServingStatus;

use super::servers::{self, Spy};
use super::{Bench, Force, forces, seen};
use crate::config::{InitState, OnNotServing};
use crate::health::{Class, ServerSeen, ServerState};

#[tokio::test]
async fn status_tells_state_reason_class_and_address() {
    let (reporter, server) = servers::health().await;
    let bench = Bench::new();
    assert_eq!(bench.checker.status("b", "s"), None);
    bench.checker.sweep(&[seen(server.address, "DOWN")]);
    let first = bench.checker.status("b", "s").unwrap();
    assert_eq!((first.state, first.class), (ServerState::Unknown, None));
    bench.changes().await;
    let up = bench.checker.status("b", "s").unwrap();
    assert_eq!((up.state, up.class, up.reason.as_str()), (ServerState::Up, None, "SERVING (service \"\")"));
    assert_eq!(up.address, server.address.to_string());
    reporter.set_service_status("", ServingStatus::NotServing).await;
    bench.changes().await;
    let down = bench.checker.status("b", "s").unwrap();
    assert_eq!((down.state, down.class), (ServerState::Down, Some(Class::NotServing)));
    assert!(down.since > up.since);
}

#[tokio::test]
async fn subscribers_hear_of_each_change() {
    let (reporter, server) = servers::health().await;
    let bench = Bench::new();
    let mut heard = bench.checker.subscribe();
    bench.checker.sweep(&[seen(server.address, "DOWN")]);
    heard.changed().await.unwrap();
    assert_eq!(bench.checker.status("b", "s").unwrap().state, ServerState::Up);
    heard.borrow_and_update();
    reporter.set_service_status("", ServingStatus::NotServing).await;
    heard.changed().await.unwrap();
    assert_eq!(bench.checker.status("b", "s").unwrap().state, ServerState::Down);
}

#[tokio::test]
async fn a_check_can_be_wanted_at_once() {
    let spy = Spy::answering(|| servers::status(1)).await;
    let bench = Bench::once();
    assert!(!bench.checker.check_now("b", "s"));
    bench.checker.sweep(&[seen(spy.server.address, "DOWN")]);
    bench.until_described("checks=1 ").await;
    assert!(bench.checker.check_now("b", "s"));
    bench.until_described("checks=2 ").await;
}

#[tokio::test]
async fn a_held_server_keeps_its_state_until_it_is_released() {
    let (reporter, server) = servers::health().await;
    let bench = Bench::new();
    bench.checker.sweep(&[seen(server.address, "DOWN")]);
    bench.changes().await;
    assert!(bench.checker.hold("b", "s"));
    reporter.set_service_status("", ServingStatus::NotServing).await;
    bench.until_described(" down,held,kept-up ").await;
    assert_eq!(bench.checker.changes(), []);
    assert_eq!(bench.checker.status("b", "s").unwrap().state, ServerState::Up);
    assert_eq!(bench.checker.sweep(&[seen(server.address, "no check")]), []);
    assert!(bench.checker.release("b", "s"));
    assert_eq!(forces(&bench.changes().await), [Force::Down]);
    assert!(!bench.checker.hold("b", "other") && !bench.checker.release("other", "s"));
}

#[tokio::test]
async fn a_server_may_drain_instead_of_going_down() {
    let (reporter, server) = servers::health().await;
    let bench = Bench::with(Duration::from_millis(50), |config| config.not_serving = OnNotServing::Drain);
    bench.checker.sweep(&[seen(server.address, "DOWN")]);
    assert_eq!(forces(&bench.changes().await), [Force::Up]);
    reporter.set_service_status("", ServingStatus::NotServing).await;
    assert_eq!(forces(&bench.changes().await), [Force::Nolb]);
    assert_eq!(bench.checker.status("b", "s").unwrap().state, ServerState::Drain);
    assert_eq!(bench.checker.sweep(&[seen(server.address, "NOLB")]), []);
    assert_eq!(bench.said("b/s is DRAIN: NOT_SERVING"), 1);
    reporter.set_service_status("", ServingStatus::Serving).await;
    assert_eq!(forces(&bench.changes().await), [Force::Up]);
    assert_eq!(forces(&bench.checker.sweep(&[seen(server.address, "NOLB")])), [Force::Up]);
}

#[tokio::test]
async fn before_the_first_result_a_server_is_what_init_says() {
    let silent = servers::raw(|stream| async move { stream }).await;
    for (init, shown, expected) in [
        (InitState::Down, "UP", vec![Force::Down]),
        (InitState::Up, "DOWN", vec![Force::Up]),
        (InitState::Hold, "UP", vec![]),
        (InitState::Hold, "DOWN", vec![]),
    ] {
        let bench = Bench::with(Duration::from_hours(1), |config| config.init = init);
        assert_eq!(forces(&bench.checker.initial(&[seen(silent.address, shown)])), expected, "{init:?}");
    }
}

#[tokio::test]
async fn too_few_healthy_servers_leave_the_last_good_ones_up() {
    let (reporter, server) = servers::health().await;
    let bench = Bench::with(Duration::from_millis(50), |config| config.panic_threshold = 50);
    let servers: Vec<_> =
        ["a", "b", "c"].map(|name| ServerSeen { server: name.to_owned(), ..seen(server.address, "DOWN") }).into();
    bench.checker.sweep(&servers);
    bench.until(|text| text.contains("up: 3")).await;
    let before = crate::stats::HEALTH_PANICS.value();
    reporter.set_service_status("", ServingStatus::NotServing).await;
    bench.until(|text| text.contains("down: 3")).await;
    let up = |bench: &Bench| {
        let state = |name: &&str| bench.checker.status("b", name).unwrap().state == ServerState::Up;
        ["a", "b", "c"].iter().filter(|name| state(name)).count()
    };
    // The first goes down, which leaves two of three; the second would leave one.
    assert_eq!(up(&bench), 2);
    assert!(bench.checker.describe().contains("panic: b keeps 2"), "{}", bench.checker.describe());
    assert_eq!(bench.said("only 1 of 3 servers are healthy, less than 50 %"), 1);
    assert!(crate::stats::HEALTH_PANICS.value() > before);
    reporter.set_service_status("", ServingStatus::Serving).await;
    bench.until(|text| text.contains("up: 3")).await;
    assert_eq!(up(&bench), 3);
    assert!(!bench.checker.describe().contains("panic"));
}

#[tokio::test]
async fn a_hint_is_warned_of_once() {
    let server = servers::without_health_service().await;
    let bench = Bench::new();
    bench.checker.sweep(&[seen(server.address, "DOWN")]);
    bench.until_described("checks=6 ").await;
    let lines = bench.lines.lock().unwrap();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0].0, crate::log::Level::Warning);
    assert!(lines[0].1.ends_with("the server has no grpc.health.v1.Health service"), "{lines:?}");
}

#[tokio::test]
async fn how_late_checks_begin_is_counted() {
    let (_reporter, server) = servers::health().await;
    let bench = Bench::new();
    assert_eq!(bench.checker.lateness().checks(), 0);
    bench.checker.sweep(&[seen(server.address, "DOWN")]);
    bench.until(|_| bench.checker.lateness().checks() >= 3).await;
    assert!(bench.checker.lateness().within(0.5).is_some());
}

#[tokio::test]
async fn a_held_server_stays_held_at_another_address() {
    let (_reporter, old) = servers::health().await;
    let (reporter, new) = servers::health().await;
    reporter.set_service_status("", ServingStatus::NotServing).await;
    let bench = Bench::new();
    bench.checker.sweep(&[seen(old.address, "DOWN")]);
    assert_eq!(forces(&bench.changes().await), [Force::Up]);
    assert!(bench.checker.hold("b", "s"));
    assert_eq!(bench.checker.sweep(&[seen(new.address, "UP")]), []);
    bench.until_described(" down,held,kept-up ").await;
    assert_eq!(forces(&bench.checker.changes()), []);
    assert!(bench.checker.release("b", "s"));
    assert_eq!(forces(&bench.changes().await), [Force::Down]);
    // Another server of that name is nobody's.
    assert!(bench.checker.hold("b", "s"));
    bench.checker.sweep(&[ServerSeen { id: 2, ..seen(old.address, "DOWN") }]);
    assert_eq!(forces(&bench.changes().await), [Force::Up]);
}

#[tokio::test]
async fn a_server_cannot_write_fields_of_its_own_into_its_line() {
    let spy = Spy::answering(|| {
        let mut answer = servers::grpc_head("14");
        let message = http::HeaderValue::from_static("x\" class=ok \"");
        answer.headers_mut().insert("grpc-message", message);
        answer
    })
    .await;
    let bench = Bench::new();
    bench.checker.sweep(&[seen(spy.server.address, "UP")]);
    bench.until_described(" down ").await;
    let text = bench.checker.describe();
    assert!(text.contains("last=\"UNAVAILABLE: x' class=ok '\" class=rpc_error "), "{text}");
}
