//! gRPC health checks (`grpc.health.v1`) and what they say about HAProxy's servers. No Lua.
//!
//! The host shows every server it has and applies the actions that come back; nothing here calls HAProxy.

mod address;
mod describe;
mod fault;
mod link;
mod outcome;
mod probe;
mod reconcile;
mod registry;
mod schedule;
mod state;
mod target;
mod voice;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::HealthConfig;
use crate::log;
use crate::runtime::Tasks;
use registry::Registry;
use voice::{Say, Voice};

/// One server, as HAProxy shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSeen {
    /// Its backend's name.
    pub backend: String,
    /// Its name within the backend. A name may come back for another server.
    pub server: String,
    /// `Server:get_rid()`: tells apart servers that bear the same name one after the other.
    pub id: u64,
    /// `Server:get_addr()`: `127.0.0.1:21001`, `::1:21001`, a path, `<unknown>`, or nothing.
    pub address: String,
    /// `Server:get_stats().status`: `UP`, `no check`, `DOWN`, `MAINT (resolution)`, ...
    pub status: String,
    /// Its line in HAProxy's configuration has `check`.
    pub native_check: bool,
    /// It follows another server's state (`track`).
    pub tracks: bool,
}

/// `Server:check_force_up()` or `Server:check_force_down()`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Force {
    /// Gets requests.
    Up,
    /// Gets none.
    Down,
}

/// What the host must do to one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// The backend's name.
    pub backend: String,
    /// The server's name.
    pub server: String,
    /// The server's [`ServerSeen::id`]: under another one the action is stale.
    pub id: u64,
    /// What to do.
    pub force: Force,
    /// Why, for the log.
    pub reason: String,
}

/// Checks the servers of the configured backends. Cheap to clone; all clones are one checker.
///
/// A server is wanted down until its first result. Whatever is the checker's own fault (no room for a check, a panic,
/// stopping) leaves servers as they are. Dropping the last clone ends all checks.
#[derive(Clone)]
pub struct Checker(Arc<Shared>);

struct Shared {
    config: HealthConfig,
    tasks: Tasks,
    voice: Arc<Voice>,
    registry: Mutex<Registry>,
}

impl Checker {
    /// A checker without servers: [`Checker::sweep`] brings them. Must not run under `haproxy -c`.
    pub fn start(config: &HealthConfig, tasks: &Tasks) -> Self {
        Self::with_log(config, tasks, Box::new(log::say))
    }

    fn with_log(config: &HealthConfig, tasks: &Tasks, say: Say) -> Self {
        let voice = Arc::new(Voice::new(say));
        let registry = Mutex::new(Registry::new(config, tasks.clone(), Arc::clone(&voice)));
        Self(Arc::new(Shared { config: config.clone(), tasks: tasks.clone(), voice, registry }))
    }

    /// For HAProxy's init, before the first request: every server that is checked goes down until its first result.
    /// The same as the first [`Checker::sweep`], whose other rules hold too.
    pub fn initial(&self, servers: &[ServerSeen]) -> Vec<Action> {
        self.sweep(servers)
    }

    /// Compares with all servers that HAProxy has now, about once per second: takes up new ones, lets go of those that
    /// have vanished or have another id or address, and answers what must be forced. Servers of backends that are not
    /// configured are ignored; those in maintenance are left alone.
    pub fn sweep(&self, servers: &[ServerSeen]) -> Vec<Action> {
        if self.is_stopping() {
            return Vec::new();
        }
        self.registry().sweep(servers)
    }

    /// What changed through results since the last call: for calling often, costs nothing while nothing changes.
    pub fn changes(&self) -> Vec<Action> {
        let changed = self.0.voice.take_changes();
        if changed.is_empty() || self.is_stopping() {
            return Vec::new();
        }
        let registry = self.registry();
        changed.iter().filter_map(|(backend, server)| registry.action(backend, server)).collect()
    }

    /// The configured backends that are not among HAProxy's (`known`), in the order of the configuration.
    pub fn unknown_backends(&self, known: &[String]) -> Vec<String> {
        let names = self.0.config.backends.iter().map(|backend| &backend.name);
        names.filter(|name| !known.contains(name)).cloned().collect()
    }

    /// Ends all checks for good, those under way too; no action comes any more. For the old process of a reload.
    pub fn stop(&self) {
        self.registry().stop();
    }

    /// The text of `show vitals health`: a summary, then one line per server, sorted by name. Ends with a line break.
    pub fn describe(&self) -> String {
        self.registry().describe(self.is_stopping())
    }

    fn is_stopping(&self) -> bool {
        self.0.tasks.stop().is_stopping()
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.0.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
