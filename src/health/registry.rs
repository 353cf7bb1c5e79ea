//! Which servers are checked, and the tasks that check them.

mod asked;
mod notice;
mod patterns;

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::address::Address;
use super::describe::Report;
use super::group::Group;
use super::link::AbortOnDrop;
use super::probe::{GrpcProbe, Spot};
use super::profile::Profile;
use super::target::Target;
use super::voice::Voice;
use super::{Action, Force, ServerSeen, is_pattern, reconcile, schedule, watch};
use crate::config::CheckMode;
use crate::log::Level;
use crate::runtime::Tasks;
pub(crate) use asked::Asked;

/// Every configured backend with the servers that HAProxy last showed. Bound: HAProxy's own servers.
pub(crate) struct Registry {
    backends: BTreeMap<String, Backend>,
    /// Whose name is a pattern, in the order of the configuration.
    patterns: Vec<Arc<Profile>>,
    hands: Hands,
    /// Counts sweeps: tells who was not seen in this one.
    round: u64,
    stopped: bool,
}

struct Backend {
    profile: Arc<Profile>,
    group: Arc<Group>,
    servers: BTreeMap<String, Entry>,
}

/// A server, and what makes it that server and no other.
struct Entry {
    id: u64,
    address: String,
    native_check: bool,
    tracks: bool,
    tls: Option<bool>,
    name: Option<String>,
    kind: Kind,
    /// The last sweep that showed it.
    round: u64,
    /// In that sweep it was in a state that must be left alone.
    untouchable: bool,
    /// What events have done since that sweep.
    news: notice::News,
}

enum Kind {
    Checked(Checked),
    /// Not checked, and why.
    Skipped(String),
}

/// Goes with its task.
struct Checked {
    target: Arc<Target>,
    task: AbortOnDrop,
}

impl Drop for Checked {
    fn drop(&mut self) {
        self.target.retire();
    }
}

/// What a new target needs.
pub(crate) struct Hands {
    pub(crate) tasks: Tasks,
    pub(crate) voice: Arc<Voice>,
    /// Checks that may be under way at once.
    pub(crate) room: Arc<Semaphore>,
    /// How many those are.
    pub(crate) size: usize,
}

impl Registry {
    /// Without servers yet.
    pub(crate) fn new(profiles: &[Arc<Profile>], hands: Hands) -> Self {
        let (patterns, named): (Vec<_>, Vec<_>) =
            profiles.iter().cloned().partition(|profile| is_pattern(&profile.config.name));
        let backends = named.into_iter().map(|profile| Backend::new(profile, &hands)).collect();
        Self { backends, patterns, hands, round: 0, stopped: false }
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
            backend.servers.retain(|_, entry| entry.news.settle() || entry.round == self.round);
        }
        actions
    }

    /// The action that a change asks for, when nobody else has a say.
    pub(crate) fn action(&self, backend: &str, server: &str) -> Option<Action> {
        let entry = self.backends.get(backend)?.servers.get(server)?;
        if self.stopped || entry.untouchable {
            return None;
        }
        entry.action(entry.wanted()?)
    }

    /// The target of a server that is checked.
    pub(crate) fn target(&self, backend: &str, server: &str) -> Option<Arc<Target>> {
        match &self.backends.get(backend)?.servers.get(server)?.kind {
            Kind::Checked(checked) => Some(Arc::clone(&checked.target)),
            Kind::Skipped(_) => None,
        }
    }

    /// Ends every check.
    pub(crate) fn stop(&mut self) {
        self.stopped = true;
        let entries = self.backends.values().flat_map(|backend| backend.servers.values());
        for entry in entries {
            if let Kind::Checked(checked) = &entry.kind {
                checked.task.0.abort();
            }
        }
    }

    /// Whether [`Registry::stop`] was called.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// See [`super::Checker::describe`].
    pub(crate) fn describe(&self, stopping: bool) -> String {
        let stopped = stopping || self.stopped;
        let mut report = Report::default();
        for (backend, Backend { servers, group, .. }) in &self.backends {
            report.group(backend, group);
            for (server, entry) in servers {
                match &entry.kind {
                    Kind::Checked(checked) => report.target(&checked.target, stopped),
                    Kind::Skipped(reason) => report.skipped(backend, server, &entry.address, reason),
                }
            }
        }
        report.finish(self.hands.size.saturating_sub(self.hands.room.available_permits()), stopped)
    }

    /// Takes one server of a sweep in; `admitted` counts those that this sweep found.
    fn visit(&mut self, seen: &ServerSeen, admitted: &mut usize) -> Option<Action> {
        let Backend { profile, group, servers } = self.backends.get_mut(&seen.backend)?;
        if !servers.get(&seen.server).is_some_and(|entry| entry.is(seen)) {
            // A former server of this name goes first, with its task.
            servers.remove(&seen.server);
            let kind = self.hands.admit(profile, group, seen, *admitted);
            *admitted += 1;
            servers.insert(seen.server.clone(), Entry::new(seen, kind));
        }
        let entry = servers.get_mut(&seen.server)?;
        entry.round = self.round;
        entry.untouchable = reconcile::is_untouchable(&seen.status);
        entry.action(reconcile::force(entry.wanted()?, &seen.status)?)
    }
}

impl Backend {
    /// Without servers yet, by its name.
    fn new(profile: Arc<Profile>, hands: &Hands) -> (String, Self) {
        let (name, threshold) = (profile.config.name.clone(), profile.config.panic_threshold);
        let group = Arc::new(Group::new(&name, threshold, Arc::clone(&hands.voice)));
        (name, Self { profile, group, servers: BTreeMap::new() })
    }
}

impl Entry {
    fn new(seen: &ServerSeen, kind: Kind) -> Self {
        Self {
            id: seen.id,
            address: seen.address.clone(),
            native_check: seen.native_check,
            tracks: seen.tracks,
            tls: seen.tls,
            name: seen.name.clone(),
            kind,
            round: 0,
            untouchable: false,
            news: notice::News::default(),
        }
    }

    fn is(&self, seen: &ServerSeen) -> bool {
        // Maintenance pauses HAProxy's own check, which is not shown then.
        let native_check = self.native_check == seen.native_check
            || reconcile::is_maintenance(&seen.status)
            || matches!(&self.kind, Kind::Checked(checked) if !checked.target.profile.is_forced());
        let spot = self.address == seen.address && self.tls == seen.tls && self.name == seen.name;
        self.id == seen.id && spot && native_check && self.tracks == seen.tracks
    }

    /// None for a server that is not checked, or whose state is not ours to force, or not yet.
    fn wanted(&self) -> Option<Force> {
        match &self.kind {
            // HAProxy asks for itself.
            Kind::Checked(Checked { target, .. }) if !target.profile.is_forced() => None,
            Kind::Checked(Checked { target, .. }) => reconcile::wanted(target.wanted(), target.profile.config.init),
            Kind::Skipped(_) => None,
        }
    }

    fn action(&self, force: Force) -> Option<Action> {
        let Kind::Checked(Checked { target, .. }) = &self.kind else { return None };
        Some(Action {
            backend: target.profile.config.name.clone(),
            server: target.server.clone(),
            id: self.id,
            force,
            reason: target.book().reason.clone(),
        })
    }
}

impl Hands {
    /// Starts to check the `nth` server that a sweep found, or says why not.
    fn admit(&self, profile: &Arc<Profile>, group: &Arc<Group>, seen: &ServerSeen, nth: usize) -> Kind {
        let probe = match self.probe(profile, seen) {
            Ok(probe) => probe,
            Err(reason) => {
                self.voice.say(Level::Warning, format!("{}/{} is not checked: {reason}", seen.backend, seen.server));
                return Kind::Skipped(reason);
            }
        };
        let next = Instant::now() + schedule::first_delay(nth, profile.config.interval, rand::random());
        let (server, address) = (seen.server.clone(), seen.address.clone());
        let (profile, group, voice) = (Arc::clone(profile), Arc::clone(group), Arc::clone(&self.voice));
        let mode = profile.config.mode;
        let target = Arc::new(Target::new(profile, group, server, address, voice, next));
        let (checked, room, stop) = (Arc::clone(&target), Arc::clone(&self.room), self.tasks.stop());
        let task = match mode {
            CheckMode::Check => self.tasks.spawn("health check", schedule::run(checked, probe, room, stop)),
            CheckMode::Watch => self.tasks.spawn("health watch", watch::run(checked, probe, room, stop)),
        };
        Kind::Checked(Checked { target, task: AbortOnDrop(task) })
    }

    /// The probe of a server, or why it cannot be checked.
    fn probe(&self, profile: &Arc<Profile>, seen: &ServerSeen) -> Result<GrpcProbe, String> {
        if seen.native_check && profile.is_forced() {
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
        let tls = profile.encrypts(seen.tls);
        let spot = Spot { name: address.named(seen.name.as_deref()), address, tls, authority: None };
        let (voice, tasks) = (Arc::clone(&self.voice), self.tasks.clone());
        GrpcProbe::new(Arc::clone(profile), spot, voice, tasks).map_err(|error| error.to_string())
    }
}
