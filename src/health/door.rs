//! A listening socket with a bounded crowd behind it: what the agent and the bridge have in common.

mod crowd;
mod socket;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::runtime::{Stop, Tasks};
use crate::stats::DoorStats;
use crowd::Crowd;
use socket::Socket;

pub(crate) use crowd::Seat;
pub use socket::ListenError;
pub(crate) use socket::{Place, Stream};

/// Accepts connections, and gives each a seat; when none is free the one that was idle the longest is closed.
pub(crate) struct Door {
    socket: Socket,
    crowd: Arc<Crowd>,
    close: Arc<Notify>,
    tasks: Tasks,
}

/// Closes a TCP listener. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Closer(Option<Arc<Notify>>);

impl Closer {
    /// No more connections: the worker that a reload brought takes them. A unix socket has its path to the new worker
    /// already, and needs no closing.
    pub fn close(&self) {
        if let Some(close) = &self.0 {
            close.notify_one();
        }
    }
}

impl Door {
    /// Listens at `place` (`key` for errors), for at most `most` connections. On the runtime.
    pub(crate) fn bind(
        key: &'static str,
        place: &Place,
        most: usize,
        stats: &'static DoorStats,
        tasks: &Tasks,
    ) -> Result<Self, ListenError> {
        let socket = Socket::bind(key, place)?;
        Ok(Self { socket, crowd: Arc::new(Crowd::new(most, stats)), close: Arc::default(), tasks: tasks.clone() })
    }

    /// Closes it from elsewhere.
    pub(crate) fn closer(&self) -> Closer {
        Closer(self.socket.is_tcp().then(|| Arc::clone(&self.close)))
    }

    /// Where it listens, with the port that it got.
    #[cfg(test)]
    pub(crate) fn address(&self) -> std::net::SocketAddr {
        self.socket.address()
    }

    /// Serves until the process stops or the door is closed. `serve` must return when its seat is taken from it.
    pub(crate) async fn run<F, W>(self, name: &'static str, serve: F, mut stop: Stop)
    where
        F: Fn(Stream, Seat) -> W,
        W: Future<Output = ()> + Send + 'static,
    {
        loop {
            let accepted = tokio::select! {
                () = stop.wait() => return,
                () = self.close.notified() => return,
                accepted = self.socket.accept() => accepted,
            };
            match accepted {
                Ok(stream) => drop(self.tasks.spawn(name, serve(stream, Crowd::enter(&self.crowd)))),
                // No descriptor is free, most likely: not a reason to spin.
                Err(_) => tokio::time::sleep(BREATH).await,
            }
        }
    }
}

/// After a failure to accept.
const BREATH: Duration = Duration::from_millis(100);
