//! How a listener is closed from elsewhere, and waited for.

use std::sync::Arc;

use tokio::sync::{Notify, watch};

/// A listener's own half: dropped when whoever had come has an answer.
#[derive(Debug)]
pub(crate) struct Closing {
    close: Arc<Notify>,
    /// Goes with this: who waits for [`Closer::ended`] learns of it.
    open: watch::Sender<()>,
}

impl Closing {
    /// Nobody has asked for it yet.
    pub(crate) fn new() -> Self {
        Self { close: Arc::default(), open: watch::Sender::new(()) }
    }

    /// Closes it from elsewhere.
    pub(crate) fn closer(&self) -> Closer {
        Closer { close: Arc::clone(&self.close), open: self.open.subscribe() }
    }

    /// Returns when it is to close.
    pub(crate) async fn asked(&self) {
        self.close.notified().await;
    }
}

/// Closes a listener. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Closer {
    close: Arc<Notify>,
    open: watch::Receiver<()>,
}

impl Closer {
    /// Nobody new: the worker that a reload brought answers them. A unix socket, whose path that worker has already, is left to
    /// it, and needs no closing.
    pub fn close(&self) {
        self.close.notify_one();
    }

    /// Returns when the listener is closed and all who had come have their answers: at most some half a second, or the agent's
    /// bound on a check, after it was closed or the process began to stop.
    pub async fn ended(&self) {
        let mut open = self.open.clone();
        while open.changed().await.is_ok() {}
    }
}
