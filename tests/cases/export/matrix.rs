//! Every protocol with every compression over every kind of connection, from an unprivileged user in a chroot.

use haproxy_vitals_tests::otlp::Protocol;
use haproxy_vitals_tests::pki::Tls;
use haproxy_vitals_tests::{OtlpReceiver, Pki, Upstream};

use super::{confined, delivers, identified, trusting};

#[test]
fn grpc_arrives_in_every_form() {
    every_form("grpc", Protocol::Grpc, "grpc-encoding");
}

#[test]
fn http_with_protobuf_arrives_in_every_form() {
    every_form("http/protobuf", Protocol::Http, "content-encoding");
}

#[test]
fn http_with_json_arrives_in_every_form() {
    every_form("http/json", Protocol::Json, "content-encoding");
}

#[test]
fn without_a_certificate_of_its_own_the_systems_authorities_are_trusted() {
    let (pki, upstream) = (Pki::new(), Upstream::start());
    let receiver = OtlpReceiver::start_tls(&pki, Tls::Server);
    let haproxy = confined(&upstream)
        .env("SSL_CERT_FILE", pki.path("ca.pem").display())
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.http_endpoint())
        .start();
    delivers(&haproxy, &receiver, "the system's authorities");
    haproxy.finish();
}

#[track_caller]
fn every_form(name: &str, protocol: Protocol, encoding: &str) {
    let (pki, upstream) = (Pki::new(), Upstream::start());
    for tls in [None, Some(Tls::Server), Some(Tls::Mutual)] {
        for compression in ["none", "gzip", "zstd"] {
            let what = format!("{name} {compression} {tls:?}");
            let receiver = tls.map_or_else(OtlpReceiver::start, |tls| OtlpReceiver::start_tls(&pki, tls));
            let endpoint = if protocol == Protocol::Grpc { receiver.grpc_endpoint() } else { receiver.http_endpoint() };
            let mut haproxy = confined(&upstream)
                .env("OTEL_EXPORTER_OTLP_PROTOCOL", name)
                .env("OTEL_EXPORTER_OTLP_COMPRESSION", compression)
                .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint);
            if tls.is_some() {
                haproxy = trusting(haproxy, &pki);
            }
            if tls == Some(Tls::Mutual) {
                haproxy = identified(haproxy, &pki);
            }
            let haproxy = haproxy.start();
            delivers(&haproxy, &receiver, &what);
            let request = &receiver.requests()[0];
            assert_eq!((request.protocol, request.tls), (protocol, tls.is_some()), "{what}");
            let expected = Some(compression).filter(|compression| *compression != "none");
            assert_eq!(request.header(encoding), expected, "{what}");
            haproxy.finish();
        }
    }
}
