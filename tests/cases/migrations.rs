//! `docs/migrating.md`: the configurations of other projects, as that page converts them, do what it says.

mod agents;
mod controller;
mod left_in;
mod native_filter;
mod options;
mod traces;

use std::fs;
use std::path::PathBuf;

use haproxy_vitals_tests::haproxy::Builder;
use haproxy_vitals_tests::{Haproxy, vitals};

const SETTINGS: &str = "/etc/haproxy/haproxy-vitals.toml";

/// The part of the page under a heading, to the next one of its level.
fn section(heading: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/migrating.md");
    let text = fs::read_to_string(path).unwrap();
    let (_, rest) = text.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no section {heading}"));
    rest.split("\n## ").next().unwrap().to_owned()
}

/// The blocks of one language in a part of the page; as many as there must be.
fn blocks<const COUNT: usize>(section: &str, language: &str) -> [String; COUNT] {
    let begin = format!("```{language}\n");
    let parts = section.split(&*begin).skip(1);
    let blocks: Vec<_> = parts.map(|part| part.split("```").next().unwrap().to_owned()).collect();
    blocks.try_into().unwrap_or_else(|blocks: Vec<_>| panic!("{} blocks of {language}, not {COUNT}", blocks.len()))
}

/// What a block of the page becomes with this machine's places, and nothing else changed.
fn at_home(configuration: &str, settings: &str) -> Builder {
    let text = vitals::at_home(configuration)
        .replace(SETTINGS, "${dir}/haproxy-vitals.toml")
        .replace("bind :8404", "bind 127.0.0.1:${port:stats}")
        .replace("bind :8080", "bind 127.0.0.1:${port:http}");
    Haproxy::config(&text).module().file("haproxy-vitals.toml", settings)
}
