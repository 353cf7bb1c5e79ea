//! Load: keep-alive connections on threads, bounded in time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::{Response, Session};
use crate::poll::{self, SOON};

/// When load ends.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// After so many requests in all.
    Count(u64),
    /// After so much time.
    For(Duration),
    /// When [`RunningLoad::stop`] says so.
    Stopped,
}

/// What to send.
#[derive(Clone, Debug)]
pub struct Load {
    /// Connections at the same time, each on its own thread.
    pub connections: usize,
    /// When it ends.
    pub until: Until,
    /// The paths, taken in turn by each connection.
    pub paths: Vec<String>,
    /// Headers of every request.
    pub headers: Vec<(String, String)>,
}

impl Load {
    /// So many connections asking for one path.
    pub fn new(connections: usize, until: Until, path: &str) -> Self {
        Self { connections, until, paths: vec![path.to_owned()], headers: Vec::new() }
    }

    /// Starts it in the background.
    pub fn spawn(self, addr: SocketAddr) -> RunningLoad {
        let shared = Arc::new(Shared { load: self, addr, stop: AtomicBool::new(false), taken: AtomicU64::new(0) });
        let begin = Instant::now();
        let worker = |_| {
            let shared = shared.clone();
            thread::spawn(move || shared.run(begin))
        };
        let threads = (0..shared.load.connections).map(worker).collect();
        RunningLoad { shared, threads, begin }
    }
}

/// Sends load and waits for its end.
#[track_caller]
pub fn load(addr: SocketAddr, load: Load) -> Report {
    assert!(!matches!(load.until, Until::Stopped), "nobody would stop this load");
    load.spawn(addr).join()
}

/// Load in the background.
pub struct RunningLoad {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Report>>,
    begin: Instant,
}

impl RunningLoad {
    /// Ends it after the requests under way.
    pub fn stop(self) -> Report {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.join()
    }

    /// Requests begun so far.
    pub fn begun(&self) -> u64 {
        self.shared.taken.load(Ordering::Relaxed)
    }

    /// Waits until so many more requests have begun.
    #[track_caller]
    pub fn wait_for(&self, more: u64) {
        let goal = self.begun() + more;
        poll::until(SOON, "the load to go on", || self.begun() >= goal);
    }

    /// Waits for its end.
    pub fn join(self) -> Report {
        let mut report = Report::default();
        for thread in self.threads {
            report.add(thread.join().unwrap());
        }
        report.elapsed = self.begin.elapsed();
        report
    }
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Complete answers with a status below 400.
    pub ok: u64,
    /// Requests without a complete answer, whose first reasons are in `errors`.
    pub failed: u64,
    /// Requests sent again, once, because a connection that had served before was closed before the first byte of the answer.
    /// That is a server's right between two requests; the request counts as whatever its second sending gave.
    pub retried: u64,
    /// Complete answers by status.
    pub by_status: BTreeMap<u16, u64>,
    /// Connections opened.
    pub connects: u64,
    /// The first reasons of failures.
    pub errors: Vec<String>,
    /// How long it took.
    pub elapsed: Duration,
}

impl Report {
    const ERRORS: usize = 5;

    /// Every request that was answered or failed; one sent again counts once.
    pub fn total(&self) -> u64 {
        self.failed + self.by_status.values().sum::<u64>()
    }

    fn answered(&mut self, status: u16) {
        *self.by_status.entry(status).or_default() += 1;
        self.ok += u64::from(status < 400);
    }

    fn fail(&mut self, why: &std::io::Error) {
        self.failed += 1;
        if self.errors.len() < Self::ERRORS {
            self.errors.push(why.to_string());
        }
    }

    fn add(&mut self, other: Self) {
        self.ok += other.ok;
        self.failed += other.failed;
        self.retried += other.retried;
        self.connects += other.connects;
        for (status, count) in other.by_status {
            *self.by_status.entry(status).or_default() += count;
        }
        self.errors.extend(other.errors);
        self.errors.truncate(Self::ERRORS);
    }
}

struct Shared {
    load: Load,
    addr: SocketAddr,
    stop: AtomicBool,
    /// Requests begun by all connections.
    taken: AtomicU64,
}

impl Shared {
    /// One connection's share.
    fn run(&self, begin: Instant) -> Report {
        let headers: Vec<(&str, &str)> = self.load.headers.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let mut report = Report::default();
        let mut session = None;
        let mut paths = self.load.paths.iter().cycle();
        while self.goes_on(begin) {
            let path = paths.next().unwrap();
            match self.exchange(&mut session, path, &headers, &mut report) {
                Ok(response) => report.answered(response.status),
                Err(e) => report.fail(&e),
            }
        }
        report
    }

    fn goes_on(&self, begin: Instant) -> bool {
        let taken = self.taken.fetch_add(1, Ordering::Relaxed);
        let within = match self.load.until {
            Until::Count(count) => taken < count,
            Until::For(time) => begin.elapsed() < time,
            Until::Stopped => true,
        };
        within && !self.stop.load(Ordering::Relaxed)
    }

    fn exchange(
        &self,
        session: &mut Option<Session>,
        path: &str,
        headers: &[(&str, &str)],
        report: &mut Report,
    ) -> std::io::Result<Response> {
        if let Some(mut open) = session.take() {
            match open.get(path, headers) {
                Ok(response) => return Ok(keep(session, open, response)),
                Err(e) if !open.is_untouched() || e.kind() == std::io::ErrorKind::WouldBlock => return Err(e),
                Err(_) => report.retried += 1,
            }
        }
        report.connects += 1;
        let mut fresh = Session::try_connect(self.addr)?;
        let response = fresh.get(path, headers)?;
        Ok(keep(session, fresh, response))
    }
}

/// Keeps the connection for the next request, unless the server is about to close it.
fn keep(session: &mut Option<Session>, open: Session, response: Response) -> Response {
    let closes = response.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    *session = (!closes).then_some(open);
    response
}
