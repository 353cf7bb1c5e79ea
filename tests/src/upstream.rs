//! An origin for HTTP/1.1 and HTTP/2 without TLS that answers, or misbehaves, as the path says.

mod h1;
mod h2;
mod route;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use crate::poll;
use crate::server::{Serve, Server};

/// An origin on one port. Both protocols are understood on it: HTTP/2 with prior knowledge, HTTP/1.1 otherwise.
///
/// | path | answer |
/// |---|---|
/// | `/status/NNN` | this status |
/// | `/delay/MS` | 200 after so many milliseconds |
/// | `/bytes/N` | 200 with N bytes |
/// | `/chunked/N` | 200 in N chunks, without a length |
/// | `/drip/N/MS` | 200 with N bytes, one every MS milliseconds |
/// | `/echo-headers` | 200 with one line `name: value` for each header of the request |
/// | `/early` | 103, then 200 (HTTP/1.1 only) |
/// | `/upgrade` | 101, then whatever is sent comes back (HTTP/1.1 only) |
/// | `/hang` | none, ever |
/// | `/close` | none: the connection is closed, or the stream reset |
/// | `/reset` | none: the connection is reset, or the stream |
/// | `/cut` | 200 with a length of 1000 and 10 bytes, then the end |
/// | `/garbage` | something that is not HTTP (HTTP/1.1 only; over HTTP/2 the stream is reset) |
/// | `/missing` | 404 |
/// | `/slow` | 200 after 300 milliseconds |
/// | anything else | 200, `hello` |
///
/// Query strings are ignored. The body of a request is read before it is answered.
pub struct Upstream {
    journal: Arc<Journal>,
    server: Server,
}

impl Upstream {
    /// Starts on a free port.
    pub fn start() -> Self {
        let journal = Arc::new(Journal::default());
        Self { server: Server::start(serve(&journal)), journal }
    }

    /// Its address.
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// Dies: connections break, and new ones are refused.
    pub fn stop(&self) {
        self.server.stop();
    }

    /// Comes back on the same port.
    pub fn restart(&self) {
        self.server.restart();
    }

    /// The requests so far, in the order in which they were complete; the first [`RECORDED`] of them.
    pub fn requests(&self) -> Vec<Seen> {
        self.journal.lock().clone()
    }

    /// How many requests came so far.
    pub fn count(&self) -> u64 {
        self.journal.count.load(Ordering::Relaxed)
    }

    /// The newest request.
    #[track_caller]
    pub fn last(&self) -> Seen {
        self.journal.lock().last().cloned().expect("no request has come")
    }

    /// Waits for a request that is asked for, and returns it.
    #[track_caller]
    pub fn wait_for(&self, within: Duration, asked: impl Fn(&Seen) -> bool) -> Seen {
        let found = poll::try_until(within, || self.journal.lock().iter().find(|seen| asked(seen)).cloned());
        found.unwrap_or_else(|| panic!("the request awaited did not come within {within:?}: {:#?}", self.requests()))
    }

    /// Forgets the requests.
    pub fn clear(&self) {
        self.journal.lock().clear();
        self.journal.count.store(0, Ordering::Relaxed);
    }
}

/// So many requests are remembered; later ones are counted only.
pub const RECORDED: usize = 100_000;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// `HTTP/1.0`, `HTTP/1.1` or `HTTP/2.0`.
    pub version: String,
    /// Its headers. Over HTTP/1.1 in order and as written; over HTTP/2 duplicates stand together. `:authority` is among them.
    pub headers: Vec<(String, String)>,
    /// How much of its body came.
    pub body_length: usize,
    /// Whether its body came to its end.
    pub complete: bool,
    /// The connection it came on, counted from 0.
    pub connection: u64,
    /// When it was complete.
    pub at: Instant,
}

impl Seen {
    /// The first value of a header; the name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers_named(name).first().copied()
    }

    /// Every value of a header, in order; the name in any case.
    pub fn headers_named(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(k, _)| k.eq_ignore_ascii_case(name));
        named.map(|(_, v)| v.as_str()).collect()
    }
}

/// What came, and on how many connections.
#[derive(Default)]
struct Journal {
    seen: Mutex<Vec<Seen>>,
    count: AtomicU64,
    connections: AtomicU64,
}

impl Journal {
    fn lock(&self) -> MutexGuard<'_, Vec<Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, seen: Seen) {
        self.count.fetch_add(1, Ordering::Relaxed);
        let mut all = self.lock();
        if all.len() < RECORDED {
            all.push(seen);
        }
    }
}

fn serve(journal: &Arc<Journal>) -> Serve {
    let journal = journal.clone();
    Arc::new(move |stream| {
        let journal = journal.clone();
        Box::pin(async move {
            let connection = journal.connections.fetch_add(1, Ordering::Relaxed);
            match speaks_h2(&stream).await {
                Ok(true) => h2::serve(stream, journal, connection).await,
                // How a connection ended is the client's business.
                Ok(false) => drop(h1::serve(stream, &journal, connection).await),
                Err(_) => {}
            }
        })
    })
}

/// Whether the connection begins as HTTP/2 does. Three bytes tell: no method begins with `PRI`.
async fn speaks_h2(stream: &TcpStream) -> std::io::Result<bool> {
    const PREFACE: &[u8] = b"PRI";
    let mut first = [0; PREFACE.len()];
    loop {
        let length = stream.peek(&mut first).await?;
        if length == PREFACE.len() || length == 0 || !PREFACE.starts_with(&first[..length]) {
            return Ok(first == PREFACE);
        }
        tokio::task::yield_now().await;
    }
}
