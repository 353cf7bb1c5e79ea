//! Whatever the sources hold, `load` answers.

use proptest::prelude::*;

use super::{arguments, from_file, loaded, options, variables};
use crate::config::Value;

/// Any tree of values, three levels deep.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Integer),
        any::<f64>().prop_map(Value::Float),
        ".{0,20}".prop_map(Value::Text),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
            proptest::collection::vec((name(), inner), 0..4).prop_map(Value::Table),
        ]
    })
}

/// A key, a part of one, or anything.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![proptest::sample::select(WORDS).prop_map(str::to_owned), ".{0,12}"]
}

proptest! {
    #[test]
    fn options_never_panic(key in name(), value in value()) {
        let _ = loaded(options(&[(&key, value)]));
    }

    #[test]
    fn arguments_never_panic(argument in "([a-z.]{0,24}=)?.{0,40}") {
        prop_assume!(!argument.starts_with("config="));
        let _ = loaded(arguments(&[&argument]));
    }

    #[test]
    fn variables_never_panic(index in 0..NAMES.len(), value in ".{0,60}") {
        let _ = loaded(variables(&[(NAMES[index], &value)]));
    }

    #[test]
    fn a_message_is_one_line(key in name(), value in value()) {
        if let Err(message) = loaded(options(&[(&key, value)])) {
            prop_assert!(!message.contains('\n'), "{message:?}");
        }
    }

    #[test]
    fn files_never_panic(key in "(export|traces|health)\\.[a-z_]{0,20}", value in "[\\[\\]{}a-z0-9'\",=. ]{0,20}") {
        let _ = from_file(&format!("{key} = {value}"));
    }
}

const WORDS: &[&str] = &[
    "health",
    "backend",
    "name",
    "export.headers",
    "service.attributes",
    "traces",
    "rule",
    "traces.rule",
    "path_pattern",
    "header",
    "source",
    "rate",
    "ratio",
    "",
];

const NAMES: [&str; 12] = [
    "HAPROXY_VITALS_EXPORT_ENDPOINT",
    "HAPROXY_VITALS_RUNTIME_STOP_TIMEOUT",
    "OTEL_BSP_MAX_QUEUE_SIZE",
    "OTEL_BSP_SCHEDULE_DELAY",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_SDK_DISABLED",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
];
