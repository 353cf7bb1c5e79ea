//! Which servers are checked, and the tasks that check them.

mod asked;
mod facts;
mod hands;
mod notice;
mod patterns;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::describe::Report;
use super::group::Group;
use super::profile::Profile;
use super::target::Target;
use super::weight::Scale;
use super::{Action, Force, ServerSeen, reconcile};
use crate::config::wildcard::is_pattern;
use hands::Work;

pub(crate) use asked::Asked;
pub(crate) use hands::Hands;

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
    /// What HAProxy's stats socket told.
    told: facts::Told,
    /// Its weight in HAProxy.
    scale: Scale,
}

enum Kind {
    Checked(Checked),
    /// Not checked, and why.
    Skipped(String),
}

/// Goes with its task.
struct Checked {
    target: Arc<Target>,
    /// Absent until something is told of the server, or for too long nothing was.
    work: Option<Work>,
}

impl Drop for Checked {
    fn drop(&mut self) {
        self.target.retire();
    }
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
    pub(crate) fn action(&mut self, backend: &str, server: &str) -> Option<Action> {
        if self.stopped {
            return None;
        }
        let entry = self.backends.get_mut(backend)?.servers.get_mut(server)?;
        let force = if entry.untouchable { None } else { entry.wanted() };
        let weight = entry.new_weight();
        entry.action(backend, server, force, weight)
    }

    /// The target of a server that is checked.
    pub(crate) fn target(&self, backend: &str, server: &str) -> Option<Arc<Target>> {
        match &self.backends.get(backend)?.servers.get(server)?.kind {
            Kind::Checked(checked) => Some(Arc::clone(&checked.target)),
            Kind::Skipped(_) => None,
        }
    }

    /// Ends every check. What is left to do: weights of ours that must be whole again.
    pub(crate) fn stop(&mut self) -> Vec<Action> {
        self.stopped = true;
        let mut actions = Vec::new();
        for (backend, Backend { servers, .. }) in &mut self.backends {
            for (server, entry) in servers {
                if let Kind::Checked(checked) = &entry.kind {
                    checked.work.iter().for_each(Work::end);
                }
                let weight = entry.scale.give_back();
                actions.extend(entry.action(backend, server, None, weight));
            }
        }
        actions
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
                    Kind::Checked(checked) => {
                        report.target(&checked.target, stopped, &entry.told.describe(entry.waits()));
                    }
                    Kind::Skipped(reason) => report.skipped(backend, server, &entry.address, reason),
                }
            }
        }
        let mut notes = String::new();
        if let Some(inquiry) = &self.hands.inquiry {
            inquiry.describe(&mut notes);
        }
        report.finish(&notes, self.in_flight(), stopped)
    }

    /// Every server that is checked.
    pub(crate) fn targets(&self) -> Vec<Arc<Target>> {
        let entries = self.backends.values().flat_map(|backend| backend.servers.values());
        entries.filter_map(Entry::target).map(Arc::clone).collect()
    }

    /// Checks under way.
    pub(crate) fn in_flight(&self) -> usize {
        self.hands.size.saturating_sub(self.hands.room.available_permits())
    }

    /// Takes one server of a sweep in; `admitted` counts those that this sweep found.
    fn visit(&mut self, seen: &ServerSeen, admitted: &mut usize) -> Option<Action> {
        let Backend { profile, group, servers } = self.backends.get_mut(&seen.backend)?;
        if !servers.get(&seen.server).is_some_and(|entry| entry.is(seen)) {
            // A former server of this name goes first, with its task.
            let former = servers.remove(&seen.server).filter(|former| former.id == seen.id);
            // The same server at another address goes on counting, and an operator goes on holding it.
            let figures = former.as_ref().and_then(Entry::target).map(|target| Arc::clone(&target.figures));
            let held = former.as_ref().and_then(Entry::target).and_then(|target| target.book().held);
            let (told, scale) = former.map(|former| (former.told, former.scale)).unzip();
            let mut told = facts::Told::after(told);
            let kind = self.hands.admit(profile, group, seen, &mut told, *admitted, figures);
            *admitted += 1;
            if let Kind::Checked(Checked { target, .. }) = &kind {
                target.book().held = held;
            }
            servers.insert(
                seen.server.clone(),
                Entry { scale: scale.unwrap_or_default(), ..Entry::new(seen, kind, told) },
            );
        }
        let entry = servers.get_mut(&seen.server)?;
        entry.round = self.round;
        entry.untouchable = reconcile::is_untouchable(&seen.status);
        if let Some(target) = entry.target() {
            target.set_away(reconcile::is_maintenance(&seen.status));
            if self.round == FIRST && reconcile::is_trusted(target.profile.config.init, &seen.status) {
                target.trust();
            }
        }
        entry.scale.show(seen.weight);
        let force = entry.wanted().and_then(|wanted| reconcile::force(wanted, &seen.status));
        let weight = entry.new_weight();
        entry.action(&seen.backend, &seen.server, force, weight)
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
    fn new(seen: &ServerSeen, kind: Kind, told: facts::Told) -> Self {
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
            told,
            scale: Scale::default(),
        }
    }

    /// What is checked of it, if anything.
    fn target(&self) -> Option<&Arc<Target>> {
        match &self.kind {
            Kind::Checked(Checked { target, .. }) => Some(target),
            Kind::Skipped(_) => None,
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

    /// The weight to set, if any.
    fn new_weight(&mut self) -> Option<u8> {
        let meter = match &self.kind {
            Kind::Checked(Checked { target, .. }) => target.meter.as_ref(),
            Kind::Skipped(_) => None,
        };
        let wanted = meter.and_then(|meter| meter.wanted());
        let weight = self.scale.next(wanted);
        if let (Some(meter), Some(initial)) = (meter, self.scale.coarse()) {
            meter.warn_of_coarse(initial);
        }
        weight
    }

    /// What the host must do, if anything.
    fn action(&self, backend: &str, server: &str, force: Option<Force>, weight: Option<u8>) -> Option<Action> {
        if force.is_none() && weight.is_none() {
            return None;
        }
        let reason = match &self.kind {
            Kind::Checked(checked) => checked.target.book().reason.clone(),
            Kind::Skipped(reason) => reason.clone(),
        };
        Some(Action { backend: backend.to_owned(), server: server.to_owned(), id: self.id, force, weight, reason })
    }
}

/// The sweep at HAProxy's init.
const FIRST: u64 = 1;
