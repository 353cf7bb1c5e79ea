//! What one door can do and another cannot.

use haproxy_vitals_tests::client::{self, Session};
use haproxy_vitals_tests::vitals::{self, Door};
use haproxy_vitals_tests::{Haproxy, OtlpReceiver, SOON, Upstream, poll};

#[test]
fn lua_s_actions_see_the_begin_and_not_the_end_of_what_gets_no_response() {
    const FRONT: &str = "
  http-request reject if { path /rejected }
  http-request silent-drop if { path /dropped }
";
    let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
    let haproxy = vitals::config(Door::LuaActions, FRONT, "").upstream(&upstream).export_http(&receiver).start();
    for path in ["/rejected", "/dropped"] {
        let mut session = Session::connect(haproxy.addr("http"));
        session.send(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).unwrap();
        poll::until(SOON, "the end of the stream", || streams(&haproxy) == 0);
    }
    poll::until(SOON, "both requests", || vitals::counters(&haproxy)["requests.started"] == 2);
    client::get(haproxy.addr("http"), "/", &[]);
    let counters = vitals::wait_exported(&haproxy, &receiver, 1);
    assert_eq!((counters["requests.started"], counters["requests.ended"]), (3, 1), "{counters:#?}");
    assert_eq!(receiver.server_spans().len(), 1);
    receiver.assert_clean();
    haproxy.finish();
}

#[test]
fn request_that_never_becomes_a_stream_is_not_started() {
    for door in Door::ALL {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let haproxy = vitals::config(door, "", "").upstream(&upstream).export_http(&receiver).start();
        client::raw(haproxy.addr("http"), b"nonsense\r\n\r\n");
        drop(Session::connect(haproxy.addr("http")));
        client::get(haproxy.addr("http"), "/", &[]);
        let counters = vitals::wait_exported(&haproxy, &receiver, 1);
        assert_eq!((counters["requests.started"], counters["requests.ended"]), (1, 1), "{door:?} {counters:#?}");
        haproxy.finish();
    }
}

#[test]
fn listen_section_takes_every_door() {
    const LISTEN: &str = "
listen all
  bind 127.0.0.1:${port:all}
";
    const LISTEN_RULES: &str = "
  http-request deny if { path /denied }
  server only ${upstream}
";
    for door in Door::ALL {
        let listen = format!("{LISTEN}{}{LISTEN_RULES}", door.rules());
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let haproxy = vitals::config(door, "", &listen).upstream(&upstream).export_http(&receiver).start();
        for (n, (path, status)) in (0..).zip([("/", 200), ("/denied", 403), ("/status/404", 404)]) {
            let headers = [("traceparent", &*vitals::traceparent(n))];
            assert_eq!(client::get(haproxy.addr("all"), path, &headers).status, status);
            let span = vitals::server_span(&receiver, &vitals::trace_id(n));
            assert_eq!(span.int("http.response.status_code"), Some(status.into()), "{door:?}");
            assert_eq!(span.str("haproxy.frontend.name"), Some("all"), "{door:?}");
            assert_eq!(receiver.client_span_of(&span).is_some(), path != "/denied", "{door:?}");
        }
        receiver.assert_clean();
        haproxy.finish();
    }
}

/// Streams under way, but for the one of the stats socket.
fn streams(haproxy: &Haproxy) -> usize {
    haproxy.cli("show sess").lines().filter(|line| line.contains("fe=front")).count()
}
