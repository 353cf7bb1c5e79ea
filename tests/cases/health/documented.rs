//! What the documents of health checks and metrics say to paste is taken by HAProxy.

use std::fs;
use std::path::PathBuf;

use haproxy_vitals_tests::Haproxy;

const CONFIG: &str = "
global
.if version_atleast(3.1)
  tune.lua.bool-sample-conversion normal
.endif
  lua-prepend-path ${module}/?.so cpath
  lua-load ${lua}/otel.lua config=${dir}/vitals.toml
";
const TIMES: &str = "
defaults
  mode http
  timeout connect 1s
  timeout client 1s
  timeout server 1s
";

#[test]
fn configurations_of_the_documents_are_accepted() {
    let mut seen = Vec::new();
    for document in ["agent.md", "health.md", "metrics.md"] {
        for (language, block) in blocks(document) {
            let (config, settings, script) = match language.as_str() {
                "toml" => (String::new(), block, String::new()),
                "haproxy" => (block, String::new(), String::new()),
                "lua" => (String::new(), "[[health.backend]]\nname = \"shop\"\n".to_owned(), block),
                // A part of the global section, or commands.
                "" if block.starts_with("global") => (block, String::new(), String::new()),
                "" => continue,
                other => panic!("{document}: a block of {other}: teach this case about it"),
            };
            accepts(document, &config, &settings, &script);
            seen.push((document, language));
        }
    }
    let count = |language: &str| seen.iter().filter(|(_, of)| of == language).count();
    assert_eq!((count("toml"), count("haproxy"), count("lua"), count("")), (5, 3, 1, 1), "{seen:?}");
}

#[track_caller]
fn accepts(document: &str, config: &str, settings: &str, script: &str) {
    let settings = at_home(settings);
    let load = if script.is_empty() { "" } else { "  lua-load ${dir}/script.lua\n" };
    let outcome = Haproxy::config(&at_home(&format!("{CONFIG}{load}{TIMES}{config}\n")))
        .module()
        .file("vitals.toml", &settings)
        .file("script.lua", script)
        .file("token", "secret")
        .check();
    assert!(outcome.ok, "{document}\n{config}{settings}{script}\n{}", outcome.output);
    assert!(!outcome.output.contains("[WARNING]"), "{document}\n{config}{settings}{script}\n{}", outcome.output);
}

/// The blocks of a document with their languages.
fn blocks(document: &str) -> Vec<(String, String)> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs").join(document);
    let text = fs::read_to_string(path).unwrap();
    let parts = text.split("```").skip(1).step_by(2);
    parts.filter_map(|part| part.split_once('\n')).map(|(of, block)| (of.to_owned(), block.to_owned())).collect()
}

/// The text with places and ports of this machine, and nothing else changed. Settings that belong to one backend get one.
fn at_home(text: &str) -> String {
    let text = text
        .replace("\"/etc/ssl/internal.pem\"", "\"@system-ca\"")
        .replace("/etc/haproxy/check-token", "${dir}/token")
        .replace("/run/haproxy/", "${dir}/")
        .replace("127.0.0.1:5555", "127.0.0.1:${port:agent}")
        .replace("bind :9464", "bind 127.0.0.1:${port:metrics}\n    timeout client 1s");
    if text.starts_with("weight_metadata") { format!("[[health.backend]]\nname = \"shop\"\n{text}") } else { text }
}
