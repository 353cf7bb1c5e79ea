//! HTTP proxies between HAProxy and the collector. The collector's name is known to the proxy alone.

use haproxy_vitals_tests::haproxy::Builder;
use haproxy_vitals_tests::pki::Tls;
use haproxy_vitals_tests::{HttpProxy, OtlpReceiver, Pki, SOON, Upstream, client, poll};

use super::{confined, count, delivers, field, proxy, trusting};

#[test]
fn plain_http_goes_with_whole_urls() {
    let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
    let through = HttpProxy::demanding(CREDENTIALS);
    let haproxy = to(confined(&upstream), "http/protobuf", &named(&receiver.http_endpoint()))
        .env("http_proxy", format!("http://user:word@{}", through.addr()))
        .start();
    delivers(&haproxy, &receiver, "http");
    let asked = &through.requests()[0];
    let url = format!("{}/v1/traces", named(&receiver.http_endpoint()));
    assert_eq!((asked.method.as_str(), asked.target.as_str()), ("POST", url.as_str()));
    assert_eq!(asked.authorization.as_deref(), Some(CREDENTIALS));
    assert!(!haproxy.cli("show vitals config").contains("word"));
    haproxy.finish();
}

#[test]
fn tls_and_grpc_go_through_a_tunnel() {
    let (upstream, pki) = (Upstream::start(), Pki::new());
    for (protocol, tls, variable) in [
        ("grpc", false, "all_proxy"),
        ("grpc", true, "HTTPS_PROXY"),
        ("http/protobuf", true, "https_proxy"),
        ("http/json", true, "ALL_PROXY"),
    ] {
        let what = format!("{protocol} {variable}");
        let receiver = if tls { OtlpReceiver::start_tls(&pki, Tls::Server) } else { OtlpReceiver::start() };
        let endpoint = if protocol == "grpc" { receiver.grpc_endpoint() } else { receiver.http_endpoint() };
        let through = HttpProxy::demanding(CREDENTIALS);
        let haproxy = to(trusting(confined(&upstream), &pki), protocol, &named(&endpoint))
            .env(variable, format!("http://user:word@{}", through.addr()))
            .start();
        delivers(&haproxy, &receiver, &what);
        let asked = &through.requests()[0];
        let target = named(&endpoint).split_once("://").unwrap().1.to_owned();
        assert_eq!((asked.method.as_str(), asked.target.as_str()), ("CONNECT", target.as_str()), "{what}");
        assert_eq!(asked.authorization.as_deref(), Some(CREDENTIALS), "{what}");
        let leaked = receiver.requests().iter().any(|request| request.header("proxy-authorization").is_some());
        assert!(!leaked, "{what}: the collector saw the proxy's password");
        haproxy.finish();
    }
}

#[test]
fn a_proxy_that_refuses_is_named_without_its_password() {
    let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
    let through = HttpProxy::demanding("Basic other");
    let haproxy = to(proxy(&upstream), "grpc", &named(&receiver.grpc_endpoint()))
        .env("all_proxy", format!("http://user:word@{}", through.addr()))
        .start();
    client::get(haproxy.addr("http"), "/", &[]);
    poll::until(SOON, "a failed attempt", || count(&haproxy, "export.retries") >= 1);
    let expected = format!("proxy {}: it asks for a user name and a password (407)", through.addr());
    assert_eq!(field(&haproxy, "export.last_error"), expected);
    haproxy.wait_log(&expected, SOON);
    assert!(!haproxy.log_contains("word@"), "{}", haproxy.log());
    assert_eq!(receiver.span_count(), 0);
    haproxy.finish();
}

#[test]
fn a_setting_goes_before_the_environment_and_none_switches_off() {
    let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
    let (mine, other) = (HttpProxy::start(), HttpProxy::start());
    let haproxy = to(proxy(&upstream), "grpc", &receiver.grpc_endpoint())
        .env("HAPROXY_VITALS_EXPORT_PROXY", format!("http://{}", mine.addr()))
        .env("all_proxy", format!("http://{}", other.addr()))
        .start();
    delivers(&haproxy, &receiver, "the setting, also for the loopback");
    assert_eq!((mine.requests().len(), other.requests().len()), (1, 0));
    haproxy.finish();

    receiver.clear();
    let haproxy = to(proxy(&upstream), "grpc", &receiver.grpc_endpoint())
        .env("HAPROXY_VITALS_EXPORT_PROXY", "none")
        .env("all_proxy", format!("http://{}", other.addr()))
        .start();
    delivers(&haproxy, &receiver, "none");
    assert_eq!(other.requests().len(), 0);
    haproxy.finish();
}

#[test]
fn no_proxy_and_the_loopback_are_reached_straight() {
    let (upstream, receiver, through) = (Upstream::start(), OtlpReceiver::start(), HttpProxy::start());
    let haproxy = to(proxy(&upstream), "http/protobuf", &receiver.http_endpoint())
        .env("http_proxy", format!("http://{}", through.addr()))
        .start();
    delivers(&haproxy, &receiver, "the loopback");
    haproxy.finish();
    // Nobody but the proxy knows the name, so that a straight way is seen by its failure.
    let haproxy = to(proxy(&upstream), "http/protobuf", &named(&receiver.http_endpoint()))
        .env("http_proxy", format!("http://{}", through.addr()))
        .env("NO_PROXY", "10.0.0.0/8,.test")
        .start();
    client::get(haproxy.addr("http"), "/", &[]);
    poll::until(SOON, "a failed attempt", || count(&haproxy, "export.retries") >= 1);
    let why = field(&haproxy, "export.last_error");
    assert!(why.starts_with("cannot resolve collector.test: "), "{why}");
    assert_eq!(through.requests().len(), 0);
    haproxy.finish();
}

#[test]
fn a_proxy_of_another_kind_is_a_warning() {
    let upstream = Upstream::start();
    let check = to(proxy(&upstream), "grpc", "http://collector.test:4317").env("all_proxy", "socks5://p:1").check();
    assert!(check.ok, "{}", check.output);
    let said = "all_proxy: expected a proxy with the scheme `http`, found `socks5`; no proxy is used";
    assert_eq!(check.output.matches(said).count(), 1, "{}", check.output);
}

fn to(builder: Builder, protocol: &str, endpoint: &str) -> Builder {
    builder.env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol).env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
}

/// The endpoint under a name that no resolver knows (RFC 6761, section 6.2).
fn named(endpoint: &str) -> String {
    endpoint.replace("127.0.0.1", "collector.test")
}

/// `user:word`.
const CREDENTIALS: &str = "Basic dXNlcjp3b3Jk";
