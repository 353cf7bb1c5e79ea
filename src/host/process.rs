//! The process: settings, runtime, tracer and checker, put together once and taken down once.
//!
//! | moment | what happens |
//! |---|---|
//! | a Lua file's body (also under `haproxy -c`) | settings are read and checked; the first Lua state's count |
//! | `core.register_init` of the first Lua state | runtime, export and checks start, names are resolved, files are opened: before chroot and setuid |
//! | `core.register_init` of the others | they become owners too |
//! | a later fork, into a worker or the background (3.0) | there, and not at `register_init`, the parts start: threads stay behind in the process that forks |
//! | `SIGTERM`, `SIGINT` | what is queued is sent within `runtime.term_timeout`; then the signal has its default effect |
//! | the last Lua state closes (soft stop, reload) | the same within `runtime.stop_timeout` |

use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use mlua::prelude::*;
use tokio::signal::unix::{Signal as UnixSignal, SignalKind, signal};
use tokio::sync::Mutex as AsyncMutex;

use super::health::Hub;
use super::leaving::{Export, ended};
use super::signals::Signals;
use super::{checks, native, settings};
use crate::config::{Config, Environment, ExporterKind, Loaded, RuntimeConfig};
use crate::export::{OpenError, Outlets, Signal};
use crate::health::{Action, AgentListener, BridgeListener, Checker, HealthError, ListenError as DoorError};
use crate::journal::{Journal, JournalError};
use crate::log::{self, Level};
use crate::metrics::listener::Exposition;
use crate::metrics::{PublishError, Published};
use crate::resource::{self, Haproxy, Resource};
use crate::runtime::{self, Closer, Runtime, StartError, Tasks};
use crate::trace::hot::Hot;
use crate::trace::pipeline::Tracer;
use crate::trace::recent::Recent;
use crate::trace::sampler::Overrides;

/// Puts `start` into `native`: HAProxy's version and node to the error, or nothing. `has_started`: it waits for no fork.
pub(super) fn install(lua: &Lua, native: &LuaTable) -> LuaResult<()> {
    let start =
        |lua: &Lua, (version, node): (Option<String>, Option<String>)| Ok(start(lua, Haproxy { version, node }).err());
    native.set("start", lua.create_function(start)?)?;
    native.set("has_started", lua.create_function(|_, ()| Ok(current().is_some()))?)
}

/// The checker, while the process runs.
pub(super) fn checker() -> Option<Checker> {
    current()?.checker.clone()
}

/// Where Lua's tasks wait for the checker, as `core.tcp():connect` takes it. `None`: nothing is checked, or it cannot listen.
pub(super) fn health_address() -> Option<String> {
    Some(current()?.hub.as_ref()?.address().to_owned())
}

/// Ends all checks and whatever waits for them. For the old process of a reload. Answers what is left to do in HAProxy.
pub(super) fn stop_checks() -> Vec<Action> {
    let Some(process) = current() else { return Vec::new() };
    if let Some(hub) = &process.hub {
        hub.close();
    }
    process.checker.as_ref().map(Checker::stop).unwrap_or_default()
}

/// What of sampling may be changed at run time. `None`: nothing is traced.
pub(super) fn overrides() -> Option<Arc<Overrides>> {
    current()?.tracer.overrides().map(Arc::clone)
}

/// The metrics, where any are made.
pub(super) fn exposition() -> Option<Arc<Exposition>> {
    Some(Arc::clone(&current()?.metrics.as_ref()?.exposition))
}

/// The last requests, where any are remembered.
pub(super) fn recent() -> Option<Arc<Recent>> {
    current()?.recent.clone()
}

/// A worker that a reload has replaced leaves its ports to the new one.
pub(super) fn close_listeners() {
    let Some(process) = current() else { return };
    if let Some(closer) = process.metrics.as_ref().and_then(|metrics| metrics.listener.as_ref()) {
        closer.close();
    }
    process.doors.iter().for_each(Closer::close);
}

/// This thread's tracer: detached where the process traces nothing.
pub(super) fn attach_thread() -> Hot {
    current().map_or_else(Hot::detached, |process| process.tracer.attach())
}

/// The running parts. Owned by the Lua states, so taken down when the last of them closes.
struct Process {
    /// Absent once taken down.
    runtime: Option<Runtime>,
    bounds: RuntimeConfig,
    tracer: Tracer,
    checker: Option<Checker>,
    /// Absent where nothing is checked.
    hub: Option<Hub>,
    /// Of the agent and the bridge, where they listen.
    doors: Vec<Closer>,
    /// Absent where lines go to HAProxy's log.
    journal: Option<Arc<Journal>>,
    /// Absent where nothing is made of requests, and no metrics of checks.
    export: Option<Arc<Export>>,
    /// Absent where there are none.
    metrics: Option<Arc<Published>>,
    recent: Option<Arc<Recent>>,
}

impl Process {
    fn start(loaded: &Loaded, haproxy: &Haproxy) -> Result<Self, ProcessError> {
        let config = &loaded.config;
        let journal = Journal::open(&config.log)?.map(Arc::new);
        let runtime = Runtime::start(&config.runtime)?;
        let tasks = runtime.tasks().clone();
        let _inside = tasks.enter();

        let found = resource::detect(&config.service.detectors, &Environment::of_process(), haproxy);
        let resource = Resource::new(&config.service, found);
        let exports = config.traces.enabled && !config.export.has(ExporterKind::None);
        let spans = if exports { Outlets::open(config, Signal::Traces, &tasks)? } else { None };
        let checker =
            if config.health.backends.is_empty() { None } else { Some(Checker::start(&config.health, &tasks)?) };
        let Signals { observers, metrics, logs, recent } = Signals::start(config, checker.as_ref(), &resource, &tasks)?;
        let metrics = metrics.map(Arc::new);
        let (tracer, export) = if spans.is_some() || observers.want_any() {
            let (tracer, pipeline) = Tracer::new(config, &resource, spans.clone(), observers);
            let requests = pipeline.run(tasks.stop());
            let checks = checks(checker.as_ref(), spans.as_ref(), &resource, &tasks);
            let drain = tasks.spawn("drain", async move {
                tokio::join!(requests, checks);
            });
            let drain = Some(AsyncMutex::new(drain));
            (tracer, Some(Arc::new(Export { spans, metrics: metrics.clone(), logs, drain })))
        } else {
            let export = metrics
                .clone()
                .map(|metrics| Arc::new(Export { spans: None, metrics: Some(metrics), logs: None, drain: None }));
            (Tracer::without_export(config), export)
        };
        let hub = checker.as_ref().and_then(|checker| hub(checker, &tasks));
        let doors = doors(config, checker.as_ref(), &tasks)?;
        let process = Self {
            runtime: Some(runtime),
            bounds: config.runtime.clone(),
            tracer,
            checker,
            hub,
            doors,
            journal,
            export,
            metrics,
            recent,
        };
        process.catch_signals()?;
        Ok(process)
    }

    /// `SIGTERM` and `SIGINT` end HAProxy at once: what is queued is sent first.
    fn catch_signals(&self) -> Result<(), ProcessError> {
        let Some(runtime) = &self.runtime else { return Ok(()) };
        let terminate = signal(SignalKind::terminate()).map_err(ProcessError::Signal)?;
        let interrupt = signal(SignalKind::interrupt()).map_err(ProcessError::Signal)?;
        let (export, stop, bound) = (self.export.clone(), runtime.stopper(), self.bounds.term_timeout);
        let journal = self.journal.clone();
        let doors = self.doors.clone();
        runtime.tasks().spawn("signals", async move {
            let number = first_of(terminate, interrupt).await;
            stop.begin();
            ended(&doors).await;
            if let Some(export) = export {
                export.finish(Instant::now() + bound).await;
            }
            if let Some(journal) = journal {
                journal.finish(LAST_LINES);
            }
            // Ends the process; where it cannot, the signal was not meant to.
            let _ = signal_hook::low_level::emulate_default_handler(number);
        });
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else { return };
        if let Some(checker) = &self.checker {
            // HAProxy has gone: nothing is left to do in it.
            let _ = checker.stop();
        }
        runtime.begin_stop();
        runtime.wait(ended(&self.doors));
        if let Some(export) = &self.export {
            runtime.wait(export.finish(Instant::now() + self.bounds.stop_timeout));
        }
        if let Some(journal) = &self.journal {
            journal.finish(LAST_LINES);
        }
        runtime.stop(Duration::from_millis(100));
    }
}

/// Without it Lua asks for changes every 50 ms.
fn hub(checker: &Checker, tasks: &Tasks) -> Option<Hub> {
    let problem = match Hub::start(checker, tasks) {
        Ok(hub) => return Some(hub),
        Err(problem) => problem,
    };
    log::say(Level::Warning, format!("health: no socket to tell changes on ({problem}): they take 50 ms"));
    None
}

/// The listeners that HAProxy's own checks ask, ours or other proxies': without checks there is nothing to tell.
fn doors(config: &Config, checker: Option<&Checker>, tasks: &Tasks) -> Result<Vec<Closer>, DoorError> {
    let Some(checker) = checker else { return Ok(Vec::new()) };
    let mut closers = Vec::new();
    if let Some(agent) = AgentListener::bind(&config.agent, &config.health, checker, tasks)? {
        closers.push(agent.closer());
        tasks.spawn("agent door", agent.run(tasks.stop()));
    }
    if let Some(bridge) = BridgeListener::bind(&config.bridge, &config.health, checker, tasks)? {
        closers.push(bridge.closer());
        tasks.spawn("bridge door", bridge.run(tasks.stop()));
    }
    Ok(closers)
}

/// Makes spans of checks, where any are wanted and somebody takes spans.
fn checks(
    checker: Option<&Checker>,
    spans: Option<&Arc<Outlets>>,
    resource: &Resource,
    tasks: &Tasks,
) -> impl Future<Output = ()> + use<> {
    let wanted = checker.and_then(Checker::events).zip(spans.map(Arc::clone));
    let (resource, stop) = (resource.clone(), tasks.stop());
    async move {
        if let Some((events, outlets)) = wanted {
            checks::run(events, resource, outlets, stop).await;
        }
    }
}

/// Why the process did not start.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProcessError {
    #[error(transparent)]
    Runtime(#[from] StartError),
    #[error(transparent)]
    Export(#[from] OpenError),
    #[error(transparent)]
    Metrics(#[from] PublishError),
    #[error(transparent)]
    Door(#[from] DoorError),
    #[error(transparent)]
    Health(#[from] HealthError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("cannot listen for signals: {0}")]
    Signal(std::io::Error),
}

/// Starts the process's parts, or joins them: the calling Lua state owns them from now on.
fn start(lua: &Lua, haproxy: Haproxy) -> Result<(), String> {
    let loaded = settings::loaded().ok_or("register was not called")?;
    let owned = {
        let mut known = OWNED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(owned) = known.upgrade() {
            owned
        } else {
            let owned = Arc::new(Owned::default());
            if native::fork_comes(start_after_fork) {
                let _ = LATER.set(haproxy);
            } else {
                owned.start(loaded, &haproxy).map_err(|error| error.to_string())?;
            }
            *known = Arc::downgrade(&owned);
            owned
        }
    };
    // Dropped when the state closes.
    lua.set_named_registry_value("haproxy_vitals.process", LuaOwner(owned)).map_err(|error| error.to_string())
}

/// In the process that serves. HAProxy cannot refuse to start any more: requests go on without the module.
fn start_after_fork() {
    let owned = OWNED.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
    if let (Some(loaded), Some(haproxy), Some(owned)) = (settings::loaded(), LATER.get(), owned)
        && let Err(error) = owned.start(loaded, haproxy)
    {
        let _ = writeln!(std::io::stderr(), "[ALERT]    haproxy-vitals: nothing is traced or checked: {error}");
    }
}

fn current() -> Option<Arc<Process>> {
    let owned = OWNED.lock().unwrap_or_else(PoisonError::into_inner).upgrade()?;
    owned.0.get().map(Arc::clone)
}

/// What all Lua states own: empty until the process's parts have started.
#[derive(Default)]
struct Owned(OnceLock<Arc<Process>>);

impl Owned {
    fn start(&self, loaded: &Loaded, haproxy: &Haproxy) -> Result<(), ProcessError> {
        let _ = self.0.set(Arc::new(Process::start(loaded, haproxy)?));
        Ok(())
    }
}

/// One Lua state's share of the process.
struct LuaOwner(#[expect(dead_code, reason = "held, not used")] Arc<Owned>);

impl Drop for LuaOwner {
    /// This is the last of HAProxy's threads.
    fn drop(&mut self) {
        runtime::outlast_soft_stops();
    }
}

impl LuaUserData for LuaOwner {}

async fn first_of(mut terminate: UnixSignal, mut interrupt: UnixSignal) -> i32 {
    tokio::select! {
        _ = terminate.recv() => SignalKind::terminate().as_raw_value(),
        _ = interrupt.recv() => SignalKind::interrupt().as_raw_value(),
    }
}

/// For the last lines of the log to be written.
const LAST_LINES: Duration = Duration::from_millis(200);

static OWNED: Mutex<Weak<Owned>> = Mutex::new(Weak::new());

/// For a start that waits for a fork.
static LATER: OnceLock<Haproxy> = OnceLock::new();
