//! Zero lines in every mode of HAProxy's, over every protocol, and over a reload.

use std::thread;

use haproxy_vitals_tests::client;
use haproxy_vitals_tests::otlp::SpanKind;
use haproxy_vitals_tests::vitals::{self, CALLER, Door};
use haproxy_vitals_tests::{Haproxy, Mode, OtlpReceiver, SOON, SpanView, Upstream};

use super::{BACK, DEFAULTS};

const SECTIONS: &str = "
frontend www
  bind 127.0.0.1:${port:http}
  default_backend back
frontend bytes
  mode tcp
  bind 127.0.0.1:${port:tcp}
  default_backend origin
backend origin
  mode tcp
  server one ${upstream}
";

#[test]
fn zero_lines_trace_every_protocol_in_every_mode_without_rights() {
    // Only root can become somebody else.
    let confined =
        if nix::unistd::geteuid().is_root() { "  chroot ${dir}\n  user nobody\n  group nogroup\n" } else { "" };
    let text = format!("global\n  nbthread 2\n{confined}{}{DEFAULTS}{SECTIONS}{BACK}", vitals::LOAD);
    for mode in [Mode::Foreground, Mode::MasterWorker, Mode::Daemon, Mode::MasterWorkerDaemon] {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let haproxy = vitals::whole(&text).mode(mode).upstream(&upstream).export_http(&receiver).start();
        check_protocols(&haproxy, &receiver, 0);
        if mode.has_master() {
            haproxy.reload();
            haproxy.wait_one_worker(SOON);
            receiver.clear();
            check_protocols(&haproxy, &receiver, 10);
            let pid = receiver.server_spans()[0].resource.int("process.pid");
            assert_eq!(pid, Some(haproxy.worker_pid().into()), "{mode:?}");
        }
        receiver.assert_clean();
        haproxy.finish();
    }
}

/// HTTP/1, HTTP/2 and TCP.
fn check_protocols(haproxy: &Haproxy, receiver: &OtlpReceiver, first: u64) {
    for (n, get, version) in [(first, client::get as Get, "1.1"), (first + 1, client::h2_get, "2")] {
        let headers = [("traceparent", &*vitals::traceparent(n))];
        assert_eq!(get(haproxy.addr("http"), "/", &headers).status, 200);
        let span = vitals::server_span(receiver, &vitals::trace_id(n));
        assert_eq!((span.name.as_str(), span.parent_id.as_str()), ("GET", CALLER), "{span:#?}");
        assert_eq!(span.str("network.protocol.version"), Some(version), "{span:#?}");
        assert!(receiver.client_span_of(&span).is_some(), "{span:#?}");
    }
    client::get(haproxy.addr("tcp"), "/", &[("connection", "close")]);
    let is_tcp = |span: &SpanView| span.name == "TCP bytes" && span.kind == SpanKind::Server && span.is_root();
    receiver.wait_for(SOON, |spans| spans.iter().any(is_tcp));
}

type Get = fn(std::net::SocketAddr, &str, &[(&str, &str)]) -> client::Response;

#[test]
fn a_request_under_way_at_a_reload_gives_its_spans() {
    for door in Door::ALL {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let config = vitals::config(door, "  timeout server 5s\n", "").upstream(&upstream);
        let haproxy = config.mode(Mode::MasterWorker).export_http(&receiver).start();
        let addr = haproxy.addr("http");
        let old = haproxy.worker_pid();
        thread::scope(|scope| {
            let parent = vitals::traceparent(0);
            let slow = scope.spawn(move || client::get(addr, "/drip/20/50", &[("traceparent", &*parent)]));
            upstream.wait_for(SOON, |seen| seen.target == "/drip/20/50");
            haproxy.reload();
            assert_eq!(slow.join().unwrap().body.len(), 20, "{door:?}");
        });
        let span = vitals::server_span(&receiver, &vitals::trace_id(0));
        assert_eq!(span.resource.int("process.pid"), Some(old.into()), "{door:?}");
        assert_eq!(span.str("error.type"), None, "{door:?} {span:#?}");
        assert!(receiver.client_span_of(&span).is_some(), "{door:?}");
        client::get(addr, "/", &[("traceparent", &vitals::traceparent(1))]);
        let span = vitals::server_span(&receiver, &vitals::trace_id(1));
        assert_eq!(span.resource.int("process.pid"), Some(haproxy.worker_pid().into()), "{door:?}");
        receiver.assert_clean();
        haproxy.finish();
    }
}

#[test]
fn the_engine_is_named_on_the_stats_socket() {
    let upstream = Upstream::start();
    for door in Door::ALL {
        let engine = if door.is_lua() { "lua (traces.engine = \"lua\")" } else { "native" };
        let haproxy = vitals::config(door, "", "").upstream(&upstream).env("OTEL_TRACES_EXPORTER", "none").start();
        let traces = haproxy.cli("show vitals traces");
        let named = traces.lines().find_map(|line| line.strip_prefix("engine ")).map(str::trim);
        assert_eq!(named, Some(engine), "{door:?} {traces}");
        let config = haproxy.cli("show vitals config");
        assert!(config.lines().any(|line| line == format!("# engine in use: {engine}")), "{door:?} {config}");
        haproxy.finish();
    }
}

#[test]
fn native_hooks_may_be_demanded() {
    let upstream = Upstream::start();
    let config = vitals::zero_lines("", "").upstream(&upstream).env("OTEL_TRACES_EXPORTER", "none");
    let haproxy = config.settings("traces.engine = 'native'\n").start();
    assert!(haproxy.cli("show vitals config").contains("# engine in use: native\n"));
    client::get(haproxy.addr("http"), "/", &[]);
    assert!(upstream.last().header("traceparent").is_some());
    haproxy.finish();
}
