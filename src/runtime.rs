//! The process's one tokio runtime: started once, owned by the Lua states, stopped within a bound.
//!
//! | moment | what happens here |
//! |---|---|
//! | `haproxy -c` | nothing: no thread is started |
//! | HAProxy's init, before chroot and setuid | threads start, with every signal blocked |
//! | the last Lua state closes (soft stop, reload) | [`Runtime::stop`]: tasks are told, waited for within a bound, dropped |

mod closing;
pub(crate) mod steer;

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use nix::sys::signal::{SIGUSR1, SigSet, SigmaskHow, pthread_sigmask};
use tokio::sync::watch;

use crate::config::RuntimeConfig;
use crate::log::{self, Level};
use crate::stats;

pub use closing::Closer;
pub(crate) use closing::Closing;

/// Starts a thread for work that blocks, such as writing a file: at HAProxy's init, like [`Runtime::start`]. It ends when
/// `body` returns; nobody waits for it. A panic in it is caught, counted, and said in the log.
pub fn thread(name: &'static str, body: impl FnOnce() + Send + 'static) -> Result<(), StartError> {
    let fenced = move || {
        if std::panic::catch_unwind(AssertUnwindSafe(body)).is_err() {
            panicked(name);
        }
    };
    let builder = std::thread::Builder::new().name(format!("vitals-{name}"));
    with_signals_blocked(|| builder.spawn(fenced))?
        .map(drop)
        .map_err(|source| StartError::Threads { workers: 1, source })
}

/// The threads beside HAProxy's own, and the tasks on them.
#[derive(Debug)]
pub struct Runtime {
    tokio: tokio::runtime::Runtime,
    stop: watch::Sender<bool>,
    tasks: Tasks,
}

/// Why the runtime did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The system gave no threads, or no descriptors to poll with.
    #[error("cannot start {workers} worker threads: {source}")]
    Threads {
        /// How many were asked for.
        workers: usize,
        /// What the system said.
        source: std::io::Error,
    },
    /// Signals could not be kept away from the new threads: HAProxy's handlers must only run on its own.
    #[error("cannot block signals in the worker threads: {0}")]
    Signals(#[from] nix::Error),
}

impl Runtime {
    /// Starts the threads: at HAProxy's init, on its main thread, where no limit forbids it yet.
    pub fn start(config: &RuntimeConfig) -> Result<Self, StartError> {
        let tokio = with_signals_blocked(|| {
            let number = AtomicUsize::new(0);
            let tokio = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(config.workers)
                .max_blocking_threads(MAX_BLOCKING_THREADS)
                .thread_keep_alive(FOREVER)
                .thread_name_fn(move || format!("vitals-{}", number.fetch_add(1, Ordering::Relaxed)))
                .enable_all()
                .build()
                .map_err(|source| StartError::Threads { workers: config.workers, source })?;
            start_blocking_threads(&tokio);
            Ok::<_, StartError>(tokio)
        })??;
        let (stop, stopped) = watch::channel(false);
        let tasks = Tasks { handle: tokio.handle().clone(), stop: stopped };
        Ok(Self { tokio, stop, tasks })
    }

    /// Starts background tasks on this runtime.
    pub fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// Waits for `work` on the calling thread, which must not be one of the runtime's.
    pub fn wait<F: Future>(&self, work: F) -> F::Output {
        self.tokio.block_on(work)
    }

    /// Tells every task that the process stops.
    pub fn begin_stop(&self) {
        self.stop.send_replace(true);
    }

    /// The same, for a task to say.
    pub fn stopper(&self) -> Stopper {
        Stopper(self.stop.clone())
    }

    /// Takes the threads down; what still runs after `bound` is abandoned.
    pub fn stop(self, bound: Duration) {
        self.begin_stop();
        self.tokio.shutdown_timeout(bound);
    }
}

/// Starts background tasks. Cheap to clone; every task knows when to stop.
#[derive(Debug, Clone)]
pub struct Tasks {
    handle: tokio::runtime::Handle,
    stop: watch::Receiver<bool>,
}

impl Tasks {
    /// Tasks on `handle`'s runtime that stop when `stop` turns true.
    pub fn new(handle: tokio::runtime::Handle, stop: watch::Receiver<bool>) -> Self {
        Self { handle, stop }
    }

    /// Runs `task` in the background. A panic in it is caught, counted, and said in the log: the process goes on.
    /// Dropping the handle does not stop the task; aborting it does.
    pub fn spawn<F>(&self, name: &'static str, task: F) -> tokio::task::JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        #[expect(clippy::disallowed_methods, reason = "the one place that starts tasks")]
        self.handle.spawn(Fenced { name, task: Box::pin(task) })
    }

    /// A token that tells when to stop.
    pub fn stop(&self) -> Stop {
        Stop(self.stop.clone())
    }

    /// Makes this runtime the calling thread's own for a while: timers and sockets can be made then.
    pub fn enter(&self) -> tokio::runtime::EnterGuard<'_> {
        self.handle.enter()
    }
}

/// Begins the stop from inside.
#[derive(Debug, Clone)]
pub struct Stopper(watch::Sender<bool>);

impl Stopper {
    /// Tells every task that the process stops.
    pub fn begin(&self) {
        self.0.send_replace(true);
    }
}

/// Tells a task that the process is stopping.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Returns when the process begins to stop.
    pub async fn wait(&mut self) {
        // An error means that the sender has gone: the runtime is being taken down.
        let _ = self.0.wait_for(|stop| *stop).await;
    }

    /// Whether the process is stopping.
    pub fn is_stopping(&self) -> bool {
        *self.0.borrow()
    }
}

/// A task whose panic ends itself alone.
struct Fenced {
    name: &'static str,
    task: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Future for Fenced {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let poll = AssertUnwindSafe(|| self.task.as_mut().poll(cx));
        std::panic::catch_unwind(poll).unwrap_or_else(|_| {
            panicked(self.name);
            Poll::Ready(())
        })
    }
}

fn panicked(name: &str) {
    stats::TASK_PANICS.add(1);
    log::say(Level::Warning, format!("background task {name} panicked and is gone"));
}

/// HAProxy gives up its right to new threads with its other rights (`RLIMIT_NPROC`, unless `insecure-fork-wanted`):
/// the threads for blocking work start now, and stay. Each is kept busy until the last has started.
fn start_blocking_threads(tokio: &tokio::runtime::Runtime) {
    for _ in 0..MAX_BLOCKING_THREADS {
        tokio.spawn_blocking(|| std::thread::sleep(START_TIME));
    }
}

/// Threads that `start` spawns inherit the mask of the thread that spawns them.
fn with_signals_blocked<T>(start: impl FnOnce() -> T) -> Result<T, nix::Error> {
    let mut before = SigSet::empty();
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut before))?;
    let started = start();
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
    Ok(started)
}

/// The calling thread is not interrupted by `SIGUSR1` any more, HAProxy's soft stop. HAProxy takes its handlers away before it closes its
/// Lua states, and a master tells its old workers at each reload to leave: the second time would kill one that still sends what is
/// queued, and answers those who had come. For HAProxy's threads when they end: the runtime's take no signals.
pub fn outlast_soft_stops() {
    let mut soft_stop = SigSet::empty();
    soft_stop.add(SIGUSR1);
    // It cannot fail for a signal that exists.
    let _ = soft_stop.thread_block();
}

/// Threads for name resolution and the like.
const MAX_BLOCKING_THREADS: usize = 4;
/// More than it takes to start them.
const START_TIME: Duration = Duration::from_millis(50);
/// As long as any process lives.
const FOREVER: Duration = Duration::from_hours(24 * 365 * 10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panicking_task_is_counted_and_the_others_go_on() {
        let runtime = Runtime::start(&RuntimeConfig::default()).unwrap();
        let before = stats::TASK_PANICS.value();
        let fallen = runtime.tasks().spawn("faulty", async { panic!("on purpose") });
        let fine = runtime.tasks().spawn("fine", async {});
        assert!(runtime.wait(fallen).is_ok());
        assert!(runtime.wait(fine).is_ok());
        assert_eq!(stats::TASK_PANICS.value(), before + 1);
        runtime.stop(Duration::from_secs(1));
    }

    #[test]
    fn tasks_hear_of_the_stop_and_signals_stay_blocked_in_them() {
        let runtime = Runtime::start(&RuntimeConfig::default()).unwrap();
        let mut stop = runtime.tasks().stop();
        assert!(!stop.is_stopping());
        let waiting = runtime.tasks().spawn("waiting", async move {
            let mask = SigSet::thread_get_mask().unwrap();
            assert!(mask.contains(nix::sys::signal::Signal::SIGTERM));
            stop.wait().await;
        });
        runtime.begin_stop();
        assert!(runtime.wait(waiting).is_ok());
        let mask = SigSet::thread_get_mask().unwrap();
        assert!(!mask.contains(nix::sys::signal::Signal::SIGTERM));
    }
}
