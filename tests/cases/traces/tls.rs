//! TLS on both sides of the proxy. The client of the traced frontend is the same HAProxy, as is its server.

use haproxy_vitals_tests::client;
use haproxy_vitals_tests::vitals::{self, Door};
use haproxy_vitals_tests::{OtlpReceiver, Upstream};

/// `plain` speaks TLS to the traced `secure`, whose server speaks TLS to `inner`.
const REST: &str = "
frontend plain
  bind 127.0.0.1:${port:plain}
  default_backend outside
backend outside
  server secure 127.0.0.1:${port:secure} ssl verify none sni str(shop.example) crt ${dir}/client.pem alpn http/1.1
backend inside
  server inner 127.0.0.1:${port:inner} ssl verify none force-tlsv12
frontend inner
  bind 127.0.0.1:${port:inner} ssl crt ${dir}/server.pem
  default_backend back
";

const FRONT: &str =
    "  bind 127.0.0.1:${port:secure} ssl crt ${dir}/server.pem ca-file ${dir}/client.pem verify optional \
                     crt-ignore-err all ca-ignore-err all alpn http/1.1
  use_backend inside
";

#[test]
fn tls_of_both_connections_is_on_the_spans_on_request() {
    for door in Door::ALL {
        for asked in [true, false] {
            let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
            let haproxy = vitals::config(door, FRONT, REST)
                .upstream(&upstream)
                .export_http(&receiver)
                .file("server.pem", &certificate("shop.example"))
                .file("client.pem", &certificate("client.example"))
                .env("HAPROXY_VITALS_TRACES_FRONTENDS", "front")
                .env("HAPROXY_VITALS_TRACES_TLS", asked)
                .env("HAPROXY_VITALS_TRACES_TLS_CLIENT_CERTIFICATE", asked)
                .start();
            let headers = [("traceparent", &*vitals::traceparent(0)), ("host", "shop.example")];
            assert_eq!(client::get(haproxy.addr("plain"), "/", &headers).status, 200);
            let span = vitals::server_span(&receiver, &vitals::trace_id(0));
            assert_eq!((span.str("url.scheme"), span.str("tls.protocol.version")), (Some("https"), Some("1.3")));
            assert_eq!(span.bool("tls.established"), asked.then_some(true), "{door:?} {span:#?}");
            assert_eq!(span.bool("tls.resumed"), asked.then_some(false), "{door:?} {span:#?}");
            assert_eq!(span.str("tls.client.server_name"), asked.then_some("shop.example"), "{door:?} {span:#?}");
            assert_eq!(span.str("tls.next_protocol"), asked.then_some("http/1.1"), "{door:?} {span:#?}");
            let subject = span.str("tls.client.subject");
            assert_eq!(subject.is_some_and(|name| name.contains("client.example")), asked, "{door:?} {span:#?}");
            let digest = span.str("tls.client.hash.sha1").map(str::len);
            assert_eq!(digest, asked.then_some(40), "{door:?} {span:#?}");
            for name in ["tls.cipher", "tls.curve", "tls.client.issuer"] {
                assert_eq!(span.str(name).is_some_and(|value| value.len() > 2), asked, "{door:?} {name} {span:#?}");
            }
            let client = receiver.client_span_of(&span).unwrap();
            // Lua's hooks look at the server's connection on request.
            let secure = asked || !door.is_lua();
            let full = if secure { "https://shop.example/" } else { "http://shop.example/" };
            assert_eq!(client.str("url.full"), Some(full), "{door:?}");
            assert_eq!(client.str("tls.protocol.version"), asked.then_some("1.2"), "{door:?} {client:#?}");
            receiver.assert_clean();
            haproxy.finish();
        }
    }
}

/// A certificate signed by itself, and its key.
pub(super) fn certificate(name: &str) -> String {
    let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    format!("{}{}", certificate.pem(), key.serialize_pem())
}
