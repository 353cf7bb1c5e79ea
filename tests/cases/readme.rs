//! What the documentation says to paste works when it is pasted.

use std::fs;
use std::path::PathBuf;

use haproxy_vitals_tests::haproxy::Builder;
use haproxy_vitals_tests::{Haproxy, OtlpReceiver, SOON, Upstream, client, vitals};

#[test]
fn the_configuration_of_the_readme_works_when_pasted() {
    let (receiver, upstream) = (OtlpReceiver::start(), Upstream::start());
    let pasted = blocks("README.md").remove(0);
    assert!(pasted.lines().count() <= 24, "short enough to be read at a glance");
    let haproxy = at_home(&pasted, &upstream)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.http_endpoint())
        .env("OTEL_BSP_SCHEDULE_DELAY", 100)
        .start();
    assert_eq!(client::get(haproxy.addr("http"), "/bytes/3", &[]).status, 200);
    receiver.wait_spans(2, SOON);
    receiver.assert_clean();
    haproxy.finish();
}

#[test]
fn the_frontends_of_the_documentation_are_accepted() {
    let upstream = Upstream::start();
    let whole = blocks("README.md").remove(0);
    let (global, _) = whole.split_once("frontend www").unwrap();
    let backend =
        "backend app\n    server app1 127.0.0.1:8000\nbackend databases\n    mode tcp\n    server db1 127.0.0.1:5433\n";
    let parts: Vec<_> = blocks("README.md").into_iter().skip(1).chain(blocks("docs/tracing.md")).collect();
    assert_eq!(parts.len(), PARTS, "{parts:#?}");
    for (part, engine) in parts.iter().flat_map(|part| ["native", "lua"].map(|engine| (part, engine))) {
        let part = if part.contains("default_backend") || part.starts_with("listen") {
            part.clone()
        } else {
            part.replace("bind :8080", "bind :8080\n    default_backend app")
        };
        let check = at_home(&format!("{global}\n{part}\n{backend}"), &upstream)
            .env("HAPROXY_VITALS_TRACES_ENGINE", engine)
            .check();
        assert!(check.ok, "{engine}: {part}\n{}", check.output);
    }
}

/// Blocks of the documents but for README's first.
const PARTS: usize = 7;

/// The blocks of HAProxy's language in a document.
fn blocks(document: &str) -> Vec<String> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(document);
    let text = fs::read_to_string(path).unwrap();
    let parts = text.split("```haproxy\n").skip(1);
    parts.map(|part| part.split("```").next().unwrap().to_owned()).collect()
}

/// The text with this machine's places and ports, and nothing else changed.
fn at_home(text: &str, upstream: &Upstream) -> Builder {
    let text = vitals::at_home(text)
        .replace("bind :8080", "bind 127.0.0.1:${port:http}")
        .replace("bind :5432", "bind 127.0.0.1:${port:tcp}")
        .replace("127.0.0.1:8000", "${upstream}");
    Haproxy::config(&text).module().upstream(upstream)
}
