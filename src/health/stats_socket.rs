//! Asks HAProxy's own stats socket, over a connection of its own, within bounds.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::servers_state::StateError;
use crate::config::StatsSocket;

/// Why nothing was learnt.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// Nobody listens there, or not for us.
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    /// The connection broke.
    #[error("cannot read the answer: {0}")]
    Broken(io::Error),
    #[error("no answer within {} s", BOUND.as_secs())]
    Timeout,
    #[error("the answer is longer than {} MiB", MAX_BYTES / 1024 / 1024)]
    TooLong,
    /// Another worker of a reload, or another HAProxy.
    #[error("another process answers: {found}, not {own}")]
    Stranger { found: u32, own: u32 },
    #[error(transparent)]
    State(#[from] StateError),
}

/// The answers to `show info` and `show servers state`, one after the other. The first tells who answers: during a reload
/// both workers may.
pub(crate) async fn ask(socket: &StatsSocket) -> Result<String, AskError> {
    timeout(BOUND, async {
        match socket {
            StatsSocket::Tcp(address) => talk(TcpStream::connect(address).await).await,
            StatsSocket::Unix(path) => talk(UnixStream::connect(path).await).await,
            StatsSocket::Abstract { name, padded } => talk(UnixStream::connect(sun_path(name, *padded)).await).await,
        }
    })
    .await
    .unwrap_or(Err(AskError::Timeout))
}

async fn talk<T: AsyncRead + AsyncWrite + Unpin>(stream: io::Result<T>) -> Result<String, AskError> {
    let mut stream = stream.map_err(AskError::Connect)?;
    stream.write_all(COMMANDS).await.map_err(AskError::Broken)?;
    let mut answer = Vec::new();
    stream.take(MAX_BYTES + 1).read_to_end(&mut answer).await.map_err(AskError::Broken)?;
    if answer.len() as u64 > MAX_BYTES {
        return Err(AskError::TooLong);
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// unix(7): an abstract name begins with a NUL, and all of its bytes count.
fn sun_path(name: &str, padded: bool) -> PathBuf {
    let mut path = vec![0];
    path.extend_from_slice(name.as_bytes());
    if padded {
        path.resize(SUN_PATH_BYTES, 0);
    }
    PathBuf::from(OsString::from_vec(path))
}

/// One line: one process answers both.
const COMMANDS: &[u8] = b"show info;show servers state\n";
/// From connecting to the answer's end.
const BOUND: Duration = Duration::from_secs(2);
/// Some 50 000 servers.
const MAX_BYTES: u64 = 8 * 1024 * 1024;
/// `sun_path` of unix(7), filled up as HAProxy does.
const SUN_PATH_BYTES: usize = 108;

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, UnixListener};

    use super::*;
    use crate::runtime::Tasks;

    fn tasks() -> Tasks {
        Tasks::new(tokio::runtime::Handle::current(), tokio::sync::watch::channel(false).1)
    }

    /// Accepts one connection, reads the commands, and writes `answer`.
    async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: Vec<u8>) {
        let mut line = vec![0; COMMANDS.len()];
        stream.read_exact(&mut line).await.unwrap();
        assert_eq!(line, COMMANDS);
        // Whoever has read enough leaves.
        let _ = stream.write_all(&answer).await;
    }

    async fn answered(answer: Vec<u8>) -> Result<String, AskError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = StatsSocket::Tcp(listener.local_addr().unwrap());
        let tasks = tasks();
        tasks.spawn("stats", async move { serve(listener.accept().await.unwrap().0, answer).await });
        ask(&socket).await
    }

    #[tokio::test]
    async fn every_kind_of_socket_is_asked() {
        assert_eq!(answered(b"answer".to_vec()).await.unwrap(), "answer");
        let tasks = tasks();
        let dir = tempfile::tempdir().unwrap();
        let name = format!("haproxy-vitals-test-{:032x}", rand::random::<u128>());
        for socket in [
            StatsSocket::Unix(dir.path().join("stats")),
            StatsSocket::Abstract { name: name.clone(), padded: true },
            StatsSocket::Abstract { name, padded: false },
        ] {
            let listener = match &socket {
                StatsSocket::Unix(path) => UnixListener::bind(path).unwrap(),
                StatsSocket::Abstract { name, padded } => UnixListener::bind(sun_path(name, *padded)).unwrap(),
                StatsSocket::Tcp(_) => unreachable!("not in the list"),
            };
            tasks.spawn("stats", async move { serve(listener.accept().await.unwrap().0, b"answer".to_vec()).await });
            assert_eq!(ask(&socket).await.unwrap(), "answer", "{socket}");
        }
    }

    #[tokio::test]
    async fn answer_past_the_bound_is_refused() {
        let most = usize::try_from(MAX_BYTES).unwrap();
        assert_eq!(answered(vec![b'x'; most]).await.unwrap().len(), most);
        assert!(matches!(answered(vec![b'x'; most + 1]).await, Err(AskError::TooLong)));
    }

    #[tokio::test]
    async fn silence_ends_within_the_bound_and_a_closed_door_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = StatsSocket::Tcp(listener.local_addr().unwrap());
        tokio::time::pause();
        assert!(matches!(ask(&socket).await, Err(AskError::Timeout)));
        tokio::time::resume();
        drop(listener);
        assert!(matches!(ask(&socket).await, Err(AskError::Connect(_))));
    }
}
