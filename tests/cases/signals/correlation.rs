//! The recipes of docs/tracing.md, "Correlation with logs": each one as it stands there.

use haproxy_vitals_tests::client;
use haproxy_vitals_tests::haproxy::lua_dir;
use haproxy_vitals_tests::vitals::{self, Door};
use haproxy_vitals_tests::{OtlpReceiver, SOON, SpanView, Upstream, poll};
use serde_json::Value;

#[test]
fn every_recipe_names_the_span_of_its_request() {
    let recipes = recipes();
    assert_eq!(recipes.len(), 3, "{recipes:?}");
    for recipe in recipes {
        for door in Door::ALL {
            let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
            let (front, rest) = lines(&recipe);
            let haproxy = vitals::config(door, &front, &rest)
                .upstream(&upstream)
                .export_http(&receiver)
                .env("HAPROXY_VITALS_TRACES_VARIABLES", "true")
                .start();
            let headers = [("traceparent", &*vitals::traceparent(5)), ("user-agent", "a \"quoted\" {agent} \\")];
            assert_eq!(client::get(haproxy.addr("http"), "/status/404?a=%22", &headers).status, 404);
            let span = vitals::server_span(&receiver, &vitals::trace_id(5));
            haproxy.wait_log(&span.trace_id, SOON);
            let log = haproxy.log();
            let line = log.lines().find(|line| line.contains(&span.trace_id)).unwrap();
            check(line, &span, &recipe);
            let counters = vitals::wait_exported(&haproxy, &receiver, 1);
            assert_eq!((counters["requests.started"], counters["requests.ended"]), (1, 1), "{recipe}");
            haproxy.finish();
        }
    }
}

fn check(line: &str, span: &SpanView, recipe: &str) {
    if recipe.contains("+json") {
        let json: Value =
            serde_json::from_str(&line[line.find('{').unwrap()..]).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert_eq!(json["trace_id"], span.trace_id, "{line}");
        assert_eq!(json["span_id"], span.span_id, "{line}");
        assert_eq!(json["trace_flags"], "01", "{line}");
        assert_eq!(json["status"], 404, "{line}");
    } else {
        assert!(line.contains(&format!("trace_id={}", span.trace_id)), "{line}");
        assert!(line.contains(&format!("span_id={}", span.span_id)), "{line}");
    }
}

#[test]
fn json_of_an_unsampled_request_is_still_json() {
    let recipe = recipes().into_iter().find(|recipe| recipe.contains("+json")).unwrap();
    let upstream = Upstream::start();
    let (front, rest) = lines(&recipe);
    let haproxy = vitals::zero_lines(&front, &rest)
        .upstream(&upstream)
        .env("OTEL_TRACES_EXPORTER", "none")
        .env("OTEL_TRACES_SAMPLER", "always_off")
        .env("HAPROXY_VITALS_TRACES_VARIABLES", "true")
        .start();
    client::get(haproxy.addr("http"), "/", &[]);
    let line = poll::until_some(SOON, "a line of JSON", || {
        haproxy.log().lines().find(|line| line.contains("\"trace_id\"")).map(str::to_owned)
    });
    let json: Value = serde_json::from_str(&line[line.find('{').unwrap()..]).unwrap_or_else(|e| panic!("{e}: {line}"));
    assert_eq!(json["trace_id"].as_str().map(str::len), Some(32), "{line}");
    assert_eq!(json["trace_flags"], "00", "{line}");
    haproxy.finish();
}

/// A recipe's lines for the frontend, and further sections.
fn lines(recipe: &str) -> (String, String) {
    if recipe.starts_with("on any") {
        return (
            "  log ${log} profile json local0\n  option httplog\n".to_owned(),
            format!("\nlog-profile json\n  {recipe}\n"),
        );
    }
    (format!("  log ${{log}} local0\n  {recipe}\n"), String::new())
}

/// The lines with formats between the section's heading and the next.
fn recipes() -> Vec<String> {
    let text = std::fs::read_to_string(lua_dir().join("../docs/tracing.md")).unwrap();
    let (_, section) = text.split_once("## Correlation with logs").unwrap();
    let section = section.split("\n## ").next().unwrap();
    section
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("log-format ") || line.starts_with("on any format "))
        .map(str::to_owned)
        .collect()
}
