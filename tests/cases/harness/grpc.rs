//! The gRPC backend, with tonic's health client.

use std::time::Duration;

use haproxy_vitals_tests::client::block_on;
use haproxy_vitals_tests::grpc_backend::{Answer, GrpcBackend};
use haproxy_vitals_tests::{Haproxy, SOON};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

#[test]
fn answers_a_check_and_flips() {
    let backend = GrpcBackend::start();
    assert_eq!(check(&backend, "").unwrap(), ServingStatus::Serving);
    assert_eq!(check(&backend, "shop").unwrap_err().code(), Code::NotFound);
    backend.set_not_serving("shop");
    assert_eq!(check(&backend, "shop").unwrap(), ServingStatus::NotServing);
    backend.set_serving("shop");
    assert_eq!(check(&backend, "shop").unwrap(), ServingStatus::Serving);
    let asked = backend.asked();
    assert_eq!((backend.checks(), asked[1].service.as_str()), (4, "shop"));
    assert_eq!(asked[0].authority, backend.addr().to_string());
    assert_eq!(asked[0].header("x-probe"), Some("yes"));
}

#[test]
fn a_watcher_sees_every_change() {
    let backend = GrpcBackend::start();
    block_on(async {
        let mut client = HealthClient::new(channel(&backend.addr().to_string()));
        let mut stream = client.watch(health_request("")).await.unwrap().into_inner();
        let first = stream.message().await.unwrap().unwrap();
        assert_eq!(first.status(), ServingStatus::Serving);
        backend.set_not_serving("");
        let second = tokio::time::timeout(SOON, stream.message()).await.unwrap().unwrap().unwrap();
        assert_eq!(second.status(), ServingStatus::NotServing);
    });
    assert_eq!(backend.watches(), 1);
}

#[test]
fn misbehaves_when_told() {
    let backend = GrpcBackend::start();
    backend.answer(Answer::Fail(Code::Internal));
    assert_eq!(check(&backend, "").unwrap_err().code(), Code::Internal);
    backend.answer(Answer::Hang);
    // tonic's own name for a deadline of the client's.
    assert_eq!(check(&backend, "").unwrap_err().code(), Code::Cancelled);
    assert_eq!(check(&GrpcBackend::without_health(), "").unwrap_err().code(), Code::Unimplemented);
}

#[test]
fn comes_back_on_the_same_port_with_its_statuses() {
    let backend = GrpcBackend::start();
    backend.set_not_serving("");
    backend.stop();
    assert_eq!(check(&backend, "").unwrap_err().code(), Code::Unavailable);
    backend.restart();
    assert_eq!(check(&backend, "").unwrap(), ServingStatus::NotServing);
}

#[test]
fn serves_behind_haproxy() {
    const CONFIG: &str = "
defaults
  mode http
  timeout connect 1s
  timeout client 5s
  timeout server 5s
listen grpc
  bind 127.0.0.1:${port:grpc} proto h2
  server one ${backend} proto h2
";
    let backend = GrpcBackend::start();
    let haproxy = Haproxy::config(CONFIG).set("backend", backend.addr()).start();
    assert_eq!(check_at(&haproxy.addr("grpc").to_string(), "").unwrap(), ServingStatus::Serving);
    haproxy.finish();
}

fn check(backend: &GrpcBackend, service: &str) -> Result<ServingStatus, Status> {
    check_at(&backend.addr().to_string(), service)
}

fn check_at(addr: &str, service: &str) -> Result<ServingStatus, Status> {
    block_on(async {
        let mut client = HealthClient::new(channel(addr));
        Ok(client.check(health_request(service)).await?.into_inner().status())
    })
}

fn channel(addr: &str) -> Channel {
    Endpoint::from_shared(format!("http://{addr}")).unwrap().connect_lazy()
}

fn health_request(service: &str) -> Request<HealthCheckRequest> {
    let mut request = Request::new(HealthCheckRequest { service: service.to_owned() });
    request.metadata_mut().insert("x-probe", "yes".parse().unwrap());
    request.set_timeout(Duration::from_secs(2));
    request
}
