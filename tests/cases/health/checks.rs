//! A check as the backend sees it.

use haproxy_vitals_tests::SOON;
use haproxy_vitals_tests::grpc_backend::GrpcBackend;

use super::{SETTINGS, assert_one_checker, proxy_of, wait_up};

#[test]
fn check_names_its_target_itself_and_its_deadline() {
    let backend = GrpcBackend::start();
    let haproxy = proxy_of(&backend).start();
    backend.wait_checks(3, SOON);
    for asked in backend.asked() {
        assert_eq!((asked.method, asked.service.as_str()), ("Check", ""));
        assert_eq!(asked.authority, backend.addr().to_string());
        let agent = asked.header("user-agent").unwrap();
        assert!(agent.starts_with("haproxy-vitals/"), "{agent}");
        assert_eq!(asked.header("content-type"), Some("application/grpc"));
        assert_eq!(asked.header("te"), Some("trailers"));
        assert_eq!(millis(asked.header("grpc-timeout").unwrap()), 150);
    }
    haproxy.finish();
}

#[test]
fn configured_authority_and_service_are_sent() {
    let backend = GrpcBackend::start();
    backend.set_serving("shop.Cart");
    let more = "authority = \"shop.example:8443\"\nservice = \"shop.Cart\"\n";
    let haproxy = proxy_of(&backend).file("vitals.toml", &format!("{SETTINGS}{more}")).start();
    wait_up(&haproxy, "s", SOON);
    for asked in backend.asked() {
        assert_eq!((asked.authority.as_str(), asked.service.as_str()), ("shop.example:8443", "shop.Cart"));
    }
    haproxy.finish();
}

#[test]
fn checks_come_at_the_configured_pace() {
    let backend = GrpcBackend::start();
    let haproxy = proxy_of(&backend).start();
    wait_up(&haproxy, "s", SOON);
    assert_one_checker(&backend);
    haproxy.finish();
}

/// The value of `grpc-timeout`: gRPC over HTTP/2, Requests.
fn millis(timeout: &str) -> u64 {
    let (number, unit) = timeout.split_at(timeout.len() - 1);
    let number: u64 = number.parse().unwrap();
    match unit {
        "S" => number * 1000,
        "m" => number,
        "u" => number / 1000,
        "n" => number / 1_000_000,
        _ => panic!("{timeout} is no grpc-timeout"),
    }
}
