//! How each section comes to be traced: by a line of its own, or by none.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::super::settings;
use super::line::{Kind, Mode, Section};
use crate::config::{Frontends, TracesConfig};

/// A section ends: what is to be added to it.
///
/// A section with a line of its own keeps that, and nothing is added but what ends and completes what its actions start.
pub(super) fn section(section: &Section<'_>) -> Option<Mode> {
    let config = &settings::loaded()?.config.traces;
    let takes_requests = section.kind != Kind::Backend;
    if takes_requests {
        sections().push(section.name.to_owned());
    }
    if section.has_filter || section.has_actions {
        NAMED.store(true, Ordering::Relaxed);
    }
    let zero = takes_requests && config.enabled && config.frontends.contains(section.name);
    match (section.has_filter, section.has_actions) {
        (true, _) => None,
        (false, true) => Some(Mode::Actions),
        (false, false) => zero.then_some(Mode::Zero),
    }
}

/// HAProxy has read all of its configuration. What is wrong with the settings, if anything.
pub(super) fn checked() -> Option<String> {
    let config = &settings::loaded()?.config.traces;
    let active = config.frontends != Frontends::Auto || !NAMED.load(Ordering::Relaxed);
    ZERO.store(active, Ordering::Relaxed);
    unknown(config, &sections())
}

/// A name of the settings that no section has.
fn unknown(config: &TracesConfig, sections: &[String]) -> Option<String> {
    let missing = config.frontends.plain_names().find(|name| !sections.iter().any(|section| section == name))?;
    let near = sections.iter().map(|section| (strsim::jaro_winkler(missing, section), section));
    let near = near.filter(|(likeness, _)| *likeness > 0.8).max_by(|one, other| one.0.total_cmp(&other.0));
    let hint = near.map_or_else(String::new, |(_, name)| format!("; did you mean `{name}`?"));
    Some(format!("haproxy-vitals: `traces.frontends`: HAProxy has no frontend or listen section `{missing}`{hint}"))
}

/// Whether filters of this kind take part in streams.
pub(super) fn is_active(mode: Mode) -> bool {
    mode != Mode::Zero || ZERO.load(Ordering::Relaxed)
}

fn sections() -> std::sync::MutexGuard<'static, Vec<String>> {
    SECTIONS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Names of `frontend` and `listen` sections.
static SECTIONS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// A section has a filter or an action of ours written in it.
static NAMED: AtomicBool = AtomicBool::new(false);

/// Sections without a line of their own are traced.
static ZERO: AtomicBool = AtomicBool::new(false);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_no_section_has_is_said_with_the_nearest() {
        let list =
            |name: &str| TracesConfig { frontends: Frontends::List(vec![name.to_owned()]), ..TracesConfig::default() };
        let sections = ["web".to_owned(), "stats".to_owned()];
        for fine in ["web", "!stats", "we*", "nothing*"] {
            assert_eq!(unknown(&list(fine), &sections), None);
        }
        let said = unknown(&list("!stat"), &sections).unwrap();
        assert!(said.ends_with("section `stat`; did you mean `stats`?"), "{said}");
    }
}
