//! The process's one tokio runtime: started once, owned by the Lua states, stopped within a bound.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::watch;

use crate::log::{self, Level};
use crate::stats;

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
        match std::panic::catch_unwind(poll) {
            Ok(poll) => poll,
            Err(_) => {
                stats::TASK_PANICS.add(1);
                log::say(Level::Warning, format!("background task {} panicked and is gone", self.name));
                Poll::Ready(())
            }
        }
    }
}
