//! Connections of frontends in TCP mode: one SERVER span each, however they end.

use std::fmt::Write as _;
use std::sync::Arc;

use haproxy_vitals_tests::client::{self, Session};
use haproxy_vitals_tests::haproxy::Builder;
use haproxy_vitals_tests::otlp::{SpanKind, StatusCode};
use haproxy_vitals_tests::vitals::{self, Door, Doors};
use haproxy_vitals_tests::{Haproxy, OtlpReceiver, Port, SOON, SpanView, Upstream, poll};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::{TlsConnector, rustls};

/// Those that see connections to their end.
const DOORS: Doors = Doors(&[Door::ZeroLines, Door::Filter, Door::Actions, Door::LuaFilter]);

/// What stands in a frontend in TCP mode.
fn rules(door: Door) -> &'static str {
    match door {
        Door::Actions | Door::LuaActions => "  tcp-request content lua.otel_start\n",
        door => door.rules(),
    }
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
fn every_connection_gives_one_span_that_says_how_it_ended_without_a_line_in_the_frontend() {
    check(Door::ZeroLines);
}

#[test]
fn every_connection_gives_one_span_that_says_how_it_ended_through_the_filter() {
    check(Door::Filter);
}

#[test]
fn every_connection_gives_one_span_that_says_how_it_ended_through_the_action() {
    check(Door::Actions);
}

#[test]
fn every_connection_gives_one_span_that_says_how_it_ended_through_lua_s_filter() {
    check(Door::LuaFilter);
}

#[test]
fn lua_s_action_sees_connections_begin_and_not_end() {
    let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
    let config = frontend(Door::LuaActions, "").upstream(&upstream).set("dead", "127.0.0.1:1");
    let haproxy = config.export_http(&receiver).start();
    client::get(haproxy.addr("front"), "/", &[("connection", "close")]);
    let counters = vitals::counters(&haproxy);
    assert_eq!((counters["requests.started"], counters["requests.ended"]), (1, 0), "{counters:#?}");
    haproxy.finish();
}

#[test]
fn tls_of_a_connection_is_on_its_span() {
    let key = rcgen::generate_simple_self_signed(["db.example".to_owned()]).unwrap();
    let pem = key.cert.pem() + &key.signing_key.serialize_pem();
    for door in DOORS {
        let text = format!(
            "global\n{}{DEFAULTS}frontend safe\n  mode tcp\n  bind 127.0.0.1:${{port:safe}} ssl crt \
             ${{dir}}/site.pem alpn postgresql\n  timeout client 5s\n{}  default_backend back\n{BACK}",
            door.load(),
            rules(door)
        );
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let config = vitals::whole(&text).file("site.pem", &pem).upstream(&upstream);
        let haproxy = config.set("dead", "127.0.0.1:1").export_http(&receiver).start();
        speak_tls(&haproxy, key.cert.der().clone());
        vitals::wait_exported(&haproxy, &receiver, 1);
        let span = &receiver.server_spans()[0];
        let shown = format!("{door:?} {span:#?}");
        assert_eq!(span.str("server.address"), Some("db.example"), "{shown}");
        assert_eq!(span.str("network.local.address"), Some("127.0.0.1"), "{shown}");
        assert_eq!((span.str("tls.protocol.name"), span.str("tls.protocol.version")), (Some("tls"), Some("1.3")));
        assert!(span.str("tls.cipher").is_some_and(|cipher| cipher.starts_with("TLS_")), "{shown}");
        assert_eq!(span.str("tls.next_protocol"), Some("postgresql"), "{shown}");
        receiver.assert_clean();
        haproxy.finish();
    }
}

#[test]
fn rules_and_samplers_act_on_connections_too() {
    const RULES: &str = "  tcp-request content set-var(txn.team) str(\"two words\")\n  tcp-request content lua.otel_attr app.team txn.team\n  log ${log} local0\n  log-format \"trace=%[var(txn.otel.trace_id)] end\"\n";
    for door in DOORS {
        for (sampler, spans) in [("always_on", 1), ("always_off", 0)] {
            let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
            let config = frontend(door, RULES).upstream(&upstream).set("dead", "127.0.0.1:1");
            let config = config.settings("traces.variables = true\n").export_http(&receiver);
            let haproxy = config.env("OTEL_TRACES_SAMPLER", sampler).start();
            client::get(haproxy.addr("front"), "/", &[("connection", "close")]);
            haproxy.wait_log(" end\n", SOON);
            let counters = vitals::wait_exported(&haproxy, &receiver, spans);
            let counted = ["requests.started", "requests.ended", "spans.created"].map(|name| counters[name]);
            let expected = ([spans; 3], 1 - spans);
            assert_eq!((counted, counters["requests.unsampled"]), expected, "{door:?} {counters:#?}");
            for span in receiver.server_spans() {
                assert_eq!(span.str("app.team"), Some("two words"), "{door:?} {span:#?}");
                assert!(haproxy.log_contains(&format!("trace={} end", span.trace_id)), "{door:?} {}", haproxy.log());
                assert_eq!(span.has("haproxy.bytes.in"), !door.is_lua(), "{door:?} {span:#?}");
            }
            receiver.assert_clean();
            haproxy.finish();
        }
    }
}

#[test]
fn the_filter_beside_the_action_gives_one_span() {
    const ACTION: &str = "  tcp-request content lua.otel_start\n";
    for door in Doors(&[Door::Filter, Door::LuaFilter]) {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let config = frontend(door, ACTION).upstream(&upstream).set("dead", "127.0.0.1:1");
        let haproxy = config.export_http(&receiver).start();
        client::get(haproxy.addr("front"), "/", &[("connection", "close")]);
        let counters = vitals::wait_exported(&haproxy, &receiver, 1);
        let counted = ["requests.started", "requests.ended", "spans.created"].map(|name| counters[name]);
        assert_eq!(counted, [1; 3], "{door:?} {counters:#?}");
        receiver.assert_clean();
        haproxy.finish();
    }
}

/// One frontend, with more rules.
fn frontend(door: Door, more: &str) -> Builder {
    vitals::whole(&format!(
        "global\n{}{DEFAULTS}frontend front\n  bind 127.0.0.1:${{port:front}}\n  timeout client 5s\n{}{more}  \
         default_backend back\n{BACK}",
        door.load(),
        rules(door)
    ))
}

/// Asks for `/` over TLS, by name, and reads to the end.
fn speak_tls(haproxy: &Haproxy, certificate: rustls::pki_types::CertificateDer<'static>) {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let mut config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    let name = rustls::pki_types::ServerName::try_from("db.example").unwrap();
    client::block_on(async {
        let stream = tokio::net::TcpStream::connect(haproxy.addr("safe")).await.unwrap();
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        // A close without a word is a fault to TLS, not to this test.
        let _ = stream.read_to_end(&mut answer).await;
        assert!(answer.starts_with(b"HTTP/1.1 200 "));
    });
}

fn check(door: Door) {
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

fn check_row(door: Door, span: &SpanView, (frontend, client, state, error, server): Row, haproxy: &Haproxy) {
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
    // Lua's filter ends before HAProxy has counted them.
    assert_eq!(span.has("haproxy.bytes.in"), !door.is_lua(), "{shown}");
    if let (Client::Get("/bytes/5000"), false) = (client, door.is_lua()) {
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
fn config(door: Door) -> Builder {
    let rule = rules(door);
    let mut text = format!("global\n  nbthread 2\n{}{DEFAULTS}", door.load());
    for (name, more) in [
        ("plain", "  timeout client 5s\n  default_backend back\n"),
        ("impatient", "  timeout client 100ms\n  default_backend back\n"),
        ("rejected", "  timeout client 5s\n  tcp-request content reject\n  default_backend back\n"),
        ("dead", "  timeout client 5s\n  default_backend unreachable\n"),
        ("nowhere", "  timeout client 5s\n  default_backend empty\n"),
        ("busy", "  timeout client 5s\n  default_backend queued\n"),
    ] {
        let _ = writeln!(text, "frontend {name}\n  mode tcp\n  bind 127.0.0.1:${{port:{name}}}\n{rule}{more}");
    }
    let _ = write!(text, "listen all\n  bind 127.0.0.1:${{port:all}}\n{rule}  server one ${{upstream}}\n{BACK}");
    vitals::whole(&text)
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
