//! Keys of a backend that do nothing, because of another one.

use crate::config::load::Loaded;
use crate::config::tree::{BackendConfig, CheckMode};
use crate::config::value::one_line;

/// Warns of each that is set.
pub(super) fn in_backends(loaded: &mut Loaded) {
    for backend in &loaded.config.health.backends {
        for Rule { keys, because, .. } in RULES.iter().filter(|rule| !(rule.is_used)(backend)) {
            for key in *keys {
                let path = format!("health.backend.{}.{key}", one_line(&backend.name));
                if loaded.origins.is_set(&path) {
                    let origin = loaded.origins.of(&path);
                    loaded.warnings.push(format!("`{path}` ({origin}): not used, because {because}"));
                }
            }
        }
    }
}

/// What keys need to be of use.
struct Rule {
    keys: &'static [&'static str],
    is_used: fn(&BackendConfig) -> bool,
    because: &'static str,
}

const RULES: [Rule; 5] = [
    Rule {
        keys: &["weight_smoothing", "weight_min", "weight_max", "weight_step", "weight_expiry"],
        is_used: |backend| backend.weight.is_on(),
        because: "weights have no source: neither `weight_metadata` nor `orca` is set",
    },
    Rule { keys: &["orca_report"], is_used: |backend| backend.weight.orca.is_some(), because: "`orca` is not set" },
    Rule {
        keys: &["orca_interval"],
        is_used: |backend| backend.weight.has_stream(),
        because: "load reports do not come by a stream: `orca_report` is not `stream`, or `orca` is not set",
    },
    Rule {
        keys: &["watch_recheck"],
        is_used: |backend| backend.mode == CheckMode::Watch,
        because: "`mode` is not `watch`",
    },
    Rule {
        keys: &["ca_file"],
        is_used: |backend| !backend.insecure_skip_verify,
        because: "`insecure_skip_verify` takes any certificate",
    },
];
