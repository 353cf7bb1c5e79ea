//! Connections of frontends in TCP mode: one SERVER span each, however they end.

use haproxy_vitals_tests::client::Session;
use haproxy_vitals_tests::haproxy::Builder;
use haproxy_vitals_tests::otlp::{SpanKind, StatusCode};
use haproxy_vitals_tests::{Haproxy, OtlpReceiver, Port, SOON, SpanView, Upstream, poll, vitals};

/// How connections come to the tracer.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Tcp {
    /// `frontend F from otel-tcp`.
    Profile,
    /// `filter lua.otel`.
    Filter,
}

/// How the client behaves.
#[derive(Clone, Copy)]
enum Client {
    /// Asks for a path, and reads until the end.
    Get(&'static str),
    /// Asks for a path, reads a part, and resets the connection.
    Leave(&'static str),
    /// Connects, and waits for the end.
    Wait,
    /// Sends nothing and closes its side at once.
    Close,
}

/// The frontend, what the client does, `haproxy.termination_state`, `error.type`, and whether a server was chosen.
type Row = (&'static str, Client, &'static str, Option<&'static str>, bool);

#[rustfmt::skip]
const ROWS: [Row; 11] = [
    ("plain", Client::Get("/bytes/5000"), "--", None, true),
    ("plain", Client::Close, "--", None, true),
    ("plain", Client::Get("/close"), "--", None, true),
    ("plain", Client::Get("/hang"), "sD", Some("server_timeout"), true),
    ("plain", Client::Leave("/drip/1000/5"), "CD", Some("client_abort"), true),
    ("impatient", Client::Wait, "cD", Some("client_timeout"), true),
    ("rejected", Client::Wait, "PR", Some("rejected"), false),
    ("dead", Client::Wait, "SC", Some("connect_error"), true),
    ("nowhere", Client::Wait, "SC", Some("no_server"), false),
    ("busy", Client::Wait, "sQ", Some("queue_timeout"), false),
    ("all", Client::Get("/"), "--", None, true),
];

#[test]
fn every_connection_gives_one_span_that_says_how_it_ended_through_the_profile() {
    check(Tcp::Profile);
}

#[test]
fn every_connection_gives_one_span_that_says_how_it_ended_through_the_filter() {
    check(Tcp::Filter);
}

fn check(door: Tcp) {
    let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
    let dead = Port::reserve();
    let haproxy = config(door).upstream(&upstream).set("dead", dead.addr()).export_http(&receiver).start();
    // Takes the one connection that `queued` lets through, for as long as it lives.
    let mut holder = Session::connect(haproxy.addr("busy"));
    holder.send(b"GET /hang HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    poll::until(SOON, "the connection that fills the server", || in_use(&haproxy));

    for (n, row) in (1..).zip(ROWS) {
        exchange(&haproxy, row);
        let settled = || vitals::counters(&haproxy)["requests.ended"] == n;
        poll::until(SOON, &format!("the end of connection {n} to {}", row.0), settled);
    }
    holder.abort();
    let total = ROWS.len() as u64 + 1;
    let counters = vitals::wait_exported(&haproxy, &receiver, total);
    assert_eq!((counters["requests.started"], counters["requests.ended"]), (total, total), "{counters:#?}");
    assert_eq!(counters["spans.created"], total, "{counters:#?}");
    let mut spans = receiver.server_spans();
    spans.sort_by_key(|span| span.end_ns);
    let last = spans.pop().unwrap();
    assert_eq!((last.name.as_str(), last.str("error.type")), ("TCP busy", Some("client_abort")), "{last:#?}");
    assert_eq!(spans.len(), ROWS.len(), "{spans:#?}");
    for (span, row) in spans.iter().zip(ROWS) {
        check_row(door, span, row, &haproxy);
    }
    receiver.assert_clean();
    haproxy.finish();
}

fn check_row(door: Tcp, span: &SpanView, (frontend, client, state, error, server): Row, haproxy: &Haproxy) {
    let shown = format!("{door:?} {frontend}: {span:#?}");
    assert_eq!((span.name.as_str(), span.kind), (format!("TCP {frontend}").as_str(), SpanKind::Server), "{shown}");
    assert!(span.is_root() && span.start_ns <= span.end_ns, "{shown}");
    assert_eq!((span.str("haproxy.termination_state"), span.str("error.type")), (Some(state), error), "{shown}");
    assert_eq!(span.status == StatusCode::Error, error.is_some(), "{shown}");
    assert_eq!((span.str("network.transport"), span.str("network.type")), (Some("tcp"), Some("ipv4")), "{shown}");
    for key in ["client.address", "network.peer.address", "network.local.address", "server.address"] {
        assert_eq!(span.str(key), Some("127.0.0.1"), "{key}: {shown}");
    }
    assert_eq!(span.int("client.port"), span.int("network.peer.port"), "{shown}");
    assert!(span.int("client.port").is_some_and(|port| port > 0), "{shown}");
    for key in ["network.local.port", "server.port"] {
        assert_eq!(span.int(key), Some(haproxy.port(frontend).into()), "{key}: {shown}");
    }
    assert_eq!(span.str("haproxy.frontend.name"), Some(frontend), "{shown}");
    assert_eq!(span.has("haproxy.server.name"), server, "{shown}");
    assert!(span.int("haproxy.timer.total").is_some(), "{shown}");
    assert!(!span.attributes.keys().iter().any(|key| key.starts_with("http.") || key.starts_with("url.")), "{shown}");
    if let Client::Get(_) = client {
        assert_eq!(span.str("haproxy.server.name"), Some("one"), "{shown}");
        assert_eq!(span.str("haproxy.server.address"), Some("127.0.0.1"), "{shown}");
        assert!(span.has("haproxy.server.port") && span.has("haproxy.timer.connect"), "{shown}");
        assert_eq!(span.int("haproxy.timer.queue"), Some(0), "{shown}");
    }
    if frontend == "dead" {
        assert_eq!(span.int("haproxy.retries"), Some(2), "{shown}");
    }
    assert_eq!(span.has("haproxy.bytes.in"), door == Tcp::Profile, "{shown}");
    if let (Client::Get("/bytes/5000"), Tcp::Profile) = (client, door) {
        assert!(span.int("haproxy.bytes.out").is_some_and(|bytes| bytes > 5000), "{shown}");
        assert!(span.int("haproxy.bytes.in").is_some_and(|bytes| (20..500).contains(&bytes)), "{shown}");
    }
}

fn exchange(haproxy: &Haproxy, (frontend, client, ..): Row) {
    let mut session = Session::connect(haproxy.addr(frontend));
    match client {
        Client::Get(path) => {
            let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
            session.send(request.as_bytes()).unwrap();
            let _ = session.read_response(false);
        }
        Client::Leave(path) => {
            session.send(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).unwrap();
            session.read_bytes(60).unwrap();
            session.abort();
        }
        Client::Wait => assert!(session.is_closed() || haproxy.try_exit().is_none()),
        Client::Close => {}
    }
}

/// Whether the one connection that `queued` allows is taken.
fn in_use(haproxy: &Haproxy) -> bool {
    let table = haproxy.cli("show stat");
    let line = table.lines().find(|line| line.starts_with("queued,only,")).unwrap();
    line.split(',').nth(4) == Some("1")
}

/// The frontends of [`ROWS`].
fn config(door: Tcp) -> Builder {
    let (otel, from, rule) = match door {
        Tcp::Profile => (vitals::OTEL_CFG, " from otel-tcp", ""),
        Tcp::Filter => ("", "", "  filter lua.otel\n"),
    };
    let mut text = format!("global\n  nbthread 2\n{}{otel}{DEFAULTS}", vitals::LOAD);
    for (name, more) in [
        ("plain", "  timeout client 5s\n  default_backend back\n"),
        ("impatient", "  timeout client 100ms\n  default_backend back\n"),
        ("rejected", "  timeout client 5s\n  tcp-request content reject\n  default_backend back\n"),
        ("dead", "  timeout client 5s\n  default_backend unreachable\n"),
        ("nowhere", "  timeout client 5s\n  default_backend empty\n"),
        ("busy", "  timeout client 5s\n  default_backend queued\n"),
    ] {
        text += &format!("frontend {name}{from}\n  mode tcp\n  bind 127.0.0.1:${{port:{name}}}\n{rule}{more}");
    }
    let listen = if door == Tcp::Profile { LISTEN } else { rule };
    text += &format!("listen all\n  bind 127.0.0.1:${{port:all}}\n{listen}  server one ${{upstream}}\n{BACK}");
    Haproxy::config(&text).module()
}

const DEFAULTS: &str = "
defaults
  mode tcp
  timeout connect 100ms
  timeout client 5s
  timeout server 300ms
  timeout queue 100ms
  retries 2
";

/// The profile's lines written out.
const LISTEN: &str = "  log ring@vitals local0 emerg
  log-format \"${VITALS_TCP_LOG}\"
  tcp-request content lua.otel_start
";

const BACK: &str = "
backend back
  server one ${upstream}
backend unreachable
  server one ${dead}
backend empty
  server one ${dead} disabled
backend queued
  timeout server 20s
  server only ${upstream} maxconn 1
";
