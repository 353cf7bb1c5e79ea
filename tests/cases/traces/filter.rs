//! `filter lua.otel`: one line in a section, and complete spans, by either engine.

use haproxy_vitals_tests::client::{self, Session};
use haproxy_vitals_tests::haproxy::{self, Builder};
use haproxy_vitals_tests::vitals::{self, Door, Doors};
use haproxy_vitals_tests::{OtlpReceiver, SOON, Upstream};

const FILTERS: Doors = Doors(&[Door::Filter, Door::LuaFilter]);

#[test]
fn filter_works_in_listen_in_a_backend_and_without_any_log() {
    const REST: &str = "
listen all
  bind 127.0.0.1:${port:all}
  no log
  filter lua.otel
  http-request deny if { path /denied }
  server one ${upstream}
frontend bare
  bind 127.0.0.1:${port:bare}
  default_backend traced
backend traced
  filter lua.otel
  server one ${upstream}
";
    let silent = "  http-request set-log-level silent\n";
    let cases =
        [("all", "/", 200), ("all", "/denied", 403), ("all", "/cut", 200), ("bare", "/", 200), ("http", "/", 200)];
    for door in FILTERS {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let haproxy = vitals::config(door, silent, REST).upstream(&upstream).export_http(&receiver).start();
        for (n, (port, path, status)) in (0..).zip(cases) {
            let headers = [("traceparent", &*vitals::traceparent(n))];
            let _ = client::try_request(haproxy.addr(port), "GET", path, &headers, b"");
            let span = vitals::server_span(&receiver, &vitals::trace_id(n));
            let shown = format!("{door:?} {port} {path}: {span:#?}");
            assert_eq!(span.int("http.response.status_code"), Some(status), "{shown}");
            let frontend = if port == "http" { "front" } else { port };
            assert_eq!(span.str("haproxy.frontend.name"), Some(frontend), "{shown}");
            assert_eq!(span.str("error.type"), (path == "/cut").then_some("server_abort"), "{shown}");
            assert_eq!(receiver.client_span_of(&span).is_some(), status == 200, "{shown}");
        }
        let counters = vitals::wait_exported(&haproxy, &receiver, cases.len() as u64);
        assert_eq!((counters["requests.started"], counters["requests.ended"]), (5, 5), "{counters:#?}");
        receiver.assert_clean();
        haproxy.finish();
    }
}

#[test]
fn without_a_client_span_the_server_is_the_server_spans_child() {
    for door in FILTERS {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let config = section(door, "  filter lua.otel client-span=off\n").upstream(&upstream);
        let haproxy = config.export_http(&receiver).start();
        client::get(haproxy.addr("http"), "/", &[("traceparent", &*vitals::traceparent(0))]);
        let span = vitals::server_span(&receiver, &vitals::trace_id(0));
        let told = upstream.last().header("traceparent").unwrap().to_owned();
        assert_eq!(told, format!("00-{}-{}-01", span.trace_id, span.span_id), "{door:?}");
        let counters = vitals::wait_exported(&haproxy, &receiver, 1);
        assert_eq!(counters["spans.created"], 1, "{door:?} {counters:#?}");
        receiver.assert_clean();
        haproxy.finish();
    }
}

#[test]
fn unknown_argument_is_refused_with_file_and_line_and_those_that_are_known() {
    for (argument, hint) in [("client-span=no", "; did you mean `client-span=on`?"), ("spans", "")] {
        let rules = format!("  filter lua.otel {argument}\n");
        let line = text(Door::Filter, &rules).lines().position(|line| line == rules.trim_end()).unwrap() + 1;
        let outcome = section(Door::Filter, &rules).set("upstream", "127.0.0.1:1").check();
        let said = format!(
            "haproxy-vitals: lua.otel: unknown argument `{argument}`{hint}; known: client-span=on, client-span=off"
        );
        assert!(!outcome.ok && outcome.output.contains(&said), "{argument}: {}", outcome.output);
        assert!(outcome.output.contains(&format!("haproxy.cfg:{line}]")), "{argument}: {}", outcome.output);
    }
}

/// HAProxy reads the arguments of a filter in Lua when its threads start: `haproxy -c` cannot refuse them.
#[test]
fn unknown_argument_of_lua_s_filter_keeps_haproxy_from_starting() {
    for argument in ["client-span=no", "spans"] {
        let config = section(Door::LuaFilter, &format!("  filter lua.otel {argument}\n"));
        let refusal = config.set("upstream", "127.0.0.1:1").try_start().err().unwrap();
        let said = format!(
            "haproxy-vitals: filter lua.otel: unknown argument `{argument}`; known: client-span=on, client-span=off"
        );
        assert!(refusal.contains(&said), "{argument}: {refusal}");
    }
}

#[test]
fn the_argument_may_say_what_is_so_anyway() {
    for door in FILTERS {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let config = section(door, "  filter lua.otel client-span=on\n").upstream(&upstream);
        let haproxy = config.export_http(&receiver).start();
        assert_eq!(client::get(haproxy.addr("http"), "/", &[]).status, 200);
        assert_eq!(vitals::wait_exported(&haproxy, &receiver, 1)["spans.created"], 2, "{door:?}");
        haproxy.finish();
    }
}

#[test]
fn haproxy_takes_no_filter_in_a_defaults_section() {
    for door in FILTERS {
        let text = format!("global\n{}defaults\n  mode http\n  filter lua.otel\n", door.load());
        let outcome = vitals::whole(&text).check();
        assert!(!outcome.ok && outcome.output.contains("filter"), "{door:?}: {}", outcome.output);
    }
}

#[test]
fn filter_beside_another_door_gives_one_pair_of_spans() {
    let actions = "  http-request lua.otel_start\n  http-after-response lua.otel_end\n";
    let cases = [
        ("twice", "", "  filter lua.otel\n  filter lua.otel\n".to_owned()),
        ("actions", "", format!("  filter lua.otel\n{actions}")),
        ("zero lines", "[traces]\nfrontends = '*'\n", "  filter lua.otel\n".to_owned()),
    ];
    for (name, settings, rules) in cases {
        for door in FILTERS.into_iter().filter(|door| settings.is_empty() || !door.is_lua()) {
            let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
            let config = section(door, &rules).settings(settings).upstream(&upstream);
            let haproxy = config.export_http(&receiver).start();
            let paths: Vec<String> = (0..20).map(|n| format!("/delay/{}", n % 5)).collect();
            let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
            // At the same time, so that ends of several requests mix.
            assert!(client::h2_get_all(haproxy.addr("http"), &paths, &[]).iter().all(Result::is_ok));
            let counters = vitals::wait_exported(&haproxy, &receiver, 20);
            let counted = (counters["requests.started"], counters["requests.ended"], counters["spans.created"]);
            assert_eq!(counted, (20, 20, 40), "{door:?} {name}: {counters:#?}");
            for span in receiver.server_spans() {
                assert!(span.is_root(), "{door:?} {name}: {span:#?}");
                let client = receiver.client_span_of(&span).unwrap();
                let told = format!("00-{}-{}-03", client.trace_id, client.span_id);
                assert!(upstream.requests().iter().any(|seen| seen.header("traceparent") == Some(&told)), "{name}");
            }
            receiver.assert_clean();
            haproxy.finish();
        }
    }
}

#[test]
fn other_filters_and_large_bodies_pass_beside_it() {
    let rules = "  filter compression\n  filter lua.otel\n  filter trace name other\n  compression algo gzip\n  compression type text/plain\n";
    for door in FILTERS {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let haproxy = section(door, rules).upstream(&upstream).export_http(&receiver).start();
        let big = vec![b'x'; 2_000_000];
        let addr = haproxy.addr("http");
        let answer = client::get(addr, "/bytes/2000000", &[("traceparent", &*vitals::traceparent(0))]);
        assert_eq!((answer.status, answer.body.len()), (200, big.len()));
        let headers = [("traceparent", &*vitals::traceparent(1)), ("expect", "100-continue")];
        assert_eq!(client::request(addr, "POST", "/", &headers, &big).status, 200);
        assert_eq!(upstream.last().body_length, big.len());
        let headers = [("traceparent", &*vitals::traceparent(2)), ("accept-encoding", "gzip")];
        assert_eq!(client::get(addr, "/echo-headers", &headers).status, 200);
        for n in 0..3 {
            let span = vitals::server_span(&receiver, &vitals::trace_id(n));
            let said = (span.int("http.response.status_code"), span.str("error.type"));
            assert_eq!(said, (Some(200), None), "{door:?} {span:#?}");
            assert!(receiver.client_span_of(&span).is_some(), "{door:?} {span:#?}");
        }
        let counters = vitals::wait_exported(&haproxy, &receiver, 3);
        assert_eq!((counters["requests.started"], counters["requests.ended"]), (3, 3), "{counters:#?}");
        receiver.assert_clean();
        haproxy.finish();
    }
}

#[test]
fn requests_of_one_connection_have_spans_of_their_own() {
    for door in FILTERS {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let haproxy = vitals::config(door, "", "").upstream(&upstream).export_http(&receiver).start();
        let mut session = Session::connect(haproxy.addr("http"));
        for n in 0..3 {
            let path = format!("/bytes/{n}");
            assert_eq!(session.get(&path, &[("traceparent", &*vitals::traceparent(n))]).unwrap().status, 200);
            let span = vitals::server_span(&receiver, &vitals::trace_id(n));
            assert_eq!(span.str("url.path"), Some(&*path));
            assert_eq!(span.int("network.peer.port"), Some(session.local_addr().port().into()));
            assert_eq!(span.has("haproxy.timer.idle"), n > 0, "waited for the spans between: {door:?} {span:#?}");
            let client = receiver.client_span_of(&span).unwrap();
            // HAProxy 3.0 does not tell.
            let reused = haproxy::is_since(3, 2).then_some(n > 0);
            assert_eq!(client.bool("haproxy.connection.reused"), reused, "{door:?} {client:#?}");
        }
        haproxy.finish();
    }
}

/// Scripts of the operator's may break what this module's Lua stands on: the request does not notice.
#[test]
fn fault_inside_lua_s_filter_leaves_the_request_alone_and_is_counted() {
    for (method, started) in [("method", 0), ("txn_status", 3)] {
        let breaker = format!(
            "local Breaker = {{ id = 'breaker', flags = filter.FLT_CFG_FL_HTX }}
            Breaker.__index = Breaker
            function Breaker:new() return setmetatable({{}}, self) end
            function Breaker:start_analyze(txn)
                getmetatable(txn.f).__index.{method} = function() error('broken by a script') end
            end
            core.register_filter('breaker', Breaker, function(class) return class end)"
        );
        let text = format!(
            "global\n{}  lua-load-per-thread ${{dir}}/breaker.lua\n{DEFAULTS}frontend front\n{FRONT}  filter \
             lua.breaker\n  filter lua.otel\n{BACK}",
            Door::LuaFilter.load()
        );
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let config = vitals::whole(&text).file("breaker.lua", &breaker).upstream(&upstream);
        let haproxy = config.export_http(&receiver).start();
        for _ in 0..3 {
            let answer = client::get(haproxy.addr("http"), "/", &[]);
            assert_eq!((answer.status, &answer.body[..]), (200, &b"hello\n"[..]), "{method}");
        }
        haproxy.wait_log("fault in filter, request untouched", SOON);
        let counters = vitals::counters(&haproxy);
        assert_eq!((counters["faults"], counters["requests.started"]), (3, started), "{method}: {counters:#?}");
        assert_eq!(counters["requests.ended"], 0, "{method}: {counters:#?}");
        assert!(haproxy.log_contains("broken by a script"), "{}", haproxy.log());
        haproxy.finish();
    }
}

/// A frontend with these rules.
fn section(door: Door, rules: &str) -> Builder {
    vitals::whole(&text(door, rules))
}

fn text(door: Door, rules: &str) -> String {
    format!("global\n  nbthread 2\n{}{DEFAULTS}frontend front\n{FRONT}{rules}{BACK}", door.load())
}

const DEFAULTS: &str = "
defaults
  mode http
  timeout connect 100ms
  timeout client 5s
  timeout server 2s
";

const FRONT: &str = "  bind 127.0.0.1:${port:http}
  timeout client 5s
  default_backend back
";

const BACK: &str = "
backend back
  server one ${upstream}
";
