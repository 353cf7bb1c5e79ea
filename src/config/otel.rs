//! The variables of the OpenTelemetry specification. A bad value is a warning and counts as unset.

use super::env::Environment;
use super::load::Loaded;
use super::origin::Origin;
use super::pairs;
use super::propagation;
use super::setting::Setting;
use super::tree::ExporterKind;
use super::value::{Value, quoted};
use super::words::Word;

/// What the `OTEL_*` variables set.
pub(super) fn settings(environment: &Environment, warnings: &mut Vec<String>) -> Vec<Setting> {
    let mut reader = Reader { environment, warnings, settings: Vec::new() };
    reader.plain();
    reader.disabled();
    reader.propagators();
    reader.stability();
    reader.resource();
    reader.headers();
    reader.metrics_exporter();
    reader.logs_exporter();
    reader.settings
}

/// `OTEL_SDK_DISABLED` turns off the metrics that another variable asked for; those that the settings ask for by themselves are
/// still made of checks.
pub(super) fn disable_metrics(loaded: &mut Loaded) {
    let disabled = Origin::OpenTelemetry(SDK_DISABLED);
    let asked = loaded.origins.of("metrics.enabled");
    if !loaded.config.traces.enabled && loaded.origins.of("traces.enabled") == disabled && asked.is_lenient() {
        loaded.config.metrics.enabled = false;
        loaded.origins.record("metrics.enabled".to_owned(), disabled);
    }
}

struct Reader<'a> {
    environment: &'a Environment,
    warnings: &'a mut Vec<String>,
    settings: Vec<Setting>,
}

impl Reader<'_> {
    /// Variables whose text the key itself reads.
    fn plain(&mut self) {
        for (name, key) in VARIABLES {
            if let Some(text) = self.environment.value(name) {
                let text = if *key == EXPORTER { self.exporters(name, text) } else { text.to_owned() };
                self.set(key, Value::Text(text), name);
            }
        }
        for (name, key) in BOOLEANS {
            if let Some(value) = self.boolean(name) {
                self.set(key, Value::Bool(value), name);
            }
        }
    }

    /// "Enum" in the OpenTelemetry specification: of a list, what is not known is reported and ignored. A list of nothing
    /// else is left for the key to report.
    fn exporters(&mut self, variable: &str, text: &str) -> String {
        let known = |part: &str| ExporterKind::WORDS.iter().any(|(word, _)| part.eq_ignore_ascii_case(word));
        let parts = || text.split(',').map(str::trim).filter(|part| !part.is_empty());
        if !parts().any(known) {
            return text.to_owned();
        }
        for unknown in parts().filter(|part| !known(part)) {
            self.warnings.push(format!("{variable}: unknown exporter {}; ignored", quoted(unknown)));
        }
        parts().filter(|part| known(part)).collect::<Vec<_>>().join(",")
    }

    /// `OTEL_SDK_DISABLED` says the opposite of `traces.enabled`.
    fn disabled(&mut self) {
        if let Some(disabled) = self.boolean(SDK_DISABLED) {
            self.set("traces.enabled", Value::Bool(!disabled), SDK_DISABLED);
        }
    }

    /// Names that are not known are ignored one by one.
    fn propagators(&mut self) {
        let Some(text) = self.environment.value(PROPAGATORS) else { return };
        if let Some(value) = propagation::known(PROPAGATORS, text, self.warnings) {
            self.set("traces.propagators", value, PROPAGATORS);
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

    fn headers(&mut self) {
        for (variable, key) in HEADERS {
            for (name, value) in self.pairs(variable).unwrap_or_default() {
                self.entry(key, &name.to_lowercase(), value, variable);
            }
        }
    }

    /// `prometheus` is a listener here; the others say where metrics are pushed to. Any of them turns metrics on.
    fn metrics_exporter(&mut self) {
        let Some(text) = self.environment.value(METRICS_EXPORTER) else { return };
        let (pulling, pushing): (Vec<&str>, Vec<&str>) =
            text.split(',').map(str::trim).partition(|name| name.eq_ignore_ascii_case("prometheus"));
        if !pulling.is_empty() {
            let host = self.environment.value(PROMETHEUS_HOST).unwrap_or("localhost");
            let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() };
            let port = self.environment.value(PROMETHEUS_PORT).unwrap_or("9464");
            self.set("metrics.listen", Value::Text(format!("{host}:{port}")), METRICS_EXPORTER);
        }
        let pushing = if pushing.is_empty() { "none".to_owned() } else { pushing.join(",") };
        if self.pushes(METRICS_EXPORTER, "metrics.exporter", &pushing) || !pulling.is_empty() {
            self.set("metrics.enabled", Value::Bool(true), METRICS_EXPORTER);
        }
    }

    fn logs_exporter(&mut self) {
        let Some(text) = self.environment.value(LOGS_EXPORTER) else { return };
        if self.pushes(LOGS_EXPORTER, "logs.exporter", text) {
            self.set("logs.enabled", Value::Bool(true), LOGS_EXPORTER);
        }
    }

    /// Sets the exporters of a signal; says whether there are any.
    fn pushes(&mut self, variable: &'static str, key: &'static str, text: &str) -> bool {
        let list = self.exporters(variable, text);
        let pushing =
            ExporterKind::WORDS.iter().map(|(word, _)| word).filter(|word| !word.eq_ignore_ascii_case("none"));
        let names = |word: &&str| list.split(',').any(|part| part.eq_ignore_ascii_case(word));
        let pushes = pushing.copied().any(|word| names(&word));
        self.set(key, Value::Text(list), variable);
        pushes
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

/// Each with its key.
const VARIABLES: &[(&str, &str)] = &[
    ("OTEL_SERVICE_NAME", "service.name"),
    ("OTEL_TRACES_SAMPLER", "traces.sampler"),
    ("OTEL_TRACES_SAMPLER_ARG", "traces.ratio"),
    ("OTEL_TRACES_EXPORTER", EXPORTER),
    ("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS", "traces.known_methods"),
    ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "traces.attribute_count_limit"),
    ("OTEL_ATTRIBUTE_COUNT_LIMIT", "traces.attribute_count_limit"),
    ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "traces.attribute_value_length_limit"),
    ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "traces.attribute_value_length_limit"),
    ("OTEL_SPAN_EVENT_COUNT_LIMIT", "traces.event_count_limit"),
    ("OTEL_SPAN_LINK_COUNT_LIMIT", "traces.link_count_limit"),
    ("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "traces.event_attribute_count_limit"),
    ("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "traces.link_attribute_count_limit"),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", "export.protocol"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "export.endpoint"),
    ("OTEL_EXPORTER_OTLP_TIMEOUT", "export.timeout"),
    ("OTEL_EXPORTER_OTLP_COMPRESSION", "export.compression"),
    ("OTEL_EXPORTER_OTLP_CERTIFICATE", "export.certificate"),
    ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "export.client_certificate"),
    ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "export.client_key"),
    ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "export.traces.protocol"),
    ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "export.traces.endpoint"),
    ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "export.traces.timeout"),
    ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "export.traces.compression"),
    ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "export.traces.certificate"),
    ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE", "export.traces.client_certificate"),
    ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "export.traces.client_key"),
    ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "export.metrics.protocol"),
    ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "export.metrics.endpoint"),
    ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "export.metrics.timeout"),
    ("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "export.metrics.compression"),
    ("OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE", "export.metrics.certificate"),
    ("OTEL_EXPORTER_OTLP_METRICS_CLIENT_CERTIFICATE", "export.metrics.client_certificate"),
    ("OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY", "export.metrics.client_key"),
    ("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "export.logs.protocol"),
    ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "export.logs.endpoint"),
    ("OTEL_EXPORTER_OTLP_LOGS_TIMEOUT", "export.logs.timeout"),
    ("OTEL_EXPORTER_OTLP_LOGS_COMPRESSION", "export.logs.compression"),
    ("OTEL_EXPORTER_OTLP_LOGS_CERTIFICATE", "export.logs.certificate"),
    ("OTEL_EXPORTER_OTLP_LOGS_CLIENT_CERTIFICATE", "export.logs.client_certificate"),
    ("OTEL_EXPORTER_OTLP_LOGS_CLIENT_KEY", "export.logs.client_key"),
    ("OTEL_BSP_SCHEDULE_DELAY", "export.schedule_delay"),
    ("OTEL_BSP_EXPORT_TIMEOUT", "export.export_timeout"),
    ("OTEL_BSP_MAX_QUEUE_SIZE", "export.max_queue_size"),
    ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "export.max_export_batch_size"),
    ("OTEL_METRIC_EXPORT_INTERVAL", "metrics.interval"),
    ("OTEL_METRIC_EXPORT_TIMEOUT", "metrics.timeout"),
    ("OTEL_METRICS_EXEMPLAR_FILTER", "metrics.exemplars"),
    ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "metrics.temporality"),
    ("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "metrics.histogram"),
    ("OTEL_BLRP_SCHEDULE_DELAY", "logs.schedule_delay"),
    ("OTEL_BLRP_EXPORT_TIMEOUT", "logs.export_timeout"),
    ("OTEL_BLRP_MAX_QUEUE_SIZE", "logs.max_queue_size"),
    ("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", "logs.max_export_batch_size"),
    ("OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", "logs.attribute_count_limit"),
    ("OTEL_ATTRIBUTE_COUNT_LIMIT", "logs.attribute_count_limit"),
    ("OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT", "logs.attribute_value_length_limit"),
    ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "logs.attribute_value_length_limit"),
];

const METRICS_EXPORTER: &str = "OTEL_METRICS_EXPORTER";
const LOGS_EXPORTER: &str = "OTEL_LOGS_EXPORTER";
const PROMETHEUS_HOST: &str = "OTEL_EXPORTER_PROMETHEUS_HOST";
const PROMETHEUS_PORT: &str = "OTEL_EXPORTER_PROMETHEUS_PORT";
const SDK_DISABLED: &str = "OTEL_SDK_DISABLED";
const PROPAGATORS: &str = "OTEL_PROPAGATORS";
const STABILITY: &str = "OTEL_SEMCONV_STABILITY_OPT_IN";
const RESOURCE_ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";
const EXPORTER: &str = "export.exporter";

/// Each with its key.
const BOOLEANS: &[(&str, &str)] = &[
    ("OTEL_EXPORTER_OTLP_INSECURE", "export.insecure"),
    ("OTEL_EXPORTER_OTLP_TRACES_INSECURE", "export.traces.insecure"),
    ("OTEL_EXPORTER_OTLP_METRICS_INSECURE", "export.metrics.insecure"),
    ("OTEL_EXPORTER_OTLP_LOGS_INSECURE", "export.logs.insecure"),
];

/// Lists of `key=value`, each with its table.
const HEADERS: &[(&str, &str)] = &[
    ("OTEL_EXPORTER_OTLP_HEADERS", "export.headers"),
    ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "export.traces.headers"),
    ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "export.metrics.headers"),
    ("OTEL_EXPORTER_OTLP_LOGS_HEADERS", "export.logs.headers"),
];
