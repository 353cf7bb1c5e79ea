//! What HAProxy's stats socket tells of servers, and what happens when it does not.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::servers::{self, Running, Spy};
use super::{Bench, seen};
use crate::config::{BackendConfig, HealthConfig, StatsSocket, TlsMode};
use crate::health::address::Address;
use crate::health::registry::Asked;
use crate::health::{Force, ServerState};

/// A stats socket that answers what it is told to; nothing at first: it hangs up.
struct Stats {
    text: Arc<Mutex<String>>,
    asked: Arc<AtomicUsize>,
    running: Running,
}

impl Stats {
    async fn start() -> Self {
        let (text, asked) = (Arc::new(Mutex::new(String::new())), Arc::new(AtomicUsize::new(0)));
        let (answer, count) = (Arc::clone(&text), Arc::clone(&asked));
        let running = servers::raw(move |mut stream| {
            let (answer, count) = (Arc::clone(&answer), Arc::clone(&count));
            async move {
                let _ = stream.read(&mut [0; 64]).await;
                count.fetch_add(1, Ordering::SeqCst);
                let answer = answer.lock().unwrap().clone();
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
                stream
            }
        });
        Self { text, asked, running: running.await }
    }

    /// Answers so from now on, as the process `pid`. A server's name, `srv_use_ssl` and `srv_fqdn` each.
    fn tell_as(&self, pid: u32, servers: &[&str]) {
        let lines = servers.iter().fold(String::new(), |lines, line| lines + "b " + line + "\n");
        *self.text.lock().unwrap() = format!("Pid: {pid}\n\n1\n# be_name srv_name srv_use_ssl srv_fqdn\n{lines}\n");
    }

    fn tell(&self, servers: &[&str]) {
        self.tell_as(std::process::id(), servers);
    }

    /// Checks backend `b` every 50 ms, with what this one tells.
    fn bench(&self, change: impl FnOnce(&mut BackendConfig)) -> Bench {
        let interval = Duration::from_millis(50);
        let mut backend =
            BackendConfig { interval, fast_interval: interval, down_interval: interval, ..BackendConfig::named("b") };
        change(&mut backend);
        let stats_socket = Some(StatsSocket::Tcp(self.running.address));
        Bench::of(&HealthConfig { backends: vec![backend], stats_socket, ..HealthConfig::default() })
    }
}

fn auto(backend: &mut BackendConfig) {
    backend.tls = TlsMode::Auto;
    backend.insecure_skip_verify = true;
}

fn is_plain(head: &http::request::Parts) -> bool {
    head.uri.scheme_str() == Some("http")
}

#[tokio::test]
async fn server_is_not_asked_before_something_is_told_of_it() {
    let (spy, stats) = (Spy::answering(|| servers::status(1)).await, Stats::start().await);
    let bench = stats.bench(auto);
    bench.checker.sweep(&[seen(spy.server.address, "DOWN")]);
    bench.until_described(" failures").await;
    bench.until_described(" ssl=awaited").await;
    assert_eq!(spy.connections.load(Ordering::SeqCst), 0);
    stats.tell(&["s 0 shop.example"]);
    bench.until_described(" ssl=off name=shop.example").await;
    bench.until_described(" up ").await;
    let heads = spy.heads.lock().unwrap();
    let port = spy.server.address.port();
    assert!(is_plain(&heads[0]));
    assert_eq!(heads[0].uri.authority().unwrap().as_str(), format!("shop.example:{port}"));
}

#[tokio::test]
async fn server_that_haproxy_encrypts_is_asked_over_tls() {
    let (spy, stats) = (Spy::answering(|| servers::status(1)).await, Stats::start().await);
    stats.tell(&["s 1 -"]);
    let bench = stats.bench(auto);
    bench.checker.sweep(&[seen(spy.server.address, "DOWN")]);
    // It speaks no TLS: that is how it shows.
    bench.until_described("class=tls").await;
    bench.until_described(" ssl=on").await;
    assert!(spy.heads.lock().unwrap().is_empty());
    // As after `set server b/s ssl off`: learnt by the sweep, or, as here, when something else is new.
    stats.tell(&["s 0 -"]);
    bench.checker.sweep(&[seen(spy.server.address, "DOWN"), super::seen_as("t", spy.server.address)]);
    bench.until(|text| text.contains("b/s ") && text.contains(" up ") && text.contains("ssl=off")).await;
}

#[tokio::test]
async fn without_an_answer_checks_begin_after_two_seconds_with_one_warning() {
    let (spy, stats) = (Spy::answering(|| servers::status(1)).await, Stats::start().await);
    let bench = stats.bench(auto);
    let begun = Instant::now();
    bench.checker.sweep(&[seen(spy.server.address, "DOWN"), super::seen_as("t", spy.server.address)]);
    bench.until_described("up: 2,").await;
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(1900), "after {took:?}");
    assert_eq!(bench.said("health.stats_socket has not told whether it is encrypted"), 1);
    bench.until_said("health.stats_socket 127.0.0.1:").await;
    assert_eq!(bench.said("does not answer `show info`"), 1);
    // From now on nobody waits.
    let begun = Instant::now();
    bench.checker.sweep(&[seen(spy.server.address, "UP"), super::seen_as("u", spy.server.address)]);
    bench.until(|text| text.contains("b/u ") && text.contains("up: 2,")).await;
    assert!(begun.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn what_is_learnt_late_changes_the_question_and_not_the_verdict() {
    let (spy, stats) = (Spy::answering(|| servers::status(1)).await, Stats::start().await);
    let bench = stats.bench(|_| {});
    bench.checker.sweep(&[seen(spy.server.address, "DOWN")]);
    bench.until_described(" up ").await;
    stats.tell(&["s 0 shop.example"]);
    bench.until_described(" name=shop.example").await;
    assert_eq!(bench.checker.status("b", "s").unwrap().state, ServerState::Up);
    assert_eq!(bench.checker.sweep(&[seen(spy.server.address, "UP")]), []);
    let named = || spy.heads.lock().unwrap().iter().any(|head| head.uri.host() == Some("shop.example"));
    bench.until(|_| named()).await;
    assert_eq!(bench.said(" is DOWN"), 0);
    assert_eq!(bench.said("health.stats_socket answers again"), 1);
}

#[tokio::test]
async fn another_process_is_not_believed() {
    let (spy, stats) = (Spy::answering(|| servers::status(1)).await, Stats::start().await);
    stats.tell_as(1, &["s 1 -"]);
    let bench = stats.bench(auto);
    bench.checker.sweep(&[seen(spy.server.address, "DOWN")]);
    bench.until_described(" up ").await;
    bench.until_said("another process answers: 1, not ").await;
    assert!(!bench.checker.describe().contains("ssl=on"));
}

#[tokio::test]
async fn what_was_told_of_a_former_server_is_not_believed_of_the_next() {
    let (spy, stats) = (Spy::answering(|| servers::status(1)).await, Stats::start().await);
    stats.tell(&["s 1 old.example"]);
    let bench = stats.bench(auto);
    bench.checker.sweep(&[seen(spy.server.address, "DOWN")]);
    bench.until_described(" name=old.example").await;
    stats.text.lock().unwrap().clear();
    let next = crate::health::ServerSeen { id: 2, ..seen(spy.server.address, "DOWN") };
    let actions = bench.checker.sweep(&[next]);
    assert_eq!(actions, []);
    bench.until_described(" ssl=awaited").await;
    stats.tell(&["s 0 new.example"]);
    bench.until_described(" ssl=off name=new.example").await;
    assert!(spy.heads.lock().unwrap().iter().all(|head| head.uri.host() == Some("new.example")));
}

#[tokio::test]
async fn agent_knows_a_server_by_what_is_told_of_it() {
    let (spy, stats) = (Spy::answering(|| servers::status(1)).await, Stats::start().await);
    stats.tell(&["s 1 shop.example"]);
    let bench = stats.bench(auto);
    bench.checker.sweep(&[seen(spy.server.address, "DOWN")]);
    bench.until_described(" ssl=on name=shop.example").await;
    let address = Address::of("shop.example", spy.server.address.port()).unwrap();
    let meant = |tls| bench.checker.status_of(Asked { address: &address, tls, authority: "shop.example" });
    assert_eq!(meant(true).map(|(backend, _)| backend).as_deref(), Some("b"));
    assert!(meant(false).is_none());
}

#[tokio::test]
async fn server_that_waits_gets_what_init_says() {
    let (spy, stats) = (Spy::answering(|| servers::status(1)).await, Stats::start().await);
    let bench = stats.bench(auto);
    let actions = bench.checker.sweep(&[seen(spy.server.address, "UP")]);
    assert_eq!(super::forces(&actions), [Force::Down]);
    assert_eq!(bench.checker.status("b", "s").unwrap().state, ServerState::Unknown);
}

#[tokio::test]
async fn slot_of_a_template_that_empties_again_is_named_once() {
    let (spy, stats) = (Spy::answering(|| servers::status(1)).await, Stats::start().await);
    let bench = stats.bench(|_| {});
    for address in ["<unknown>", &spy.server.address.to_string(), "<unknown>"] {
        bench.checker.sweep(&[seen(address, "MAINT (resolution)")]);
        bench.checker.sweep(&[seen(address, "MAINT (resolution)")]);
    }
    assert_eq!(bench.said("b/s is not checked: its name is not resolved"), 1);
    assert!(bench.checker.describe().contains("b/s <unknown> skipped: its name is not resolved"));
}

#[tokio::test]
async fn stopped_checker_asks_no_more() {
    let (spy, stats) = (Spy::answering(|| servers::status(1)).await, Stats::start().await);
    let bench = stats.bench(|_| {});
    bench.checker.sweep(&[seen(spy.server.address, "DOWN")]);
    let asked = || stats.asked.load(Ordering::SeqCst);
    bench.until(|_| asked() > 2).await;
    bench.checker.stop();
    // One may be under way.
    let (most, end) = (asked() + 1, Instant::now() + Duration::from_secs(2));
    while Instant::now() < end {
        assert!(asked() <= most, "asked {} times", asked());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
