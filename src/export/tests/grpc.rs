use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use tonic::{Code, Status};

use super::collector::{Collector, partial, raw};
use super::rig::{Rig, grpc, request};
use crate::export::retry::{Delay, Detail, RetryInfo, RpcStatus};
use crate::stats::DropReason;

/// Fails the first call with `status`.
async fn failing_once(status: Status) -> Collector {
    Collector::grpc(move |n| if n == 0 { Err(status.clone()) } else { Ok(ExportTraceServiceResponse::default()) }).await
}

#[tokio::test]
async fn batch_is_delivered_over_grpc() {
    let collector = Collector::grpc(|_| Ok(ExportTraceServiceResponse::default())).await;
    let rig = Rig::start(&grpc(collector.address));
    rig.export(3).await;
    assert_eq!(rig.counted(), (3, 0, 0));
    assert_eq!(collector.seen()[0].2, request(3));
    assert!(rig.stats.last_success.value() > 0);
    assert_eq!(rig.lines(), []);
    rig.finish().await;
}

#[tokio::test]
async fn one_connection_carries_many_batches() {
    let collector = Collector::grpc(|_| Ok(ExportTraceServiceResponse::default())).await;
    let rig = Rig::start(&grpc(collector.address));
    for _ in 0..20 {
        rig.export(1).await;
    }
    assert_eq!(rig.counted(), (20, 0, 0));
}

#[tokio::test]
async fn metadata_user_agent_and_timeout_arrive() {
    let collector = Collector::grpc(|_| Ok(ExportTraceServiceResponse::default())).await;
    let mut config = grpc(collector.address);
    let tenants = vec![("X-Tenant".to_owned(), "blue".to_owned()), ("x-tenant".to_owned(), "green".to_owned())];
    config.resolved.traces.headers = crate::config::Headers(tenants);
    Rig::start(&config).export(1).await;
    let (headers, ..) = collector.seen().remove(0);
    let tenants: Vec<_> = headers.get_all("x-tenant").iter().collect();
    assert_eq!(tenants, ["blue", "green"]);
    assert_eq!(headers["user-agent"], format!("haproxy-vitals/{}", crate::VERSION));
    assert!(headers["grpc-timeout"].to_str().unwrap().ends_with('m'));
}

#[tokio::test]
async fn partial_success_counts_both_sides_and_is_not_sent_again() {
    let collector = Collector::grpc(|_| Ok(partial(2, "too old"))).await;
    let rig = Rig::start(&grpc(collector.address));
    rig.export(5).await;
    assert_eq!(rig.counted(), (3, 0, 0));
    assert_eq!(rig.dropped(), [(DropReason::Rejected, 2)]);
    assert_eq!(collector.seen().len(), 1);
    assert!(rig.lines()[0].1.contains("rejected 2 spans: too old"), "{:?}", rig.lines());
}

#[tokio::test]
async fn more_rejected_than_sent_counts_what_was_sent() {
    let collector = Collector::grpc(|n| Ok(partial(if n == 0 { 50 } else { -50 }, ""))).await;
    let rig = Rig::start(&grpc(collector.address));
    rig.export(5).await;
    rig.export(1).await;
    assert_eq!((rig.counted(), rig.dropped()), ((1, 0, 0), vec![(DropReason::Rejected, 5)]));
}

#[tokio::test]
async fn unavailable_is_retried() {
    let collector = failing_once(Status::unavailable("starting")).await;
    let rig = Rig::start(&grpc(collector.address));
    rig.export(2).await;
    assert_eq!((rig.counted(), rig.dropped()), ((2, 1, 0), vec![]));
    assert_eq!(collector.seen().len(), 2);
    assert_eq!(rig.stats.last_error(), "");
    assert!(rig.lines()[0].1.contains("Unavailable: starting"), "{:?}", rig.lines());
}

#[tokio::test]
async fn invalid_argument_is_refused() {
    let collector = failing_once(Status::invalid_argument("no such tenant")).await;
    let rig = Rig::start(&grpc(collector.address));
    rig.export(2).await;
    assert_eq!((rig.counted(), rig.dropped()), ((0, 0, 0), vec![(DropReason::Refused, 2)]));
    assert_eq!(rig.stats.last_error(), "gRPC status InvalidArgument: no such tenant");
    assert!(rig.lines()[0].1.contains("refused 2 spans for good"), "{:?}", rig.lines());
}

#[tokio::test]
async fn resource_exhausted_is_refused_without_retry_info() {
    let collector = failing_once(Status::resource_exhausted("quota")).await;
    let rig = Rig::start(&grpc(collector.address));
    rig.export(1).await;
    assert_eq!((rig.counted(), rig.dropped()), ((0, 0, 0), vec![(DropReason::Refused, 1)]));
}

#[tokio::test]
async fn resource_exhausted_with_retry_info_waits_that_long() {
    let info = RetryInfo { retry_delay: Some(Delay { seconds: 1, nanos: 200_000_000 }) };
    let type_url = "type.googleapis.com/google.rpc.RetryInfo".to_owned();
    let details = vec![Detail { type_url, value: info.encode_to_vec() }];
    let details = RpcStatus { code: 8, message: String::new(), details }.encode_to_vec();
    let collector = failing_once(Status::with_details(Code::ResourceExhausted, "slow down", details.into())).await;
    let rig = Rig::start(&grpc(collector.address));
    let start = Instant::now();
    rig.export(1).await;
    assert!(start.elapsed() >= Duration::from_millis(1200), "{:?}", start.elapsed());
    assert_eq!((rig.counted(), rig.dropped()), ((1, 1, 0), vec![]));
}

#[tokio::test]
async fn answer_beyond_its_bound_is_refused() {
    let collector = Collector::grpc(|_| Ok(partial(0, &"x".repeat(5 * 1024 * 1024)))).await;
    let rig = Rig::start(&grpc(collector.address));
    rig.export(1).await;
    assert_eq!(rig.dropped(), [(DropReason::Refused, 1)]);
    assert_eq!(rig.stats.last_error(), "the answer is longer than 4194304 bytes");
}

#[tokio::test]
async fn connection_lost_in_the_call_is_retried() {
    let address = raw(|_, stream| async { drop(stream) }).await;
    let mut config = grpc(address);
    config.export_timeout = Duration::from_secs(1);
    let rig = Rig::start(&config);
    rig.export(1).await;
    assert_eq!(rig.dropped(), [(DropReason::Timeout, 1)]);
    assert!(rig.stats.retries.value() >= 1);
    assert!(rig.stats.last_error().starts_with("connection lost: "), "{}", rig.stats.last_error());
}

#[tokio::test]
async fn http_server_that_is_no_grpc_server_is_refused() {
    let collector = Collector::http(|_| ::http::Response::new(bytes::Bytes::new())).await;
    let rig = Rig::start(&grpc(collector.address));
    rig.export(1).await;
    assert_eq!((rig.counted(), rig.dropped()), ((0, 0, 0), vec![(DropReason::Refused, 1)]));
    assert_eq!(rig.stats.last_error(), "the answer is not gRPC");
}

#[tokio::test]
async fn proxy_in_front_that_has_no_collector_is_retried() {
    let collector = Collector::http(|n| {
        let status = if n == 0 { "503" } else { "404" };
        ::http::Response::builder().status(status).body(bytes::Bytes::new()).unwrap()
    })
    .await;
    let rig = Rig::start(&grpc(collector.address));
    rig.export(1).await;
    assert_eq!((rig.counted(), rig.dropped()), ((0, 1, 0), vec![(DropReason::Refused, 1)]));
    assert_eq!(rig.stats.last_error(), "HTTP status 404");
}
