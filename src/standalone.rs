//! The agent as a program of its own, for proxies without Lua: log, runtime, checker and listeners, put together once and
//! taken down once. What a process has beside them (arguments, signals, an exit code) is `agent/`.
//!
//! | moment | what happens |
//! |---|---|
//! | [`Standalone::start`] | the log, the runtime, certificates, the ports: whatever cannot be had is an error |
//! | [`StandaloneCloser::close`] | nobody new is let in; who has asked gets an answer, within `agent.timeout` and a little |
//! | [`Standalone::finish`] | what still runs is abandoned, the last lines are written |

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::VERSION;
use crate::config::{HealthConfig, Loaded};
use crate::health::observe::{AgentNames, CheckMetrics};
use crate::health::{AgentListener, Checker, HealthError, ListenError};
use crate::journal::{Journal, JournalError};
use crate::log::{self, Fact, Facts, Level, Topic};
use crate::metrics::Sources;
use crate::metrics::listener::{self, Exposition, Listener};
use crate::resource::Resource;
use crate::runtime::{Closer, Runtime, StartError, Tasks};

/// The running program.
pub struct Standalone {
    runtime: Runtime,
    journal: Option<Journal>,
    door: Closer,
    address: SocketAddr,
    /// Held: its last clone ends all checks.
    _checker: Checker,
}

/// Why the program does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StandaloneError {
    /// The log.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Threads.
    #[error(transparent)]
    Runtime(#[from] StartError),
    /// Certificates, secrets.
    #[error(transparent)]
    Health(#[from] HealthError),
    /// The agent's port.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The metrics' port.
    #[error(transparent)]
    Metrics(#[from] listener::ListenError),
    /// No port.
    #[error("`agent.listen`: expected an address and a port, found nothing")]
    Nowhere,
}

impl Standalone {
    /// Whether the files and variables that the settings name can be used. Starts nothing.
    pub fn verify(loaded: &Loaded) -> Result<(), HealthError> {
        Checker::verify(&loaded.config.health)
    }

    /// Starts everything; from now on it answers.
    pub fn start(loaded: &Loaded) -> Result<Self, StandaloneError> {
        let config = &loaded.config;
        let journal = Journal::open(&config.log)?;
        for warning in &loaded.warnings {
            log::say(Level::Warning, warning);
        }
        let runtime = Runtime::start(&config.runtime)?;
        let tasks = runtime.tasks().clone();
        let _inside = tasks.enter();
        let health = HealthConfig { backends: Vec::new(), ..config.health.clone() };
        let checker = Checker::start(&health, &tasks)?;
        // No proxy will show its servers: whoever is asked for is nobody's.
        let _ = checker.sweep(&[]);
        let agent = AgentListener::bind(&config.agent, &health, &checker, &tasks)?.ok_or(StandaloneError::Nowhere)?;
        let address = agent.address().ok_or(StandaloneError::Nowhere)?;
        let door = agent.closer();
        tasks.spawn("agent door", agent.run(tasks.stop()));
        let metrics = metrics(loaded, &checker, &tasks)?;
        log::tell(Topic::Process, Level::Info, "HAProxy gRPC agent listening", || facts(loaded, address, metrics));
        Ok(Self { runtime, journal, door, address, _checker: checker })
    }

    /// Where the agent listens, with the port that it got.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// For what the process does beside answering.
    pub fn tasks(&self) -> &Tasks {
        self.runtime.tasks()
    }

    /// Waits for `work` on the calling thread.
    pub fn wait<F: Future>(&self, work: F) -> F::Output {
        self.runtime.wait(work)
    }

    /// Closes from elsewhere.
    pub fn closer(&self) -> StandaloneCloser {
        StandaloneCloser { door: self.door.clone() }
    }

    /// Ends what still runs and writes the last lines.
    pub fn finish(self) {
        self.runtime.begin_stop();
        log::say(Level::Info, "HAProxy gRPC agent stopped");
        if let Some(journal) = &self.journal {
            journal.finish(LAST_LINES);
        }
        self.runtime.stop(LAST_TASKS);
    }
}

/// Closes the program's listeners. Cheap to clone.
#[derive(Debug, Clone)]
pub struct StandaloneCloser {
    door: Closer,
}

impl StandaloneCloser {
    /// Listens no more; returns when all who had asked have their answers.
    pub async fn close(&self) {
        log::say(Level::Info, "HAProxy gRPC agent stopping");
        self.door.close();
        self.door.ended().await;
    }
}

/// Answers Prometheus, where the settings say so; where.
fn metrics(loaded: &Loaded, checker: &Checker, tasks: &Tasks) -> Result<Option<SocketAddr>, listener::ListenError> {
    let config = &loaded.config;
    let Some(address) = config.metrics.listen else { return Ok(None) };
    let mut sources = Sources::default();
    sources.add(Arc::new(CheckMetrics::new(checker, config)));
    if config.metrics.grpc_agent_names {
        sources.add(Arc::new(AgentNames::new(checker)));
    }
    let resource = Resource::new(&config.service, Vec::new());
    let exposition = Arc::new(Exposition::new(sources, resource));
    let listener = Listener::bind(address, config.agent.reuse_port, exposition, tasks)?;
    let address = listener.address().unwrap_or(address);
    tasks.spawn("scrapes", listener.run(tasks.stop()));
    Ok(Some(address))
}

/// What the first line says: haproxy-grpc-agent's names.
fn facts(loaded: &Loaded, address: SocketAddr, metrics: Option<SocketAddr>) -> Facts {
    let config = &loaded.config;
    let profile = &config.health.single.profile;
    let millis = |time: Duration| Fact::Number(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    vec![
        ("address", address.to_string().into()),
        ("metrics", metrics.map(|address| address.to_string()).unwrap_or_default().into()),
        ("version", VERSION.into()),
        ("config", loaded.file.clone().unwrap_or_default().into()),
        ("grpc_connect_timeout_ms", millis(profile.connect_timeout)),
        ("grpc_rpc_timeout_ms", millis(profile.rpc_timeout)),
        ("grpc_channel_cache_enabled", profile.reuse.into()),
        ("log_level", config.log.level.word().into()),
    ]
}

/// For the last lines of the log to be written.
const LAST_LINES: Duration = Duration::from_millis(200);
/// For tasks that hear of the stop.
const LAST_TASKS: Duration = Duration::from_millis(100);
