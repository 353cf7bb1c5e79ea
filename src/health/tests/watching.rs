//! Servers that tell their changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tonic_health::ServingStatus;

use super::servers::{self, Spy};
use super::{Bench, Force, forces, seen};
use crate::config::CheckMode;

/// Only what the server tells, or the end of its connection, comes this fast.
fn watching() -> Bench {
    Bench::with(Duration::from_hours(1), |config| {
        config.mode = CheckMode::Watch;
        config.watch_recheck = Duration::from_hours(1);
        config.connect_timeout = Duration::from_secs(5);
        config.rpc_timeout = Duration::from_secs(5);
    })
}

#[tokio::test]
async fn changes_are_told_at_once_and_count_alone() {
    let (reporter, server) = servers::health().await;
    let bench = watching();
    bench.checker.sweep(&[seen(server.address, "DOWN")]);
    assert_eq!(forces(&bench.changes().await), [Force::Up]);
    assert!(bench.checker.describe().contains(" up,watched "), "{}", bench.checker.describe());
    for _ in 0..3 {
        reporter.set_service_status("", ServingStatus::NotServing).await;
        assert_eq!(forces(&bench.changes().await), [Force::Down]);
        reporter.set_service_status("", ServingStatus::Serving).await;
        assert_eq!(forces(&bench.changes().await), [Force::Up]);
    }
}

#[tokio::test]
async fn an_unknown_service_is_down_and_found_when_it_is_registered() {
    let (reporter, server) = servers::health().await;
    let bench = Bench::with(Duration::from_hours(1), |config| {
        config.mode = CheckMode::Watch;
        config.services = vec![String::new(), "late".to_owned()];
    });
    bench.checker.sweep(&[seen(server.address, "UP")]);
    bench.until_described(" down ").await;
    // tonic's form is NOT_FOUND, which ends the stream.
    assert!(bench.checker.describe().contains("class=service_unknown"), "{}", bench.checker.describe());
    reporter.set_service_status("late", ServingStatus::Serving).await;
    bench.until_described(" up,watched ").await;
}

#[tokio::test]
async fn an_unknown_service_as_a_message_is_down_too() {
    let spy = Spy::answering(|| servers::open_stream(3)).await;
    let bench = watching();
    bench.checker.sweep(&[seen(spy.server.address, "UP")]);
    bench.until_described(" down,watched ").await;
    assert!(bench.checker.describe().contains("class=service_unknown"), "{}", bench.checker.describe());
}

#[tokio::test]
async fn a_server_without_watch_is_checked_on_the_same_connection() {
    let spy =
        Spy::answering_by_path(
            |path| {
                if path.ends_with("/Watch") { servers::grpc_head("12") } else { servers::status(1) }
            },
        )
        .await;
    let bench = Bench::with(Duration::from_millis(50), |config| config.mode = CheckMode::Watch);
    bench.checker.sweep(&[seen(spy.server.address, "DOWN")]);
    bench.until(|text| text.contains(" up ") && text.contains("checks=5 ")).await;
    let watches =
        |spy: &Spy| spy.heads.lock().unwrap().iter().filter(|head| head.uri.path().ends_with("/Watch")).count();
    assert_eq!((watches(&spy), spy.connections.load(std::sync::atomic::Ordering::SeqCst)), (1, 1));
}

#[tokio::test]
async fn a_restarted_server_is_watched_again_without_going_down() {
    let (_reporter, server) = servers::health().await;
    let bench = watching();
    bench.checker.sweep(&[seen(server.address, "DOWN")]);
    assert_eq!(forces(&bench.changes().await), [Force::Up]);
    let address = server.address;
    server.end().await;
    let (reporter, _server) = servers::health_on(servers::listen(&address.to_string()).await);
    bench.until_described(" up,watched ").await;
    assert_eq!(bench.said("is DOWN"), 0);
    reporter.set_service_status("", ServingStatus::NotServing).await;
    // The stream may still be on its way to the new server.
    assert_eq!(forces(&bench.changes().await), [Force::Down]);
}

#[tokio::test]
async fn a_server_that_dies_is_down_after_fall_attempts() {
    let (_reporter, server) = servers::health().await;
    let bench = watching();
    bench.checker.sweep(&[seen(server.address, "DOWN")]);
    assert_eq!(forces(&bench.changes().await), [Force::Up]);
    let begin = std::time::Instant::now();
    server.end().await;
    assert_eq!(forces(&bench.changes().await), [Force::Down]);
    // Pauses of 1 s and 1.6 s, ± 20 %, between three attempts.
    assert!(begin.elapsed() > Duration::from_secs(2), "down after {:?}", begin.elapsed());
    assert!(bench.checker.describe().contains("class=connect"));
}

#[tokio::test]
async fn a_stream_that_stalls_is_found_by_the_check_beside_it() {
    // Watch says SERVING and no more; Check never answers.
    let spy = Spy::answering_by_path(
        |path| {
            if path.ends_with("/Watch") { servers::open_stream(1) } else { servers::never() }
        },
    )
    .await;
    let bench = Bench::with(Duration::from_secs(1), |config| {
        config.mode = CheckMode::Watch;
        config.watch_recheck = Duration::from_millis(200);
        (config.connect_timeout, config.rpc_timeout) = (Duration::from_millis(200), Duration::from_millis(200));
        config.fall = 1;
    });
    bench.checker.sweep(&[seen(spy.server.address, "DOWN")]);
    assert_eq!(forces(&bench.changes().await), [Force::Up]);
    assert_eq!(forces(&bench.changes().await), [Force::Down]);
    assert_eq!(bench.said("no answer within 200 ms"), 1);
}

#[tokio::test]
async fn a_wait_for_room_is_no_part_of_connecting() {
    let slowly = |_: usize, stream| async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        Some(stream)
    };
    let spy = Spy::start(|| servers::open_stream(1), slowly).await;
    let bench = Bench::with(Duration::from_hours(1), |config| {
        config.mode = CheckMode::Watch;
        config.watch_recheck = Duration::from_hours(1);
        (config.connect_timeout, config.rpc_timeout) = (Duration::from_millis(200), Duration::from_secs(5));
    });
    let room = Arc::clone(&bench.checker.0.desk.hands().room);
    let all = room.acquire_many(64).await.unwrap();
    bench.checker.sweep(&[seen(spy.server.address, "UP")]);
    // Longer than the bound on connecting.
    tokio::time::sleep(Duration::from_millis(500)).await;
    drop(all);
    bench.until(|text| !text.contains(" pending ")).await;
    assert!(bench.checker.describe().contains(" up,watched "), "{}", bench.checker.describe());
}

#[tokio::test]
async fn a_server_without_watch_that_keeps_no_connection_is_asked_no_more_often() {
    let spy =
        Spy::answering_by_path(
            |path| {
                if path.ends_with("/Watch") { servers::grpc_head("12") } else { servers::status(1) }
            },
        )
        .await;
    let bench = Bench::with(Duration::from_secs(2), |config| {
        (config.mode, config.reuse) = (CheckMode::Watch, false);
    });
    bench.checker.sweep(&[seen(spy.server.address, "DOWN")]);
    bench.until_described(" up ").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    // One Watch and one Check.
    assert_eq!(spy.heads.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn one_code_instead_of_a_stream_is_one_failure() {
    let watches = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&watches);
    // As a proxy before the server does while that restarts.
    let spy = Spy::answering(move || match counted.fetch_add(1, Ordering::SeqCst) {
        0 => servers::status(1),
        1 => servers::grpc_head("14"),
        _ => servers::open_stream(1),
    })
    .await;
    let bench = watching();
    bench.checker.sweep(&[seen(spy.server.address, "DOWN")]);
    bench.until(|text| watches.load(Ordering::SeqCst) == 3 && text.contains(" up,watched ")).await;
    assert_eq!(bench.said("is DOWN"), 0);
}
