//! Which sections are traced, and how: those of `traces.frontends`, and those that say so themselves.

use std::collections::BTreeSet;

use haproxy_vitals_tests::client;
use haproxy_vitals_tests::vitals::{self, Door, Doors};
use haproxy_vitals_tests::{Haproxy, OtlpReceiver, SOON, Upstream};

use super::{BACK, DEFAULTS, whole};

const SECTIONS: &str = "
frontend web
  bind 127.0.0.1:${port:web}
  default_backend back
frontend web2
  bind 127.0.0.1:${port:web2}
  default_backend back
frontend api
  bind 127.0.0.1:${port:api}
  default_backend back
listen all
  bind 127.0.0.1:${port:all}
  server one ${upstream}
";

const NAMES: [&str; 4] = ["web", "web2", "api", "all"];

#[test]
fn frontends_are_chosen_by_names_patterns_and_exceptions() {
    for (chosen, traced) in [
        ("'auto'", &NAMES[..]),
        ("'*'", &NAMES),
        ("['web*']", &["web", "web2"]),
        ("['api', 'all']", &["api", "all"]),
        ("['w?b', 'a*']", &["web", "api", "all"]),
        ("['*', '!api']", &["web", "web2", "all"]),
        ("['!web?', '!all']", &["web", "api"]),
        ("['nothing*']", &[]),
        ("[]", &[]),
    ] {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let config = whole(SECTIONS).settings(&format!("[traces]\nfrontends = {chosen}\n"));
        let haproxy = config.upstream(&upstream).export_http(&receiver).start();
        for name in NAMES {
            client::get(haproxy.addr(name), "/", &[]);
            assert_eq!(upstream.last().header("traceparent").is_some(), traced.contains(&name), "{chosen} {name}");
        }
        let traced: BTreeSet<String> = traced.iter().map(|&name| name.to_owned()).collect();
        assert_eq!(names_of(&haproxy, &receiver, traced.len() as u64), traced, "{chosen}");
        haproxy.finish();
    }
}

/// Frontends of SERVER spans, each of which has one.
fn names_of(haproxy: &Haproxy, receiver: &OtlpReceiver, requests: u64) -> BTreeSet<String> {
    let counters = vitals::wait_exported(haproxy, receiver, requests);
    assert_eq!((counters["requests.started"], counters["spans.created"]), (requests, 2 * requests), "{counters:#?}");
    let spans = receiver.server_spans();
    assert_eq!(spans.len() as u64, requests);
    spans.iter().map(|span| span.str("haproxy.frontend.name").unwrap().to_owned()).collect()
}

#[test]
fn a_name_that_no_section_has_is_an_error_of_the_check_with_the_nearest() {
    for (chosen, said) in [
        ("['webb']", Some("no frontend or listen section `webb`; did you mean `web`?")),
        ("['web*', '!appi']", Some("no frontend or listen section `appi`; did you mean `api`?")),
        ("['web', 'quite-another']", Some("no frontend or listen section `quite-another`\n")),
        ("['back']", Some("no frontend or listen section `back`")),
        ("['web', '!api', 'nothing*', '!no?']", None),
    ] {
        let config = whole(SECTIONS).settings(&format!("[traces]\nfrontends = {chosen}\n"));
        let outcome = config.set("upstream", "127.0.0.1:1").check();
        assert_eq!(outcome.ok, said.is_none(), "{chosen}: {}", outcome.output);
        if let Some(said) = said {
            let expected = format!("haproxy-vitals: `traces.frontends`: HAProxy has {said}");
            assert!(outcome.output.contains(&expected), "{chosen}: {}", outcome.output);
            assert_eq!(outcome.output.matches("traces.frontends").count(), 1, "{chosen}: {}", outcome.output);
        }
    }
}

#[test]
fn a_section_that_says_so_itself_keeps_that_once() {
    const OWN: &str = "
frontend plain
  bind 127.0.0.1:${port:plain}
  default_backend back
frontend single
  bind 127.0.0.1:${port:single}
  filter lua.otel client-span=off
  default_backend back
frontend some
  bind 127.0.0.1:${port:some}
  http-request lua.otel_start if { path_beg /traced }
  http-after-response lua.otel_end
  default_backend back
";
    // Spans of a request to each section, to the last one twice: of another path, and of one that its rule wants.
    for (chosen, expected) in
        [("'*'", [2, 1, 0, 2]), ("'auto'", [0, 1, 0, 2]), ("['plain', 'some']", [2, 1, 0, 2]), ("[]", [0, 1, 0, 2])]
    {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let config = whole(OWN).settings(&format!("[traces]\nfrontends = {chosen}\n"));
        let haproxy = config.upstream(&upstream).export_http(&receiver).start();
        let asked = [("plain", "/"), ("single", "/"), ("some", "/other"), ("some", "/traced")];
        for (n, (name, path)) in (0..).zip(asked) {
            assert_eq!(client::get(haproxy.addr(name), path, &[("traceparent", &vitals::traceparent(n))]).status, 200);
        }
        let traced = expected.iter().filter(|spans| **spans > 0).count() as u64;
        let counters = vitals::wait_exported(&haproxy, &receiver, traced);
        assert_eq!(counters["requests.started"], traced, "{chosen} {counters:#?}");
        let spans = receiver.spans();
        let found = [0, 1, 2, 3].map(|n| spans.iter().filter(|span| span.trace_id == vitals::trace_id(n)).count());
        assert_eq!(found, expected, "{chosen}");
        receiver.assert_clean();
        haproxy.finish();
    }
}

#[test]
fn a_listen_section_that_is_another_s_backend_gives_one_pair_of_spans() {
    const NESTED: &str = "
frontend www
  bind 127.0.0.1:${port:www}
FRONT
  default_backend all
listen all
  bind 127.0.0.1:${port:all}
LISTEN
  server one ${upstream}
";
    let filter = Door::Filter.rules();
    let actions = Door::Actions.rules();
    for (front, listen) in [("", ""), (filter, filter), (actions, actions), (filter, actions), (actions, filter)] {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let config = whole(&NESTED.replace("FRONT", front).replace("LISTEN", listen));
        let haproxy = config.upstream(&upstream).export_http(&receiver).start();
        for (n, name) in [(0, "www"), (1, "all"), (2, "www")] {
            let paths: Vec<String> = (0..10).map(|m| format!("/delay/{}?{n}", m % 5)).collect();
            let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
            let headers = [("traceparent", &*vitals::traceparent(n))];
            assert!(client::h2_get_all(haproxy.addr(name), &paths, &headers).iter().all(Result::is_ok));
        }
        let counters = vitals::wait_exported(&haproxy, &receiver, 30);
        let counted = ["requests.started", "requests.ended", "spans.created"].map(|name| counters[name]);
        assert_eq!(counted, [30, 30, 60], "{front}{listen} {counters:#?}");
        for span in receiver.server_spans() {
            let name = if span.trace_id == vitals::trace_id(1) { "all" } else { "www" };
            let said = (span.str("haproxy.frontend.name"), span.str("haproxy.backend.name"));
            assert_eq!(said, (Some(name), Some("all")), "{front}{listen} {span:#?}");
            let client = receiver.client_span_of(&span).unwrap();
            let told = format!("00-{}-{}-01", client.trace_id, client.span_id);
            assert!(
                upstream.requests().iter().any(|seen| seen.headers_named("traceparent") == [&*told]),
                "{client:#?}"
            );
        }
        receiver.assert_clean();
        haproxy.finish();
    }
}

#[test]
fn a_backend_that_writes_the_filter_traces_what_no_frontend_does() {
    const SECTIONS: &str = "
frontend www
  bind 127.0.0.1:${port:www}
  http-request deny if { path /denied }
  use_backend traced if { path_beg /traced }
  default_backend back
backend traced
  filter lua.otel
  server one ${upstream}
";
    let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
    let haproxy = whole(SECTIONS).upstream(&upstream).export_http(&receiver).start();
    for (n, path) in (0..).zip(["/", "/traced/1", "/denied", "/traced/2"]) {
        client::get(haproxy.addr("www"), path, &[("traceparent", &vitals::traceparent(n))]);
    }
    let counters = vitals::wait_exported(&haproxy, &receiver, 2);
    assert_eq!((counters["requests.started"], counters["spans.created"]), (2, 4), "{counters:#?}");
    for n in [1, 3] {
        let span = vitals::server_span(&receiver, &vitals::trace_id(n));
        assert_eq!(span.str("haproxy.backend.name"), Some("traced"), "{span:#?}");
        assert_eq!(span.int("http.response.status_code"), Some(200), "{span:#?}");
    }
    receiver.assert_clean();
    haproxy.finish();
}

#[test]
fn actions_have_conditions_and_stand_in_named_defaults() {
    for door in Doors(&[Door::Actions, Door::LuaActions]) {
        let text = format!(
            "global\n  nbthread 2\n{}
defaults plain
  mode http
  timeout connect 100ms
  timeout client 5s
  timeout server 2s
defaults traced from plain
  http-request lua.otel_start if {{ path_beg /api/ }}
  http-after-response lua.otel_end
  http-request deny if {{ path_end /denied }}
frontend one from traced
  bind 127.0.0.1:${{port:one}}
  default_backend back
frontend two from traced
  bind 127.0.0.1:${{port:two}}
  default_backend back
frontend other from plain
  bind 127.0.0.1:${{port:other}}
  default_backend back
frontend unless from plain
  bind 127.0.0.1:${{port:unless}}
  http-request lua.otel_start unless {{ path_beg /api/ }}
  http-after-response lua.otel_end if TRUE
  default_backend back
backend back from plain
  server one ${{upstream}}
",
            door.load()
        );
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let haproxy = vitals::whole(&text).upstream(&upstream).export_http(&receiver).start();
        let asked = [
            ("one", "/api/a", 2),
            ("one", "/", 0),
            ("two", "/api/b", 2),
            ("two", "/api/denied", 1),
            ("two", "/denied", 0),
            ("other", "/api/c", 0),
            ("unless", "/api/d", 0),
            ("unless", "/d", 2),
        ];
        for (n, (name, path, _)) in (0..).zip(asked) {
            client::get(haproxy.addr(name), path, &[("traceparent", &vitals::traceparent(n))]);
        }
        let counters = vitals::wait_exported(&haproxy, &receiver, 4);
        assert_eq!((counters["requests.started"], counters["requests.ended"]), (4, 4), "{door:?} {counters:#?}");
        let spans = receiver.spans();
        for (n, (name, path, expected)) in (0..).zip(asked) {
            let found = spans.iter().filter(|span| span.trace_id == vitals::trace_id(n)).count();
            assert_eq!(found, expected, "{door:?} {name} {path}");
        }
        receiver.assert_clean();
        haproxy.finish();
    }
}

/// HAProxy reads from top to bottom: what stands above the loader's line has had no hook at its end.
#[test]
fn sections_above_the_loader_are_named_and_those_below_are_traced() {
    let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
    let front = |name: &str| format!("frontend {name}\n  bind 127.0.0.1:${{port:{name}}}\n  default_backend back\n");
    let text = format!("{DEFAULTS}{BACK}{}global\n{}{DEFAULTS}{}", front("above"), vitals::LOAD, front("below"));
    let config = || vitals::whole(&text).upstream(&upstream).export_http(&receiver);
    let check = config().check();
    assert!(check.ok, "{}", check.output);
    let said = check.output.lines().find(|line| line.contains("before the loader's line"));
    let said = said.unwrap_or_else(|| panic!("not said: {}", check.output));
    assert!(said.contains("section `above`") && said.contains("not traced"), "{said}");

    let haproxy = config().start();
    for name in ["above", "below"] {
        assert_eq!(client::get(haproxy.addr(name), "/", &[]).status, 200);
    }
    haproxy.soft_stop();
    haproxy.wait_exit(SOON);
    assert_eq!(receiver.server_spans().len(), 1);
    haproxy.finish();
    // A backend above needs no hook: its frontend has it.
    let text = format!("global\n{}{DEFAULTS}{BACK}{}", vitals::LOAD, front("below"));
    let check = vitals::whole(&text).upstream(&upstream).export_http(&receiver).check();
    assert!(check.ok && !check.output.contains("before the loader's line"), "{}", check.output);
}
