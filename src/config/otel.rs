//! The variables of the OpenTelemetry specification. A bad value is a warning and counts as unset.

use super::endpoint;
use super::env::Environment;
use super::keys::HEADERS;
use super::origin::Origin;
use super::pairs;
use super::setting::Setting;
use super::value::{Value, quoted};

/// What the `OTEL_*` variables set; for each key the strongest first.
pub(super) fn settings(environment: &Environment, warnings: &mut Vec<String>) -> Vec<Setting> {
    let mut reader = Reader { environment, warnings, settings: Vec::new() };
    reader.plain();
    reader.disabled();
    reader.stability();
    reader.resource();
    reader.headers();
    reader.unsupported();
    reader.settings
}

struct Reader<'a> {
    environment: &'a Environment,
    warnings: &'a mut Vec<String>,
    settings: Vec<Setting>,
}

impl Reader<'_> {
    /// Variables whose text the key itself reads.
    fn plain(&mut self) {
        let insecure = INSECURE.into_iter().find_map(|name| self.boolean(name)).unwrap_or(false);
        for (name, key) in VARIABLES {
            let Some(text) = self.environment.value(name) else { continue };
            let plain_grpc = *key == ENDPOINT && insecure && !text.contains("://");
            let text = if plain_grpc { format!("http://{text}") } else { text.to_owned() };
            self.set(key, Value::Text(text), name);
        }
    }

    /// `OTEL_SDK_DISABLED` says the opposite of `traces.enabled`.
    fn disabled(&mut self) {
        if let Some(disabled) = self.boolean(SDK_DISABLED) {
            self.set("traces.enabled", Value::Bool(!disabled), SDK_DISABLED);
        }
    }

    /// RPC semantic conventions: a list; what it says of other conventions is not for this module. The new names are emitted
    /// in any case.
    fn stability(&mut self) {
        let asked = self.environment.value(STABILITY).unwrap_or_default();
        if asked.split(',').any(|word| word.trim().eq_ignore_ascii_case("rpc/dup")) {
            self.set("traces.rpc_old_names", Value::Bool(true), STABILITY);
        }
    }

    /// Resource specification, "Specifying resource information via an environment variable": `service.name` in
    /// it is weaker than `OTEL_SERVICE_NAME`.
    fn resource(&mut self) {
        for (name, value) in self.pairs(RESOURCE_ATTRIBUTES).unwrap_or_default() {
            if name == "service.name" {
                self.set("service.name", Value::Text(value), RESOURCE_ATTRIBUTES);
            } else {
                self.entry("service.attributes", &name, value, RESOURCE_ATTRIBUTES);
            }
        }
    }

    /// The variable for traces replaces the general one whole.
    fn headers(&mut self) {
        for variable in HEADER_VARIABLES {
            let Some(pairs) = self.pairs(variable) else { continue };
            for (name, value) in pairs {
                self.entry(HEADERS, &name.to_lowercase(), value, variable);
            }
            return;
        }
    }

    fn unsupported(&mut self) {
        for name in UNSUPPORTED {
            if self.environment.value(name).is_some_and(|value| !value.eq_ignore_ascii_case("none")) {
                self.warnings.push(format!("{name}: not supported by this version; ignored"));
            }
        }
    }

    fn set(&mut self, key: &'static str, value: Value, variable: &'static str) {
        self.settings.push(Setting::of(key, value, Origin::OpenTelemetry(variable)));
    }

    fn entry(&mut self, key: &'static str, name: &str, value: String, variable: &'static str) {
        let path = format!("{key}.{name}");
        self.settings.push(Setting { key, path, value: Value::Text(value), origin: Origin::OpenTelemetry(variable) });
    }

    fn pairs(&mut self, variable: &'static str) -> Option<Vec<(String, String)>> {
        let parsed = pairs::parse(self.environment.value(variable)?);
        parsed.map_err(|error| self.warnings.push(format!("{variable}: {error}; all of it is ignored"))).ok()
    }

    /// "Boolean" in the OpenTelemetry specification: only `true` is true; all but `true` and `false` is reported.
    fn boolean(&mut self, variable: &'static str) -> Option<bool> {
        let text = self.environment.value(variable)?;
        let value = text.eq_ignore_ascii_case("true");
        if !value && !text.eq_ignore_ascii_case("false") {
            let found = quoted(text);
            self.warnings.push(format!("{variable}: expected `true` or `false`, found {found}; taken as `false`"));
        }
        Some(value)
    }
}

/// Each with its key; for one key the strongest first.
const VARIABLES: &[(&str, &str)] = &[
    ("OTEL_SERVICE_NAME", "service.name"),
    ("OTEL_TRACES_SAMPLER", "traces.sampler"),
    ("OTEL_TRACES_SAMPLER_ARG", "traces.ratio"),
    ("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS", "traces.known_methods"),
    ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "traces.attribute_count_limit"),
    ("OTEL_ATTRIBUTE_COUNT_LIMIT", "traces.attribute_count_limit"),
    ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "traces.attribute_value_length_limit"),
    ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "traces.attribute_value_length_limit"),
    ("OTEL_SPAN_EVENT_COUNT_LIMIT", "traces.event_count_limit"),
    ("OTEL_SPAN_LINK_COUNT_LIMIT", "traces.link_count_limit"),
    ("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "traces.event_attribute_count_limit"),
    ("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "traces.link_attribute_count_limit"),
    ("OTEL_TRACES_EXPORTER", "export.exporter"),
    ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "export.protocol"),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", "export.protocol"),
    (endpoint::COMPLETE, ENDPOINT),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", ENDPOINT),
    ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "export.timeout"),
    ("OTEL_EXPORTER_OTLP_TIMEOUT", "export.timeout"),
    ("OTEL_BSP_SCHEDULE_DELAY", "export.schedule_delay"),
    ("OTEL_BSP_EXPORT_TIMEOUT", "export.export_timeout"),
    ("OTEL_BSP_MAX_QUEUE_SIZE", "export.max_queue_size"),
    ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "export.max_export_batch_size"),
];

const SDK_DISABLED: &str = "OTEL_SDK_DISABLED";
const STABILITY: &str = "OTEL_SEMCONV_STABILITY_OPT_IN";
const RESOURCE_ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";
const ENDPOINT: &str = "export.endpoint";

/// The stronger first. Says that a gRPC endpoint without a scheme is plain.
const INSECURE: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_INSECURE", "OTEL_EXPORTER_OTLP_INSECURE"];
/// The stronger first.
const HEADER_VARIABLES: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"];

/// Variables that would change how spans are sent, and do not here.
const UNSUPPORTED: [&str; 8] = [
    "OTEL_EXPORTER_OTLP_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CLIENT_KEY",
    "OTEL_EXPORTER_OTLP_COMPRESSION",
    "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY",
    "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
];
