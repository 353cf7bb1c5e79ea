//! The environment: read here and nowhere else.

use std::collections::BTreeMap;

use super::error::{ConfigError, Hint};
use super::keys::{self, CONFIG};
use super::origin::Origin;
use super::proxy;
use super::setting::Setting;
use super::value::{Value, one_line};

/// The variables that settings may come from.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The `OTEL_*` and `HAPROXY_VITALS_*` variables of this process, those of haproxy-grpc-agent, those that name a proxy, and those that say where it runs.
    /// Bytes that are not UTF-8 become U+FFFD.
    pub fn of_process() -> Self {
        let lossy = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
        std::env::vars_os().map(|(name, value)| (lossy(name), lossy(value))).collect()
    }

    /// A variable of this process that a setting names: a secret, so not kept. None where it is unset or not UTF-8.
    pub fn named(name: &str) -> Option<String> {
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
        std::env::var(name).ok()
    }

    /// The variable's value without space around it. "Configuration types" in the OpenTelemetry specification:
    /// a variable that is empty counts as unset.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// `HAPROXY_VITALS_CONFIG`.
    pub(super) fn config(&self) -> Option<Setting> {
        self.own(CONFIG)
    }

    /// What the `HAPROXY_VITALS_*` variables set.
    pub(super) fn settings(&self) -> Result<Vec<Setting>, ConfigError> {
        let keys: Vec<_> = keys::all().filter(|key| !key.takes_names()).map(|key| key.name).collect();
        let known: Vec<_> = keys.iter().chain([&CONFIG]).map(|key| variable(key)).collect();
        self.refuse_unknown(&known)?;
        Ok(keys.into_iter().filter_map(|key| self.own(key)).collect())
    }

    /// What haproxy-grpc-agent's variables say: the rest of each name after `HAPROXY_AGENT_`, with its setting. `known`: the rests that
    /// mean something.
    pub(super) fn of_grpc_agent(&self, known: &[&'static str]) -> Result<Vec<(&'static str, String)>, ConfigError> {
        let rest = |name: &String| name.strip_prefix(AGENT_PREFIX).map(str::to_owned);
        for (name, rest) in self.0.keys().filter_map(|name| Some((name, rest(name)?))) {
            if !known.contains(&rest.as_str()) && !is_service_link(name) {
                let known: Vec<_> = known.iter().map(|known| format!("{AGENT_PREFIX}{known}")).collect();
                let known: Vec<_> = known.iter().map(String::as_str).collect();
                return Err(ConfigError::UnknownVariable {
                    name: one_line(name),
                    hint: Hint::key(name, &known, &known),
                });
            }
        }
        let said = |rest: &&'static str| Some((*rest, self.value(&format!("{AGENT_PREFIX}{rest}"))?.to_owned()));
        Ok(known.iter().filter_map(said).collect())
    }

    /// `RUST_LOG`.
    pub(super) fn rust_log(&self) -> Option<&str> {
        self.value(RUST_LOG)
    }

    fn own(&self, key: &'static str) -> Option<Setting> {
        let name = variable(key);
        let value = Value::Text(self.value(&name)?.to_owned());
        Some(Setting::of(key, value, Origin::Environment(name)))
    }

    fn refuse_unknown(&self, known: &[String]) -> Result<(), ConfigError> {
        let unknown = |name: &&String| name.starts_with(PREFIX) && !is_service_link(name) && !known.contains(name);
        let Some(name) = self.0.keys().find(unknown) else { return Ok(()) };
        let known: Vec<_> = known.iter().map(String::as_str).collect();
        Err(ConfigError::UnknownVariable { name: one_line(name), hint: Hint::key(name, &known, &known) })
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        Self(variables.into_iter().filter(|(name, _)| is_ours(name)).collect())
    }
}

/// `HAPROXY_VITALS_RUNTIME_WORKERS` for `runtime.workers`.
fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "_").to_uppercase())
}

fn is_ours(name: &str) -> bool {
    name.starts_with("OTEL_")
        || name.starts_with(PREFIX)
        || name.starts_with(AGENT_PREFIX)
        || name == RUST_LOG
        || proxy::VARIABLES.contains(&name)
        || SURROUNDINGS.contains(&name)
}

/// Kubernetes sets `NAME_SERVICE_HOST`, `NAME_SERVICE_PORT` and `NAME_PORT*` in every container for a Service
/// called NAME, and that may be `haproxy-vitals`.
fn is_service_link(name: &str) -> bool {
    name.split('_').any(|part| part == "PORT") || name.ends_with("_SERVICE_HOST")
}

/// What Kubernetes sets, and what people call the variables that its downward API fills.
const SURROUNDINGS: [&str; 11] = [
    "KUBERNETES_SERVICE_HOST",
    "K8S_CONTAINER_NAME",
    "K8S_NAMESPACE_NAME",
    "K8S_NODE_NAME",
    "K8S_POD_NAME",
    "K8S_POD_UID",
    "NODE_NAME",
    "POD_NAME",
    "POD_NAMESPACE",
    "POD_UID",
    "CONTAINER_NAME",
];

const PREFIX: &str = "HAPROXY_VITALS_";
/// Of haproxy-grpc-agent's.
pub(super) const AGENT_PREFIX: &str = "HAPROXY_AGENT_";
const RUST_LOG: &str = "RUST_LOG";

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str, value: &str) -> Environment {
        [(name.to_owned(), value.to_owned())].into_iter().collect()
    }

    #[test]
    fn every_scalar_key_has_a_variable() {
        for key in keys::all().filter(|key| !key.takes_names()) {
            let name = variable(key.name);
            let settings = environment(&name, "x").settings().unwrap();
            assert_eq!(settings.len(), 1, "{name}");
            assert_eq!(settings[0].path, key.name);
        }
    }

    #[test]
    fn an_unknown_variable_is_told_the_one_that_was_meant() {
        let message = "unknown environment variable `HAPROXY_VITALS_RUNTIME_WORKER`; \
                       did you mean `HAPROXY_VITALS_RUNTIME_WORKERS`?";
        let error = environment("HAPROXY_VITALS_RUNTIME_WORKER", "2").settings().unwrap_err();
        assert_eq!(error.to_string(), message);
    }

    #[test]
    fn variables_that_kubernetes_sets_for_a_service_are_not_ours() {
        for name in [
            "HAPROXY_VITALS_SERVICE_HOST",
            "HAPROXY_VITALS_SERVICE_PORT",
            "HAPROXY_VITALS_SERVICE_PORT_HTTP",
            "HAPROXY_VITALS_PORT",
            "HAPROXY_VITALS_PORT_80_TCP_ADDR",
        ] {
            assert!(environment(name, "x").settings().unwrap().is_empty(), "{name}");
        }
    }

    #[test]
    fn a_variable_of_nothing_but_space_is_unset() {
        assert!(environment("HAPROXY_VITALS_RUNTIME_WORKERS", " ").settings().unwrap().is_empty());
    }

    #[test]
    fn the_process_has_no_other_variables_for_us() {
        assert!(Environment::of_process().0.keys().all(|name| is_ours(name)));
        assert!(environment("PATH", "/").0.is_empty());
    }
}
