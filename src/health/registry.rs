//! Which servers are checked, and the tasks that check them.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::address::Address;
use super::describe::Report;
use super::probe::GrpcProbe;
use super::schedule::{self, MAX_CONCURRENT};
use super::state::Health;
use super::target::Target;
use super::voice::Voice;
use super::{Action, Force, ServerSeen, reconcile};
use crate::config::{BackendConfig, HealthConfig};
use crate::log::Level;
use crate::runtime::Tasks;

/// Every configured backend with the servers that HAProxy last showed. Bound: HAProxy's own servers.
pub(crate) struct Registry {
    backends: BTreeMap<String, Backend>,
    hands: Hands,
    /// Counts sweeps: tells who was not seen in this one.
    round: u64,
    stopped: bool,
}

struct Backend {
    config: Arc<BackendConfig>,
    servers: BTreeMap<String, Entry>,
}

/// A server, and what makes it that server and no other.
struct Entry {
    id: u64,
    address: String,
    native_check: bool,
    tracks: bool,
    kind: Kind,
    /// The last sweep that showed it.
    round: u64,
    /// In that sweep it was in a state that must be left alone.
    untouchable: bool,
}

enum Kind {
    Checked {
        target: Arc<Target>,
        task: AbortOnDrop,
    },
    /// Not checked, and why.
    Skipped(String),
}

/// What a new target needs.
struct Hands {
    tasks: Tasks,
    voice: Arc<Voice>,
    room: Arc<Semaphore>,
}

/// Ends a task with its owner.
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Registry {
    /// Without servers yet.
    pub(crate) fn new(config: &HealthConfig, tasks: Tasks, voice: Arc<Voice>) -> Self {
        let backends = config.backends.iter().map(|config| {
            (config.name.clone(), Backend { config: Arc::new(config.clone()), servers: BTreeMap::new() })
        });
        let hands = Hands { tasks, voice, room: Arc::new(Semaphore::new(MAX_CONCURRENT)) };
        Self { backends: backends.collect(), hands, round: 0, stopped: false }
    }

    /// See [`super::Checker::sweep`].
    pub(crate) fn sweep(&mut self, servers: &[ServerSeen]) -> Vec<Action> {
        if self.stopped {
            return Vec::new();
        }
        self.round += 1;
        let mut admitted = 0;
        let actions = servers.iter().filter_map(|seen| self.visit(seen, &mut admitted)).collect();
        for backend in self.backends.values_mut() {
            backend.servers.retain(|_, entry| entry.round == self.round);
        }
        actions
    }

    /// The action that a check's result asks for, when nobody else has a say.
    pub(crate) fn action(&self, backend: &str, server: &str) -> Option<Action> {
        let entry = self.backends.get(backend)?.servers.get(server)?;
        if self.stopped || entry.untouchable {
            return None;
        }
        let is_up = entry.health()? == Health::Up;
        entry.force(if is_up { Force::Up } else { Force::Down })
    }

    /// Ends every check.
    pub(crate) fn stop(&mut self) {
        self.stopped = true;
        let entries = self.backends.values().flat_map(|backend| backend.servers.values());
        for entry in entries {
            if let Kind::Checked { task, .. } = &entry.kind {
                task.0.abort();
            }
        }
    }

    /// See [`super::Checker::describe`].
    pub(crate) fn describe(&self, stopping: bool) -> String {
        let stopped = stopping || self.stopped;
        let mut report = Report::default();
        for (backend, Backend { servers, .. }) in &self.backends {
            for (server, entry) in servers {
                match &entry.kind {
                    Kind::Checked { target, .. } => report.target(target, stopped),
                    Kind::Skipped(reason) => report.skipped(backend, server, &entry.address, reason),
                }
            }
        }
        report.finish(MAX_CONCURRENT.saturating_sub(self.hands.room.available_permits()), stopped)
    }

    /// Takes one server of a sweep in; `admitted` counts those that this sweep found.
    fn visit(&mut self, seen: &ServerSeen, admitted: &mut usize) -> Option<Action> {
        let Backend { config, servers } = self.backends.get_mut(&seen.backend)?;
        if !servers.get(&seen.server).is_some_and(|entry| entry.is(seen)) {
            let kind = self.hands.admit(config, seen, *admitted);
            *admitted += 1;
            // A former server of this name goes here, with its task.
            servers.insert(seen.server.clone(), Entry::new(seen, kind));
        }
        let entry = servers.get_mut(&seen.server)?;
        entry.round = self.round;
        entry.untouchable = reconcile::is_untouchable(&seen.status);
        entry.force(reconcile::force(entry.health()?, &seen.status)?)
    }
}

impl Entry {
    fn new(seen: &ServerSeen, kind: Kind) -> Self {
        Self {
            id: seen.id,
            address: seen.address.clone(),
            native_check: seen.native_check,
            tracks: seen.tracks,
            kind,
            round: 0,
            untouchable: false,
        }
    }

    fn is(&self, seen: &ServerSeen) -> bool {
        // Maintenance pauses HAProxy's own check, which is not shown then.
        let native_check = self.native_check == seen.native_check || reconcile::is_maintenance(&seen.status);
        self.id == seen.id && self.address == seen.address && native_check && self.tracks == seen.tracks
    }

    /// None for a server that is not checked.
    fn health(&self) -> Option<Health> {
        match &self.kind {
            Kind::Checked { target, .. } => Some(target.book().machine.health()),
            Kind::Skipped(_) => None,
        }
    }

    fn force(&self, force: Force) -> Option<Action> {
        let Kind::Checked { target, .. } = &self.kind else { return None };
        Some(Action {
            backend: target.config.name.clone(),
            server: target.server.clone(),
            id: self.id,
            force,
            reason: target.book().reason.clone(),
        })
    }
}

impl Hands {
    /// Starts to check the `nth` server that a sweep found, or says why not.
    fn admit(&self, config: &Arc<BackendConfig>, seen: &ServerSeen, nth: usize) -> Kind {
        let probe = match probe(config, seen, &self.tasks) {
            Ok(probe) => probe,
            Err(reason) => {
                self.voice.say(Level::Warning, format!("{}/{} is not checked: {reason}", seen.backend, seen.server));
                return Kind::Skipped(reason);
            }
        };
        let next = Instant::now() + schedule::first_delay(nth, config.interval, rand::random());
        let (server, address) = (seen.server.clone(), seen.address.clone());
        let target = Arc::new(Target::new(Arc::clone(config), server, address, Arc::clone(&self.voice), next));
        let task = schedule::run(Arc::clone(&target), probe, Arc::clone(&self.room), self.tasks.stop());
        Kind::Checked { target, task: AbortOnDrop(self.tasks.spawn("health check", task)) }
    }
}

/// The probe of a server, or why it cannot be checked.
fn probe(config: &BackendConfig, seen: &ServerSeen, tasks: &Tasks) -> Result<GrpcProbe, String> {
    if seen.native_check {
        let name = &seen.backend;
        return Err(format!(
            "its server line has `check`, and HAProxy's own checks would overrule these: remove `check`, or leave \
             backend {name} out of [health]"
        ));
    }
    if seen.tracks {
        return Err("it follows another server (`track`)".to_owned());
    }
    let address = Address::parse(&seen.address).map_err(|error| error.to_string())?;
    GrpcProbe::new(config, address, tasks.clone()).map_err(|error| error.to_string())
}
