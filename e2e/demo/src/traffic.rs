//! Requests through HAProxy, one at a time.

use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use haproxy_vitals_tests::client::{self, Session};

use crate::Fault;
use crate::stage::Stage;

/// One request of the round.
#[derive(Clone, Copy)]
pub(crate) enum Call {
    /// A GET of this path.
    Http(&'static str),
    /// Two GETs at once of what is served one at a time.
    Queue,
    /// A GET whose client does not wait for the answer.
    Abort,
    /// The call of a gRPC client: that of the health service, which every backend has.
    Grpc,
}

/// What is asked for, in turn.
pub(crate) const ROUND: [Call; 12] = [
    Call::Http("/"),
    Call::Grpc,
    Call::Http("/api/items/7?x=1"),
    Call::Http("/denied"),
    Call::Grpc,
    Call::Http("/missing"),
    Call::Grpc,
    Call::Http("/slow"),
    Call::Grpc,
    Call::Http("/broken"),
    Call::Queue,
    Call::Abort,
];

/// HAProxy's two frontends.
#[derive(Clone, Copy)]
pub(crate) struct Doors {
    pub(crate) http: SocketAddr,
    pub(crate) grpc: SocketAddr,
}

impl Doors {
    pub(crate) fn of(stage: &Stage) -> Self {
        Self { http: stage.haproxy.addr("http"), grpc: stage.haproxy.addr("grpc") }
    }

    /// Sends one request and waits for its answer. An error is that there was none, whatever its status.
    pub(crate) fn send(self, call: Call) -> Result<(), Fault> {
        match call {
            Call::Http(path) => self.get(path)?,
            Call::Queue => thread::scope(|scope| {
                let other = scope.spawn(|| self.get(QUEUED));
                self.get(QUEUED).and(other.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into())))
            })?,
            Call::Abort => self.leave()?,
            Call::Grpc => client::ask_health(self.grpc, AGENT, &[]).map(drop)?,
        }
        Ok(())
    }

    fn get(self, path: &str) -> io::Result<()> {
        client::try_request(self.http, "GET", path, &[("user-agent", AGENT)], b"").map(drop)
    }

    fn leave(self) -> io::Result<()> {
        let mut session = Session::try_connect(self.http)?;
        session.send(format!("GET {LEFT} HTTP/1.1\r\nhost: demo\r\nuser-agent: {AGENT}\r\n\r\n").as_bytes())?;
        thread::sleep(STAY);
        session.abort();
        Ok(())
    }
}

/// Rounds in the background, until it is stopped.
pub(crate) struct Traffic {
    stop: Sender<()>,
    thread: JoinHandle<u64>,
}

impl Traffic {
    /// Sends one request each `pause`.
    pub(crate) fn start(doors: Doors, pause: Duration) -> Self {
        let (stop, stopped) = mpsc::channel();
        let thread = thread::spawn(move || {
            let mut unanswered = 0;
            for call in ROUND.into_iter().cycle() {
                if stopped.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
                    break;
                }
                unanswered += u64::from(doors.send(call).is_err());
            }
            unanswered
        });
        Self { stop, thread }
    }

    /// Ends after the request under way; returns how many had no answer.
    pub(crate) fn stop(self) -> u64 {
        drop(self.stop);
        self.thread.join().unwrap_or(u64::MAX)
    }
}

/// Goes to the backend that serves one at a time, in 150 milliseconds.
pub(crate) const QUEUED: &str = "/delay/150";
/// Takes a second, which is longer than its client stays.
pub(crate) const LEFT: &str = "/delay/1000";
const STAY: Duration = Duration::from_millis(100);
const AGENT: &str = "vitals-demo";
