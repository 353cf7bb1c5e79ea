//! The agent over real sockets.

mod targets;

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic_health::ServingStatus;

use super::{Bench, seen, servers};
use crate::config::{AgentConfig, BackendConfig, HealthConfig, OnAgentError, OnNotServing};
use crate::health::AgentListener;
use crate::stats;

/// A listening agent in front of a checker.
struct Rig {
    bench: Bench,
    address: std::net::SocketAddr,
    _stop: tokio::sync::watch::Sender<bool>,
}

fn rig(change: impl FnOnce(&mut BackendConfig), agent: impl FnOnce(&mut AgentConfig)) -> Rig {
    let mut backend = BackendConfig::named("b");
    change(&mut backend);
    let copy = backend.clone();
    let bench = Bench::with(Duration::from_millis(50), |config| {
        config.not_serving = copy.not_serving;
    });
    let health = HealthConfig { backends: vec![backend], ..HealthConfig::default() };
    rig_of(bench, &health, agent)
}

fn rig_of(bench: Bench, health: &HealthConfig, agent: impl FnOnce(&mut AgentConfig)) -> Rig {
    let mut config = AgentConfig { listen: Some("127.0.0.1:0".parse().unwrap()), ..AgentConfig::default() };
    agent(&mut config);
    let (tasks, stop) = servers::tasks();
    let listener = AgentListener::bind(&config, health, &bench.checker, &tasks).unwrap().unwrap();
    let address = listener.address().unwrap();
    tasks.spawn("agent door", listener.run(tasks.stop()));
    Rig { bench, address, _stop: stop }
}

fn plain() -> Rig {
    rig(|_| {}, |_| {})
}

impl Rig {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// What comes back for these bytes until the connection ends; our side stays open.
    async fn told(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        // Who is cut off in the middle gets an answer all the same.
        let _ = stream.write_all(bytes).await;
        let mut text = String::new();
        let _ = tokio::time::timeout(Duration::from_secs(20), stream.read_to_string(&mut text)).await.unwrap();
        text
    }

    /// The answer to one line.
    async fn ask(&self, line: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(line.as_bytes()).await.unwrap();
        reply(&mut stream).await
    }
}

async fn reply(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    while !text.ends_with('\n') {
        let byte = tokio::time::timeout(Duration::from_secs(10), stream.read_u8()).await.unwrap().unwrap();
        text.push(byte as char);
    }
    text
}

#[tokio::test]
async fn each_state_has_its_answer() {
    let (reporter, server) = servers::health().await;
    let rig = plain();
    rig.bench.checker.sweep(&[]);
    assert_eq!(rig.ask("b/s\n").await, "# error: no such server is checked\n");
    rig.bench.checker.sweep(&[seen(server.address, "DOWN")]);
    rig.bench.changes().await;
    assert_eq!(rig.ask("b/s\n").await, "up\n");
    reporter.set_service_status("", ServingStatus::NotServing).await;
    rig.bench.changes().await;
    assert_eq!(rig.ask("b/s\n").await, "down #NOT_SERVING (service '')\n");
    assert_eq!(rig.ask("c/s\n").await, "# error: no such server is checked\n");
}

#[tokio::test]
async fn before_the_first_result_the_answer_changes_nothing() {
    let silent = servers::raw(|stream| async move { stream }).await;
    let rig = plain();
    rig.bench.checker.sweep(&[seen(silent.address, "DOWN")]);
    assert_eq!(rig.ask("b/s\n").await, "# not checked yet\n");
}

#[tokio::test]
async fn a_draining_server_weighs_nothing_and_gets_its_weight_back() {
    let (reporter, server) = servers::health().await;
    let rig = rig(|backend| backend.not_serving = OnNotServing::Drain, |_| {});
    rig.bench.checker.sweep(&[seen(server.address, "DOWN")]);
    rig.bench.changes().await;
    assert_eq!(rig.ask("b/s\n").await, "up 100%\n");
    reporter.set_service_status("", ServingStatus::NotServing).await;
    rig.bench.changes().await;
    assert_eq!(rig.ask("b/s\n").await, "up 0%\n");
}

#[tokio::test]
async fn every_end_of_a_line_is_one() {
    let (_reporter, server) = servers::health().await;
    let rig = plain();
    rig.bench.checker.sweep(&[seen(server.address, "DOWN")]);
    rig.bench.changes().await;
    // The last one is ended by silence.
    for line in ["b/s\n", "b/s\r\n", "b/s\r", "b/s\\n", "b/s"] {
        assert_eq!(rig.ask(line).await, "up\n", "{line:?}");
    }
    let mut stream = rig.connect().await;
    stream.write_all(b"b/s\r\nb/x\r\n\r\n\nb/s").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "up\n# error: no such server is checked\nup\n");
}

#[tokio::test]
async fn before_haproxy_has_shown_its_servers_nothing_is_an_error() {
    let rig = rig(|_| {}, |agent| agent.on_error = OnAgentError::Down);
    for line in ["b/s\n", "127.0.0.1 1 no-ssl a\n"] {
        assert_eq!(rig.ask(line).await, "# not checked yet\n");
    }
    rig.bench.checker.sweep(&[]);
    assert_eq!(rig.ask("b/s\n").await, "down #error: no such server is checked\n");
}

#[tokio::test]
async fn who_may_ask_and_where_that_leads_can_be_narrowed() {
    let (_reporter, server) = servers::health().await;
    let port = server.address.port();
    let line = format!("127.0.0.1 {port} no-ssl shop.example\n");
    let networks = |text: &str| vec![text.parse().unwrap()];
    let refused = stats::AGENT.refused.value();
    let from = rig(|_| {}, |agent| (agent.allow_any, agent.allow_from) = (true, networks("10.0.0.0/8")));
    for line in [&line, "b/s\n"] {
        assert!(from.ask(line).await.starts_with("# error: this address may not ask"), "{line}");
    }
    let mut health = HealthConfig { backends: vec![BackendConfig::named("b")], ..HealthConfig::default() };
    health.single.allow_to = networks("10.0.0.0/8");
    let (tasks, _stop) = servers::tasks();
    let checker = crate::health::Checker::start(&health, &tasks).unwrap();
    checker.sweep(&[]);
    let mut config = AgentConfig { listen: Some("127.0.0.1:0".parse().unwrap()), ..AgentConfig::default() };
    config.allow_any = true;
    let listener = AgentListener::bind(&config, &health, &checker, &tasks).unwrap().unwrap();
    let mut stream = TcpStream::connect(listener.address().unwrap()).await.unwrap();
    tasks.spawn("agent door", listener.run(tasks.stop()));
    for host in ["127.0.0.1", "localhost"] {
        stream.write_all(format!("{host} {port} no-ssl shop.example\n").as_bytes()).await.unwrap();
        let reply = reply(&mut stream).await;
        assert!(reply.starts_with("# error: ") && reply.ends_with("is not in `agent.allow_to`\n"), "{reply}");
    }
    assert_eq!(stats::AGENT.refused.value() - refused, 4);
}

#[tokio::test]
async fn what_cannot_be_answered_may_count_as_down() {
    let rig = rig(|_| {}, |agent| agent.on_error = OnAgentError::Down);
    rig.bench.checker.sweep(&[]);
    assert_eq!(rig.ask("b/s\n").await, "down #error: no such server is checked\n");
    assert!(rig.ask("nonsense\n").await.starts_with("down #error: expected `backend/server`"));
}

#[tokio::test]
async fn lines_connections_and_patience_have_ends() {
    let rig = rig(
        |_| {},
        |agent| (agent.max_line, agent.max_lines, agent.idle_timeout) = (64, 3, Duration::from_millis(200)),
    );
    assert_eq!(rig.told(&[b'x'; 5000]).await, "# error: the line is too long\n");
    assert_eq!(rig.told(&[b"x".repeat(65), b"\n".to_vec()].concat()).await, "# error: the line is too long\n");
    assert_eq!(rig.told(b"b/s\nb/s\nb/s\nb/s\n").await.lines().count(), 3);
    let begin = Instant::now();
    assert_eq!(rig.told(b"").await, "");
    assert!(begin.elapsed() >= Duration::from_millis(200));
}

#[tokio::test]
async fn lines_that_are_no_text_are_answered_and_the_connection_goes_on() {
    let rig = plain();
    rig.bench.checker.sweep(&[]);
    let mut stream = rig.connect().await;
    for line in [&b"\xff\xfe/s\n"[..], b"b/\xc3\n", b"\0\0\0\0\n"] {
        stream.write_all(line).await.unwrap();
        let expected = "# error: expected `backend/server`, or `host port ssl|no-ssl authority`\n";
        assert_eq!(reply(&mut stream).await, expected, "{line:?}");
    }
    stream.write_all(b"b/s\n").await.unwrap();
    assert_eq!(reply(&mut stream).await, "# error: no such server is checked\n");
}

#[tokio::test]
async fn bytes_that_trickle_do_not_keep_a_connection() {
    let rig = rig(|_| {}, |agent| agent.idle_timeout = Duration::from_millis(400));
    let mut stream = rig.connect().await;
    let (mut reading, mut writing) = stream.split();
    let trickle = async {
        while writing.write_u8(b'x').await.is_ok() {
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
    };
    let (begin, mut text) = (Instant::now(), String::new());
    tokio::select! {
        () = trickle => panic!("it is not told why"),
        read = reading.read_to_string(&mut text) => drop(read.unwrap()),
        () = tokio::time::sleep(Duration::from_secs(5)) => panic!("it is still open"),
    }
    assert_eq!(text, "# error: the line takes too long\n");
    assert!(begin.elapsed() >= Duration::from_millis(400), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn crowds_that_idle_or_send_rubbish_keep_nobody_from_an_answer() {
    let (_reporter, server) = servers::health().await;
    let rig = rig(|_| {}, |agent| agent.max_connections = 64);
    rig.bench.checker.sweep(&[seen(server.address, "DOWN")]);
    rig.bench.changes().await;
    let mut crowd = Vec::new();
    for n in 0..1100 {
        let mut stream = rig.connect().await;
        if n % 11 == 0 {
            let _ = stream.write_all(&[0xff; 2000]).await;
        }
        crowd.push(stream);
        if n % 50 == 0 {
            let begin = Instant::now();
            assert_eq!(rig.ask("b/s\n").await, "up\n");
            assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
        }
    }
    assert!(stats::AGENT.shed.value() >= 900);
}
