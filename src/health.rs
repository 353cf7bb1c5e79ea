//! gRPC health checks (`grpc.health.v1`) and what they say about HAProxy's servers. No Lua.
//!
//! The host shows every server it has and applies the actions that come back; nothing here calls HAProxy.
//!
//! For all others who want to know or to say something: [`Checker::status`] (one server), [`Checker::subscribe`] (each
//! change), [`Checker::once`] and [`Checker::watch`] (any target), [`Checker::check_now`], [`Checker::hold`], [`Checker::release`].

mod address;
mod agent;
mod alert;
mod bridge;
mod call;
mod describe;
mod dial;
mod door;
mod fault;
#[doc(hidden)]
pub mod fuzz;
mod group;
mod inquiry;
mod lateness;
mod link;
mod load;
pub mod observe;
mod once;
mod oracle;
mod orca;
mod outcome;
mod policy;
mod probe;
mod profile;
mod reconcile;
mod registry;
mod resolve;
mod schedule;
mod servers_state;
mod state;
mod stats_socket;
mod status;
mod target;
mod taught;
mod tls;
mod voice;
mod watch;
mod watching;
mod weight;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::sync::mpsc::Receiver;

use crate::config::{BackendConfig, HealthConfig, wildcard};
use crate::log::{self, Level};
use crate::runtime::Tasks;
use inquiry::Inquiry;
use observe::{CheckEvent, Watcher};
use once::Desk;
use profile::{Profile, default_profile, profiles};
use registry::{Asked, Hands, Registry};
use voice::{Say, Voice};

pub use agent::AgentListener;
pub use bridge::BridgeListener;
pub use door::ListenError;
pub use lateness::LatenessSeen;
pub use once::TargetSpec;
pub use outcome::{CheckResult, Class, MAX_TEXT, Outcome};
pub use profile::HealthError;
pub use status::{ServerState, ServerStatus};
pub use watching::Watching;

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
    /// Whether HAProxy's own connections to it are encrypted (`ssl`); absent where that is not known.
    pub tls: Option<bool>,
    /// The name on its line, without the port, where it has one and that is known.
    pub name: Option<String>,
    /// `Server:get_weight()`, 0 to 256, where that is known.
    pub weight: Option<u32>,
}

/// `Server:check_force_up()`, `check_force_nolb()` or `check_force_down()`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Force {
    /// Gets requests.
    Up,
    /// Gets no new clients; those it has may go on.
    Nolb,
    /// Gets none.
    Down,
}

impl Force {
    /// The word that `lua/api.lua` knows.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Nolb => "nolb",
            Self::Down => "down",
        }
    }
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
    /// The state to force, if any.
    pub force: Option<Force>,
    /// The weight to set, in percent of the server's own, 0 to 100: `Server:set_weight("50%")`. Absent: it stays.
    pub weight: Option<u8>,
    /// Why, for the log.
    pub reason: String,
}

/// Checks the servers of the configured backends. Cheap to clone; all clones are one checker.
///
/// A server's first result decides alone; before it the backend's `init` does. Whatever is the checker's own fault (no
/// room for a check, a panic, stopping) leaves servers as they are. Dropping the last clone ends all checks.
#[derive(Clone)]
pub struct Checker(Arc<Shared>);

struct Shared {
    config: HealthConfig,
    tasks: Tasks,
    voice: Arc<Voice>,
    registry: Mutex<Registry>,
    desk: Desk,
    /// Until somebody takes it.
    events: Mutex<Option<Receiver<CheckEvent>>>,
}

impl Checker {
    /// Whether the files and variables that the settings name can be used. Starts nothing: for `haproxy -c`.
    pub fn verify(config: &HealthConfig) -> Result<(), HealthError> {
        profiles(config)?;
        default_profile(config).map(drop)
    }

    /// A checker without servers: [`Checker::sweep`] brings them. Must not run under `haproxy -c`. Reads certificates
    /// and secrets: before HAProxy's chroot.
    pub fn start(config: &HealthConfig, tasks: &Tasks) -> Result<Self, HealthError> {
        Self::with_log(config, tasks, Box::new(log::say_with))
    }

    fn with_log(config: &HealthConfig, tasks: &Tasks, say: Say) -> Result<Self, HealthError> {
        let profiles = profiles(config)?;
        let (watcher, events) = Watcher::new(config.spans).unzip();
        let voice = Arc::new(Voice::new(say, config.max_concurrent).with_watcher(watcher));
        let room = Arc::new(Semaphore::new(config.max_concurrent));
        let doors = Arc::new(Semaphore::new(config.max_concurrent));
        let inquiry = config.stats_socket.clone().map(|socket| Arc::new(Inquiry::new(socket, Arc::clone(&voice))));
        let hands = || Hands {
            tasks: tasks.clone(),
            voice: Arc::clone(&voice),
            room: Arc::clone(&room),
            size: config.max_concurrent,
            doors: Arc::clone(&doors),
            inquiry: inquiry.clone(),
        };
        warn_of_insecure(&profiles, &config.single.profile, &voice);
        let registry = Mutex::new(Registry::new(&profiles, hands()));
        let desk = Desk::new(&profiles, default_profile(config)?, &config.single, hands());
        let (config, events) = (config.clone(), Mutex::new(events));
        let shared = Arc::new(Shared { config, tasks: tasks.clone(), voice, registry, desk, events });
        taught::begin(&shared, inquiry);
        let (weak, mut stop) = (Arc::downgrade(&shared), tasks.stop());
        tasks.spawn("health desk", async move {
            loop {
                tokio::select! {
                    () = tokio::time::sleep(once::TIDY_EVERY) => {}
                    () = stop.wait() => return,
                }
                let Some(shared) = weak.upgrade() else { return };
                shared.desk.tidy();
            }
        });
        Ok(Self(shared))
    }

    /// For HAProxy's init, before the first request: every server that is checked gets what its backend's `init` says
    /// until its first result. The same as the first [`Checker::sweep`], whose other rules hold too.
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

    /// The same for a few servers of which an event told, at once; the others stay as they are. Each sweep allows a server a
    /// few actions through events: whoever fights with the checks is put right once per sweep from then on.
    pub fn notice(&self, servers: &[ServerSeen]) -> Vec<Action> {
        if self.is_stopping() {
            return Vec::new();
        }
        self.registry().notice(servers)
    }

    /// A server was deleted: its checks end at once.
    pub fn forget(&self, backend: &str, server: &str, id: u64) {
        self.registry().forget(backend, server, id);
    }

    /// What changed through results since the last call: for calling often, costs nothing while nothing changes.
    pub fn changes(&self) -> Vec<Action> {
        let changed = self.0.voice.take_changes();
        if changed.is_empty() || self.is_stopping() {
            return Vec::new();
        }
        let mut registry = self.registry();
        changed.iter().filter_map(|(backend, server)| registry.action(backend, server)).collect()
    }

    /// One server's state: its verdict, unless an operator or the panic threshold keeps another. None for a server that
    /// is not checked.
    pub fn status(&self, backend: &str, server: &str) -> Option<ServerStatus> {
        Some(ServerStatus::of(&*self.registry().target(backend, server)?))
    }

    /// The server that somebody means who names an address, with its backend's name. None when none is checked.
    pub(crate) fn status_of(&self, asked: Asked<'_>) -> Option<(String, ServerStatus)> {
        let target = self.registry().target_of(asked)?;
        Some((target.profile.config.name.clone(), ServerStatus::of(&target)))
    }

    /// Whether HAProxy has not shown its servers yet.
    pub(crate) fn is_new(&self) -> bool {
        self.registry().is_new()
    }

    /// Checks a server at once, beside its schedule. False when it is not checked at all.
    pub fn check_now(&self, backend: &str, server: &str) -> bool {
        let target = self.registry().target(backend, server);
        target.map(|target| target.check_now()).is_some()
    }

    /// Freezes a server's state, whatever its checks say, until [`Checker::release`]. False when it is not checked.
    pub fn hold(&self, backend: &str, server: &str) -> bool {
        let target = self.registry().target(backend, server);
        target.map(|target| target.hold(true)).is_some()
    }

    /// Lets a server's state follow its checks again. False when it is not checked.
    pub fn release(&self, backend: &str, server: &str) -> bool {
        let target = self.registry().target(backend, server);
        target.map(|target| target.hold(false)).is_some()
    }

    /// One check of any target. Several who ask for the same at once share one check; a result is given out for
    /// `agent.max_age`; `agent.max_targets` are known at once. The future may be dropped at any time.
    pub fn once(&self, spec: TargetSpec) -> impl Future<Output = CheckResult> + Send + 'static {
        self.ask(spec, None)
    }

    /// The same; without an answer from the target within `bound`, a failure.
    pub(crate) fn once_within(
        &self,
        spec: TargetSpec,
        bound: Duration,
    ) -> impl Future<Output = CheckResult> + Send + 'static {
        self.ask(spec, Some(bound))
    }

    fn ask(&self, spec: TargetSpec, bound: Option<Duration>) -> impl Future<Output = CheckResult> + Send + 'static {
        let checker = self.clone();
        async move {
            if checker.is_stopping() || checker.registry().is_stopped() {
                return CheckResult::hold(Class::Overdue, "the checker is stopping");
            }
            checker.0.desk.check(spec, bound).await
        }
    }

    /// Watches any target for the caller alone: each result counts, `every` is the time between two Checks of a server
    /// that has no `Watch`, `within` the bound of a connection and a call together. Or why it cannot be watched.
    pub fn watch(&self, spec: &TargetSpec, every: Duration, within: Duration) -> Result<Watching, String> {
        if self.is_stopping() || self.registry().is_stopped() {
            return Err("the checker is stopping".to_owned());
        }
        Watching::start(&self.0.desk, spec, every, within)
    }

    /// A number that changes with every change of any server's state: for waiting, then asking [`Checker::status`].
    pub fn subscribe(&self) -> tokio::sync::watch::Receiver<u64> {
        self.0.voice.subscribe()
    }

    /// How late the checks of servers have begun so far.
    pub fn lateness(&self) -> LatenessSeen {
        self.0.voice.lateness.read()
    }

    /// HAProxy's answer to an action's weight: it does not take it (`static-rr`). The server's weight is left alone then.
    pub fn weight_refused(&self, backend: &str, server: &str, reason: &str) {
        let target = self.registry().target(backend, server);
        if let Some(meter) = target.as_ref().and_then(|target| target.meter.as_ref()) {
            meter.refuse(reason);
        }
    }

    /// Of HAProxy's backends (`known`) those that are checked, and from now on are known: by name, else by the first pattern
    /// that fits, in the order of the configuration. HAProxy's own, `<HTTPCLIENT>` for example, fit no pattern.
    pub fn resolve_backends(&self, known: &[String]) -> Vec<String> {
        let mut registry = self.registry();
        known.iter().filter(|name| registry.resolve(name)).cloned().collect()
    }

    /// The configured names and patterns that stand for none of HAProxy's backends (`known`), in the order of the
    /// configuration.
    pub fn unknown_backends(&self, known: &[String]) -> Vec<String> {
        let names = self.0.config.backends.iter().map(|backend| &backend.name);
        let is_known = |name: &str| known.iter().any(|known| known == name || wildcard::matches(name, known));
        names.filter(|name| !is_known(name)).cloned().collect()
    }

    /// Ends all checks for good, those under way too; no action comes any more but these: weights that follow load are whole
    /// again. For the old process of a reload.
    pub fn stop(&self) -> Vec<Action> {
        self.registry().stop()
    }

    /// The checks that are worth a span, as `health.spans` has it: for one listener, the first that asks. At most 1024 wait.
    pub fn events(&self) -> Option<Receiver<CheckEvent>> {
        self.0.events.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The text of `show vitals health`: a summary, then one line per server, sorted by name. Ends with a line break.
    pub fn describe(&self) -> String {
        self.registry().describe(self.is_stopping())
    }

    fn is_stopping(&self) -> bool {
        self.0.tasks.stop().is_stopping()
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.0.registry()
    }
}

impl Shared {
    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn warn_of_insecure(profiles: &[Arc<Profile>], single: &BackendConfig, voice: &Voice) {
    for profile in profiles.iter().filter(|profile| profile.config.insecure_skip_verify) {
        let (name, risk) = (&profile.config.name, "`insecure_skip_verify` is set: anybody may answer for its servers");
        voice.say(Level::Warning, format!("health.backend `{name}`: {risk}"));
    }
    if single.insecure_skip_verify {
        voice.say(Level::Warning, "`agent.insecure_skip_verify` is set: anybody may answer for its targets".to_owned());
    }
}
