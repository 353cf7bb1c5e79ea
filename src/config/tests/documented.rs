//! `docs/configuration.md`, and so haproxy-vitals.toml(5), has every key and no other.

use std::collections::BTreeSet;

use crate::config::keys::{self, CONFIG};

#[test]
fn the_document_and_the_code_have_the_same_keys() {
    // Those of one signal are told of in words.
    let is_of_a_signal =
        |name: &str| ["export.traces.", "export.metrics.", "export.logs."].iter().any(|s| name.starts_with(s));
    let known = keys::all().map(|key| key.name).filter(|name| !is_of_a_signal(name)).chain([CONFIG]);
    assert_eq!(documented("| key | default | bounds | `OTEL_*` |"), known.map(str::to_owned).collect());
    for (list, head) in [("traces.rule", "| key | what | bounds |"), ("health.backend", "| key | default | bounds |")] {
        let known = (keys::LISTS.iter().find(|known| known.name == list).unwrap().known)();
        assert_eq!(documented(head), known.into_iter().map(str::to_owned).collect(), "{list}");
    }
}

/// The names in the first column of the table with this head.
fn documented(head: &str) -> BTreeSet<String> {
    let table = DOCUMENT.split(&format!("{head}\n")).nth(1).unwrap();
    let rows = table.lines().skip(1).take_while(|line| line.starts_with('|'));
    let names = rows.flat_map(|row| row.split('|').nth(1).unwrap().split('`').skip(1).step_by(2));
    // `drop = true`, `traces.trust_of.<frontend>`.
    names.map(|name| name.split(" = ").next().unwrap().split(".<").next().unwrap().to_owned()).collect()
}

const DOCUMENT: &str = include_str!("../../../docs/configuration.md");
