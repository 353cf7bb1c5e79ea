//! What ends after a response's headers: gRPC calls whose status stands in trailers, and tunnels.

use haproxy_vitals_tests::client::{self, Session};
use haproxy_vitals_tests::grpc_backend::{Answer, GrpcBackend};
use haproxy_vitals_tests::otlp::StatusCode;
use haproxy_vitals_tests::vitals::{self, CALLER};
use haproxy_vitals_tests::{OtlpReceiver, SOON, Upstream};
use tonic::transport::Endpoint;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::DOORS;

#[test]
fn the_status_of_a_grpc_call_is_read_from_its_trailers() {
    const GRPC: &str = "
backend grpc
  server one ${grpc} proto h2
";
    const FRONT: &str = "  use_backend grpc\n";
    for door in DOORS {
        let (upstream, receiver, backend) = (Upstream::start(), OtlpReceiver::start(), GrpcBackend::start());
        backend.set_serving("shop");
        let config = vitals::config(door, FRONT, GRPC).upstream(&upstream).set("grpc", backend.addr());
        let haproxy = config.settings("traces.rpc = true\n").export_http(&receiver).start();
        let ask = |n: u64, service: &str| {
            let endpoint = Endpoint::from_shared(format!("http://{}", haproxy.addr("http"))).unwrap();
            let mut request = Request::new(HealthCheckRequest { service: service.to_owned() });
            request.metadata_mut().insert("traceparent", vitals::traceparent(n).parse().unwrap());
            let answer = client::block_on(async {
                HealthClient::new(endpoint.connect().await.unwrap()).check(request).await.map(|_| ())
            });
            let span = vitals::server_span(&receiver, &vitals::trace_id(n));
            (answer.map_or_else(|status| status.code(), |()| Code::Ok), span)
        };
        // An answer with a message has its status in trailers, one without in its headers.
        for (n, service, code, status, error) in [
            (0, "shop", Code::Ok, "OK", None),
            (1, "nowhere", Code::NotFound, "NOT_FOUND", Some("NOT_FOUND")),
            (2, "shop", Code::Internal, "INTERNAL", Some("INTERNAL")),
        ] {
            if code == Code::Internal {
                backend.answer(Answer::Fail(Code::Internal));
            }
            let (answer, span) = ask(n, service);
            assert_eq!(answer, code, "{door:?}");
            let client = receiver.client_span_of(&span).unwrap();
            for (span, error) in [(&span, error.filter(|_| code == Code::Internal)), (&client, error)] {
                let said = (span.str("rpc.response.status_code"), span.str("error.type"));
                assert_eq!(said, (Some(status), error), "{door:?} {span:#?}");
                assert_eq!(span.name, "grpc.health.v1.Health/Check", "{door:?}");
                assert_eq!(span.status == StatusCode::Error, error.is_some(), "{door:?}");
            }
        }
        receiver.assert_clean();
        haproxy.finish();
    }
}

#[test]
fn a_tunnel_lasts_to_its_end() {
    for door in DOORS {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let haproxy = vitals::config(door, "", "").upstream(&upstream).export_http(&receiver).start();
        let mut session = Session::connect(haproxy.addr("http"));
        let head = format!(
            "GET /upgrade HTTP/1.1\r\nhost: x\r\ntraceparent: {}\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n",
            vitals::traceparent(0)
        );
        session.send(head.as_bytes()).unwrap();
        assert_eq!(session.read_response(false).unwrap().status, 101);
        for _ in 0..3 {
            std::thread::sleep(std::time::Duration::from_millis(50));
            session.send(b"ping").unwrap();
            assert_eq!(session.read_bytes(4).unwrap(), b"ping");
        }
        assert_eq!(vitals::counters(&haproxy)["requests.ended"], 0, "{door:?}");
        drop(session);
        let span = vitals::server_span(&receiver, &vitals::trace_id(0));
        let client = receiver.client_span_of(&span).unwrap();
        assert_eq!(
            (span.parent_id.as_str(), span.str("haproxy.tunnel")),
            (CALLER, Some("upgrade")),
            "{door:?} {span:#?}"
        );
        for span in [&span, &client] {
            assert_eq!((span.int("http.response.status_code"), span.str("error.type")), (Some(101), None), "{door:?}");
            assert!(span.duration().as_millis() >= 150, "{door:?} {span:#?}");
        }
        haproxy.finish();
    }
}

#[test]
fn a_connection_that_rules_make_http_gives_its_request_s_spans() {
    const SWITCHED: &str = "
listen switched
  mode tcp
  bind 127.0.0.1:${port:switched}
  tcp-request inspect-delay 1s
  tcp-request content switch-mode http if HTTP
  default_backend back
";
    let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
    let config = vitals::zero_lines("", SWITCHED).upstream(&upstream).export_http(&receiver);
    let haproxy = config.start();
    for _ in 0..2 {
        assert_eq!(client::get(haproxy.addr("switched"), "/", &[("connection", "close")]).status, 200);
    }
    let counters = vitals::wait_exported(&haproxy, &receiver, 2);
    assert_eq!(counters["requests.started"], counters["requests.ended"], "{counters:#?}");
    assert_eq!(counters["faults"], 0);
    receiver.wait_for(SOON, |spans| spans.iter().any(|span| span.str("haproxy.frontend.name") == Some("switched")));
    receiver.assert_clean();
    haproxy.finish();
}
