//! The bridge over real sockets.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic_health::ServingStatus;

use super::{Bench, seen, servers};
use crate::config::{BackendConfig, BridgeAddress, BridgeConfig, HealthConfig, OnNotServing};
use crate::health::BridgeListener;

struct Rig {
    bench: Bench,
    address: std::net::SocketAddr,
    _stop: tokio::sync::watch::Sender<bool>,
}

fn rig(not_serving: OnNotServing) -> Rig {
    let bench = Bench::with(Duration::from_millis(50), |config| config.not_serving = not_serving);
    let health = HealthConfig {
        backends: vec![BackendConfig { not_serving, ..BackendConfig::named("b") }],
        ..HealthConfig::default()
    };
    let config = BridgeConfig {
        listen: Some(BridgeAddress::Tcp("127.0.0.1:0".parse().unwrap())),
        idle_timeout: Duration::from_millis(300),
        ..BridgeConfig::default()
    };
    let (tasks, stop) = servers::tasks();
    let listener = BridgeListener::bind(&config, &health, &bench.checker, &tasks).unwrap().unwrap();
    let address = listener.address();
    tasks.spawn("bridge door", listener.run(tasks.stop()));
    Rig { bench, address, _stop: stop }
}

impl Rig {
    /// The first line of the answer, when the connection has ended.
    async fn ask(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        let read = stream.read_to_string(&mut text);
        let _ = tokio::time::timeout(Duration::from_secs(10), read).await.unwrap();
        text.lines().next().unwrap_or_default().to_owned()
    }

    /// The whole answer.
    async fn whole(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        tokio::time::timeout(Duration::from_secs(10), stream.read_to_string(&mut text)).await.unwrap().unwrap();
        text
    }

    async fn get(&self) -> String {
        self.ask("GET /b/s HTTP/1.0\r\n\r\n").await
    }
}

#[tokio::test]
async fn each_state_has_its_status_and_the_reason_is_the_phrase() {
    let (reporter, server) = servers::health().await;
    let rig = rig(OnNotServing::Down);
    rig.bench.checker.sweep(&[]);
    assert_eq!(rig.get().await, "HTTP/1.0 503 no such server is checked");
    rig.bench.checker.sweep(&[seen(server.address, "DOWN")]);
    rig.bench.changes().await;
    assert_eq!(rig.get().await, "HTTP/1.0 200 up");
    reporter.set_service_status("", ServingStatus::NotServing).await;
    rig.bench.changes().await;
    assert_eq!(rig.get().await, "HTTP/1.0 503 NOT_SERVING (service '')");
    assert_eq!(rig.ask("POST /b/s HTTP/1.0\r\n\r\n").await, "HTTP/1.0 405 only GET, HEAD and OPTIONS");
    assert_eq!(rig.ask("GET / HTTP/1.0\r\n\r\n").await, "HTTP/1.0 503 no such server is checked");
}

#[tokio::test]
async fn every_method_that_checks_use_is_answered_the_same_with_and_without_a_host() {
    let (_reporter, server) = servers::health().await;
    let rig = rig(OnNotServing::Down);
    rig.bench.checker.sweep(&[seen(server.address, "DOWN")]);
    rig.bench.changes().await;
    for method in ["GET", "HEAD", "OPTIONS"] {
        for head in ["HTTP/1.0\r\n", "HTTP/1.0\r\nhost: b\r\n", "HTTP/1.1\r\nhost: b\r\nconnection: close\r\n"] {
            let version = &head[..8];
            let answer = rig.whole(&format!("{method} /b/s {head}\r\n")).await;
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with(&format!("{version} 200 up\r\n")), "{method}: {answer}");
            assert_eq!(body, if method == "HEAD" { "" } else { "up\n" }, "{method}");
        }
        assert_eq!(rig.ask(&format!("{method} /b/x HTTP/1.0\r\n\r\n")).await, "HTTP/1.0 503 no such server is checked");
    }
    // What plain `option httpchk` sends names no server; what is no check is not answered as one.
    assert_eq!(rig.ask("OPTIONS / HTTP/1.0\r\n\r\n").await, "HTTP/1.0 503 no such server is checked");
    assert_eq!(rig.ask("OPTIONS * HTTP/1.0\r\n\r\n").await, "HTTP/1.0 503 no such server is checked");
    for method in ["PUT", "DELETE", "TRACE", "NONSENSE"] {
        assert!(rig.ask(&format!("{method} /b/s HTTP/1.0\r\n\r\n")).await.starts_with("HTTP/1.0 405 "), "{method}");
    }
}

#[tokio::test]
async fn who_asks_before_the_first_result_waits_for_it() {
    let (_reporter, server) = servers::health().await;
    let rig = rig(OnNotServing::Down);
    let (answer, ()) = tokio::join!(rig.get(), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        rig.bench.checker.sweep(&[seen(server.address, "DOWN")]);
    });
    assert_eq!(answer, "HTTP/1.0 200 up");
}

#[tokio::test]
async fn a_first_result_that_does_not_come_is_not_waited_for_long() {
    let silent = servers::raw(|stream| async move { stream }).await;
    let rig = rig(OnNotServing::Down);
    rig.bench.checker.sweep(&[seen(silent.address, "DOWN")]);
    assert_eq!(rig.get().await, "HTTP/1.0 503 not checked yet");
}

#[tokio::test]
async fn a_draining_server_is_not_found() {
    let (reporter, server) = servers::health().await;
    let rig = rig(OnNotServing::Drain);
    rig.bench.checker.sweep(&[seen(server.address, "DOWN")]);
    rig.bench.changes().await;
    reporter.set_service_status("", ServingStatus::NotServing).await;
    rig.bench.changes().await;
    assert_eq!(rig.get().await, "HTTP/1.0 404 drains");
}

#[tokio::test]
async fn a_connection_is_kept_until_it_idles_and_rubbish_ends_it() {
    let rig = rig(OnNotServing::Down);
    let mut stream = TcpStream::connect(rig.address).await.unwrap();
    for _ in 0..3 {
        stream.write_all(b"HEAD /b/s HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut part = [0; 1024];
        let read = stream.read(&mut part).await.unwrap();
        assert!(part[..read].starts_with(b"HTTP/1.1 503 "));
    }
    let mut rest = Vec::new();
    let read = stream.read_to_end(&mut rest);
    assert!(tokio::time::timeout(Duration::from_secs(10), read).await.is_ok(), "it is never closed");
    assert!(rig.ask("\u{0}\u{1}\r\n\r\n").await.starts_with("HTTP/1.1 400"));
    let endless = format!("GET /{} HTTP/1.1\r\n", "x".repeat(20_000));
    assert!(rig.ask(&endless).await.starts_with("HTTP/1.1 4"));
    // Half a request is not waited for.
    assert_eq!(rig.ask("GET /b/s HT").await, "");
}

#[tokio::test]
async fn requests_are_read_as_http_1_has_them() {
    let (_reporter, server) = servers::health().await;
    let rig = rig(OnNotServing::Down);
    rig.bench.checker.sweep(&[seen(server.address, "DOWN")]);
    rig.bench.changes().await;
    let none = "HTTP/1.1 503 no such server is checked";
    for (target, expected) in [
        ("/b/s?all=1", "HTTP/1.1 200 up"),
        ("http://a:1/b/s", "HTTP/1.1 200 up"),
        // HAProxy's names need no encoding, and two slashes are not one.
        ("/%62/s", none),
        ("//b/s", none),
        ("/b/s/", none),
        ("/b//s", none),
        ("/b", none),
    ] {
        assert_eq!(rig.ask(&format!("GET {target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")).await, expected);
    }
    // Two at once are answered in order; the body of the first is skipped.
    let first = "GET /b/s HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let second = "GET /b/none HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let both = rig.whole(&format!("{first}{second}")).await;
    assert!(both.starts_with("HTTP/1.1 200 up\r\n") && both.contains(none), "{both}");
    let headers = "x-filler: 0123456789\r\n".repeat(1000);
    assert!(rig.ask(&format!("GET /b/s HTTP/1.1\r\n{headers}\r\n")).await.starts_with("HTTP/1.1 431"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_and_never_reads_is_not_kept() {
    let (_reporter, server) = servers::health().await;
    let rig = rig(OnNotServing::Down);
    rig.bench.checker.sweep(&[seen(server.address, "DOWN")]);
    rig.bench.changes().await;
    let address = rig.address;
    let asker = tokio::task::spawn_blocking(move || {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
        let many = "GET /b/s HTTP/1.1\r\nhost: a\r\n\r\n".repeat(1000);
        // Until its answers fill every buffer between here and there, and then for `idle_timeout`.
        loop {
            if let Err(error) = std::io::Write::write(&mut stream, many.as_bytes()) {
                return error.kind();
            }
        }
    });
    let ended = asker.await.unwrap();
    assert!(matches!(ended, std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe), "{ended}");
}
