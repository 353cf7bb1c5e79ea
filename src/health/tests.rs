//! The checker as the host sees it, with real gRPC servers.

mod agent;
mod bridge;
mod connections;
mod inquiry;
mod interface;
mod observing;
mod once;
mod panic;
mod servers;
mod tls;
mod watching;
mod weights;
mod wire;

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tonic_health::ServingStatus;

use super::{Action, Checker, Force, ServerSeen};
use crate::config::{BackendConfig, CheckSpans, HealthConfig, SingleConfig};
use crate::log::Level;

struct Bench {
    checker: Checker,
    lines: Arc<Mutex<Vec<(Level, String)>>>,
    stop: watch::Sender<bool>,
}

impl Bench {
    /// Checks backend `b` every 50 ms.
    fn new() -> Self {
        Self::every(Duration::from_millis(50))
    }

    /// Checks backend `b` once: an hour passes in no test.
    fn once() -> Self {
        Self::every(Duration::from_hours(1))
    }

    /// The same, with other settings for checks of any target.
    fn once_with(change: impl FnOnce(&mut SingleConfig)) -> Self {
        let mut config = HealthConfig::default();
        change(&mut config.single);
        let (tasks, stop) = servers::tasks();
        Self {
            checker: Checker::with_log(&config, &tasks, Box::new(|_, _, _| {})).unwrap(),
            lines: Arc::default(),
            stop,
        }
    }

    fn every(interval: Duration) -> Self {
        Self::with(interval, |_| {})
    }

    /// The same with other settings.
    fn with(interval: Duration, change: impl FnOnce(&mut BackendConfig)) -> Self {
        let mut backend =
            BackendConfig { interval, fast_interval: interval, down_interval: interval, ..BackendConfig::named("b") };
        change(&mut backend);
        Self::of(&HealthConfig { backends: vec![backend], ..HealthConfig::default() })
    }

    fn of(config: &HealthConfig) -> Self {
        let (tasks, stop) = servers::tasks();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let said = Arc::clone(&lines);
        let say = Box::new(move |level, text, _| said.lock().unwrap().push((level, text)));
        Self { checker: Checker::with_log(config, &tasks, say).unwrap(), lines, stop }
    }

    /// Checks backend `b` every 20 ms, and tells of checks as `spans` has it.
    fn telling(spans: CheckSpans) -> Self {
        let every = Duration::from_millis(20);
        let backend =
            BackendConfig { interval: every, fast_interval: every, down_interval: every, ..BackendConfig::named("b") };
        let (tasks, stop) = servers::tasks();
        let config = HealthConfig { backends: vec![backend], spans, ..HealthConfig::default() };
        let checker = Checker::with_log(&config, &tasks, Box::new(|_, _, _| {})).unwrap();
        Self { checker, lines: Arc::default(), stop }
    }

    /// Waits for actions.
    async fn changes(&self) -> Vec<Action> {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            let changes = self.checker.changes();
            if !changes.is_empty() {
                return changes;
            }
            assert!(Instant::now() < end, "nothing changed:\n{}", self.checker.describe());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn until_described(&self, text: &str) {
        self.until(|description| description.contains(text)).await;
    }

    /// Waits for [`Checker::describe`] to say what `is_so` looks for.
    async fn until(&self, is_so: impl Fn(&str) -> bool) {
        let end = Instant::now() + Duration::from_secs(10);
        while !is_so(&self.checker.describe()) {
            assert!(Instant::now() < end, "still:\n{}", self.checker.describe());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Waits for a line of the log.
    async fn until_said(&self, text: &str) {
        let end = Instant::now() + Duration::from_secs(10);
        while self.said(text) == 0 {
            assert!(Instant::now() < end, "not said: {text}: {:?}", self.lines.lock().unwrap());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    fn said(&self, text: &str) -> usize {
        self.lines.lock().unwrap().iter().filter(|(_, line)| line.contains(text)).count()
    }
}

fn seen(address: impl std::fmt::Display, status: &str) -> ServerSeen {
    ServerSeen {
        backend: "b".to_owned(),
        server: "s".to_owned(),
        id: 1,
        address: format!("{address}"),
        status: status.to_owned(),
        native_check: false,
        tracks: false,
        tls: None,
        name: None,
        weight: None,
    }
}

/// Another server of `b`, up.
fn seen_as(server: &str, address: impl std::fmt::Display) -> ServerSeen {
    ServerSeen { server: server.to_owned(), ..seen(address, "UP") }
}

fn forces(actions: &[Action]) -> Vec<Force> {
    actions.iter().filter_map(|action| action.force).collect()
}

#[tokio::test]
async fn a_server_is_down_until_its_first_result_which_comes_at_once() {
    let (_reporter, server) = servers::health().await;
    let bench = Bench::once();
    assert_eq!(forces(&bench.checker.initial(&[seen(server.address, "no check")])), [Force::Down]);
    let changes = bench.changes().await;
    let up = Action {
        backend: "b".to_owned(),
        server: "s".to_owned(),
        id: 1,
        force: Some(Force::Up),
        weight: None,
        reason: "SERVING (service \"\")".to_owned(),
    };
    assert_eq!(changes, [up]);
    assert_eq!(bench.checker.sweep(&[seen(server.address, "no check")]), []);
    assert_eq!(bench.checker.changes(), []);
}

#[tokio::test]
async fn not_serving_goes_down_and_serving_comes_back() {
    let (reporter, server) = servers::health().await;
    let bench = Bench::new();
    bench.checker.sweep(&[seen(server.address, "DOWN")]);
    assert_eq!(forces(&bench.changes().await), [Force::Up]);
    reporter.set_service_status("", ServingStatus::NotServing).await;
    let down = bench.changes().await;
    assert_eq!(forces(&down), [Force::Down]);
    assert!(down[0].reason.starts_with("NOT_SERVING"));
    reporter.set_service_status("", ServingStatus::Serving).await;
    assert_eq!(forces(&bench.changes().await), [Force::Up]);
    assert_eq!(bench.said("b/s is DOWN: NOT_SERVING (service \"\")"), 1);
    assert_eq!(bench.said("b/s is UP: SERVING (service \"\")"), 2);
}

#[tokio::test]
async fn a_failure_that_goes_on_is_said_once() {
    let address = servers::listen("127.0.0.1:0").await.local_addr().unwrap();
    let bench = Bench::new();
    bench.checker.sweep(&[seen(address, "DOWN")]);
    let checks = |text: &str| text.split_once("checks=")?.1.split(' ').next()?.parse::<u64>().ok();
    bench.until(|text| checks(text) > Some(8)).await;
    let lines = bench.lines.lock().unwrap();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].1.starts_with("b/s is DOWN: ") && lines[0].0 == Level::Notice);
}

#[tokio::test]
async fn maintenance_is_left_alone() {
    let (reporter, server) = servers::health().await;
    let bench = Bench::new();
    assert_eq!(bench.checker.sweep(&[seen(server.address, "MAINT")]), []);
    bench.until_described("b/s 127.0.0.1:").await;
    bench.until_described(" up ").await;
    assert_eq!(bench.checker.changes(), []);
    reporter.set_service_status("", ServingStatus::NotServing).await;
    bench.until_described(" down ").await;
    assert_eq!(bench.checker.sweep(&[seen(server.address, "MAINT")]), []);
    assert_eq!(bench.checker.changes(), []);
}

#[tokio::test]
async fn leaving_maintenance_forces_down_again() {
    let (reporter, server) = servers::health().await;
    reporter.set_service_status("", ServingStatus::NotServing).await;
    let bench = Bench::new();
    bench.checker.sweep(&[seen(server.address, "MAINT")]);
    bench.until_described(" down ").await;
    let actions = bench.checker.sweep(&[seen(server.address, "no check")]);
    assert_eq!(forces(&actions), [Force::Down]);
    assert!(actions[0].reason.starts_with("NOT_SERVING"));
    assert_eq!(bench.checker.sweep(&[seen(server.address, "DOWN")]), []);
}

#[tokio::test]
async fn an_agents_verdict_is_not_overruled() {
    let (_reporter, server) = servers::health().await;
    let bench = Bench::new();
    assert_eq!(bench.checker.sweep(&[seen(server.address, "DOWN (agent)")]), []);
    bench.until_described(" up ").await;
    assert_eq!(bench.checker.changes(), []);
}

#[tokio::test]
async fn stopped_checker_changes_nothing() {
    let (reporter, server) = servers::health().await;
    for by_signal in [false, true] {
        let bench = Bench::new();
        reporter.set_service_status("", ServingStatus::Serving).await;
        bench.checker.sweep(&[seen(server.address, "no check")]);
        bench.until_described(" up ").await;
        if by_signal {
            bench.stop.send(true).unwrap();
        } else {
            bench.checker.stop();
        }
        reporter.set_service_status("", ServingStatus::NotServing).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(bench.checker.changes(), []);
        assert_eq!(bench.checker.sweep(&[seen(server.address, "DOWN")]), []);
        assert_eq!(bench.checker.initial(&[seen("127.0.0.1:1", "UP")]), []);
        assert!(bench.checker.describe().contains(" up,held "), "{}", bench.checker.describe());
    }
}

#[tokio::test]
async fn re_addressed_server_checks_the_new_address() {
    let (_reporter, old) = servers::health().await;
    let (reporter, new) = servers::health().await;
    reporter.set_service_status("", ServingStatus::NotServing).await;
    let bench = Bench::new();
    bench.checker.sweep(&[seen(old.address, "DOWN")]);
    assert_eq!(forces(&bench.changes().await), [Force::Up]);
    assert_eq!(forces(&bench.checker.sweep(&[seen(new.address, "no check")])), [Force::Down]);
    bench.until_described("NOT_SERVING").await;
    assert!(bench.checker.describe().contains(&new.address.to_string()));
}

#[tokio::test]
async fn a_server_added_again_under_another_id_starts_afresh() {
    let (_reporter, server) = servers::health().await;
    let bench = Bench::new();
    bench.checker.sweep(&[seen(server.address, "DOWN")]);
    bench.changes().await;
    let again = ServerSeen { id: 2, ..seen(server.address, "no check") };
    let actions = bench.checker.sweep(&[again]);
    assert_eq!(actions[0].id, 2);
    assert_eq!(actions[0].force, Some(Force::Down));
    assert!(bench.checker.describe().contains(" pending since="));
    assert_eq!(bench.changes().await[0].id, 2);
}

#[tokio::test]
async fn a_vanished_server_is_let_go() {
    let spy = servers::Spy::answering(|| servers::status(1)).await;
    let bench = Bench::new();
    bench.checker.sweep(&[seen(spy.server.address, "DOWN")]);
    bench.until_described(" up ").await;
    assert_eq!(bench.checker.sweep(&[]), []);
    assert_eq!(bench.checker.changes(), []);
    assert!(bench.checker.describe().starts_with("servers: 0,"));
    tokio::time::sleep(Duration::from_millis(50)).await;
    let asked = spy.heads.lock().unwrap().len();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(spy.heads.lock().unwrap().len(), asked);
    assert_eq!(spy.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn what_cannot_be_checked_is_named_once_and_left_alone() {
    let bench = Bench::new();
    let named = |name: &str, address: &str| ServerSeen { server: name.to_owned(), ..seen(address, "UP") };
    let servers = [
        ServerSeen { native_check: true, ..named("native", "127.0.0.1:1") },
        ServerSeen { tracks: true, ..named("tracker", "127.0.0.1:1") },
        named("resolving", "<unknown>"),
        named("abstract", ""),
        named("portless", ":0"),
        named("offset", ":100"),
        ServerSeen { backend: "other".to_owned(), ..seen("127.0.0.1:1", "UP") },
    ];
    for _ in 0..3 {
        assert_eq!(bench.checker.sweep(&servers), []);
    }
    assert_eq!(bench.lines.lock().unwrap().len(), 6);
    assert_eq!(bench.said("b/native is not checked: its server line has `check`"), 1);
    assert_eq!(bench.said("leave backend b out of [health]"), 1);
    assert!(bench.checker.describe().starts_with("servers: 0, up: 0, drain: 0, down: 0, pending: 0, skipped: 6, "));
}

#[tokio::test]
async fn native_check_that_maintenance_hides_is_still_there() {
    let bench = Bench::new();
    let native = ServerSeen { native_check: true, ..seen("127.0.0.1:1", "UP") };
    for server in [&native, &seen("127.0.0.1:1", "MAINT"), &native] {
        assert_eq!(bench.checker.sweep(std::slice::from_ref(server)), []);
        assert!(bench.checker.describe().contains("b/s 127.0.0.1:1 skipped: "));
    }
    assert_eq!(bench.lines.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn backends_that_haproxy_lacks_are_named() {
    let bench = Bench::new();
    assert_eq!(bench.checker.unknown_backends(&["a".to_owned()]), ["b"]);
    assert!(bench.checker.unknown_backends(&["a".to_owned(), "b".to_owned()]).is_empty());
}

#[tokio::test]
async fn the_description_shows_each_server() {
    let (_reporter, server) = servers::health().await;
    let bench = Bench::once();
    let SocketAddr::V4(address) = server.address else { panic!("not IPv4") };
    bench.checker.sweep(&[seen(address, "DOWN")]);
    bench.until_described("checks=1 ").await;
    let text = bench.checker.describe();
    let mut lines = text.lines();
    let summary = lines.next().unwrap();
    assert!(
        summary.starts_with("servers: 1, up: 1, drain: 0, down: 0, pending: 0, skipped: 0, checks: 1, "),
        "{summary}"
    );
    let line = lines.next().unwrap();
    let expected =
        format!("b/s {address} up since=0s last=\"SERVING\" class=ok rise=0/2 fall=0/3 checks=1 overdue=0 took=");
    assert!(line.starts_with(&expected), "{line}");
    assert_eq!(lines.next(), None);
}
