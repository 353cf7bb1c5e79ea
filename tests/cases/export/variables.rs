//! Every `OTEL_EXPORTER_OTLP_*` variable, in a real HAProxy.

use std::time::Duration;

use haproxy_vitals_tests::otlp::Protocol;
use haproxy_vitals_tests::pki::Tls;
use haproxy_vitals_tests::{Behaviour, OtlpReceiver, Pki, SOON, Upstream, client, poll};

use super::{count, delivers, field, proxy};

#[test]
fn the_general_variables_lead_to_the_collector() {
    all_of("OTEL_EXPORTER_OTLP_", &[]);
}

#[test]
fn the_variables_of_traces_go_before_the_general_ones() {
    // What would lead nowhere, were it used.
    let general = [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-general=1"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "none"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere"),
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/nowhere"),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/nowhere"),
    ];
    all_of("OTEL_EXPORTER_OTLP_TRACES_", &general);
}

#[track_caller]
fn all_of(prefix: &str, others: &[(&str, &str)]) {
    let (pki, upstream) = (Pki::new(), Upstream::start());
    let receiver = OtlpReceiver::start_tls(&pki, Tls::Mutual);
    let name = |variable: &str| format!("{prefix}{variable}");
    let haproxy = others
        .iter()
        .fold(proxy(&upstream), |builder, (name, value)| builder.env(name, value))
        .env(&name("PROTOCOL"), "grpc")
        .env(&name("ENDPOINT"), receiver.grpc_endpoint())
        .env(&name("HEADERS"), "X-Tenant=blue%20sky,x-other=2")
        .env(&name("COMPRESSION"), "gzip")
        .env(&name("CERTIFICATE"), pki.path("ca.pem").display())
        .env(&name("CLIENT_CERTIFICATE"), pki.path("client.pem").display())
        .env(&name("CLIENT_KEY"), pki.path("client.key").display())
        .start();
    delivers(&haproxy, &receiver, prefix);
    let request = &receiver.requests()[0];
    assert_eq!((request.protocol, request.tls), (Protocol::Grpc, true));
    assert_eq!(request.header("grpc-encoding"), Some("gzip"));
    assert_eq!((request.header("x-tenant"), request.header("x-other")), (Some("blue sky"), Some("2")));
    assert_eq!(request.header("x-general"), None);
    haproxy.finish();
}

#[test]
fn the_timeout_is_that_of_one_attempt() {
    for (variable, other) in [
        ("OTEL_EXPORTER_OTLP_TIMEOUT", None),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", Some("OTEL_EXPORTER_OTLP_TIMEOUT")),
    ] {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        receiver.behave(Behaviour::Hang);
        let builder = other.into_iter().fold(proxy(&upstream), |builder, name| builder.env(name, 20_000));
        let haproxy = builder.env("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.http_endpoint()).env(variable, 150).start();
        client::get(haproxy.addr("http"), "/", &[]);
        poll::until(SOON, "a failed attempt", || count(&haproxy, "export.retries") >= 1);
        assert_eq!(field(&haproxy, "export.last_error"), format!("no answer within {:?}", Duration::from_millis(150)));
        haproxy.finish();
    }
}

#[test]
fn insecure_makes_a_grpc_endpoint_without_a_scheme_plain() {
    for variable in ["OTEL_EXPORTER_OTLP_INSECURE", "OTEL_EXPORTER_OTLP_TRACES_INSECURE"] {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let haproxy = proxy(&upstream)
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.grpc_addr())
            .env(variable, "true")
            .start();
        delivers(&haproxy, &receiver, variable);
        haproxy.finish();
    }
    let (pki, upstream) = (Pki::new(), Upstream::start());
    let receiver = OtlpReceiver::start_tls(&pki, Tls::Server);
    let haproxy = super::trusting(proxy(&upstream), &pki)
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.grpc_addr())
        .start();
    delivers(&haproxy, &receiver, "without it the endpoint has TLS");
    haproxy.finish();
}

#[test]
fn an_endpoint_of_traces_is_posted_to_as_it_is() {
    let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
    let haproxy = proxy(&upstream)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
        .env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", format!("{}/v1/traces", receiver.http_endpoint()))
        .start();
    delivers(&haproxy, &receiver, "complete");
    haproxy.finish();
    let haproxy = proxy(&upstream).env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", receiver.http_endpoint()).start();
    client::get(haproxy.addr("http"), "/", &[]);
    poll::until(SOON, "the receiver to refuse the path", || {
        receiver.violations().iter().any(|v| v.contains("path `/`"))
    });
    haproxy.finish();
}

#[test]
fn the_variables_of_metrics_and_logs_are_taken() {
    let (pki, upstream) = (Pki::new(), Upstream::start());
    for signal in ["metrics", "logs"] {
        let settings = [
            ("protocol", "http/json".to_owned()),
            ("endpoint", "https://c:4318/in".to_owned()),
            ("insecure", "true".to_owned()),
            ("timeout", "7".to_owned()),
            ("compression", "zstd".to_owned()),
            ("certificate", pki.path("ca.pem").display().to_string()),
            ("client_certificate", pki.path("client.pem").display().to_string()),
            ("client_key", pki.path("client.key").display().to_string()),
            ("headers", "x-key=word".to_owned()),
        ];
        let variable = |key: &str| format!("OTEL_EXPORTER_OTLP_{}_{}", signal.to_uppercase(), key.to_uppercase());
        let plain = proxy(&upstream).env("OTEL_TRACES_EXPORTER", "none");
        let haproxy = settings.iter().fold(plain, |builder, (key, value)| builder.env(&variable(key), value)).start();
        let shown = haproxy.cli("show vitals config");
        for (key, _) in &settings {
            let source = format!("# environment {}", variable(key));
            let line = shown.lines().find(|line| line.starts_with(&format!("export.{signal}.{key}")));
            assert!(line.is_some_and(|line| line.contains(&source)), "{signal} {key}:\n{shown}");
        }
        assert!(!shown.contains("word"), "{shown}");
        haproxy.finish();
    }
}
