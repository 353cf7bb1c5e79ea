//! `show vitals config`.

use super::{File, environment, loaded};
use crate::config::Sources;

#[test]
fn each_setting_is_shown_with_its_source() {
    let file = File::new("[[health.backend]]\nname = 'api'\nrise = 5\n");
    let loaded = loaded(Sources {
        options: vec![("runtime.workers".to_owned(), crate::config::Value::Integer(3))],
        arguments: vec!["export.headers.authorization=Bearer word".to_owned(), file.argument()],
        environment: environment(&[("OTEL_SERVICE_NAME", "edge")]),
    })
    .unwrap();
    let shown = file.unnamed(&loaded.describe());
    let lines: Vec<_> = shown.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(lines, EXPECTED.trim().lines().collect::<Vec<_>>());
}

#[test]
fn keys_values_and_sources_stand_in_columns() {
    let shown = loaded(Sources::default()).unwrap().describe();
    let first = shown.lines().next().unwrap();
    let columns = [first.find(" = "), first.find("  # ")];
    assert!(shown.lines().all(|line| [line.find(" = "), line.find("  # ")] == columns), "{shown}");
}

#[test]
fn secrets_are_in_no_text() {
    let loaded = loaded(super::arguments(&["export.headers.authorization=Bearer word"])).unwrap();
    assert_eq!(loaded.config.export.headers[0].1, "Bearer word");
    assert!(!loaded.describe().contains("word"));
    assert!(!format!("{loaded:?}").contains("word"));
}

const EXPECTED: &str = r#"
config = "FILE" # lua-load argument
service.name = "edge" # environment OTEL_SERVICE_NAME
service.detectors = "service,host,os,process,container,k8s,haproxy" # default
runtime.workers = 3 # option in Lua
runtime.stop_timeout = "2s" # default
runtime.term_timeout = "500ms" # default
traces.enabled = true # default
traces.sampler = "parentbased_always_on" # default
traces.ratio = 1 # default
traces.recent = 0 # default
traces.ring_bytes = 524288 # default
export.exporter = "otlp" # default
export.protocol = "http/protobuf" # default
export.endpoint = "http://localhost:4318/v1/traces" # default
export.headers.authorization = (hidden) # lua-load argument
export.timeout = "10s" # default
export.schedule_delay = "5s" # default
export.export_timeout = "30s" # default
export.max_queue_size = 32768 # default
export.max_export_batch_size = 512 # default
export.file.path = "" # default
export.file.max_bytes = 104857600 # default
export.file.max_files = 5 # default
metrics.enabled = false # default
metrics.exporter = "otlp" # default
metrics.listen = "" # default
metrics.interval = "1m" # default
metrics.timeout = "30s" # default
metrics.temporality = "cumulative" # default
metrics.histogram = "explicit_bucket_histogram" # default
metrics.exemplars = "trace_based" # default
metrics.cardinality_limit = 2000 # default
metrics.attributes = [] # default
metrics.active_requests = false # default
metrics.body_sizes = false # default
logs.enabled = false # default
logs.exporter = "otlp" # default
logs.schedule_delay = "1s" # default
logs.export_timeout = "30s" # default
logs.max_queue_size = 2048 # default
logs.max_export_batch_size = 512 # default
logs.attribute_count_limit = 128 # default
logs.attribute_value_length_limit = 1048576 # default
health.backend.api.name = "api" # FILE:2
health.backend.api.service = "" # default
health.backend.api.authority = (the server's address) # default
health.backend.api.interval = "2s" # default
health.backend.api.fast_interval = "1s" # default
health.backend.api.down_interval = "5s" # default
health.backend.api.connect_timeout = "1s" # default
health.backend.api.rpc_timeout = "1s" # default
health.backend.api.rise = 5 # FILE:3
health.backend.api.fall = 3 # default
"#;
