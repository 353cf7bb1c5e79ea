//! What wakes Lua: a socket on which its tasks wait, and this side writes a line.
//!
//! The socket is an abstract one: it needs no file, so it outlives chroot and setuid. Its name is random, and nobody but this
//! very process is answered. A connection begins with one line:
//!
//! | line | answered with |
//! |---|---|
//! | `wait` | `change` when a server's wanted state changed, `tick` every [`TICK`], until the checker stops |
//! | `check ...` | one line, when the check is done: see `call` |
//! | `watch ...` | the same line for the first result and whenever the state changes, and `tick` every [`WATCH_TICK`] |

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::call;
use crate::health::Checker;
use crate::runtime::Tasks;

/// The socket. Dropping it ends every connection.
pub(in crate::host) struct Hub {
    /// As `core.tcp():connect` takes it.
    address: String,
    closed: watch::Sender<bool>,
}

impl Hub {
    /// Listens. Within the runtime.
    pub(in crate::host) fn start(checker: &Checker, tasks: &Tasks) -> io::Result<Self> {
        let name = format!("haproxy-vitals-{}-{:032x}", std::process::id(), rand::random::<u128>());
        // HAProxy's abstract names fill the whole of `sun_path`.
        let mut padded = name.clone().into_bytes();
        padded.resize(ABSTRACT_NAME_BYTES, 0);
        let listener = StdListener::bind_addr(&SocketAddr::from_abstract_name(&padded)?)?;
        listener.set_nonblocking(true)?;
        let listener = UnixListener::from_std(listener)?;
        let (closed, close) = watch::channel(false);
        let room = |places| Arc::new(Semaphore::new(places));
        let desk =
            Desk { checker: checker.clone(), close, calls: room(call::MAX_CALLS), watches: room(call::MAX_WATCHES) };
        tasks.spawn("health hub", accept(listener, desk, tasks.clone()));
        Ok(Self { address: format!("abns@{name}"), closed })
    }

    /// Where Lua connects to.
    pub(in crate::host) fn address(&self) -> &str {
        &self.address
    }

    /// Ends every connection: HAProxy's soft stop waits for them.
    pub(in crate::host) fn close(&self) {
        self.closed.send_replace(true);
    }
}

/// What a connection needs.
#[derive(Clone)]
struct Desk {
    checker: Checker,
    close: watch::Receiver<bool>,
    /// For checks that Lua asks for.
    calls: Arc<Semaphore>,
    /// For targets that Lua watches.
    watches: Arc<Semaphore>,
}

async fn accept(listener: UnixListener, desk: Desk, tasks: Tasks) {
    let mut close = desk.close.clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = close.wait_for(|closed| *closed) => return,
        };
        match accepted {
            Ok((stream, _)) if is_own(&stream) => {
                let (desk, mut close) = (desk.clone(), desk.close.clone());
                tasks.spawn("health hub connection", async move {
                    tokio::select! {
                        // An error is the other side's leaving.
                        _ = serve(stream, desk) => {}
                        _ = close.wait_for(|closed| *closed) => {}
                    }
                });
            }
            Ok(_) => {}
            // No descriptors, most likely: they come back.
            Err(_) => sleep(TICK).await,
        }
    }
}

/// Whether this process itself is on the other side.
fn is_own(stream: &UnixStream) -> bool {
    let own = i32::try_from(std::process::id()).ok();
    stream.peer_cred().is_ok_and(|peer| peer.pid().is_some() && peer.pid() == own)
}

async fn serve(stream: UnixStream, desk: Desk) -> io::Result<()> {
    let line = timeout(FIRST_LINE, read_line(&stream)).await??;
    if line == "wait" {
        return tell(&stream, desk.checker.subscribe()).await;
    }
    if call::is_watch(&line) {
        return follow(&stream, &desk, &line).await;
    }
    let answer = match desk.calls.try_acquire() {
        Ok(_permit) => call::answer(&desk.checker, &line).await,
        Err(_) => call::no_room(),
    };
    write(&stream, answer.as_bytes()).await
}

/// Several changes before the line is written are one line.
async fn tell(stream: &UnixStream, mut changes: watch::Receiver<u64>) -> io::Result<()> {
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let line: &[u8] = tokio::select! {
            news = changes.changed() => match news {
                Ok(()) => b"change\n",
                Err(_) => return Ok(()),
            },
            () = leaves(stream) => return Ok(()),
            _ = tick.tick() => b"tick\n",
        };
        write(stream, line).await?;
    }
}

/// Until the other side leaves.
async fn follow(stream: &UnixStream, desk: &Desk, line: &str) -> io::Result<()> {
    let Ok(_permit) = desk.watches.try_acquire() else {
        return write(stream, call::no_room_to_watch().as_bytes()).await;
    };
    let mut watching = match call::watch(&desk.checker, line) {
        Ok(watching) => watching,
        Err(problem) => return write(stream, problem.as_bytes()).await,
    };
    let mut tick = interval(WATCH_TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let line = tokio::select! {
            status = watching.changed() => call::told(&status),
            _ = tick.tick() => "tick\n".to_owned(),
            () = leaves(stream) => return Ok(()),
        };
        write(stream, line.as_bytes()).await?;
    }
}

/// Returns when the other side has closed, or says more than it should.
async fn leaves(stream: &UnixStream) {
    loop {
        let more = match stream.readable().await {
            Ok(()) => stream.try_read(&mut [0]),
            Err(error) => Err(error),
        };
        if !more.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
            return;
        }
    }
}

async fn read_line(stream: &UnixStream) -> io::Result<String> {
    let mut line = vec![0; call::MAX_LINE];
    let mut filled = 0;
    loop {
        stream.readable().await?;
        let room = line.get_mut(filled..).unwrap_or_default();
        match stream.try_read(room) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        let text = line.get(..filled).unwrap_or_default();
        if let Some(text) = text.strip_suffix(b"\n") {
            return Ok(String::from_utf8_lossy(text).into_owned());
        }
    }
}

async fn write(stream: &UnixStream, mut line: &[u8]) -> io::Result<()> {
    while !line.is_empty() {
        stream.writable().await?;
        match stream.try_write(line) {
            Ok(count) => line = line.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Between two looks for the process's stop: a soft stop waits for the task that looks.
const TICK: Duration = Duration::from_millis(200);
/// Between two looks of a task that watches for its own end.
const WATCH_TICK: Duration = Duration::from_secs(1);
/// From the connection to its first line.
const FIRST_LINE: Duration = Duration::from_secs(1);
/// `sun_path` without its leading NUL.
const ABSTRACT_NAME_BYTES: usize = 107;
