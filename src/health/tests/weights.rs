//! Weights from load: each source on the wire, and what the host is asked to do.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body_util::{BodyExt, Full};
use prost::Message;

use super::servers::{self, Answer, Spy};
use super::{Bench, forces, seen, seen_as};
use crate::config::{BackendConfig, HealthConfig, OrcaMetric, OrcaReport};
use crate::health::orca::{OrcaLoadReport, OrcaLoadReportRequest};
use crate::health::{Action, Force, ServerSeen};

/// A server whose weight is now so.
fn weighing(server: impl std::fmt::Display, now: u32) -> ServerSeen {
    ServerSeen { weight: Some(now), ..seen(server, "UP") }
}

fn weights(actions: &[Action]) -> Vec<Option<u8>> {
    actions.iter().map(|action| action.weight).collect()
}

/// `SERVING`, with these headers and trailers.
fn serving(header: Option<(&'static str, String)>, trailer: Option<(&'static str, String)>) -> Answer {
    let fields = |field: Option<(&'static str, String)>| -> HeaderMap {
        field
            .into_iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(&value).unwrap()))
            .collect()
    };
    let mut trailers = fields(trailer);
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let body = Full::new(Bytes::from_static(&[0, 0, 0, 0, 2, 8, 1])).with_trailers(async move { Some(Ok(trailers)) });
    let mut answer = http::Response::builder().header("content-type", "application/grpc").body(body.boxed()).unwrap();
    answer.headers_mut().extend(fields(header));
    answer
}

fn cpu(load: f64) -> Vec<u8> {
    OrcaLoadReport { cpu_utilization: load, ..OrcaLoadReport::default() }.encode_to_vec()
}

/// Checks every 20 ms what `change` asks for.
fn bench(change: impl FnOnce(&mut BackendConfig)) -> Bench {
    Bench::with(Duration::from_millis(20), |config| {
        (config.weight.smoothing, config.weight.step, config.weight.min) = (0.0, 0, 0);
        change(config);
    })
}

/// The weight that a server of 100 gets first.
async fn told(server: std::net::SocketAddr, change: impl FnOnce(&mut BackendConfig)) -> Vec<Option<u8>> {
    first(&bench(change), server).await
}

/// The same. First it gets the whole weight, whatever it has: then it is known what that is.
async fn first(bench: &Bench, server: std::net::SocketAddr) -> Vec<Option<u8>> {
    bench.checker.sweep(&[weighing(server, 70)]);
    bench.until_described(" weight=").await;
    assert_eq!(weights(&bench.changes().await), [Some(100)]);
    weights(&bench.checker.sweep(&[weighing(server, 100)]))
}

#[tokio::test]
async fn a_metadata_key_says_the_weight_in_headers_and_in_trailers() {
    for in_trailers in [false, true] {
        let spy = Spy::answering(move || {
            let field = Some(("x-lb-weight", "40".to_owned()));
            if in_trailers { serving(None, field) } else { serving(field, None) }
        })
        .await;
        let told = told(spy.server.address, |config| config.weight.metadata = Some("x-lb-weight".to_owned())).await;
        assert_eq!(told, [Some(40)], "{in_trailers}");
    }
}

#[tokio::test]
async fn a_load_report_is_read_from_trailers() {
    for (name, value) in [
        ("endpoint-load-metrics-bin", BASE64_STANDARD_NO_PAD.encode(cpu(0.25))),
        ("endpoint-load-metrics", "TEXT cpu_utilization=0.25".to_owned()),
        ("endpoint-load-metrics", r#"JSON {"cpu_utilization": 0.25}"#.to_owned()),
    ] {
        let spy = Spy::answering(move || serving(None, Some((name, value.clone())))).await;
        let told = told(spy.server.address, |config| config.weight.orca = Some(OrcaMetric::Cpu)).await;
        assert_eq!(told, [Some(75)], "{name}");
    }
}

#[tokio::test]
async fn load_reports_come_by_a_stream_of_their_own() {
    let spy = Spy::answering_by_path(|path| match path {
        "/xds.service.orca.v3.OpenRcaService/StreamCoreMetrics" => servers::grpc(&cpu(0.7), "0"),
        _ => servers::status(1),
    })
    .await;
    let bench = bench(|config| {
        config.weight.orca = Some(OrcaMetric::Cpu);
        config.weight.orca_report = OrcaReport::Stream;
        config.weight.orca_interval = Duration::from_secs(7);
    });
    bench.checker.sweep(&[weighing(spy.server.address, 100)]);
    bench.until_described(" weight=30%").await;
    assert_eq!(bench.checker.status("b", "s").unwrap().weight, Some(30));
    let asked = |path: &str| spy.heads.lock().unwrap().iter().any(|head| head.uri.path().ends_with(path));
    assert!(asked("/StreamCoreMetrics"));
    // What the check's own metadata says does not count then.
    assert_eq!(bench.said("load report"), 0);
}

#[tokio::test]
async fn a_server_without_the_stream_is_named_once() {
    let server = servers::without_health_service().await;
    let bench = bench(|config| {
        config.weight.orca = Some(OrcaMetric::Cpu);
        config.weight.orca_report = OrcaReport::Stream;
    });
    bench.checker.sweep(&[weighing(server.address, 100)]);
    bench.until_said("b/s: it has no xds.service.orca.v3.OpenRcaService").await;
    assert_eq!(bench.checker.status("b", "s").unwrap().weight, None);
}

#[test]
fn the_stream_is_asked_for_the_interval() {
    let bytes = [0x0a, 2, 8, 7];
    let interval = OrcaLoadReportRequest::decode(&bytes[..]).unwrap().report_interval.unwrap();
    assert_eq!((interval.seconds, interval.nanos), (7, 0));
}

#[tokio::test]
async fn what_cannot_be_read_changes_nothing_and_is_said() {
    let spy = Spy::answering(|| serving(Some(("x-lb-weight", "heavy".to_owned())), None)).await;
    let bench = bench(|config| config.weight.metadata = Some("x-lb-weight".to_owned()));
    bench.checker.sweep(&[weighing(spy.server.address, 100)]);
    bench.until_said("b/s: its load report is not used: malformed").await;
    bench.until_described(" up ").await;
    assert_eq!(bench.checker.sweep(&[weighing(spy.server.address, 100)]), []);
}

/// A server whose weight can be changed, or kept to itself with 255.
async fn adjustable(weight: u8) -> (Arc<AtomicU8>, Spy) {
    let value = Arc::new(AtomicU8::new(weight));
    let read = Arc::clone(&value);
    let spy = Spy::answering(move || match read.load(Ordering::SeqCst) {
        255 => servers::status(1),
        weight => serving(Some(("x-lb-weight", weight.to_string())), None),
    })
    .await;
    (value, spy)
}

#[tokio::test]
async fn a_weight_that_somebody_else_set_is_set_again() {
    let (_value, spy) = adjustable(50).await;
    let bench = bench(|config| config.weight.metadata = Some("x-lb-weight".to_owned()));
    let at = spy.server.address;
    assert_eq!(first(&bench, at).await, [Some(50)]);
    assert_eq!(bench.checker.sweep(&[weighing(at, 50)]), []);
    let again = bench.checker.sweep(&[weighing(at, 100)]);
    assert_eq!((weights(&again), forces(&again)), (vec![Some(50)], vec![]));
}

#[tokio::test]
async fn without_reports_the_weight_is_whole_again() {
    let (value, spy) = adjustable(50).await;
    let bench = bench(|config| {
        config.weight.metadata = Some("x-lb-weight".to_owned());
        config.weight.expiry = Duration::from_millis(400);
    });
    let at = spy.server.address;
    assert_eq!(first(&bench, at).await, [Some(50)]);
    value.store(255, Ordering::SeqCst);
    bench.until(|text| !text.contains("weight=")).await;
    assert_eq!(weights(&bench.checker.sweep(&[weighing(at, 50)])), [Some(100)]);
    assert_eq!(bench.checker.sweep(&[weighing(at, 100)]), []);
    assert_eq!(bench.said("its weight is whole again"), 1);
    // From here on it is nobody's business here.
    assert_eq!(bench.checker.sweep(&[weighing(at, 70)]), []);
}

#[tokio::test]
async fn a_checker_that_stops_gives_the_weight_back() {
    let (_value, spy) = adjustable(50).await;
    let bench = bench(|config| config.weight.metadata = Some("x-lb-weight".to_owned()));
    first(&bench, spy.server.address).await;
    let last = bench.checker.stop();
    assert_eq!((weights(&last), forces(&last)), (vec![Some(100)], vec![]));
    assert_eq!(bench.checker.stop(), []);
}

#[tokio::test]
async fn a_server_that_is_no_longer_checked_gets_its_weight_back() {
    let (_value, spy) = adjustable(50).await;
    let bench = bench(|config| config.weight.metadata = Some("x-lb-weight".to_owned()));
    first(&bench, spy.server.address).await;
    let tracking = ServerSeen { tracks: true, ..weighing(spy.server.address, 50) };
    assert_eq!(weights(&bench.checker.sweep(&[tracking])), [Some(100)]);
}

#[tokio::test]
async fn small_weights_are_named_and_never_rounded_to_none() {
    let (_value, spy) = adjustable(10).await;
    let bench = bench(|config| config.weight.metadata = Some("x-lb-weight".to_owned()));
    let small = ServerSeen { weight: Some(2), ..seen(spy.server.address, "UP") };
    bench.checker.sweep(std::slice::from_ref(&small));
    bench.until_described(" weight=10%").await;
    assert_eq!(weights(&bench.changes().await), [Some(100)]);
    assert_eq!(weights(&bench.checker.sweep(std::slice::from_ref(&small))), [Some(50)]);
    bench.checker.sweep(&[ServerSeen { weight: Some(1), ..small }]);
    assert_eq!(bench.said("b/s: its weight in HAProxy's configuration is 2"), 1);
}

#[tokio::test]
async fn a_refused_weight_is_said_once_and_not_asked_again() {
    let (value, spy) = adjustable(50).await;
    let bench = bench(|config| config.weight.metadata = Some("x-lb-weight".to_owned()));
    let at = spy.server.address;
    first(&bench, at).await;
    for _ in 0..2 {
        bench.checker.weight_refused("b", "s", "not this algorithm");
    }
    value.store(30, Ordering::SeqCst);
    bench.until_described(" up ").await;
    bench.checker.sweep(&[weighing(at, 100)]);
    assert_eq!(bench.checker.sweep(&[weighing(at, 100)]), []);
    assert_eq!(bench.said("b/s: HAProxy refuses a weight from its load: not this algorithm"), 1);
}

#[tokio::test]
async fn without_a_source_no_weight_is_touched() {
    let (_value, spy) = adjustable(50).await;
    let bench = bench(|_| {});
    bench.checker.sweep(&[weighing(spy.server.address, 100)]);
    let changes = Mutex::new(bench.changes().await);
    assert_eq!(forces(&changes.lock().unwrap()), [Force::Up]);
    assert_eq!(bench.checker.sweep(&[weighing(spy.server.address, 20)]), []);
}

#[tokio::test]
async fn no_more_streams_are_opened_at_once_than_checks() {
    let (open, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (now, peak) = (Arc::clone(&open), Arc::clone(&most));
    // Accepts, and never says a word.
    let server = servers::behind(move |mut stream| {
        peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let now = Arc::clone(&now);
        async move {
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
            now.fetch_sub(1, Ordering::SeqCst);
            None::<tokio::net::TcpStream>
        }
    })
    .await;
    let mut backend = BackendConfig::named("b");
    (backend.connect_timeout, backend.fall) = (Duration::from_millis(50), 1);
    (backend.weight.orca, backend.weight.orca_report) = (Some(OrcaMetric::Cpu), OrcaReport::Stream);
    let bench = Bench::of(&HealthConfig { max_concurrent: 2, backends: vec![backend], ..HealthConfig::default() });
    let all: Vec<_> = (0..40).map(|number| seen_as(&format!("s{number}"), server.address)).collect();
    bench.checker.sweep(&all);
    bench.until_described("down: 40,").await;
    // Two and two, and those that the server has not seen leave yet.
    let most = most.load(Ordering::SeqCst);
    assert!(most <= 8, "{most} connections at once");
}
