//! `show vitals config`.

use super::{File, environment, loaded};
use crate::config::Sources;

#[test]
fn each_setting_is_shown_with_its_source() {
    let file = File::new("[[health.backend]]\nname = 'api'\nrise = 5\n");
    let loaded = loaded(Sources {
        options: vec![("runtime.workers".to_owned(), crate::config::Value::Integer(3))],
        arguments: vec![
            "export.headers.authorization=Bearer word".to_owned(),
            "export.metrics.headers.X-Key=word".to_owned(),
            "export.metrics.endpoint=https://m/in".to_owned(),
            file.argument(),
        ],
        environment: environment(&[("OTEL_SERVICE_NAME", "edge")]),
    })
    .unwrap();
    let shown = file.unnamed(&loaded.describe());
    let lines: Vec<_> = shown.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let expected = EXPECTED.replace("VERSION", env!("CARGO_PKG_VERSION"));
    assert_eq!(lines, expected.trim().lines().collect::<Vec<_>>());
}

#[test]
fn keys_values_and_sources_stand_in_columns() {
    let shown = loaded(Sources::default()).unwrap().describe();
    let columns = |line: &str| [line.find(" = "), line.find("  # ")];
    let first = columns(shown.lines().next().unwrap());
    // A long value moves its own source only.
    let is_long = |line: &str| line.contains("traces.probe_");
    assert!(shown.lines().all(|line| is_long(line) || columns(line) == first), "{shown}");
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
traces.engine = "auto" # default
traces.frontends = "auto" # default
traces.sampler = "parentbased_always_on" # default
traces.ratio = 1 # default
traces.recent = 0 # default
traces.ring_bytes = 8388608 # default
traces.propagators = ["tracecontext", "baggage"] # default
traces.trust = "accept" # default
traces.baggage_attributes = [] # default
traces.response_header = "none" # default
traces.variables = false # default
traces.parent_sampled = "follow" # default
traces.parent_not_sampled = "follow" # default
traces.skip_probes = false # default
traces.probe_paths = ["/healthz", "/livez", "/readyz", "/metrics", "/-/healthy", "/-/ready"] # default
traces.probe_agents = ["kube-probe/", "ELB-HealthChecker/", "GoogleHC/", "Prometheus/", "Consul Health Check"] # default
traces.keep.errors = false # default
traces.keep.slower_than = (not set) # default
traces.per_frontend = false # default
traces.routes = [] # default
traces.route_variable = "" # default
traces.span_name_variable = "" # default
traces.known_methods = (the conventions' list) # default
traces.trusted_networks = [] # default
traces.forwarded = "x-forwarded" # default
traces.request_headers = [] # default
traces.response_headers = [] # default
traces.allow_credentials = false # default
traces.query = "redact" # default
traces.redact_query = (the conventions' list) # default
traces.query_allowed = [] # default
traces.tls = false # default
traces.tls_client_certificate = false # default
traces.rpc = false # default
traces.rpc_old_names = false # default
traces.rpc_methods = [] # default
traces.events = false # default
traces.child_spans = [] # default
traces.attribute_count_limit = 128 # default
traces.attribute_value_length_limit = (none) # default
traces.event_count_limit = 128 # default
traces.link_count_limit = 128 # default
traces.event_attribute_count_limit = 128 # default
traces.link_attribute_count_limit = 128 # default
export.exporter = "otlp" # default
export.protocol = "http/protobuf" # default
export.endpoint = "http://localhost:4318" # default
export.insecure = false # default
export.headers.authorization = (hidden) # lua-load argument
export.timeout = "10s" # default
export.compression = "none" # default
export.schedule_delay = "5s" # default
export.export_timeout = "30s" # default
export.max_queue_size = 32768 # default
export.max_queue_bytes = 67108864 # default
export.max_export_batch_size = 512 # default
export.file.path = "" # default
export.file.max_bytes = 104857600 # default
export.file.max_files = 5 # default
export.metrics.endpoint = "https://m:443/in" # lua-load argument
export.metrics.headers.x-key = (hidden) # lua-load argument
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
metrics.grpc_agent_names = false # default
logs.enabled = false # default
logs.exporter = "otlp" # default
logs.schedule_delay = "1s" # default
logs.export_timeout = "30s" # default
logs.max_queue_size = 2048 # default
logs.max_export_batch_size = 512 # default
logs.attribute_count_limit = 128 # default
logs.attribute_value_length_limit = 1048576 # default
health.max_concurrent = 64 # default
health.stats_socket = "" # default
health.spans = "off" # default
agent.listen = "" # default
agent.allow_any = false # default
agent.on_error = "keep" # default
agent.max_connections = 256 # default
agent.max_line = 1024 # default
agent.max_lines = 64 # default
agent.idle_timeout = "5s" # default
agent.allow_from = [] # default
agent.allow_to = [] # default
agent.timeout = "1700ms" # default
agent.reuse_port = true # default
bridge.listen = "" # default
bridge.max_connections = 256 # default
bridge.idle_timeout = "5s" # default
agent.max_age = "1s" # default
agent.max_targets = 256 # default
agent.connect_timeout = "1s" # default
agent.rpc_timeout = "1s" # default
agent.reuse = true # default
agent.service = "" # default
agent.metadata = {} # default
agent.user_agent = "haproxy-vitals/VERSION" # default
agent.unimplemented = "down" # default
agent.codes = {} # default
agent.ca_file = (the system's) # default
agent.cert_file = (none) # default
agent.key_file = (none) # default
agent.server_name = (the authority's) # default
agent.insecure_skip_verify = false # default
log.to = "haproxy" # default
log.format = "plain" # default
log.level = "info" # default
log.agent_level = "info" # default
log.file.path = "" # default
log.file.rotation = "size" # default
log.file.max_bytes = 104857600 # default
log.file.max_files = 5 # default
health.backend.api.name = "api" # FILE:2
health.backend.api.way = "lua" # default
health.backend.api.mode = "check" # default
health.backend.api.init = "down" # default
health.backend.api.service = "" # default
health.backend.api.authority = (the server's name or address) # default
health.backend.api.metadata = {} # default
health.backend.api.user_agent = "haproxy-vitals/VERSION" # default
health.backend.api.interval = "2s" # default
health.backend.api.fast_interval = "1s" # default
health.backend.api.down_interval = "5s" # default
health.backend.api.watch_recheck = "30s" # default
health.backend.api.connect_timeout = "1s" # default
health.backend.api.rpc_timeout = "1s" # default
health.backend.api.resolve_hold = "30s" # default
health.backend.api.rise = 5 # FILE:3
health.backend.api.fall = 3 # default
health.backend.api.panic_threshold = 0 # default
health.backend.api.reuse = true # default
health.backend.api.not_serving = "down" # default
health.backend.api.unimplemented = "down" # default
health.backend.api.overload = "down" # default
health.backend.api.codes = {} # default
health.backend.api.weight_metadata = (none) # default
health.backend.api.orca = "off" # default
health.backend.api.orca_report = "trailers" # default
health.backend.api.orca_interval = "10s" # default
health.backend.api.weight_smoothing = 0.5 # default
health.backend.api.weight_min = 10 # default
health.backend.api.weight_max = 100 # default
health.backend.api.weight_step = 5 # default
health.backend.api.weight_expiry = "3m" # default
health.backend.api.tls = "off" # default
health.backend.api.ca_file = (the system's) # default
health.backend.api.cert_file = (none) # default
health.backend.api.key_file = (none) # default
health.backend.api.server_name = (the authority's) # default
health.backend.api.insecure_skip_verify = false # default
"#;
