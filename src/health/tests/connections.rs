//! Connections that are kept, lost, refused and replaced.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::servers::{self, GOAWAY, REFUSED, SETTINGS, Spy};
use super::wire::{Asker, ask, asker, patient, soft};
use crate::config::BackendConfig;
use crate::health::address::Address;
use crate::health::outcome::{Class, Outcome};

#[tokio::test]
async fn goaway_is_retried_uncounted() {
    let spy = Spy::start(|| servers::status(1), |number, stream| answer_first(number, stream, &[GOAWAY])).await;
    assert_eq!(ask(spy.server.address).await, Outcome::Pass);
    assert_eq!(spy.connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn refused_stream_is_retried_uncounted() {
    let spy = Spy::start(|| servers::status(1), |number, stream| answer_first(number, stream, &[REFUSED])).await;
    assert_eq!(ask(spy.server.address).await, Outcome::Pass);
    assert_eq!(spy.connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn goaway_without_end_is_retried_once() {
    let spy = Spy::start(|| servers::status(1), |_, stream| answer_first(0, stream, &[GOAWAY])).await;
    assert_eq!(ask(spy.server.address).await, soft(Class::RpcError));
    assert_eq!(spy.connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_restarted_server_costs_no_check() {
    let (_reporter, server) = servers::health().await;
    let mut asker = asker(server.address);
    for _ in 0..10 {
        assert_eq!(asker.ask().await.outcome, Outcome::Pass);
    }
    let address = server.address;
    server.end().await;
    let (_reporter, _server) = servers::health_on(servers::listen(&address.to_string()).await);
    assert_eq!(asker.ask().await.outcome, Outcome::Pass);
}

#[tokio::test]
async fn a_connection_lost_under_a_check_costs_no_check() {
    let (_reporter, server) = servers::health().await;
    let address = server.address;
    let (cut, is_cut) = watch::channel(false);
    let spy = Spy::start(
        || servers::status(1),
        move |number, stream| {
            let is_cut = is_cut.clone();
            async move {
                if number > 0 {
                    return Some(stream);
                }
                relay(stream, TcpStream::connect(address).await.unwrap(), is_cut).await;
                None
            }
        },
    )
    .await;
    let mut asker = asker(spy.server.address);
    assert_eq!(asker.ask().await.outcome, Outcome::Pass);
    cut.send(true).unwrap();
    assert_eq!(asker.ask().await.outcome, Outcome::Pass);
    assert_eq!(spy.connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn one_connection_serves_many_checks() {
    let spy = Spy::answering(|| servers::status(1)).await;
    let mut asker = asker(spy.server.address);
    for _ in 0..20 {
        assert_eq!(asker.ask().await.outcome, Outcome::Pass);
    }
    assert_eq!(spy.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn without_reuse_each_check_has_a_connection() {
    let spy = Spy::answering(|| servers::status(1)).await;
    let mut asker = Asker::new(Address::Tcp(spy.server.address), &BackendConfig { reuse: false, ..patient() });
    for _ in 0..3 {
        assert_eq!(asker.ask().await.outcome, Outcome::Pass);
    }
    assert_eq!(spy.connections.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_connection_that_was_idle_for_five_intervals_is_replaced() {
    let spy = Spy::answering(|| servers::status(1)).await;
    let config = BackendConfig { interval: Duration::from_millis(10), ..patient() };
    let mut asker = Asker::new(Address::Tcp(spy.server.address), &config);
    asker.ask().await;
    tokio::time::sleep(Duration::from_millis(60)).await;
    asker.ask().await;
    assert_eq!(spy.connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_dropped_probe_closes_its_connection() {
    let (listener, mut asker) = {
        let listener = servers::listen("127.0.0.1:0").await;
        let address = listener.local_addr().unwrap();
        (listener, asker(address))
    };
    let mut stream = tokio::select! {
        accepted = listener.accept() => accepted.unwrap().0,
        _ = asker.ask() => panic!("nobody answered"),
    };
    drop(asker);
    let mut rest = Vec::new();
    let end = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut rest)).await;
    assert!(end.is_ok(), "still open");
}

/// Writes `frames` on connection 0 after the client's request, and leaves the others to HTTP/2.
async fn answer_first(number: usize, mut stream: TcpStream, frames: &[&[u8]]) -> Option<TcpStream> {
    if number > 0 {
        return Some(stream);
    }
    stream.write_all(SETTINGS).await.unwrap();
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await.unwrap();
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
        stream.read_exact(&mut payload).await.unwrap();
        // DATA: the request's last frame.
        if head[3] == 0 {
            break;
        }
    }
    for frame in frames {
        stream.write_all(frame).await.unwrap();
    }
    // Until the client goes: closing with unread bytes would reset the connection.
    let _ = stream.read_to_end(&mut Vec::new()).await;
    None
}

/// Hands bytes both ways, until the client sends some after the cut.
async fn relay(client: TcpStream, server: TcpStream, is_cut: watch::Receiver<bool>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = async {
        let mut bytes = [0; 4096];
        loop {
            let read = from_client.read(&mut bytes).await.unwrap();
            if read == 0 || *is_cut.borrow() {
                break;
            }
            to_server.write_all(&bytes[..read]).await.unwrap();
        }
    };
    tokio::select! {
        () = up => {}
        _ = tokio::io::copy(&mut from_server, &mut to_client) => {}
    }
}
