//! Begins checks, or says why not.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::facts::{Fact, Told};
use super::{Checked, Kind};
use crate::config::CheckMode;
use crate::health::address::{Address, AddressError};
use crate::health::group::Group;
use crate::health::inquiry::Inquiry;
use crate::health::link::AbortOnDrop;
use crate::health::observe::Figures;
use crate::health::probe::{GrpcProbe, Spot};
use crate::health::profile::Profile;
use crate::health::target::Target;
use crate::health::voice::Voice;
use crate::health::{ServerSeen, load, schedule, watch};
use crate::log::Level;
use crate::runtime::Tasks;

/// What a new target needs.
pub(crate) struct Hands {
    pub(crate) tasks: Tasks,
    pub(crate) voice: Arc<Voice>,
    /// Checks that may be under way at once.
    pub(crate) room: Arc<Semaphore>,
    /// How many those are.
    pub(crate) size: usize,
    /// As many connections for load reports may be opened at once.
    pub(crate) doors: Arc<Semaphore>,
    /// Absent where HAProxy's stats socket is not asked.
    pub(crate) inquiry: Option<Arc<Inquiry>>,
}

/// The tasks of one server. They end with this.
pub(super) struct Work {
    check: AbortOnDrop,
    /// Reads load reports beside the checks.
    stream: Option<AbortOnDrop>,
}

impl Work {
    /// Ends them, while somebody still has this.
    pub(super) fn end(&self) {
        self.check.0.abort();
        self.stream.iter().for_each(|stream| stream.0.abort());
    }
}

impl Hands {
    /// Starts to check the `nth` server that a sweep found, once enough is told of it, or says why not. `figures`: those of the
    /// same server, if it was checked before.
    pub(super) fn admit(
        &self,
        profile: &Arc<Profile>,
        group: &Arc<Group>,
        seen: &ServerSeen,
        told: &mut Told,
        nth: usize,
        figures: Option<Arc<Figures>>,
    ) -> Kind {
        let probe = match self.probe(profile, seen, told.fact.as_ref()) {
            Ok(probe) => probe,
            Err(reason) => {
                let is_unresolved = reason == AddressError::Unresolved.to_string();
                if is_unresolved && std::mem::replace(&mut told.is_unresolved_said, true) {
                    return Kind::Skipped(reason);
                }
                return self.skip(seen, reason);
            }
        };
        let next = Instant::now() + schedule::first_delay(nth, profile.config.interval, rand::random());
        let (server, address) = (seen.server.clone(), seen.address.clone());
        let (profile, group, voice) = (Arc::clone(profile), Arc::clone(group), Arc::clone(&self.voice));
        let waits = self.waits(&profile);
        let target = Arc::new(Target::new(
            profile,
            group,
            server,
            address,
            voice,
            next,
            figures.unwrap_or_else(|| Arc::new(Figures::new())),
        ));
        if let Some(inquiry) = &self.inquiry {
            inquiry.want();
        }
        let work = if waits { None } else { Some(self.begin(&target, probe, seen, told.fact.as_ref())) };
        Kind::Checked(Checked { target, work })
    }

    /// Says why a server is not checked.
    pub(super) fn skip(&self, seen: &ServerSeen, reason: String) -> Kind {
        self.voice.say(Level::Warning, format!("{}/{} is not checked: {reason}", seen.backend, seen.server));
        Kind::Skipped(reason)
    }

    /// Checks `target` with `probe`, from now on.
    pub(super) fn begin(&self, target: &Arc<Target>, probe: GrpcProbe, seen: &ServerSeen, fact: Option<&Fact>) -> Work {
        let probe = probe.with_meter(target.meter.clone());
        let stream = self.stream(target, seen, fact);
        let (checked, room, stop) = (Arc::clone(target), Arc::clone(&self.room), self.tasks.stop());
        let check = match target.profile.config.mode {
            CheckMode::Check => self.tasks.spawn("health check", schedule::run(checked, probe, room, stop)),
            CheckMode::Watch => self.tasks.spawn("health watch", watch::run(checked, probe, room, stop, Duration::MAX)),
        };
        Work { check: AbortOnDrop(check), stream }
    }

    /// Reads the server's load reports, where they come by a stream of their own.
    fn stream(&self, target: &Target, seen: &ServerSeen, fact: Option<&Fact>) -> Option<AbortOnDrop> {
        let meter = target.meter.clone().filter(|_| target.profile.config.weight.has_stream())?;
        let probe = self.probe(&target.profile, seen, fact).ok()?;
        let doors = Arc::clone(&self.doors);
        Some(AbortOnDrop(self.tasks.spawn("health load", load::run(meter, probe, doors, self.tasks.stop()))))
    }

    /// The probe of a server, or why it cannot be checked.
    pub(super) fn probe(
        &self,
        profile: &Arc<Profile>,
        seen: &ServerSeen,
        fact: Option<&Fact>,
    ) -> Result<GrpcProbe, String> {
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
        let spot = spot(profile, seen, fact).map_err(|error| error.to_string())?;
        let (voice, tasks) = (Arc::clone(&self.voice), self.tasks.clone());
        GrpcProbe::new(Arc::clone(profile), spot, voice, tasks).map_err(|error| error.to_string())
    }
}

/// Where a server is and how to ask it, by what Lua shows and by what is told.
pub(super) fn spot(profile: &Profile, seen: &ServerSeen, fact: Option<&Fact>) -> Result<Spot, AddressError> {
    let address = Address::parse(&seen.address)?;
    let tls = profile.encrypts(seen.tls.or(fact.and_then(|fact| fact.tls)));
    let name = seen.name.as_deref().or(fact.and_then(|fact| fact.name.as_deref()));
    Ok(Spot { name: address.named(name), address, tls, authority: None })
}
