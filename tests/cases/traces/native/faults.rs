//! Faults on purpose, in a module that has them built in: HAProxy starts or says why, and requests go as if the module were not there.

use std::collections::BTreeSet;
use std::fs;

use haproxy_vitals_tests::client::{self, Session};
use haproxy_vitals_tests::grpc_backend::GrpcBackend;
use haproxy_vitals_tests::haproxy::{Builder, lua_dir};
use haproxy_vitals_tests::vitals::{self, LOAD};
use haproxy_vitals_tests::{Haproxy, Mode, OtlpReceiver, SOON, Upstream, poll};
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

/// Of what the engine looks up: functions, a variable, and both names of one of them.
const SYMBOLS: [&str; 5] =
    ["flt_register_keywords", "htx_empty", "http_find_header", "hap_register_per_thread_deinit", "haproxy_version"];

#[test]
fn without_native_hooks_luas_serve_and_the_reason_is_said() {
    let missing = SYMBOLS.map(|name| (format!("symbol={name}"), format!("this HAProxy has no `{name}`")));
    let versions = ["9.9.1", "3.3-dev5", "3.2-dev1", "2.8.14", "three"];
    let unknown = versions.map(|text| (format!("version={text}"), format!("HAProxy {text} is not known")));
    let failed = [("selftest".to_owned(), "self-test failed: on purpose".to_owned())];
    for (fault, reason) in missing.into_iter().chain(unknown).chain(failed) {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let haproxy = vitals::filter("", "").fault(&fault).upstream(&upstream).export_http(&receiver).start();
        assert_eq!(client::get(haproxy.addr("http"), "/", &[]).status, 200, "{fault}");
        vitals::wait_exported(&haproxy, &receiver, 1);
        let shown = haproxy.cli("show vitals traces");
        let engine = shown.lines().find(|line| line.starts_with("engine")).unwrap();
        assert!(engine.contains("lua") && engine.contains(&reason), "{fault}: {shown}");
        assert!(haproxy.log_contains(&reason), "{fault}: {}", haproxy.log());
        receiver.assert_clean();
        haproxy.finish();

        let demanded =
            vitals::whole(&format!("global\n{} traces.engine=native\n", LOAD.trim_end())).fault(&fault).check();
        assert!(!demanded.ok && demanded.output.contains(&reason), "{fault}: {}", demanded.output);
    }
}

#[test]
fn memory_that_differs_switches_the_engine_off() {
    for (fault, what) in [
        ("conf", "a filter's configuration is not ours"),
        ("channel", "a channel is not where its stream has it"),
        ("buffer", "a channel's buffer holds no HTX message"),
    ] {
        let site = Site::start(fault, Mode::Foreground);
        site.ask();
        site.haproxy.wait_log(&format!("native engine switched off, requests untouched: {what}"), SOON);
        assert!(vitals::counters(&site.haproxy)["faults"] > 0, "{fault}");
        site.ask();
        site.haproxy.finish();
    }
}

/// What a panic in a callback comes to.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Panic {
    /// It is counted.
    Counted,
    /// Of HAProxy's last steps: nothing is left that could tell.
    Survived,
    /// HAProxy does not start: a line of ours was not understood.
    Refused(&'static str),
}

/// Every callback.
const CALLBACKS: [(&str, Panic); 20] = [
    ("action", Panic::Counted),
    ("action line", Panic::Refused("lua.otel_start")),
    ("attach", Panic::Counted),
    ("check", Panic::Counted),
    ("detach", Panic::Counted),
    ("end", Panic::Counted),
    ("end of a thread", Panic::Survived),
    ("end of backend", Panic::Counted),
    ("end of configuration", Panic::Counted),
    ("end of defaults", Panic::Counted),
    ("end of frontend", Panic::Counted),
    ("end of listen", Panic::Counted),
    ("filter line", Panic::Refused("filter")),
    ("fork", Panic::Survived),
    ("headers", Panic::Counted),
    ("init", Panic::Counted),
    ("payload", Panic::Counted),
    ("retired converter", Panic::Refused("otel_begin")),
    ("start", Panic::Counted),
    ("stop", Panic::Counted),
];

#[test]
fn every_callback_is_among_those_that_panic_here() {
    let mut found = BTreeSet::new();
    for file in fs::read_dir(lua_dir().join("../src/host/native")).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        for opening in ["fence(\"", "always(\"", "call(\""] {
            let named = text.split(opening).skip(1).filter_map(|rest| rest.split('"').next());
            found.extend(named.map(str::to_owned));
        }
    }
    assert_eq!(found, CALLBACKS.map(|(site, _)| site.to_owned()).into());
}

#[test]
fn a_panic_in_any_callback_leaves_requests_untouched() {
    for (callback, outcome) in CALLBACKS {
        let fault = format!("panic={callback}");
        if let Panic::Refused(line) = outcome {
            let broken = Site::config("  http-request set-header x %[str(a),lua.otel_begin]\n").fault(&fault);
            let text = if callback == "retired converter" { broken } else { Site::config("").fault(&fault) };
            let outcome = text.check();
            assert!(!outcome.ok && outcome.output.contains(line), "{callback}: {}", outcome.output);
            continue;
        }
        let mode = if callback == "fork" { Mode::MasterWorker } else { Mode::Foreground };
        let site = Site::start(&fault, mode);
        site.ask();
        if outcome == Panic::Counted {
            let counted = || vitals::counters(&site.haproxy)["faults"] > 0;
            poll::until(SOON, &format!("{callback}: a fault that is counted"), counted);
            site.haproxy.wait_log(&format!("fault in {callback}, request untouched: panic"), SOON);
        }
        site.ask();
        site.haproxy.soft_stop();
        site.haproxy.wait_exit(SOON);
        site.haproxy.finish();
    }
}

/// A proxy in which every callback has something to do.
struct Site {
    haproxy: Haproxy,
    _parts: (Upstream, OtlpReceiver, GrpcBackend),
}

impl Site {
    fn config(more: &str) -> Builder {
        vitals::whole(&format!("global\n  nbthread 2\n{LOAD}{SECTIONS}{more}"))
    }

    fn start(fault: &str, mode: Mode) -> Self {
        let (upstream, receiver, backend) = (Upstream::start(), OtlpReceiver::start(), GrpcBackend::start());
        backend.set_serving("shop");
        let config = Self::config("").settings(SETTINGS).fault(fault).mode(mode).upstream(&upstream);
        // Its worker is forked after the module is loaded.
        let config = if mode == Mode::MasterWorker { config.version("3.0") } else { config };
        let haproxy = config.set("grpc", backend.addr()).export_http(&receiver).start();
        Self { haproxy, _parts: (upstream, receiver, backend) }
    }

    /// Every kind of request that the callbacks see, each answered as without the module.
    fn ask(&self) {
        for name in ["zero", "filter", "actions", "all"] {
            let addr = self.haproxy.addr(name);
            assert_eq!(client::get(addr, "/", &[("traceparent", &vitals::traceparent(1))]).status, 200, "{name}");
            assert_eq!(client::get(addr, "/status/500", &[]).status, 500, "{name}");
            assert_eq!(client::request(addr, "POST", "/", &[], b"body").status, 200, "{name}");
            assert_eq!(client::get(addr, "/denied", &[]).status, 403, "{name}");
            let mut tunnel = Session::connect(addr);
            tunnel.send(b"GET /upgrade HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n").unwrap();
            assert_eq!(tunnel.read_response(false).unwrap().status, 101, "{name}");
        }
        let endpoint = Endpoint::from_shared(format!("http://{}", self.haproxy.addr("calls"))).unwrap();
        client::block_on(async {
            let mut calls = HealthClient::new(endpoint.connect().await.unwrap());
            calls.check(HealthCheckRequest { service: "shop".to_owned() }).await.unwrap();
        });
    }
}

const SETTINGS: &str = "traces.rpc = true
traces.frontends = '*'
";

const SECTIONS: &str = "
defaults
  mode http
  timeout connect 100ms
  timeout client 5s
  timeout server 2s

frontend zero
  bind 127.0.0.1:${port:zero}
  http-request deny if { path /denied }
  default_backend back

frontend filter
  bind 127.0.0.1:${port:filter}
  http-request deny if { path /denied }
  filter lua.otel
  default_backend back

frontend actions
  bind 127.0.0.1:${port:actions}
  http-request deny if { path /denied }
  http-request lua.otel_start
  http-after-response lua.otel_end
  default_backend back

listen all
  bind 127.0.0.1:${port:all}
  http-request deny if { path /denied }
  filter lua.otel
  server one ${upstream}

frontend calls
  bind 127.0.0.1:${port:calls} proto h2
  default_backend grpc

backend grpc
  server one ${grpc} proto h2

backend back
  filter lua.otel
  server one ${upstream}
";
