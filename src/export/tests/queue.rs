use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use tokio::sync::mpsc;

use super::collector::{Collector, raw};
use super::rig::{PATIENCE, Rig, batch, eventually, grpc, http, refusing};
use crate::stats::DropReason;

/// A queue of 100 spans whose collector refuses connections, in its first backoff.
async fn backing_off(batches: &[u64]) -> Rig {
    let rig = Rig::start(&grpc(refusing().await));
    for spans in batches {
        rig.queue.push(batch(*spans)).unwrap();
    }
    eventually("the first attempt failed", || rig.stats.retries.value() >= 1).await;
    rig
}

#[tokio::test]
async fn batch_beyond_the_bound_comes_back_uncounted() {
    let rig = backing_off(&[40, 40]).await;
    assert!(rig.queue.has_room(20) && !rig.queue.has_room(21));
    assert_eq!(rig.queue.push(batch(21)).unwrap_err(), batch(21));
    rig.queue.push(batch(20)).unwrap();
    assert!(!rig.queue.has_room(1));
    assert_eq!((rig.stats.queued.value(), rig.dropped()), (100, vec![]));
}

#[tokio::test]
async fn flush_returns_when_everything_is_sent() {
    let collector = Collector::grpc(|_| Ok(ExportTraceServiceResponse::default())).await;
    let rig = Rig::start(&grpc(collector.address));
    for _ in 0..5 {
        rig.queue.push(batch(2)).unwrap();
    }
    assert!(rig.queue.flush(Instant::now() + PATIENCE).await);
    assert_eq!(rig.counted(), (10, 0, 0));
    assert!(rig.queue.flush(Instant::now()).await, "an empty queue is flushed");
}

#[tokio::test]
async fn flush_cuts_a_backoff_short_and_keeps_its_deadline() {
    let rig = backing_off(&[1]).await;
    eventually("the second attempt failed", || rig.stats.retries.value() >= 2).await;
    let start = Instant::now();
    assert!(!rig.queue.flush(start + Duration::from_millis(200)).await);
    assert!(start.elapsed() < Duration::from_millis(400), "{:?}", start.elapsed());
    assert!(rig.stats.retries.value() >= 3, "no attempt was made for the flush");
    assert_eq!(rig.queue.queued(), 1);
}

#[tokio::test]
async fn abandon_counts_what_is_left_once() {
    let rig = backing_off(&[10, 20, 30]).await;
    assert_eq!((rig.queue.abandon(), rig.queue.abandon()), (60, 0));
    assert_eq!((rig.counted().2, rig.dropped()), (0, vec![(DropReason::Shutdown, 60)]));
    assert!(rig.queue.push(batch(1)).is_err());
    rig.finish().await;
}

#[tokio::test]
async fn success_after_abandon_is_not_counted_again() {
    let (called, mut calls) = mpsc::unbounded_channel();
    let address = raw(move |_, mut stream| {
        called.send(()).unwrap();
        async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, answer).await;
        }
    })
    .await;
    let rig = Rig::start(&http(address));
    rig.queue.push(batch(7)).unwrap();
    calls.recv().await.unwrap();
    assert_eq!(rig.queue.abandon(), 7);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!((rig.counted(), rig.dropped()), ((0, 0, 0), vec![(DropReason::Shutdown, 7)]));
    rig.finish().await;
}

#[tokio::test]
async fn closed_queue_is_sent_before_the_task_ends() {
    let collector = Collector::grpc(|_| Ok(ExportTraceServiceResponse::default())).await;
    let rig = Rig::start(&grpc(collector.address));
    for _ in 0..10 {
        rig.queue.push(batch(1)).unwrap();
    }
    let stats = rig.stats;
    rig.finish().await;
    assert_eq!(stats.exported.value(), 10);
}

#[tokio::test]
async fn stop_allows_one_attempt_more_and_drops_the_rest() {
    let rig = backing_off(&[5, 6]).await;
    rig.stop.send(true).unwrap();
    eventually("the queue is empty", || rig.queue.queued() == 0).await;
    assert_eq!(rig.dropped(), [(DropReason::Shutdown, 11)]);
    assert!(rig.stats.retries.value() <= 2);
    rig.finish().await;
}

#[tokio::test]
async fn stop_still_sends_to_a_collector_that_answers() {
    let collector = Collector::grpc(|_| Ok(ExportTraceServiceResponse::default())).await;
    let rig = Rig::start(&grpc(collector.address));
    rig.stop.send(true).unwrap();
    rig.export(3).await;
    assert_eq!((rig.counted(), rig.dropped()), ((3, 0, 0), vec![]));
    rig.finish().await;
}

#[tokio::test]
async fn dropped_handle_ends_the_task() {
    let rig = Rig::start(&grpc(refusing().await));
    drop(rig.queue);
    tokio::time::timeout(PATIENCE, rig.task).await.unwrap().unwrap();
}
