//! Which source wins.

use std::time::Duration;

use super::{File, arguments, environment, from_file, loaded, options, text, variables};
use crate::config::{Config, Detector, ExporterKind, FileConfig, Origin, Protocol, SamplerKind, Sources, Value};

#[test]
fn without_sources_all_is_default() {
    let loaded = loaded(Sources::default()).unwrap();
    assert_eq!(loaded.config, Config::default());
    assert!(loaded.warnings.is_empty());
    assert_eq!(loaded.origins.of("traces.sampler"), Origin::Default);
}

#[test]
fn each_source_is_stronger_than_the_next() {
    let file = File::new("[service]\nname = 'file'\n");
    let mut sources = Sources {
        options: vec![("service.name".to_owned(), text("option"))],
        arguments: vec!["service.name=argument".to_owned(), file.argument()],
        environment: environment(&[
            ("HAPROXY_VITALS_SERVICE_NAME", "own"),
            ("OTEL_SERVICE_NAME", "otel"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=resource"),
        ]),
    };
    let name = |sources: &Sources| loaded(sources.clone()).unwrap().config.service.name;
    assert_eq!(name(&sources), "option");
    sources.options.clear();
    assert_eq!(name(&sources), "argument");
    sources.arguments.remove(0);
    assert_eq!(name(&sources), "file");
    sources.arguments.clear();
    assert_eq!(name(&sources), "own");
    sources.environment = environment(&[("OTEL_SERVICE_NAME", "otel"), ("OTEL_RESOURCE_ATTRIBUTES", "service.name=r")]);
    assert_eq!(name(&sources), "otel");
    sources.environment = environment(&[("OTEL_RESOURCE_ATTRIBUTES", "service.name=resource")]);
    assert_eq!(name(&sources), "resource");
}

#[test]
fn a_table_of_names_is_merged_name_by_name() {
    let loaded = loaded(Sources {
        options: vec![("service.attributes".to_owned(), Value::Table(vec![("team".to_owned(), text("edge"))]))],
        environment: environment(&[("OTEL_RESOURCE_ATTRIBUTES", "team=other,zone=b")]),
        ..Sources::default()
    });
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(loaded.unwrap().config.service.attributes, [pair("team", "edge"), pair("zone", "b")]);
}

#[test]
fn a_list_replaces_a_weaker_list() {
    let file = File::new("[[health.backend]]\nname = 'a'\ninterval = '9s'\n");
    let backend = Value::Table(vec![("name".to_owned(), text("a"))]);
    let loaded = loaded(Sources {
        options: vec![("health".to_owned(), Value::Table(vec![("backend".to_owned(), Value::List(vec![backend]))]))],
        ..arguments(&[&file.argument()])
    })
    .unwrap();
    assert_eq!(loaded.config.health.backends.len(), 1);
    assert_eq!(loaded.config.health.backends[0].interval, Duration::from_secs(2));
    assert_eq!(loaded.origins.of("health.backend.a.interval"), Origin::Default);
    assert_eq!(loaded.origins.of("health.backend.a.name"), Origin::Option);
}

#[test]
fn the_file_is_named_by_option_argument_or_environment() {
    let file = File::new("runtime.workers = 7\n");
    let path = file.0.display().to_string();
    let named = [
        options(&[("config", text(&path))]),
        arguments(&[&file.argument()]),
        variables(&[("HAPROXY_VITALS_CONFIG", &path)]),
    ];
    for sources in named {
        let loaded = loaded(sources).unwrap();
        assert_eq!(loaded.config.runtime.workers, 7);
        assert_eq!(loaded.file.as_deref(), Some(path.as_str()));
    }
}

#[test]
fn every_key_is_read_from_a_file() {
    let config = from_file(EVERY_KEY).unwrap().config;
    assert_eq!(config.service.name, "edge");
    assert_eq!(config.service.attributes[0], ("deployment.environment.name".to_owned(), "prod".to_owned()));
    assert_eq!(config.service.attributes[1], ("shard".to_owned(), "3".to_owned()));
    assert_eq!(config.runtime.workers, 4);
    assert_eq!(config.runtime.stop_timeout, Duration::from_secs(5));
    assert_eq!(config.runtime.term_timeout, Duration::from_millis(250));
    assert!(!config.traces.enabled);
    assert_eq!(config.traces.sampler, SamplerKind::TraceIdRatio);
    assert!((config.traces.ratio - 0.25).abs() < f64::EPSILON);
    assert_eq!(config.traces.ring_bytes, 1_048_576);
    assert_eq!(config.export.protocol, Protocol::Grpc);
    assert_eq!(config.export.endpoint.to_string(), "http://collector:4317");
    assert_eq!(config.export.headers, [("x-key".to_owned(), "word".to_owned())]);
    assert_eq!(config.export.timeout, Duration::from_secs(3));
    assert_eq!(config.export.schedule_delay, Duration::from_secs(1));
    assert_eq!(config.export.export_timeout, Duration::from_mins(1));
    assert_eq!((config.export.max_queue_size, config.export.max_export_batch_size), (1000, 100));
    assert_eq!(config.export.exporters, [ExporterKind::Otlp, ExporterKind::File]);
    let file = FileConfig { path: "/spans.jsonl".to_owned(), max_bytes: 1_000_000, max_files: 2 };
    assert_eq!(config.export.file, file);
    assert_eq!(config.service.detectors, [Detector::Host, Detector::CommandArgs]);
    let backend = &config.health.backends[0];
    assert_eq!((backend.name.as_str(), backend.service.as_str()), ("api", "pkg.Api"));
    assert_eq!(backend.authority.as_deref(), Some("api.internal:443"));
    assert_eq!((backend.interval, backend.fast_interval), (Duration::from_secs(4), Duration::from_secs(2)));
    assert_eq!(backend.down_interval, Duration::from_secs(8));
    assert_eq!((backend.connect_timeout, backend.rpc_timeout), (Duration::from_millis(500), Duration::from_secs(3)));
    assert_eq!((backend.rise, backend.fall), (3, 4));
    assert_eq!(config.health.backends[1].name, "web");
}

#[test]
fn lua_tables_have_the_shape_of_the_file() {
    let sampler =
        Value::Table(vec![("sampler".to_owned(), text("always_off")), ("ratio".to_owned(), Value::Integer(1))]);
    let config = loaded(options(&[("traces", sampler), ("runtime.workers", Value::Integer(3))])).unwrap().config;
    assert_eq!(config.traces.sampler, SamplerKind::AlwaysOff);
    assert_eq!(config.runtime.workers, 3);
}

#[test]
fn arguments_are_text_that_the_key_reads() {
    let config =
        loaded(arguments(&["traces.enabled=false", "traces.ratio=0.5", "traces.sampler=traceidratio"])).unwrap().config;
    assert!(!config.traces.enabled);
    assert!((config.traces.ratio - 0.5).abs() < f64::EPSILON);
}

#[test]
fn exporters_and_detectors_are_lists_in_any_source() {
    let config =
        loaded(arguments(&["export.exporter=otlp, console,otlp", "service.detectors=os,host"])).unwrap().config;
    assert_eq!(config.export.exporters, [ExporterKind::Otlp, ExporterKind::Console]);
    assert_eq!(config.service.detectors, [Detector::Os, Detector::Host]);
    let config = from_file("export.exporter = 'console'\nservice.detectors = []\n").unwrap().config;
    assert_eq!(config.export.exporters, [ExporterKind::Console]);
    assert!(config.service.detectors.is_empty());
    assert!(loaded(arguments(&["service.detectors=none"])).unwrap().config.service.detectors.is_empty());
}

#[test]
fn the_names_of_headers_have_no_case() {
    let loaded = loaded(Sources {
        arguments: vec!["export.headers.Authorization=Bearer x=y".to_owned()],
        environment: environment(&[("OTEL_EXPORTER_OTLP_HEADERS", "AUTHORIZATION=weak,X-Other=b")]),
        ..Sources::default()
    });
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(loaded.unwrap().config.export.headers, [pair("authorization", "Bearer x=y"), pair("x-other", "b")]);
}

#[test]
fn the_default_endpoint_follows_the_protocol() {
    let endpoint = |protocol| loaded(arguments(&[protocol])).unwrap().config.export.endpoint.to_string();
    assert_eq!(endpoint("export.protocol=http/protobuf"), "http://localhost:4318/v1/traces");
    assert_eq!(endpoint("export.protocol=grpc"), "http://localhost:4317");
}

const EVERY_KEY: &str = r#"
[service]
name = "edge"
detectors = ["host", "command_args"]
[service.attributes]
deployment.environment.name = "prod"
shard = 3
[runtime]
workers = 4
stop_timeout = "5s"
term_timeout = "250ms"
[traces]
enabled = false
sampler = "traceidratio"
ratio = 0.25
ring_bytes = 0x100000
[export]
exporter = ["otlp", "file"]
protocol = "grpc"
endpoint = "http://collector:4317"
headers = { X-Key = "word" }
timeout = "3s"
schedule_delay = "1s"
export_timeout = "1m"
max_queue_size = 1000
max_export_batch_size = 100
[export.file]
path = "/spans.jsonl"
max_bytes = 1_000_000
max_files = 2
[[health.backend]]
name = "api"
service = "pkg.Api"
authority = "api.internal:443"
interval = "4s"
fast_interval = "2s"
down_interval = "8s"
connect_timeout = "500ms"
rpc_timeout = "3s"
rise = 3
fall = 4
[[health.backend]]
name = "web"
"#;
