use std::time::{Duration, Instant};

use ::http::{Response, StatusCode, header};
use bytes::Bytes;
use prost::Message;
use tokio::io::AsyncWriteExt;

use super::collector::{Collector, partial, raw};
use super::rig::{Rig, http, request};
use crate::export::retry::RpcStatus;
use crate::stats::DropReason;

fn status(status: u16) -> Response<Bytes> {
    Response::builder().status(status).body(Bytes::new()).unwrap()
}

/// Answers the first request with `first`, the others with 200.
async fn failing_once(first: Response<Bytes>) -> Collector {
    Collector::http(move |n| if n == 0 { first.clone() } else { status(200) }).await
}

#[tokio::test]
async fn batch_is_delivered_over_http() {
    let collector = Collector::http(|_| status(200)).await;
    let mut config = http(collector.address);
    config.resolved.traces.endpoint.path = "/tenant/v1/traces?x=1".to_owned();
    config.resolved.traces.headers.push(("Authorization".to_owned(), "Bearer t".to_owned()));
    let rig = Rig::start(&config);
    rig.export(3).await;
    assert_eq!(rig.counted(), (3, 0, 0));
    let (headers, path, message) = collector.seen().remove(0);
    assert_eq!((path.as_str(), message), ("/tenant/v1/traces", request(3)));
    assert_eq!(headers[header::CONTENT_TYPE], "application/x-protobuf");
    assert_eq!(headers[header::AUTHORIZATION], "Bearer t");
    assert_eq!(headers[header::USER_AGENT], format!("haproxy-vitals/{}", crate::VERSION));
    assert_eq!(headers[header::HOST], collector.address.to_string());
    rig.finish().await;
}

#[tokio::test]
async fn partial_success_over_http_is_counted() {
    let body = Bytes::from(partial(1, "bad id").encode_to_vec());
    let collector = Collector::http(move |_| Response::new(body.clone())).await;
    let rig = Rig::start(&http(collector.address));
    rig.export(4).await;
    assert_eq!((rig.counted(), rig.dropped()), ((3, 0, 0), vec![(DropReason::Rejected, 1)]));
}

#[tokio::test]
async fn too_many_requests_waits_for_retry_after() {
    let mut first = status(429);
    first.headers_mut().insert(header::RETRY_AFTER, 1.into());
    let collector = failing_once(first).await;
    let rig = Rig::start(&http(collector.address));
    let start = Instant::now();
    rig.export(1).await;
    assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!((rig.counted(), rig.dropped()), ((1, 1, 0), vec![]));
}

#[tokio::test]
async fn service_unavailable_is_retried_then_accepted() {
    let collector = failing_once(status(503)).await;
    let rig = Rig::start(&http(collector.address));
    rig.export(2).await;
    assert_eq!((rig.counted(), rig.dropped()), ((2, 1, 0), vec![]));
    assert_eq!(collector.seen().len(), 2);
}

#[tokio::test]
async fn bad_request_is_refused_with_the_collectors_words() {
    let body = RpcStatus { code: 3, message: "no\nspans".to_owned(), details: vec![] }.encode_to_vec();
    let mut first = Response::new(Bytes::from(body));
    *first.status_mut() = StatusCode::BAD_REQUEST;
    first.headers_mut().insert(header::CONTENT_TYPE, "application/x-protobuf".parse().unwrap());
    let collector = failing_once(first).await;
    let rig = Rig::start(&http(collector.address));
    rig.export(2).await;
    assert_eq!((rig.counted(), rig.dropped()), ((0, 0, 0), vec![(DropReason::Refused, 2)]));
    assert_eq!(rig.stats.last_error(), "HTTP status 400: no spans");
}

#[tokio::test]
async fn redirect_and_server_error_are_refused() {
    let collector = Collector::http(|n| status(if n == 0 { 307 } else { 500 })).await;
    let rig = Rig::start(&http(collector.address));
    rig.export(1).await;
    rig.export(1).await;
    assert_eq!((rig.counted(), rig.dropped()), ((0, 0, 0), vec![(DropReason::Refused, 2)]));
}

#[tokio::test]
async fn connection_closed_inside_the_answer_is_retried() {
    let address = raw(|n, mut stream| async move {
        let answer: &[u8] = if n == 0 {
            b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort"
        } else {
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
        };
        stream.write_all(answer).await.unwrap();
    })
    .await;
    let rig = Rig::start(&http(address));
    rig.export(1).await;
    assert_eq!((rig.counted(), rig.dropped()), ((1, 1, 0), vec![]));
}

#[tokio::test]
async fn answer_beyond_its_bound_is_not_read_to_its_end() {
    let collector = Collector::http(|_| Response::new(Bytes::from(vec![0; 5 * 1024 * 1024]))).await;
    let rig = Rig::start(&http(collector.address));
    rig.export(1).await;
    assert_eq!((rig.counted(), rig.dropped()), ((0, 0, 0), vec![(DropReason::Refused, 1)]));
}

#[tokio::test]
async fn idle_connection_that_the_collector_closed_costs_no_batch() {
    let address = raw(|_, mut stream| async move {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    })
    .await;
    let rig = Rig::start(&http(address));
    rig.export(1).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    rig.export(1).await;
    assert_eq!((rig.counted(), rig.dropped()), ((2, 0, 0), vec![]));
}
