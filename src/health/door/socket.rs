//! Listening sockets that outlive a reload: TCP ports are shared, paths are handed over.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::time::sleep;

use crate::log::{self, Level};
use crate::runtime::steer;

/// Where to listen.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// An address and a port, which others may listen on too.
    Tcp(SocketAddr),
    /// An address and a port that nobody else may have.
    OwnTcp(SocketAddr),
    /// A unix socket's path.
    Unix(PathBuf),
}

/// A connection of either kind.
pub(crate) type Stream = Box<dyn Duplex>;

/// Both directions.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {
    /// Whom it is with, where that has an address. IPv4 is IPv4, also on a socket of IPv6.
    fn peer(&self) -> Option<IpAddr>;
}

impl Duplex for TcpStream {
    fn peer(&self) -> Option<IpAddr> {
        self.peer_addr().ok().map(|peer| peer.ip().to_canonical())
    }
}

impl Duplex for UnixStream {
    fn peer(&self) -> Option<IpAddr> {
        None
    }
}

/// The address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("`{key}`: cannot listen on {place}: {source}")]
pub struct ListenError {
    key: &'static str,
    place: String,
    source: io::Error,
}

/// A socket that listens.
pub(crate) enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener, OwnPath),
}

impl Socket {
    /// Listens. A port is shared with the worker that a reload brings or replaces (`SO_REUSEPORT`).
    pub(super) fn bind(key: &'static str, place: &Place) -> Result<Self, ListenError> {
        let (text, socket) = match place {
            Place::Tcp(address) => (address.to_string(), steer::listen(*address, true, BACKLOG).map(Self::Tcp)),
            Place::OwnTcp(address) => (address.to_string(), steer::listen(*address, false, BACKLOG).map(Self::Tcp)),
            Place::Unix(path) => (path.display().to_string(), take_over(path)),
        };
        socket.map_err(|source| ListenError { key, place: text, source })
    }

    pub(super) fn is_tcp(&self) -> bool {
        matches!(self, Self::Tcp(_))
    }

    pub(super) async fn accept(&self) -> io::Result<Stream> {
        Ok(match self {
            Self::Tcp(socket) => {
                let (stream, _) = socket.accept().await?;
                // Answers are one small packet each.
                let _ = stream.set_nodelay(true);
                Box::new(stream)
            }
            Self::Unix(socket, _) => Box::new(socket.accept().await?.0),
        })
    }

    /// Returns when a path belongs to a process that has gone: to a worker that a reload brought, and that did not start. Who
    /// has it is heard of through a connection. Never for a port, and never while nothing is there: then it lies outside the chroot.
    pub(super) async fn is_lost(&self) {
        let Self::Unix(_, path) = self else { return std::future::pending().await };
        loop {
            if path.is_own() {
                sleep(LOOK).await;
                continue;
            }
            match UnixStream::connect(&path.path).await {
                Ok(mut other) => {
                    while matches!(other.read(&mut [0]).await, Ok(1..)) {}
                    sleep(LAST_BREATH).await;
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return,
                Err(_) => sleep(LOOK).await,
            }
        }
    }

    /// Listens on the lost path again. False where that cannot be: said once.
    pub(super) fn take_back(&mut self) -> bool {
        let Self::Unix(_, own) = self else { return true };
        let path = own.path.clone();
        let said = match take_over(&path) {
            Ok(again) => {
                *self = again;
                return true;
            }
            Err(error) => format!("{}: another worker took the path and has gone: {error}; reload", path.display()),
        };
        log::say(Level::Warning, said);
        false
    }

    /// Listens no more, once it has given out those who wait to be accepted: closing alone would reset their connections.
    /// Best effort: what cannot be had is closed all the same.
    pub(super) async fn close(self, mut give: impl FnMut(Stream)) {
        match self {
            Self::Tcp(socket) => {
                let Ok(socket) = socket.into_std() else { return };
                let give = |stream: TcpStream| {
                    // Answers are one small packet each.
                    let _ = stream.set_nodelay(true);
                    give(Box::new(stream));
                };
                steer::leave(socket, give).await;
            }
            Self::Unix(socket, path) => {
                drop(path);
                let Ok(socket) = socket.into_std() else { return };
                let next = || socket.accept().ok().map(|(stream, _)| stream);
                for stream in std::iter::from_fn(next).take(MAX_WAITING) {
                    let is_set = stream.set_nonblocking(true);
                    if let Ok(stream) = is_set.and_then(|()| UnixStream::from_std(stream)) {
                        give(Box::new(stream));
                    }
                }
            }
        }
    }

    pub(super) fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(socket) => socket.local_addr().ok(),
            Self::Unix(..) => None,
        }
    }
}

/// Binds beside the path and renames: at every moment somebody answers there. What stands there already must be a socket.
fn take_over(path: &Path) -> io::Result<Socket> {
    if fs::symlink_metadata(path).is_ok_and(|there| !there.file_type().is_socket()) {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is something else than a socket"));
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}", std::process::id()));
    let beside = PathBuf::from(name);
    // Of a process that died with this number.
    let _ = fs::remove_file(&beside);
    let socket = UnixListener::bind(&beside)?;
    let ours = fs::set_permissions(&beside, fs::Permissions::from_mode(MODE))
        .and_then(|()| fs::symlink_metadata(&beside))
        .and_then(|there| fs::rename(&beside, path).map(|()| there));
    match ours {
        Ok(there) => Ok(Socket::Unix(socket, OwnPath { path: path.to_owned(), file: (there.dev(), there.ino()) })),
        Err(error) => {
            let _ = fs::remove_file(&beside);
            Err(error)
        }
    }
}

/// A path that is removed at the end, unless another process has taken it over.
pub(crate) struct OwnPath {
    path: PathBuf,
    /// Device and inode.
    file: (u64, u64),
}

impl OwnPath {
    /// Nobody has taken it over.
    fn is_own(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|there| (there.dev(), there.ino()) == self.file)
    }
}

impl Drop for OwnPath {
    fn drop(&mut self) {
        if self.is_own() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;
/// Taken from those at the end: more than can wait.
const MAX_WAITING: usize = 2048;
/// Between two looks at who has the path.
const LOOK: Duration = Duration::from_millis(50);
/// From the end of a process's connections to the end of its sockets.
const LAST_BREATH: Duration = Duration::from_millis(5);
/// Whoever may enter the folder may ask: HAProxy does so without its rights of the start.
const MODE: u32 = 0o666;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_path_whose_new_owner_has_gone_is_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let bind = || Socket::bind("bridge.listen", &Place::Unix(path.clone())).unwrap();
        let (mut old, new) = (bind(), bind());
        let Socket::Unix(listener, own) = new else { panic!() };
        // While it lives it keeps the path, and a process that dies leaves it behind.
        assert!(tokio::time::timeout(4 * LOOK, old.is_lost()).await.is_err());
        drop(listener);
        std::mem::forget(own);
        old.is_lost().await;
        assert!(old.take_back());
        let _client = UnixStream::connect(&path).await.unwrap();
        assert!(old.accept().await.is_ok());
        // What is not there is left alone.
        fs::remove_file(&path).unwrap();
        assert!(tokio::time::timeout(4 * LOOK, old.is_lost()).await.is_err());
    }

    #[tokio::test]
    async fn a_path_is_handed_over_and_removed_by_its_last_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let (place, key) = (Place::Unix(path.clone()), "bridge.listen");
        let old = Socket::bind(key, &place).unwrap();
        let new = Socket::bind(key, &place).unwrap();
        assert_eq!(fs::symlink_metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        drop(old);
        let _client = UnixStream::connect(&path).await.unwrap();
        assert!(new.accept().await.is_ok());
        drop(new);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        fs::write(&path, "precious").unwrap();
        let error = Socket::bind(key, &place).map(drop).unwrap_err().to_string();
        assert!(
            error.starts_with("`bridge.listen`: cannot listen on /") && error.ends_with("than a socket"),
            "{error}"
        );
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }
}
