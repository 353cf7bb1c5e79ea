//! The same traffic through every door gives the same spans, but for what `docs/tracing.md` lists: exactly that.

use std::collections::{BTreeMap, BTreeSet};

use haproxy_vitals_tests::client::{self, Session};
use haproxy_vitals_tests::otlp::SpanKind;
use haproxy_vitals_tests::vitals::{self, Door};
use haproxy_vitals_tests::{Haproxy, OtlpReceiver, Port, SpanView, Upstream};

use super::endings::{FRONT, LuaActions, REST, ROWS, exchange};

/// What of the native spans Lua's hooks have not, or have otherwise.
#[derive(Debug, Default, PartialEq)]
struct Differences {
    filter: BTreeSet<String>,
    actions: BTreeSet<String>,
}

#[test]
fn doors_give_the_same_spans_but_for_the_documented_differences() {
    let (upstream, dead) = (Upstream::start(), [Port::reserve(), Port::reserve()]);
    let reference = spans(Door::ZeroLines, &upstream, &dead);
    let [filter, actions, lua_filter, lua_actions] =
        [Door::Filter, Door::Actions, Door::LuaFilter, Door::LuaActions].map(|door| spans(door, &upstream, &dead));
    for (door, other) in [(Door::Filter, &filter), (Door::Actions, &actions)] {
        assert_eq!(differing(&reference, other), BTreeSet::new(), "{door:?}");
    }
    for other in [&filter, &actions, &lua_filter] {
        assert_eq!(reference.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
    }
    let missing: Vec<_> = reference.keys().filter(|key| !lua_actions.contains_key(*key)).collect();
    assert_eq!(missing, ["7 /rejected SERVER", "8 /dropped SERVER"]);
    let mut found =
        Differences { filter: differing(&reference, &lua_filter), actions: differing(&reference, &lua_actions) };
    // A handshake takes less than a millisecond here: this row is the reader's.
    found.actions.insert("haproxy.timer.handshake".to_owned());
    assert_eq!(found, documented());
}

/// A span's name, ids aside, and its attributes.
type Shown = BTreeMap<String, String>;

/// Every span, by what it is of. Of requests that every door but Lua's actions sees to end.
fn spans(door: Door, upstream: &Upstream, dead: &[Port; 2]) -> BTreeMap<String, Shown> {
    let receiver = OtlpReceiver::start();
    let front = format!("{RULES}{FRONT}");
    let config = vitals::config(door, &front, REST).upstream(upstream);
    let config = config.set("dead1", dead[0].addr()).set("dead2", dead[1].addr());
    let haproxy = config.export_http(&receiver).start();
    let mut expected = Vec::new();
    for (n, (client, path, _, _, actions)) in (0..).zip(ROWS) {
        if door != Door::LuaActions || actions != LuaActions::Nothing {
            exchange(client, &haproxy, path, &vitals::traceparent(n));
            expected.push((n, path.to_owned()));
        }
    }
    for (n, path) in (100..).zip(more(&haproxy, &receiver)) {
        expected.push((n, path.to_owned()));
    }
    let mut all = BTreeMap::new();
    for (n, path) in expected {
        let server = vitals::server_span(&receiver, &vitals::trace_id(n));
        if let Some(client) = receiver.client_span_of(&server) {
            all.insert(format!("{n} {path} CLIENT"), shown(&client, &haproxy));
        }
        all.insert(format!("{n} {path} SERVER"), shown(&server, &haproxy));
    }
    receiver.assert_clean();
    haproxy.finish();
    all
}

/// Traffic beside the endings; the paths.
fn more(haproxy: &Haproxy, receiver: &OtlpReceiver) -> [&'static str; 5] {
    let paths = ["/first?a=1&sig=secret", "/second", "/grpc.Service/Method", "/over-http2", "/brew"];
    let addr = haproxy.addr("http");
    let parents: Vec<String> = (100..105).map(vitals::traceparent).collect();
    let headers = |n: usize| [("host", "shop.example"), ("user-agent", "one"), ("traceparent", &*parents[n])];
    let mut session = Session::connect(addr);
    assert_eq!(session.get(paths[0], &headers(0)).unwrap().status, 200);
    // The second request of a connection, after a while.
    vitals::server_span(receiver, &vitals::trace_id(100));
    assert_eq!(session.get(paths[1], &headers(1)).unwrap().status, 200);
    let grpc = [&headers(2)[..], &[("content-type", "application/grpc"), ("te", "trailers")]].concat();
    assert_eq!(client::request(addr, "POST", paths[2], &grpc, b"\0\0\0\0\0").status, 200);
    assert_eq!(client::h2_get(addr, paths[3], &headers(3)[1..]).status, 200);
    assert_eq!(client::request(addr, "BREW", paths[4], &headers(4), b"").status, 200);
    paths
}

/// What must be the same: ports and times by whether they are there.
fn shown(span: &SpanView, haproxy: &Haproxy) -> Shown {
    let port = haproxy.port("http");
    let varies =
        |key: &str| key.contains("haproxy.timer.") || key == "network.peer.port" && span.kind == SpanKind::Server;
    let mut all: Shown = span
        .attributes
        .0
        .iter()
        .map(|(key, value)| {
            let value = format!("{value:?}").replace(&port.to_string(), "PORT");
            (key.clone(), if varies(key) { "there".to_owned() } else { value })
        })
        .collect();
    all.insert("name".to_owned(), span.name.clone());
    all.insert("status".to_owned(), format!("{:?}", span.status));
    all.insert("parent".to_owned(), if span.kind == SpanKind::Server { span.parent_id.clone() } else { String::new() });
    all.insert("flags".to_owned(), span.flags.to_string());
    all
}

/// The names of what differs. Handshakes and idle times of less than a millisecond are left out: only the second request of a
/// connection, after a while, has one for certain.
fn differing(reference: &BTreeMap<String, Shown>, other: &BTreeMap<String, Shown>) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (span, expected) in reference {
        let Some(found) = other.get(span) else { continue };
        for key in expected.keys().chain(found.keys()) {
            let by_chance =
                key == "haproxy.timer.handshake" || key == "haproxy.timer.idle" && !span.contains("/second");
            if !by_chance && expected.get(key) != found.get(key) {
                names.insert(key.clone());
            }
        }
    }
    names
}

/// The table of `docs/tracing.md`: attributes in its first column; what Lua's filter and Lua's actions have instead.
fn documented() -> Differences {
    let rows = DOCUMENT.lines().skip_while(|line| !line.starts_with("| as the native spans but for |")).skip(2);
    let mut found = Differences::default();
    for row in rows.take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let named = cells[1].split('`').skip(1).step_by(2).map(str::to_owned);
        for name in named {
            if !cells[2].is_empty() {
                found.filter.insert(name.clone());
            }
            if !cells[3].is_empty() {
                found.actions.insert(name);
            }
        }
    }
    assert!(!found.actions.is_empty(), "no table of differences in docs/tracing.md");
    found
}

/// Attributes of the user's.
const RULES: &str = "
  http-request set-var(txn.user) str(\"some one\")
  http-request lua.otel_attr app.user txn.user
";

const DOCUMENT: &str = include_str!("../../../docs/tracing.md");
