//! What others may know of checks.

use std::time::Duration;

use tonic_health::ServingStatus;

use super::servers::{self, Spy};
use super::{Bench, seen};
use crate::config::CheckSpans;
use crate::health::observe::{self, CheckEvent, Snapshot};
use crate::health::{Class, ServerState};

/// The next so many events.
async fn next(events: &mut tokio::sync::mpsc::Receiver<CheckEvent>, count: usize) -> Vec<CheckEvent> {
    let mut found = Vec::new();
    while found.len() < count {
        let event = tokio::time::timeout(Duration::from_secs(10), events.recv()).await;
        found.push(event.expect("an event").expect("a sender"));
    }
    found
}

#[tokio::test]
async fn changes_alone_are_told_where_no_more_is_wanted() {
    let (reporter, server) = servers::health().await;
    let bench = Bench::telling(CheckSpans::Changes);
    let mut events = bench.checker.events().unwrap();
    assert!(bench.checker.events().is_none());
    bench.checker.sweep(&[seen(server.address, "UP")]);
    let up = next(&mut events, 1).await.remove(0);
    assert_eq!((up.backend.as_str(), up.server.as_str(), up.method), ("b", "s", "Check"));
    assert_eq!((up.result, up.class, up.code), ("pass", None, Some(0)));
    assert_eq!(up.change, Some((ServerState::Unknown, ServerState::Up)));
    assert_eq!((up.address, up.services), (server.address.to_string(), vec![String::new()]));
    assert!(!up.took.is_zero());
    reporter.set_service_status("", ServingStatus::NotServing).await;
    let down = next(&mut events, 1).await.remove(0);
    assert_eq!((down.result, down.class, down.code), ("fail", Some(Class::NotServing), Some(0)));
    assert_eq!(down.change, Some((ServerState::Up, ServerState::Down)));
    let before = bench.checker.observe().servers[0].durations.iter().sum::<u64>();
    let more = |snapshot: &Snapshot| snapshot.servers[0].durations.iter().sum::<u64>() > before + 3;
    until(&bench, more).await;
    assert!(events.try_recv().is_err());
}

#[tokio::test]
async fn failures_are_told_with_their_code_and_class() {
    let spy = Spy::answering(|| servers::grpc_head("14")).await;
    let bench = Bench::telling(CheckSpans::Failures);
    let mut events = bench.checker.events().unwrap();
    bench.checker.sweep(&[seen(spy.server.address, "UP")]);
    let told = next(&mut events, 3).await;
    assert!(
        told.iter().all(|event| (event.result, event.class, event.code) == ("fail", Some(Class::RpcError), Some(14)))
    );
    assert!(told[0].change.is_some() && told[1].change.is_none(), "{told:#?}");
}

#[tokio::test]
async fn all_are_told_where_the_share_is_whole_and_none_where_it_is_off() {
    let (_reporter, server) = servers::health().await;
    let bench = Bench::telling(CheckSpans::Share(1.0));
    let mut events = bench.checker.events().unwrap();
    bench.checker.sweep(&[seen(server.address, "UP")]);
    let told = next(&mut events, 4).await;
    assert_eq!(told.iter().filter(|event| event.change.is_some()).count(), 1);
    assert!(Bench::telling(CheckSpans::Off).checker.events().is_none());
}

#[tokio::test]
async fn events_that_nobody_reads_are_bounded_and_counted() {
    let (_reporter, server) = servers::health().await;
    let bench = Bench::telling(CheckSpans::Share(1.0));
    let events = bench.checker.events().unwrap();
    let many: Vec<_> =
        (0..200).map(|n| crate::health::ServerSeen { server: format!("s{n}"), ..seen(server.address, "UP") }).collect();
    bench.checker.sweep(&many);
    until(&bench, |snapshot| snapshot.events_dropped > 0).await;
    assert_eq!(events.len(), 1024);
}

#[tokio::test]
async fn figures_say_what_the_checks_came_to() {
    let (reporter, server) = servers::health().await;
    let bench = Bench::telling(CheckSpans::Off);
    bench.checker.sweep(&[seen(server.address, "UP")]);
    until(&bench, |snapshot| snapshot.servers[0].checks.iter().any(|(.., count)| *count > 2)).await;
    reporter.set_service_status("", ServingStatus::NotServing).await;
    until(&bench, |snapshot| snapshot.servers[0].state == ServerState::Down).await;
    let snapshot = bench.checker.observe();
    let server = &snapshot.servers[0];
    assert_eq!(server.moves, [("up", 1), ("drain", 0), ("down", 1)]);
    let count =
        |result, class| server.checks.iter().find(|row| (row.0, row.1) == (result, class)).map_or(0, |row| row.2);
    assert!(count("pass", "ok") > 2 && count("fail", "not_serving") > 0, "{:?}", server.checks);
    assert_eq!(server.durations.iter().sum::<u64>(), server.checks.iter().map(|(.., count)| count).sum::<u64>());
    assert!(server.seconds > 0.0);
    assert_eq!(snapshot.connections, 1);
    let mut page = String::new();
    observe::render(&snapshot, &mut page);
    observe::render_agent_names(&snapshot, &mut page);
    assert!(page.contains("haproxy_vitals_health_server_state{backend=\"b\",server=\"s\",state=\"down\"} 1"), "{page}");
}

async fn until(bench: &Bench, is_so: impl Fn(&Snapshot) -> bool) {
    for _ in 0..5000 {
        if is_so(&bench.checker.observe()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("still {:#?}", bench.checker.observe());
}
