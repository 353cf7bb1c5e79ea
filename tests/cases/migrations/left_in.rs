//! Lines of the other projects that were left in.

use haproxy_vitals_tests::haproxy::Builder;
use haproxy_vitals_tests::{OtlpReceiver, SOON, Upstream, client, poll};

use super::{at_home, blocks, section};

/// The rows of the tables under the heading, by what is in their header's second cell.
fn rows(header: &str) -> Vec<(String, String)> {
    let section = section("Lines that were left in");
    let tables = section.split("\n\n").filter(|part| part.starts_with(&format!("| left in | {header} |")));
    let cells = |line: &str| {
        let mut cells = line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned());
        (cells.next().unwrap().trim_matches('`').to_owned(), cells.next().unwrap())
    };
    tables.flat_map(|table| table.lines().skip(2)).map(cells).collect()
}

/// haproxy-otel's configuration with a line more in the frontend, or another one for the loader.
fn with_line(line: &str) -> Builder {
    let [text, ..] = blocks::<3>(&section("haproxy-otel"), "haproxy");
    if !line.starts_with("lua-load") {
        return at_home(&text.replace("    filter lua.otel\n", &format!("    filter lua.otel\n    {line}\n")), "");
    }
    let loader = text.lines().find(|line| line.contains("lua-load")).unwrap().trim();
    let line = line.replace("/etc/haproxy/lua/otel.lua", "${dir}/otel.lua");
    at_home(&text.replace(loader, &line), "").file("otel.lua", "require(\"haproxy_otel_module\").register({})\n")
}

fn with_setting(setting: &str) -> Builder {
    let [text, ..] = blocks::<3>(&section("haproxy-otel"), "haproxy");
    at_home(&text, &format!("{setting}\n"))
}

#[test]
fn what_keeps_haproxy_from_starting_is_said_as_the_page_has_it() {
    let rows = rows("what is said");
    assert_eq!(rows.len(), 17, "{rows:#?}");
    for (line, said) in rows {
        let is_setting = line.contains(" = ");
        let outcome = if is_setting { with_setting(&line) } else { with_line(&line) }.check();
        let output = outcome.output.replace('`', "'");
        // Where the wrong line stands is said in between.
        for part in said.trim_matches('`').replace('`', "'").split("; ") {
            assert!(!outcome.ok && output.contains(part), "{line}: {part}\n{output}");
        }
    }
}

#[test]
fn words_that_the_specification_does_not_have_are_a_warning_and_the_default_counts() {
    let rows = rows("default");
    assert_eq!(rows.len(), 5, "{rows:#?}");
    for (variable, _) in rows {
        let (name, value) = variable.split_once('=').unwrap();
        let check = with_setting("").env(name, value).check();
        assert!(check.ok && check.output.contains("[WARNING]") && check.output.contains(name), "{}", check.output);
        assert!(check.output.contains("did you mean `"), "{}", check.output);
        let haproxy = with_setting("").env(name, value).start();
        let shown = haproxy.cli("show vitals config");
        for (key, default) in [
            ("traces.propagators", "[\"tracecontext\", \"baggage\"]"),
            ("traces.sampler", "\"parentbased_always_on\""),
            ("export.protocol", "\"http/protobuf\""),
        ] {
            let line = shown.lines().find(|line| line.split_whitespace().next() == Some(key)).unwrap();
            assert!(line.contains(&format!("= {default} ")) && line.ends_with("# default"), "{variable}: {line}");
        }
        haproxy.finish();
    }
}

#[test]
fn old_variables_are_empty_and_the_permission_to_fork_is_taken_without_a_word() {
    let (receiver, upstream) = (OtlpReceiver::start(), Upstream::start());
    let [text, ..] = blocks::<3>(&section("haproxy-otel"), "haproxy");
    let text = text
        .replace("    lua-load", "    insecure-fork-wanted\n    lua-load")
        .replace("conversion normal", "conversion pre-3.1-bug")
        .replace("127.0.0.1:8000", "${upstream}")
        .replace("    filter", "    http-request set-header x-trace \"<%[var(txn.otel_trace_id)]>\"\n    filter")
        .replace("    filter", "    http-request use-service lua.otel_metrics if { path /metrics }\n    filter");
    let builder = || at_home(&text, "traces.variables = true\n").upstream(&upstream).export_http(&receiver);
    let check = builder().env("OTEL_LOG_LEVEL", "off").check();
    assert!(check.ok && check.output.is_empty(), "{}", check.output);
    let haproxy = builder().start();
    client::get(haproxy.addr("http"), "/", &[]);
    assert_eq!(upstream.last().header("x-trace"), Some("<>"));
    receiver.wait_spans(2, SOON);
    haproxy.finish();
}

#[test]
fn an_endpoint_with_the_path_in_it_is_answered_404_and_shown() {
    let (receiver, upstream) = (OtlpReceiver::start(), Upstream::start());
    let endpoint = format!("{}/v1/traces", receiver.http_endpoint());
    let [text, ..] = blocks::<3>(&section("haproxy-otel"), "haproxy");
    let haproxy = at_home(&text.replace("127.0.0.1:8000", "${upstream}"), "")
        .upstream(&upstream)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        .env("OTEL_BSP_SCHEDULE_DELAY", 100)
        .start();
    client::get(haproxy.addr("http"), "/", &[]);
    let shown = || haproxy.cli("show vitals traces");
    poll::until(SOON, "404 is shown", || {
        shown().lines().any(|line| line.starts_with("export.last_error") && line.contains("404"))
    });
    haproxy.finish();
}
