//! Checks of any target, for those who ask: one at a time for each, its result kept for a moment, its connection a little longer.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex as AsyncMutex;
use tokio::time::{Instant, timeout, timeout_at};

use super::address::Address;
use super::observe::Figures;
use super::outcome::{CheckResult, Class};
use super::probe::{GrpcProbe, Probe, Spot};
use super::profile::Profile;
use super::registry::Hands;
use super::schedule::{self, fenced};
use crate::config::{SingleConfig, wildcard};

/// What to check, for [`Checker::once`](super::Checker::once).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct TargetSpec {
    /// The configured backend whose settings hold; absent means the defaults.
    pub backend: Option<String>,
    /// An IP address, a name, or the path of a unix socket.
    pub host: String,
    /// 1 to 65535; of no meaning beside a path.
    pub port: u16,
    /// Whether to encrypt: the backend's own setting where that is not `auto`.
    pub tls: bool,
    /// Replaces the backend's `:authority`.
    pub authority: Option<String>,
    /// Replaces the backend's services.
    pub service: Option<String>,
    /// Asked for over the network: `agent.allow_to` holds.
    pub foreign: bool,
}

/// The targets that were asked for of late.
pub(crate) struct Desk {
    /// In the order of the configuration.
    profiles: Vec<Arc<Profile>>,
    /// For targets without a backend.
    default: Arc<Profile>,
    /// The same, for those that are asked for over the network.
    confined: Arc<Profile>,
    max_age: Duration,
    max_targets: usize,
    hands: Hands,
    slots: Mutex<HashMap<TargetSpec, Slot>>,
    /// Of all of them.
    figures: Arc<Figures>,
}

struct Slot {
    used: Instant,
    state: Arc<AsyncMutex<State>>,
}

/// Locked by the one check under way.
struct State {
    probe: GrpcProbe,
    last: Option<Last>,
}

/// What the last check came to.
struct Last {
    at: Instant,
    result: CheckResult,
    /// It was given up after so long: who waits longer may learn more.
    late: Option<Duration>,
}

impl Last {
    /// Whether it is what somebody wants to know who `asked` then and waits no longer than `bound`.
    fn answers(&self, asked: Instant, max_age: Duration, bound: Option<Duration>) -> bool {
        let is_enough = self.late.is_none_or(|late| bound.is_some_and(|bound| bound <= late));
        is_enough && (self.at >= asked || self.at.elapsed() <= max_age)
    }
}

impl Desk {
    /// Nothing asked yet.
    pub(crate) fn new(profiles: &[Arc<Profile>], default: Arc<Profile>, config: &SingleConfig, hands: Hands) -> Self {
        let confined = Arc::new(default.confined(&config.allow_to));
        Self {
            profiles: profiles.to_vec(),
            default,
            confined,
            max_age: config.max_age,
            max_targets: config.max_targets,
            hands,
            slots: Mutex::default(),
            figures: Arc::new(Figures::new()),
        }
    }

    /// The result of a check that is at most `max_age` old, or that ended after it was asked for. With a bound it takes no
    /// longer than that: who is asked and has not answered by then has failed.
    pub(crate) async fn check(&self, spec: TargetSpec, bound: Option<Duration>) -> CheckResult {
        let asked = Instant::now();
        let deadline = bound.map(|bound| asked + bound);
        let state = match self.slot(spec) {
            Ok(state) => state,
            Err(result) => return result,
        };
        let Some(mut state) = within(deadline, state.lock()).await else { return schedule::overdue() };
        if let Some(last) = state.last.as_ref().filter(|last| last.answers(asked, self.max_age, bound)) {
            return last.result.clone();
        }
        let wait = if bound.is_some() { SHORT_WAIT } else { MAX_WAIT };
        let Ok(Ok(_permit)) = timeout(wait, self.hands.room.acquire()).await else {
            let result = schedule::overdue();
            self.figures.check(result.outcome, Duration::ZERO);
            return result;
        };
        let counted = self.figures.begin();
        let (result, late) = match within(deadline, fenced(state.probe.check())).await {
            Some(Some(result)) => (result, None),
            Some(None) => {
                state.probe.reset();
                (schedule::fault(), None)
            }
            None => {
                state.probe.reset();
                (late(bound), bound)
            }
        };
        counted.end(result.outcome);
        state.last = Some(Last { at: Instant::now(), result: result.clone(), late });
        result
    }

    /// Counts them.
    pub(crate) fn figures(&self) -> &Arc<Figures> {
        &self.figures
    }

    /// Lets go of what nobody asked for of late.
    pub(crate) fn tidy(&self) {
        self.slots().retain(|_, slot| slot.used.elapsed() <= MAX_IDLE);
    }

    /// What a new target needs.
    pub(super) fn hands(&self) -> &Hands {
        &self.hands
    }

    /// How many targets are known.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.slots().len()
    }

    fn slot(&self, spec: TargetSpec) -> Result<Arc<AsyncMutex<State>>, CheckResult> {
        let mut slots = self.slots();
        if let Some(slot) = slots.get_mut(&spec) {
            slot.used = Instant::now();
            return Ok(Arc::clone(&slot.state));
        }
        if slots.len() >= self.max_targets {
            let oldest = slots.iter().filter(|(_, slot)| Arc::strong_count(&slot.state) == 1);
            let oldest = oldest.min_by_key(|(_, slot)| slot.used).map(|(spec, _)| spec.clone());
            slots.remove(&oldest.ok_or_else(schedule::overdue)?);
        }
        let probe = self.profile_of(&spec).and_then(|profile| self.probe(profile, &spec));
        let probe = probe.map_err(|reason| CheckResult::hold(Class::Fault, reason))?;
        let state = Arc::new(AsyncMutex::new(State { probe, last: None }));
        slots.insert(spec, Slot { used: Instant::now(), state: Arc::clone(&state) });
        Ok(state)
    }

    /// The settings that hold for a target.
    pub(super) fn profile_of(&self, spec: &TargetSpec) -> Result<Arc<Profile>, String> {
        let profile = match &spec.backend {
            None if spec.foreign => &self.confined,
            None => &self.default,
            Some(name) => self.profile(name).ok_or("no backend of that name is configured")?,
        };
        Ok(match &spec.service {
            None => Arc::clone(profile),
            Some(service) => Arc::new(profile.for_service(service)),
        })
    }

    /// A probe of a target by these settings, or why there is none.
    pub(super) fn probe(&self, profile: Arc<Profile>, spec: &TargetSpec) -> Result<GrpcProbe, String> {
        let address = Address::of(&spec.host, spec.port).map_err(|error| error.to_string())?;
        let spot =
            Spot { address, tls: profile.encrypts(Some(spec.tls)), authority: spec.authority.clone(), name: None };
        let (voice, tasks) = (Arc::clone(&self.hands.voice), self.hands.tasks.clone());
        GrpcProbe::new(profile, spot, voice, tasks).map_err(|error| error.to_string())
    }

    /// The settings of one of HAProxy's backends: by its name, else by the first pattern that fits.
    fn profile(&self, name: &str) -> Option<&Arc<Profile>> {
        let by = |fits: &dyn Fn(&str) -> bool| self.profiles.iter().find(|profile| fits(&profile.config.name));
        by(&|own| own == name).or_else(|| by(&|own| wildcard::matches(own, name)))
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<TargetSpec, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn within<T>(deadline: Option<Instant>, work: impl Future<Output = T>) -> Option<T> {
    match deadline {
        None => Some(work.await),
        Some(deadline) => timeout_at(deadline, work).await.ok(),
    }
}

fn late(bound: Option<Duration>) -> CheckResult {
    let millis = bound.unwrap_or_default().as_millis();
    CheckResult::soft(Class::Timeout, format!("no answer within {millis} ms, the connection included"))
}

/// A target that nobody asked for so long is forgotten, with its connection.
const MAX_IDLE: Duration = Duration::from_secs(30);
/// For room among the checks under way.
const MAX_WAIT: Duration = Duration::from_secs(1);
/// The same for who has to have an answer within a bound.
const SHORT_WAIT: Duration = Duration::from_millis(200);
/// Between two looks for targets to forget.
pub(crate) const TIDY_EVERY: Duration = Duration::from_secs(10);
