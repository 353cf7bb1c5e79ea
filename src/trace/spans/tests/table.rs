//! `docs/attributes.md` against what is emitted.

use std::collections::BTreeSet;

use super::asked::with_settings;
use super::*;
use crate::config::{AttributesConfig, ChildSpan, Route};
use crate::trace::sampler::Kept;

const TABLE: &str = include_str!("../../../../docs/attributes.md");

/// Name and type of each row; `<name>` stands for what a user gives.
fn rows() -> BTreeSet<(String, String)> {
    let cells = |line: &'static str| line.split('|').map(str::trim).collect::<Vec<_>>();
    let table = TABLE.split("\n## ").next().unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| `")).map(cells);
    let row = |cells: Vec<&str>| (cells[1].trim_matches('`').to_owned(), cells[2].to_owned());
    rows.map(row).collect()
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::StringValue(_) => "string",
        Value::IntValue(_) => "int",
        Value::BoolValue(_) => "bool",
        Value::DoubleValue(_) => "double",
        Value::ArrayValue(_) => "string[]",
        other => panic!("{other:?}"),
    }
}

fn everything() -> AttributesConfig {
    AttributesConfig {
        routes: vec![Route { method: None, template: "/*".to_owned() }],
        trusted_networks: vec!["192.0.2.0/24".parse().unwrap()],
        request_headers: vec!["x-name".to_owned()],
        response_headers: vec!["x-name".to_owned()],
        tls: true,
        tls_client_certificate: true,
        rpc: true,
        rpc_old_names: true,
        events: true,
        child_spans: vec![ChildSpan::Queue, ChildSpan::Connect],
        ..AttributesConfig::default()
    }
}

/// A request that was not sampled, and is exported all the same.
fn kept() -> Vec<Span> {
    let payload = Sample::ended("CD").payload();
    let mut record = Record::parse(&payload, END).unwrap();
    record.kept = Some(Kept::Error);
    decoded(&record, &Wording::default())
}

#[test]
fn every_attribute_is_a_row_of_the_table_and_every_row_an_attribute() {
    let number = |expression: &str| expression.contains("resumed") || expression.contains("grpc-status");
    let value = |expression: &str| Some(if number(expression) { &b"1"[..] } else { b"TLSv1.3" });
    let call = |line: &str| {
        Sample::default().line(line).status(503).numbers(|numbers| {
            (numbers.retries, numbers.timers[1]) = (1, 3);
            numbers.bits |= bits::REDISPATCHED;
        })
    };
    let samples = [
        call("POST /a.B/C?d=e HTTP/2.0").carrying(Field::Rpc, b"").carrying(Field::Header, b"\x01v"),
        call("ODD /x HTTP/2.0").carrying(Field::Rpc, b"").carrying(Field::ForwardedFor, b"203.0.113.1"),
        Sample::default().status(101),
        Sample::ended("CD"),
    ];
    let spans = samples.iter().flat_map(|sample| with_settings(&everything(), sample, value)).chain(kept());
    let mut found = BTreeSet::new();
    for attribute in spans.flat_map(|span| span.attributes) {
        let kind = kind(attribute.value.as_ref().unwrap().value.as_ref().unwrap());
        found.insert((attribute.key.replace("x-name", "<name>"), kind.to_owned()));
    }
    assert_eq!(found, rows());
}
