//! Every way a request can end gives one SERVER span that says so, and a CLIENT span only where a server was chosen.

use std::time::{SystemTime, UNIX_EPOCH};

use haproxy_vitals_tests::client::{self, Session};
use haproxy_vitals_tests::otlp::StatusCode;
use haproxy_vitals_tests::vitals::{self, CALLER, Door};
use haproxy_vitals_tests::{Haproxy, OtlpReceiver, Port, SOON, SpanView, Upstream, haproxy, poll};

/// How the client behaves.
#[derive(Clone, Copy)]
pub(super) enum Client {
    /// Asks, and reads until the answer or the connection ends.
    Get,
    /// The same over HTTP/2.
    Http2,
    /// Asks, and waits for no answer.
    Ask,
    /// Leaves after a part of the body that it promised.
    LeaveInRequest,
    /// Leaves after a part of the answer.
    LeaveInResponse,
    /// Upgrades, exchanges bytes, and leaves.
    Tunnel,
}

/// What Lua's actions see of it.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum LuaActions {
    /// The same.
    Same,
    /// The response's begin, and not that its end never came.
    Begin,
    /// Nothing at all: no response is made.
    Nothing,
}

use LuaActions::{Begin, Nothing, Same};

/// `http.response.status_code` and `error.type` of a span.
pub(super) type Said = (Option<i64>, Option<&'static str>);

const OK: Said = (Some(200), None);
const NO_CLIENT: Option<Said> = None;

/// What the client does, the path, what the SERVER span says, what the CLIENT span says if there is one, and what Lua's
/// actions see.
pub(super) type Row = (Client, &'static str, Said, Option<Said>, LuaActions);

#[rustfmt::skip]
pub(super) const ROWS: [Row; 22] = [
    (Client::Get, "/plain", OK, Some(OK), Same),
    (Client::Get, "/status/404", (Some(404), None), Some((Some(404), Some("404"))), Same),
    (Client::Get, "/status/500", (Some(500), Some("500")), Some((Some(500), Some("500"))), Same),
    (Client::Get, "/status/304", (Some(304), None), Some((Some(304), None)), Same),
    (Client::Get, "/denied", (Some(403), None), NO_CLIENT, Same),
    (Client::Get, "/returned", OK, NO_CLIENT, Same),
    (Client::Get, "/redirected", (Some(302), None), NO_CLIENT, Same),
    (Client::Get, "/rejected", (None, Some("rejected")), NO_CLIENT, Nothing),
    (Client::Ask, "/dropped", (None, Some("rejected")), NO_CLIENT, Nothing),
    (Client::Get, "/nowhere", (Some(503), Some("503")), NO_CLIENT, Same),
    (Client::Get, "/dead", (Some(503), Some("503")), Some((None, Some("connect_error"))), Same),
    (Client::Get, "/hang", (Some(504), Some("504")), Some((None, Some("server_timeout"))), Same),
    (Client::Get, "/garbage", (Some(502), Some("502")), Some((None, Some("proxy_error"))), Same),
    (Client::Get, "/close", (Some(502), Some("502")), Some((None, Some("server_abort"))), Same),
    (Client::Get, "/cut", (Some(200), Some("server_abort")), Some((Some(200), Some("server_abort"))), Begin),
    (Client::LeaveInRequest, "/upload", (None, Some("client_abort")), Some((None, None)), Same),
    (Client::LeaveInResponse, "/drip/1000/5", (Some(200), Some("client_abort")), Some(OK), Begin),
    (Client::Tunnel, "/upgrade", (Some(101), None), Some((Some(101), None)), Same),
    (Client::Get, "/early", OK, Some(OK), Same),
    (Client::Http2, "/bytes/9", OK, Some(OK), Same),
    (Client::Get, "/applet", OK, NO_CLIENT, Same),
    (Client::Get, "/stats", OK, NO_CLIENT, Same),
];

pub(super) const FRONT: &str = "
  http-request deny if { path /denied }
  http-request return status 200 content-type text/plain string done if { path /returned }
  http-request redirect location /elsewhere if { path /redirected }
  http-request reject if { path /rejected }
  http-request silent-drop if { path /dropped }
  http-request use-service prometheus-exporter if { path /applet }
  use_backend nowhere if { path /nowhere }
  use_backend dead if { path /dead }
  use_backend counters if { path /stats }
";

pub(super) const REST: &str = "
backend nowhere
backend dead
  balance roundrobin
  option redispatch 1
  server first ${dead1}
  server second ${dead2}
backend counters
  stats enable
  stats uri /stats
";

#[test]
fn every_ending_gives_its_spans_without_a_line_in_the_frontend() {
    check(Door::ZeroLines);
}

#[test]
fn every_ending_gives_its_spans_through_the_filter() {
    check(Door::Filter);
}

#[test]
fn every_ending_gives_its_spans_through_the_actions() {
    check(Door::Actions);
}

#[test]
fn every_ending_gives_its_spans_through_lua_s_filter() {
    check(Door::LuaFilter);
}

#[test]
fn every_ending_with_a_response_gives_its_spans_through_lua_s_actions() {
    check(Door::LuaActions);
}

fn check(door: Door) {
    let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
    let dead = [Port::reserve(), Port::reserve()];
    let config = vitals::config(door, FRONT, REST).upstream(&upstream);
    let config = config.set("dead1", dead[0].addr()).set("dead2", dead[1].addr());
    let haproxy = config.export_http(&receiver).start();

    // HAProxy's date is the one of its last look at the clock.
    let (mut expected, begin) = (0, now() - 100_000_000);
    for (n, (client, path, ..)) in (0..).zip(ROWS) {
        exchange(client, &haproxy, path, &vitals::traceparent(n));
    }
    for (n, row) in (0..).zip(ROWS) {
        let (_, path, _, _, actions) = row;
        if door != Door::LuaActions || actions != Nothing {
            let server = vitals::server_span(&receiver, &vitals::trace_id(n));
            assert!(begin <= server.start_ns && server.end_ns <= now(), "{path}: {server:#?}");
            check_row(door, &row, &server, &receiver);
            expected += 1;
        }
    }
    let counters = vitals::wait_exported(&haproxy, &receiver, expected);
    let nothing = ROWS.iter().filter(|row| row.4 == Nothing).count() as u64;
    let unended = if door == Door::LuaActions { nothing } else { 0 };
    assert_eq!((counters["requests.ended"], counters["requests.started"]), (expected, expected + unended));
    assert_eq!(receiver.server_spans().len() as u64, expected);
    receiver.assert_clean();
    haproxy.finish();
}

fn check_row(door: Door, row: &Row, server: &SpanView, receiver: &OtlpReceiver) {
    let (_, path, mut server_said, mut client_said, actions) = *row;
    if door == Door::LuaActions && actions == Begin {
        server_said.1 = None;
        client_said = client_said.map(|(status, _)| (status, None));
    }
    let shown = format!("{path}: {server:#?}");
    // HAProxy 3.0 may see the client leave before it sees that the server has.
    if path == "/cut" && !haproxy::is_since(3, 2) && server.str("haproxy.termination_state") == Some("CD") {
        (server_said, client_said) = ((Some(200), Some("client_abort")), Some(OK));
    }
    assert_eq!(said(server), server_said, "{shown}");
    assert_eq!(server.status == StatusCode::Error, server_said.1.is_some(), "{shown}");
    assert_ne!(server.status, StatusCode::Ok, "{shown}");
    assert_eq!((server.parent_id.as_str(), server.status_message.as_str()), (CALLER, ""), "{shown}");

    let client = receiver.client_span_of(server);
    assert_eq!(client.as_ref().map(said), client_said, "{shown}: {client:#?}");
    let Some(client) = client else { return };
    assert_eq!(client.status == StatusCode::Error, client_said.unwrap().1.is_some(), "{path}: {client:#?}");
    assert!(server.start_ns <= client.start_ns && client.end_ns <= server.end_ns, "{path}: {client:#?}");
    let retried = (path == "/dead").then_some(2);
    assert_eq!(client.int("http.request.resend_count"), retried, "{path}: {client:#?}");
}

fn said(span: &SpanView) -> (Option<i64>, Option<&str>) {
    (span.int("http.response.status_code"), span.str("error.type"))
}

pub(super) fn exchange(client: Client, haproxy: &Haproxy, path: &str, traceparent: &str) {
    let addr = haproxy.addr("http");
    if matches!(client, Client::Http2) {
        assert_eq!(client::h2_get(addr, path, &[("traceparent", traceparent)]).status, 200);
        return;
    }
    let mut session = Session::connect(addr);
    let more = match client {
        Client::LeaveInRequest => "content-length: 1000\r\n\r\n0123456789",
        Client::Tunnel => "connection: upgrade\r\nupgrade: echo\r\n\r\n",
        _ => "connection: close\r\n\r\n",
    };
    let method = if matches!(client, Client::LeaveInRequest) { "POST" } else { "GET" };
    if method == "POST" {
        poll::until(SOON, "the end of the request before", || !in_use(haproxy));
    }
    session
        .send(format!("{method} {path} HTTP/1.1\r\nhost: {addr}\r\ntraceparent: {traceparent}\r\n{more}").as_bytes())
        .unwrap();
    match client {
        Client::Get => drop(session.read_response(false)),
        Client::LeaveInRequest => {
            poll::until(SOON, "the request at the server", || in_use(haproxy));
            session.abort();
        }
        Client::LeaveInResponse => {
            session.read_bytes(60).unwrap();
            session.abort();
        }
        Client::Tunnel => {
            assert_eq!(session.read_response(false).unwrap().status, 101);
            session.send(b"ping").unwrap();
            assert_eq!(session.read_bytes(4).unwrap(), b"ping");
        }
        Client::Ask | Client::Http2 => {}
    }
}

/// Whether a connection to a server is established for a request.
fn in_use(haproxy: &Haproxy) -> bool {
    let streams = haproxy.cli("show sess all");
    streams.lines().any(|line| line.trim_start().starts_with("scb=") && line.contains("state=EST endp=CONN"))
}

fn now() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()).unwrap()
}
