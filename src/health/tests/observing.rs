//! What others may know of checks.

use std::time::Duration;

use tonic_health::ServingStatus;

use super::servers::{self, Spy};
use super::{Bench, seen};
use crate::config::{CheckSpans, Config};
use crate::health::observe::{CheckEvent, CheckMetrics, Snapshot};
use crate::health::{Class, Outcome, ServerSeen, ServerState, TargetSpec};
use crate::metrics::{Data, MeterSource, Metric};

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
    let before = made(&bench.checker.observe());
    let more = |snapshot: &Snapshot| made(snapshot) > before + 3;
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
    let many: Vec<_> = (0..200).map(|n| ServerSeen { server: format!("s{n}"), ..seen(server.address, "UP") }).collect();
    bench.checker.sweep(&many);
    until(&bench, |snapshot| snapshot.events_dropped > 0).await;
    assert_eq!(events.len(), 1024);
}

#[tokio::test]
async fn figures_say_what_the_checks_came_to() {
    let (reporter, server) = servers::health().await;
    let bench = Bench::telling(CheckSpans::Off);
    bench.checker.sweep(&[seen(server.address, "UP")]);
    until(&bench, |snapshot| made(snapshot) > 2).await;
    reporter.set_service_status("", ServingStatus::NotServing).await;
    until(&bench, |snapshot| snapshot.servers[0].state == ServerState::Down).await;
    let snapshot = bench.checker.observe();
    let server = &snapshot.servers[0];
    assert_eq!(server.moves, [("up", 1), ("drain", 0), ("down", 1)]);
    let count = |of, why| server.tally.count(|result, class| (result, class) == (of, why));
    assert!(count("pass", None) > 2 && count("fail", Some(Class::NotServing)) > 0, "{:?}", server.tally);
    assert_eq!(made(&snapshot), server.tally.count(|_, _| true));
    assert!(server.tally.seconds > 0.0 && server.last_move.is_some());
    assert_eq!((snapshot.connections, snapshot.stopped), (1, false));
    assert!(snapshot.lateness.checks() >= made(&snapshot));
}

#[tokio::test]
async fn a_server_at_another_address_goes_on_counting_and_another_server_does_not() {
    let (_reporter, server) = servers::health().await;
    let bench = Bench::once();
    let first = seen(server.address, "UP");
    bench.checker.sweep(std::slice::from_ref(&first));
    until(&bench, |snapshot| made(snapshot) == 1).await;
    let (_reporter, elsewhere) = servers::health().await;
    let moved = ServerSeen { address: elsewhere.address.to_string(), ..first };
    bench.checker.sweep(std::slice::from_ref(&moved));
    until(&bench, |snapshot| made(snapshot) == 2).await;
    bench.checker.sweep(&[ServerSeen { id: 2, ..moved }]);
    until(&bench, |snapshot| made(snapshot) == 1).await;
}

#[tokio::test]
async fn single_checks_are_counted_apart_each_once() {
    let spy = Spy::answering(|| servers::status(1)).await;
    let bench = Bench::once();
    let spec = TargetSpec {
        host: spy.server.address.ip().to_string(),
        port: spy.server.address.port(),
        ..TargetSpec::default()
    };
    // The second is given the first one's result.
    for _ in 0..2 {
        assert_eq!(bench.checker.once(spec.clone()).await.outcome, Outcome::Pass);
    }
    let single = bench.checker.observe().single;
    assert_eq!((single.checks, single.durations.iter().sum::<u64>()), (vec![("pass", None, 1)], 1));
    let metrics = metrics(&bench, &Config::default());
    assert_eq!(numbers(&metrics, "haproxy.health.single_checks"), [(vec!["haproxy.health.result"], 1)]);
    assert!(numbers(&metrics, "haproxy.health.checks").is_empty());
}

#[tokio::test]
async fn what_a_target_tells_that_somebody_watches_is_a_single_check() {
    let (_reporter, server) = servers::health().await;
    let bench = Bench::once();
    let spec =
        TargetSpec { host: server.address.ip().to_string(), port: server.address.port(), ..TargetSpec::default() };
    let second = Duration::from_secs(1);
    let mut watching = bench.checker.watch(&spec, second, second).unwrap();
    assert_eq!(watching.changed().await.state, ServerState::Up);
    until(&bench, |snapshot| snapshot.single.count(|result, _| result == "pass") >= 1).await;
    assert!(bench.checker.observe().servers.is_empty());
}

#[tokio::test]
async fn metrics_have_one_series_for_each_state_until_the_checks_end() {
    let (_reporter, server) = servers::health().await;
    let bench = Bench::once();
    bench.checker.sweep(&[seen(server.address, "UP")]);
    until(&bench, |snapshot| snapshot.servers[0].state == ServerState::Up).await;
    let before = metrics(&bench, &Config::default());
    let states: Vec<_> = numbers(&before, "haproxy.health.server.state").into_iter().map(|(_, value)| value).collect();
    assert_eq!(states, [1, 0, 0, 0]);
    let names = ["haproxy.backend.name", "haproxy.server.name", "haproxy.health.result"];
    assert_eq!(numbers(&before, "haproxy.health.checks"), [(names.to_vec(), 1)]);
    // Nobody listens.
    assert!(!before.iter().any(|metric| metric.name.starts_with("haproxy.health.listener")));
    bench.checker.stop();
    let after = metrics(&bench, &Config::default());
    assert!(numbers(&after, "haproxy.health.server.state").is_empty());
    assert_eq!(numbers(&after, "haproxy.health.checks"), [(names.to_vec(), 1)]);
}

#[tokio::test]
async fn servers_beyond_the_limit_are_counted_together() {
    let (_reporter, server) = servers::health().await;
    let bench = Bench::once();
    let many: Vec<_> =
        (0..5).map(|n| ServerSeen { server: format!("s{n}"), id: n, ..seen(server.address, "UP") }).collect();
    bench.checker.sweep(&many);
    let all = |snapshot: &Snapshot| snapshot.servers.iter().map(|server| server.tally.count(|_, _| true)).sum::<u64>();
    until(&bench, |snapshot| all(snapshot) == 5).await;
    let mut config = Config::default();
    config.metrics.cardinality_limit = 3;
    let metrics = metrics(&bench, &config);
    let checks: Vec<_> =
        numbers(&metrics, "haproxy.health.checks").into_iter().map(|(names, value)| (names.len(), value)).collect();
    assert_eq!(checks, [(3, 1), (3, 1), (1, 3)]);
}

#[tokio::test]
async fn metrics_do_not_keep_the_checker() {
    let bench = Bench::once();
    let source = CheckMetrics::new(&bench.checker, &Config::default());
    drop(bench);
    let mut metrics = Vec::new();
    // A task may hold it for a moment.
    for _ in 0..5000 {
        metrics.clear();
        source.collect(&mut metrics);
        if metrics.is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("{metrics:?}");
}

fn metrics(bench: &Bench, config: &Config) -> Vec<Metric> {
    let mut metrics = Vec::new();
    CheckMetrics::new(&bench.checker, config).collect(&mut metrics);
    metrics
}

/// The points of a metric: names of attributes, and value.
fn numbers(metrics: &[Metric], name: &str) -> Vec<(Vec<&'static str>, i64)> {
    let Some(metric) = metrics.iter().find(|metric| metric.name == name) else { return Vec::new() };
    match &metric.data {
        Data::Counter(points) | Data::UpDownCounter(points) | Data::Gauge(points) => {
            points.iter().map(|point| (point.attributes.iter().map(|(name, _)| name).collect(), point.value)).collect()
        }
        Data::Histogram { .. } => panic!("{metric:?}"),
    }
}

/// Checks of the first server that took some time.
fn made(snapshot: &Snapshot) -> u64 {
    snapshot.servers[0].tally.durations.iter().sum()
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
