//! Backends that are configured by a pattern: each has its own copy of the settings, under its own name.

use std::sync::Arc;

use super::{Backend, Profile, Registry};
use crate::config::BackendConfig;
use crate::config::wildcard::matches;

impl Registry {
    /// Whether HAProxy's backend `name` is checked; makes it known where a pattern says so.
    pub(crate) fn resolve(&mut self, name: &str) -> bool {
        if self.backends.contains_key(name) {
            return true;
        }
        let fits = |profile: &&Arc<Profile>| !name.starts_with(INTERNAL) && matches(&profile.config.name, name);
        let Some(profile) = self.patterns.iter().find(fits) else { return false };
        let config = BackendConfig { name: name.to_owned(), ..profile.config.clone() };
        let profile = Arc::new(Profile { config, ..Profile::clone(profile) });
        let (name, backend) = Backend::new(profile, &self.hands);
        self.backends.insert(name, backend);
        true
    }
}

/// How the names of HAProxy's own backends begin.
const INTERNAL: char = '<';
