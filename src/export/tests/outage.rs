use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use tokio::net::{TcpListener, TcpStream};

use super::collector::{Collector, raw};
use super::rig::{Rig, batch, eventually, grpc, http, refusing};
use crate::config::ExportConfig;
use crate::log::Level;
use crate::stats::{Circuit, DropReason};

#[tokio::test]
async fn refused_port_is_said_once_and_its_recovery_once() {
    let address = refusing().await;
    let rig = Rig::start(&grpc(address));
    rig.queue.push(batch(1)).unwrap();
    rig.queue.push(batch(2)).unwrap();
    eventually("two attempts failed", || rig.stats.retries.value() >= 2).await;
    assert!(rig.stats.last_error().to_lowercase().contains("connection refused"), "{}", rig.stats.last_error());
    let listener = TcpListener::bind(address).await.unwrap();
    let _collector = Collector::grpc_on(listener, |_| Ok(ExportTraceServiceResponse::default()));
    eventually("both batches have left", || rig.queue.queued() == 0).await;
    assert_eq!((rig.stats.exported.value(), rig.dropped()), (3, vec![]));
    eventually("the recovery is said", || rig.lines().len() >= 2).await;
    let levels: Vec<_> = rig.lines().into_iter().map(|(level, _)| level).collect();
    assert_eq!(levels, [Level::Warning, Level::Notice]);
    assert!(rig.lines()[1].1.ends_with("lost: 0 spans"), "{:?}", rig.lines());
    assert_eq!(rig.stats.last_error(), "");
}

#[tokio::test]
async fn name_that_does_not_resolve_fails_the_attempts_only() {
    let mut config = grpc(refusing().await);
    config.resolved.traces.endpoint.host = "no-such-host.invalid".to_owned();
    let rig = Rig::start(&config);
    rig.queue.push(batch(1)).unwrap();
    eventually("it is said", || !rig.lines().is_empty()).await;
    assert!(rig.lines()[0].1.contains("cannot resolve no-such-host.invalid"), "{:?}", rig.lines());
    assert_eq!(rig.queue.abandon(), 1);
}

#[tokio::test]
async fn dead_collector_costs_one_attempt_per_backoff_whatever_waits() {
    let (attempt, mut attempts) = tokio::sync::mpsc::unbounded_channel();
    let address = raw(move |_, stream| {
        attempt.send(()).unwrap();
        async move { drop(stream) }
    })
    .await;
    // No wait is longer than 0.2 s, less a fifth of it.
    let rig = Rig::start(&ExportConfig { export_timeout: Duration::from_millis(200), ..http(address) });
    for _ in 0..50 {
        rig.queue.push(batch(1)).unwrap();
    }
    let start = Instant::now();
    eventually("the circuit is open", || rig.stats.circuit() == Circuit::Open).await;
    eventually("ten batches are given up", || rig.stats.dropped(DropReason::Timeout) >= 10).await;
    let most = 2 + start.elapsed().as_millis() / 160;
    let made = std::iter::from_fn(|| attempts.try_recv().ok()).count();
    assert!(made as u128 <= most, "{made} attempts, at most {most}");
    assert!(rig.queue.queued() > 30, "what waits is not given up before it was tried");
    assert_eq!(rig.stats.circuit_opened.value(), 1);
}

/// A collector that takes the connection and says nothing.
async fn silent() -> std::net::SocketAddr {
    raw(|_, stream| async move {
        let _open = stream;
        std::future::pending::<()>().await;
    })
    .await
}

#[tokio::test]
async fn collector_that_never_answers_costs_a_batch_within_its_bound() {
    for config in [grpc(silent().await), http(silent().await)] {
        let mut config = ExportConfig { export_timeout: Duration::from_millis(900), ..config };
        config.resolved.traces.timeout = Duration::from_millis(200);
        let rig = Rig::start(&config);
        let start = Instant::now();
        rig.export(4).await;
        assert!(start.elapsed() >= config.export_timeout, "{:?}", start.elapsed());
        assert!(start.elapsed() < config.export_timeout * 2, "{:?}", start.elapsed());
        assert_eq!((rig.stats.exported.value(), rig.dropped()), (0, vec![(DropReason::Timeout, 4)]));
        assert!(rig.stats.last_error().starts_with("no answer within "), "{}", rig.stats.last_error());
    }
}

#[tokio::test]
async fn restarted_collector_is_found_again() {
    let collector = Collector::grpc(|_| Ok(ExportTraceServiceResponse::default())).await;
    let address = collector.address;
    let rig = Rig::start(&grpc(address));
    rig.export(1).await;
    drop(collector);
    eventually("the port is free", || std::net::TcpStream::connect(address).is_err()).await;
    let listener = TcpListener::bind(address).await.unwrap();
    let _collector = Collector::grpc_on(listener, |_| Ok(ExportTraceServiceResponse::default()));
    rig.export(1).await;
    assert_eq!((rig.stats.exported.value(), rig.dropped()), (2, vec![]));
}

#[tokio::test]
async fn connection_that_fell_silent_is_not_used_again() {
    let collector = Collector::grpc(|_| Ok(ExportTraceServiceResponse::default())).await;
    let (behind, listener) = (collector.address, TcpListener::bind("127.0.0.1:0").await.unwrap());
    let mut config = grpc(listener.local_addr().unwrap());
    config.resolved.traces.timeout = Duration::from_millis(300);
    let between = async move {
        let (_silent, _) = listener.accept().await.unwrap();
        let (mut front, _) = listener.accept().await.unwrap();
        let mut back = TcpStream::connect(behind).await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut front, &mut back).await;
    };
    let rig = Rig::start(&config);
    tokio::select! {
        () = between => panic!("the second connection ended"),
        () = rig.export(1) => {}
    }
    assert_eq!((rig.counted(), rig.dropped()), ((1, 1, 0), vec![]));
}
