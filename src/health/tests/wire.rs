//! One check at a time, against every kind of server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::sync::watch;
use tonic_health::ServingStatus;

use super::servers::{self, SETTINGS, Spy};
use crate::config::{BackendConfig, MetadataValue};
use crate::health::address::Address;
use crate::health::outcome::{CheckResult, Class, Outcome};
use crate::health::probe::{GrpcProbe, Probe, Spot};
use crate::health::profile::Profile;
use crate::health::voice::Voice;

pub(super) struct Asker {
    pub(super) probe: GrpcProbe,
    _stop: watch::Sender<bool>,
}

impl Asker {
    pub(super) fn new(address: Address, config: &BackendConfig) -> Self {
        Self::of(Spot { tls: false, authority: None, name: None, address }, config)
    }

    pub(super) fn of(spot: Spot, config: &BackendConfig) -> Self {
        let (tasks, stop) = servers::tasks();
        let profile = Arc::new(Profile::load(config).unwrap());
        let voice = Arc::new(Voice::new(Box::new(|_, _, _| {}), 64));
        Self { probe: GrpcProbe::new(profile, spot, voice, tasks).unwrap(), _stop: stop }
    }

    pub(super) async fn ask(&mut self) -> CheckResult {
        self.probe.check().await
    }
}

/// Bounds that a busy machine keeps.
pub(super) fn patient() -> BackendConfig {
    let bound = Duration::from_secs(10);
    BackendConfig { connect_timeout: bound, rpc_timeout: bound, ..BackendConfig::named("b") }
}

pub(super) fn asker(address: SocketAddr) -> Asker {
    Asker::new(Address::Tcp(address), &patient())
}

pub(super) async fn ask(address: SocketAddr) -> Outcome {
    let result = asker(address).ask().await;
    assert!(!result.text.is_empty());
    result.outcome
}

pub(super) fn soft(class: Class) -> Outcome {
    Outcome::SoftFail(class)
}

#[tokio::test]
async fn a_real_servers_status_is_read_over_one_connection() {
    let (reporter, server) = servers::health().await;
    let mut asker = asker(server.address);
    assert_eq!(asker.ask().await.outcome, Outcome::Pass);
    reporter.set_service_status("", ServingStatus::NotServing).await;
    assert_eq!(asker.ask().await.outcome, Outcome::HardFail(Class::NotServing));
    reporter.set_service_status("", ServingStatus::Unknown).await;
    assert_eq!(asker.ask().await.outcome, soft(Class::UnknownStatus));
    reporter.set_service_status("", ServingStatus::Serving).await;
    assert_eq!(asker.ask().await.outcome, Outcome::Pass);
}

#[tokio::test]
async fn unknown_service() {
    let (reporter, server) = servers::health().await;
    let config = BackendConfig { services: vec!["shop.Cart".to_owned()], ..patient() };
    let mut asker = Asker::new(Address::Tcp(server.address), &config);
    assert_eq!(asker.ask().await.outcome, soft(Class::ServiceUnknown));
    reporter.set_service_status("shop.Cart", ServingStatus::Serving).await;
    assert_eq!(asker.ask().await.outcome, Outcome::Pass);
}

#[tokio::test]
async fn unimplemented() {
    let server = servers::without_health_service().await;
    assert_eq!(ask(server.address).await, soft(Class::Unimplemented));
}

#[tokio::test]
async fn ipv6_and_unix_sockets_are_reached() {
    let (_reporter, server) = servers::health_on(servers::listen("[::1]:0").await);
    assert_eq!(ask(server.address).await, Outcome::Pass);

    let path = std::env::temp_dir().join(format!("haproxy-vitals-{}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let mut asker = Asker::new(Address::parse(path.to_str().unwrap()).unwrap(), &patient());
    assert_eq!(asker.ask().await.outcome, soft(Class::Connect));
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let check = asker.ask();
    let serving = async {
        let (stream, _) = listener.accept().await.unwrap();
        let service = hyper::service::service_fn(|request| async move {
            drop::<http::Request<hyper::body::Incoming>>(request);
            Ok::<_, std::convert::Infallible>(servers::status(1))
        });
        let builder = hyper::server::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new());
        builder.serve_connection(hyper_util::rt::TokioIo::new(stream), service).await
    };
    tokio::select! {
        result = check => assert_eq!(result.outcome, Outcome::Pass),
        _ = serving => panic!("the connection ended"),
    }
    std::fs::remove_file(path).unwrap();
}

#[tokio::test]
async fn authority_is_sent() {
    let spy = Spy::answering(|| servers::status(1)).await;
    assert_eq!(ask(spy.server.address).await, Outcome::Pass);
    let config = BackendConfig { authority: Some("shop.example".to_owned()), ..patient() };
    Asker::new(Address::Tcp(spy.server.address), &config).ask().await;
    let heads = spy.heads.lock().unwrap();
    let authorities: Vec<_> = heads.iter().map(|head| head.uri.authority().unwrap().as_str()).collect();
    assert_eq!(authorities, [spy.server.address.to_string().as_str(), "shop.example"]);
    assert_eq!(heads[0].uri.path(), "/grpc.health.v1.Health/Check");
}

#[tokio::test]
async fn what_is_no_authority_is_refused() {
    let (tasks, _stop) = servers::tasks();
    for text in ["", "user@shop.example", "a:1:2/x?y", "a b"] {
        let config = BackendConfig { authority: Some(text.to_owned()), ..patient() };
        let spot = Spot { address: Address::parse("127.0.0.1:1").unwrap(), tls: false, authority: None, name: None };
        let (profile, voice) = (Profile::load(&config).unwrap(), Voice::new(Box::new(|_, _, _| {}), 1));
        assert!(GrpcProbe::new(Arc::new(profile), spot, Arc::new(voice), tasks.clone()).is_err(), "{text}");
    }
}

#[tokio::test]
async fn grpc_timeout_is_sent() {
    let spy = Spy::answering(|| servers::status(1)).await;
    ask(spy.server.address).await;
    let heads = spy.heads.lock().unwrap();
    let headers = &heads[0].headers;
    assert_eq!(headers["grpc-timeout"], "10000m");
    assert_eq!(headers["user-agent"], format!("haproxy-vitals/{}", crate::VERSION));
    assert_eq!(headers["content-type"], "application/grpc");
    assert_eq!(headers["te"], "trailers");
}

#[tokio::test]
async fn refused_port_is_soft() {
    let address = servers::listen("127.0.0.1:0").await.local_addr().unwrap();
    assert_eq!(ask(address).await, soft(Class::Connect));
}

#[tokio::test]
async fn silent_listener_times_out() {
    let server = servers::raw(|stream| async move { stream }).await;
    let config = BackendConfig { connect_timeout: Duration::from_millis(200), ..patient() };
    let start = Instant::now();
    let result = Asker::new(Address::Tcp(server.address), &config).ask().await;
    assert_eq!(result, CheckResult::soft(Class::Connect, "no HTTP/2 settings from the server within 200 ms"));
    assert!((Duration::from_millis(200)..Duration::from_secs(8)).contains(&start.elapsed()));
}

#[tokio::test]
async fn a_server_that_stalls_after_its_settings_times_out() {
    let server = servers::raw(|mut stream| async move {
        stream.write_all(SETTINGS).await.unwrap();
        stream
    })
    .await;
    let config = BackendConfig { rpc_timeout: Duration::from_millis(200), ..patient() };
    let result = Asker::new(Address::Tcp(server.address), &config).ask().await;
    assert_eq!(result, CheckResult::soft(Class::Timeout, "no answer within 200 ms"));
}

#[tokio::test]
async fn a_slow_handshake_within_the_bound_passes() {
    let spy = Spy::start(
        || servers::status(1),
        |_, stream| async move {
            tokio::time::sleep(Duration::from_millis(300)).await;
            Some(stream)
        },
    )
    .await;
    assert_eq!(ask(spy.server.address).await, Outcome::Pass);
    let config = BackendConfig { connect_timeout: Duration::from_millis(100), ..patient() };
    let result = Asker::new(Address::Tcp(spy.server.address), &config).ask().await;
    assert_eq!(result.outcome, soft(Class::Connect));
}

#[tokio::test]
async fn several_services_share_one_connection_and_all_must_pass() {
    let (reporter, server) = servers::health().await;
    let services = ["", "a", "b"].map(str::to_owned).to_vec();
    let mut asker = Asker::new(Address::Tcp(server.address), &BackendConfig { services, ..patient() });
    reporter.set_service_status("a", ServingStatus::Serving).await;
    let unknown = asker.ask().await;
    assert_eq!((unknown.outcome, unknown.service.as_deref()), (soft(Class::ServiceUnknown), Some("b")));
    reporter.set_service_status("b", ServingStatus::NotServing).await;
    let worst = asker.ask().await;
    assert_eq!((worst.outcome, worst.service.as_deref()), (Outcome::HardFail(Class::NotServing), Some("b")));
    reporter.set_service_status("b", ServingStatus::Serving).await;
    assert_eq!(asker.ask().await, CheckResult::new(Outcome::Pass, "SERVING").with_code(0));
    assert_eq!(asker.probe.connections(), 1);
}

#[tokio::test]
async fn metadata_and_the_user_agent_are_sent() {
    let spy = Spy::answering(|| servers::status(1)).await;
    let metadata = vec![("x-key".to_owned(), MetadataValue::Text("word".to_owned()))];
    let config = BackendConfig { metadata, user_agent: Some("checker/1".to_owned()), ..patient() };
    assert_eq!(Asker::new(Address::Tcp(spy.server.address), &config).ask().await.outcome, Outcome::Pass);
    let heads = spy.heads.lock().unwrap();
    assert_eq!(
        (&heads[0].headers["x-key"], &heads[0].headers["user-agent"]),
        (&"word".parse().unwrap(), &"checker/1".parse().unwrap())
    );
}

#[tokio::test]
async fn a_name_is_looked_up_and_one_without_address_holds_for_a_while() {
    let (_reporter, server) = servers::health().await;
    let name = Address::of("localhost", server.address.port()).unwrap();
    assert_eq!(Asker::new(name, &patient()).ask().await.outcome, Outcome::Pass);
    let nowhere = || Address::of("nowhere.invalid", 1).unwrap();
    let mut asker = Asker::new(nowhere(), &patient());
    let result = asker.ask().await;
    assert_eq!(result.outcome, Outcome::Hold(Class::Dns), "{result:?}");
    let config = BackendConfig { resolve_hold: Duration::ZERO, ..patient() };
    let result = Asker::new(nowhere(), &config).ask().await;
    assert_eq!(result.outcome, soft(Class::Dns));
    assert!(result.text.starts_with("cannot resolve nowhere.invalid: "), "{}", result.text);
}

#[tokio::test]
async fn garbage_server_is_protocol() {
    for garbage in [
        "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n",
        "SSH-2.0-OpenSSH_10.0\r\n",
        "\x15\x03\x03\0\x02\x02\x28",
    ] {
        let server = servers::raw(move |mut stream| async move {
            stream.write_all(garbage.as_bytes()).await.unwrap();
            stream
        })
        .await;
        for _ in 0..20 {
            assert_eq!(ask(server.address).await, soft(Class::Protocol), "{garbage:?}");
        }
    }
}

#[tokio::test]
async fn a_server_that_hangs_up_is_soft() {
    let spy = Spy::start(
        || servers::status(1),
        |_, stream| async move {
            drop(stream);
            None
        },
    )
    .await;
    assert_eq!(ask(spy.server.address).await, soft(Class::Connect));
}

#[tokio::test]
async fn a_huge_answer_is_refused() {
    let spy = Spy::answering(|| servers::grpc(&vec![0; 100 << 20], "0")).await;
    let result = asker(spy.server.address).ask().await;
    assert_eq!(result, CheckResult::soft(Class::Protocol, "the answer is too long: 104857600 bytes"));
    let spy = Spy::answering(|| {
        let mut answer = servers::status(1);
        for n in 0..40u8 {
            let name = http::HeaderName::try_from(format!("x-{n}")).unwrap();
            answer.headers_mut().insert(name, "y".repeat(1000).parse().unwrap());
        }
        answer
    })
    .await;
    assert!(matches!(ask(spy.server.address).await, Outcome::SoftFail(_)));
}

#[tokio::test]
async fn what_is_no_health_answer_is_protocol() {
    let protocol = soft(Class::Protocol);
    for (answer, name) in [
        (servers::status as fn(i32) -> servers::Answer, "unknown enum"),
        (|_| servers::grpc(b"\xff\xff\xff", "0"), "bad message"),
        (|_| servers::web(200), "web page"),
    ] {
        let spy = Spy::answering(move || answer(77)).await;
        assert_eq!(ask(spy.server.address).await, protocol, "{name}");
    }
    // Without a message, with a status that says OK.
    let spy = Spy::answering(|| {
        let mut answer = servers::web(200);
        answer.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
        answer.headers_mut().insert("grpc-status", "0".parse().unwrap());
        answer
    })
    .await;
    assert_eq!(ask(spy.server.address).await, protocol);
}

#[tokio::test]
async fn failures_in_the_servers_own_words_have_their_class() {
    for (code, class) in [
        ("13", Class::RpcError),
        ("8", Class::Overload),
        ("16", Class::Auth),
        ("4", Class::Timeout),
        ("99", Class::RpcError),
    ] {
        let spy = Spy::answering(move || servers::grpc(b"", code)).await;
        let mut asker = asker(spy.server.address);
        assert_eq!(asker.ask().await.outcome, soft(class), "{code}");
        assert_eq!(asker.ask().await.outcome, soft(class), "{code}");
        assert_eq!(spy.connections.load(Ordering::SeqCst), 1, "the connection is good");
    }
    for (code, class) in [
        (400, Class::RpcError),
        (401, Class::Auth),
        (403, Class::Auth),
        (404, Class::Unimplemented),
        (503, Class::RpcError),
    ] {
        let spy = Spy::answering(move || servers::web(code)).await;
        assert_eq!(ask(spy.server.address).await, soft(class), "{code}");
    }
}
