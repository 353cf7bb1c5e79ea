//! What HAProxy's stats socket tells of servers, and the servers that wait for it.

use std::sync::Arc;

use tokio::time::Instant;

use super::hands::spot;
use super::{Backend, Entry, Hands, Kind, Profile, Registry, ServerSeen};
use crate::config::TlsMode;
use crate::health::inquiry::PATIENCE;
use crate::health::probe::Spot;
use crate::health::schedule;
use crate::health::servers_state::Row;

/// What stands on one server's line in HAProxy's configuration and Lua cannot see.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Fact {
    pub(super) tls: Option<bool>,
    pub(super) name: Option<String>,
    record: Option<String>,
}

/// What was told of one server, and when it was asked for at the earliest.
#[derive(Debug)]
pub(super) struct Told {
    /// Absent until something was told; then perhaps that of the same server at its former address.
    pub(super) fact: Option<Fact>,
    /// What was asked for earlier may be about a former server of the name, or a former address.
    since: Instant,
    /// It was said that its name is not resolved: slots of a template come and go.
    pub(super) is_unresolved_said: bool,
}

impl Told {
    /// Of a server that is new, or the one of which `former` was told, at another address.
    pub(super) fn after(former: Option<Self>) -> Self {
        let (fact, is_unresolved_said) = former.map(|told| (told.fact, told.is_unresolved_said)).unwrap_or_default();
        Self { fact, since: Instant::now(), is_unresolved_said }
    }

    /// Whether that is what was told last.
    fn is(&self, row: &Row<'_>) -> bool {
        self.fact.as_ref().is_some_and(|fact| fact.is(row))
    }

    /// For the line of `show vitals health`.
    pub(super) fn describe(&self, waits: bool) -> String {
        let Some(fact) = self.fact.as_ref().filter(|_| !waits) else {
            return if waits { " ssl=awaited" } else { "" }.to_owned();
        };
        let tls = fact.tls.map(|tls| if tls { " ssl=on" } else { " ssl=off" }).unwrap_or_default();
        let name = fact.name.as_ref().map(|name| format!(" name={name}")).unwrap_or_default();
        let record = fact.record.as_ref().map(|record| format!(" srv={record}")).unwrap_or_default();
        format!("{tls}{name}{record}")
    }
}

impl Fact {
    fn of(row: &Row<'_>) -> Self {
        let own = |text: Option<&str>| text.map(str::to_owned);
        Self { tls: row.tls, name: own(row.name), record: own(row.record) }
    }

    fn is(&self, row: &Row<'_>) -> bool {
        self.tls == row.tls && self.name.as_deref() == row.name && self.record.as_deref() == row.record
    }
}

impl Registry {
    /// Takes in what was asked for at `asked`. `begun` counts the servers whose checks begin through one answer.
    pub(crate) fn learn(&mut self, rows: &[Row<'_>], asked: Instant, begun: &mut usize) {
        for row in rows.iter().filter(|_| !self.stopped) {
            let Some(Backend { profile, group, servers }) = self.backends.get_mut(row.backend) else { continue };
            let entry = servers.get_mut(row.server).filter(|entry| entry.told.since <= asked);
            let Some(entry) = entry.filter(|entry| entry.waits() || !entry.told.is(row)) else { continue };
            let former = entry.told.fact.replace(Fact::of(row));
            let seen = entry.seen(row.backend, row.server);
            if let Kind::Skipped(reason) = &entry.kind {
                // What was told may have been in the way.
                let problem = self.hands.probe(profile, &seen, entry.told.fact.as_ref()).err();
                if problem.as_ref() != Some(reason) {
                    entry.kind = self.hands.admit(profile, group, &seen, &mut entry.told, *begun, None);
                }
            } else {
                self.hands.renew(profile, &seen, former.as_ref(), entry, *begun);
            }
            *begun += 1;
        }
    }

    /// Begins to check those that have waited long enough, with what is known. When the next one has; `None`: none waits.
    pub(crate) fn settle(&mut self) -> Option<Instant> {
        let inquiry = self.hands.inquiry.clone().filter(|_| !self.stopped)?;
        let latest = if inquiry.is_hopeless() { Instant::now() + PATIENCE } else { Instant::now() };
        let (mut begun, mut next) = (0, None::<Instant>);
        for (backend, Backend { profile, servers, .. }) in &mut self.backends {
            for (server, entry) in servers.iter_mut().filter(|(_, entry)| entry.waits()) {
                let due = entry.told.since + PATIENCE;
                if due > latest {
                    next = Some(next.map_or(due, |next| next.min(due)));
                    continue;
                }
                if profile.config.tls == TlsMode::Auto && entry.told.fact.is_none() {
                    inquiry.is_late(backend, server);
                }
                self.hands.renew(profile, &entry.seen(backend, server), None, entry, begun);
                begun += 1;
            }
        }
        next
    }
}

impl Entry {
    /// Not checked before something is told of it.
    pub(super) fn waits(&self) -> bool {
        matches!(&self.kind, Kind::Checked(checked) if checked.work.is_none())
    }

    /// Whether HAProxy's own connections to it are encrypted, as far as that is known.
    pub(super) fn encrypted(&self) -> Option<bool> {
        self.tls.or(self.told.fact.as_ref().and_then(|fact| fact.tls))
    }

    /// The name on its line, as far as that is known.
    pub(super) fn known_name(&self) -> Option<&str> {
        self.name.as_deref().or(self.told.fact.as_ref().and_then(|fact| fact.name.as_deref()))
    }

    fn seen(&self, backend: &str, server: &str) -> ServerSeen {
        ServerSeen {
            backend: backend.to_owned(),
            server: server.to_owned(),
            id: self.id,
            address: self.address.clone(),
            status: String::new(),
            native_check: self.native_check,
            tracks: self.tracks,
            weight: None,
            tls: self.tls,
            name: self.name.clone(),
        }
    }
}

impl Hands {
    /// Whether a new server waits until something is told of it: its checks would look otherwise then.
    pub(super) fn waits(&self, profile: &Profile) -> bool {
        let matters = profile.config.tls == TlsMode::Auto || profile.config.authority.is_none();
        matters && self.inquiry.as_ref().is_some_and(|inquiry| !inquiry.is_hopeless())
    }

    /// Begins to check a server that has waited, or anew where what is told now makes a difference to what was told of it
    /// before (`former`): the verdict stays. Not where it cannot be checked so.
    fn renew(&self, profile: &Arc<Profile>, seen: &ServerSeen, former: Option<&Fact>, entry: &mut Entry, nth: usize) {
        let Kind::Checked(checked) = &mut entry.kind else { return };
        let fact = entry.told.fact.as_ref();
        if checked.work.is_some() && asked_as(profile, seen, former) == asked_as(profile, seen, fact) {
            return;
        }
        // The former checks end first.
        checked.work = None;
        match self.probe(profile, seen, fact) {
            Ok(probe) => {
                let delay = schedule::first_delay(nth, profile.config.interval, rand::random());
                checked.target.begin_anew(Instant::now() + delay);
                checked.work = Some(self.begin(&checked.target, probe, seen, fact));
            }
            Err(reason) => entry.kind = self.skip(seen, reason),
        }
    }
}

/// What of [`spot`] makes a difference: a configured authority replaces the name.
fn asked_as(profile: &Profile, seen: &ServerSeen, fact: Option<&Fact>) -> Option<Spot> {
    let spot = spot(profile, seen, fact).ok()?;
    Some(Spot { name: spot.name.filter(|_| profile.config.authority.is_none()), ..spot })
}
