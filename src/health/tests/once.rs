//! Checks of any target.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::servers::{self, Spy};
use super::{Bench, seen};
use crate::health::{Class, Outcome, TargetSpec};

fn spec(spy: &Spy) -> TargetSpec {
    let address = spy.server.address;
    TargetSpec { host: address.ip().to_string(), port: address.port(), ..TargetSpec::default() }
}

#[tokio::test]
async fn many_who_ask_at_once_share_one_check_and_one_connection() {
    let spy = Spy::answering(|| servers::status(1)).await;
    let bench = Bench::once();
    let (a, b, c) = (bench.checker.once(spec(&spy)), bench.checker.once(spec(&spy)), bench.checker.once(spec(&spy)));
    let results = tokio::join!(a, b, c);
    assert_eq!([results.0, results.1, results.2].map(|result| result.outcome), [Outcome::Pass; 3]);
    assert_eq!(spy.heads.lock().unwrap().len(), 1);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(bench.checker.once(spec(&spy)).await.outcome, Outcome::Pass);
    assert_eq!(spy.heads.lock().unwrap().len(), 2);
    assert_eq!(spy.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_authority_is_its_own_target() {
    let spy = Spy::answering(|| servers::status(1)).await;
    let bench = Bench::once();
    for name in ["first.example", "second.example"] {
        let spec = TargetSpec { authority: Some(name.to_owned()), ..spec(&spy) };
        assert_eq!(bench.checker.once(spec).await.outcome, Outcome::Pass);
    }
    let heads = spy.heads.lock().unwrap();
    let names: Vec<_> = heads.iter().map(|head| head.uri.authority().unwrap().as_str().to_owned()).collect();
    assert_eq!(names, ["first.example", "second.example"]);
}

#[tokio::test]
async fn what_cannot_be_checked_holds_and_says_why() {
    let bench = Bench::once();
    for (spec, reason) in [
        (TargetSpec { host: "a b".to_owned(), port: 1, ..TargetSpec::default() }, "not understood"),
        (TargetSpec { host: "127.0.0.1".to_owned(), ..TargetSpec::default() }, "names no port"),
        (
            TargetSpec {
                host: "127.0.0.1".to_owned(),
                port: 1,
                authority: Some("a@b".to_owned()),
                ..TargetSpec::default()
            },
            "authority",
        ),
        (
            TargetSpec {
                host: "127.0.0.1".to_owned(),
                port: 1,
                backend: Some("x".to_owned()),
                ..TargetSpec::default()
            },
            "no backend of that name",
        ),
    ] {
        let result = bench.checker.once(spec).await;
        assert_eq!(result.outcome, Outcome::Hold(Class::Fault));
        assert!(result.text.contains(reason), "{result:?}");
    }
}

#[tokio::test]
async fn no_more_than_so_many_targets_are_known() {
    let bench = Bench::once();
    let closed = servers::listen("127.0.0.1:0").await.local_addr().unwrap();
    for n in 0..300 {
        let spec = TargetSpec {
            host: "127.0.0.1".to_owned(),
            port: closed.port(),
            service: Some(n.to_string()),
            ..TargetSpec::default()
        };
        assert_eq!(bench.checker.once(spec).await.outcome, Outcome::SoftFail(Class::Connect));
    }
    assert_eq!(bench.checker.0.desk.len(), 256);
}

#[tokio::test]
async fn a_stopped_checker_says_nothing() {
    let spy = Spy::answering(|| servers::status(1)).await;
    let bench = Bench::once();
    bench.checker.sweep(&[seen(spy.server.address, "UP")]);
    bench.checker.stop();
    assert!(matches!(bench.checker.once(spec(&spy)).await.outcome, Outcome::Hold(_)));
}

#[tokio::test]
async fn a_result_of_no_age_is_shared_by_those_who_wait_for_it() {
    let spy = Spy::answering(|| servers::status(1)).await;
    let bench = Bench::once_with(|single| single.max_age = Duration::ZERO);
    let ask = || bench.checker.once(spec(&spy));
    let results = tokio::join!(ask(), ask(), ask(), ask(), ask());
    let results = [results.0, results.1, results.2, results.3, results.4];
    assert_eq!(results.map(|result| result.outcome), [Outcome::Pass; 5]);
    assert_eq!(spy.heads.lock().unwrap().len(), 1);
    assert_eq!(bench.checker.once(spec(&spy)).await.outcome, Outcome::Pass);
    assert_eq!(spy.heads.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn who_asks_over_the_network_is_led_into_allowed_networks_only() {
    let spy = Spy::answering(|| servers::status(1)).await;
    let bench = Bench::once_with(|single| single.allow_to = vec!["10.0.0.0/8".parse().unwrap()]);
    for host in ["127.0.0.1", "localhost", "::ffff:127.0.0.1"] {
        let spec = TargetSpec { foreign: true, host: host.to_owned(), ..spec(&spy) };
        let result = bench.checker.once(spec).await;
        assert_eq!(result.outcome, Outcome::Hold(Class::Forbidden), "{host}: {result:?}");
        assert!(result.text.ends_with("is not in `agent.allow_to`"), "{result:?}");
    }
    assert_eq!(spy.connections.load(Ordering::SeqCst), 0);
    assert_eq!(bench.checker.once(spec(&spy)).await.outcome, Outcome::Pass);
}

#[tokio::test]
async fn who_waits_longer_does_not_get_the_failure_of_who_did_not() {
    let late = |_: usize, stream| async move {
        tokio::time::sleep(Duration::from_millis(300)).await;
        Some(stream)
    };
    let spy = Spy::start(|| servers::status(1), late).await;
    let bench = Bench::once();
    let hasty = |bound| bench.checker.once_within(spec(&spy), Duration::from_millis(bound));
    assert_eq!(hasty(50).await.outcome, Outcome::SoftFail(Class::Timeout));
    // Who waits no longer shares it.
    assert_eq!(hasty(20).await.text, "no answer within 50 ms, the connection included");
    assert_eq!(bench.checker.once(spec(&spy)).await.outcome, Outcome::Pass);
}
