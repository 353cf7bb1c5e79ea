//! From the collector's name to a connection: TCP, a proxy's tunnel, TLS.
//!
//! Names are looked up before HAProxy's chroot; a later look-up that fails keeps the addresses known.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use ::http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::error::SendError;
use super::link::{Fault, Link};
use super::tls::Tls;
use super::tunnel;
use crate::config::Proxy;

/// Why there is no connection.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The name gave no address, now or before.
    #[error("cannot resolve {host}: {reason}")]
    Resolve {
        /// The collector's name.
        host: String,
        /// The resolver's words.
        reason: String,
    },
    /// No address took the connection; this is the last one tried.
    #[error("cannot connect to {address}: {source}")]
    Dial {
        /// The address.
        address: SocketAddr,
        /// What the kernel said.
        source: Arc<io::Error>,
    },
    /// The proxy gives no tunnel.
    #[error("proxy {proxy}: {reason}")]
    Proxy {
        /// Its `host:port`.
        proxy: String,
        /// What is wrong.
        reason: String,
    },
    /// Certificates, or no TLS at all.
    #[error("TLS with {target}: {reason}")]
    Tls {
        /// The collector's `host:port`.
        target: String,
        /// What is wrong.
        reason: String,
    },
}

/// Opens connections to the collector: every known address in turn, the one that worked last first. When all fail the
/// name is looked up again, in case the collector has moved.
#[derive(Clone)]
pub(super) struct Connector {
    directory: Arc<Directory>,
    /// Bound on one attempt to send: half of it is for connecting, shared among the addresses.
    attempt: Duration,
    route: Arc<Route>,
    fault: Fault,
}

/// What a connection passes before it reaches the collector.
pub(super) struct Route {
    /// The collector's `host:port`.
    pub(super) target: String,
    pub(super) via: Via,
    pub(super) tls: Option<Tls>,
}

/// What is dialled.
pub(super) enum Via {
    /// The collector.
    Direct,
    /// A proxy, and then a tunnel through it.
    Tunnel(Proxy),
    /// A proxy that takes requests with whole URLs.
    Forward,
}

impl Connector {
    /// `directory` is the proxy's where there is one.
    pub(super) fn new(directory: Directory, attempt: Duration, route: Route) -> Self {
        Self { directory: Arc::new(directory), attempt, route: Arc::new(route), fault: Fault::default() }
    }

    /// A connection that broke may have been ended by TLS: then that is the error.
    pub(super) fn explain(&self, error: SendError) -> SendError {
        let is_broken = matches!(error, SendError::Broken(_));
        match is_broken.then(|| self.fault.take()).flatten() {
            Some(reason) => ConnectError::Tls { target: self.route.target.clone(), reason }.into(),
            None => error,
        }
    }

    async fn connect(self) -> Result<Link, ConnectError> {
        let route = Arc::clone(&self.route);
        let mut stream = self.dial().await?;
        if let Via::Tunnel(proxy) = &route.via {
            let opened = tunnel::open(&mut stream, proxy, &route.target).await;
            opened.map_err(|reason| ConnectError::Proxy { proxy: authority(&proxy.host, proxy.port), reason })?;
        }
        let Some(tls) = &route.tls else {
            return Ok(Link::Plain { stream, proxied: matches!(route.via, Via::Forward) });
        };
        let shaken = tls.handshake(stream).await;
        let shaken = shaken.map_err(|reason| ConnectError::Tls { target: route.target.clone(), reason })?;
        self.fault.watch();
        Ok(Link::Tls { stream: Box::new(shaken), fault: self.fault })
    }

    async fn dial(&self) -> Result<TcpStream, ConnectError> {
        let known = self.directory.addresses();
        let failure = match self.try_each(&known).await {
            Ok(stream) => return Ok(stream),
            Err(failure) => failure,
        };
        self.directory.look_up_again().await;
        let found = self.directory.addresses();
        if found.iter().all(|address| known.contains(address)) {
            return Err(failure);
        }
        self.try_each(&found).await
    }

    async fn try_each(&self, addresses: &[SocketAddr]) -> Result<TcpStream, ConnectError> {
        let share = self.attempt / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX) / 2;
        let mut failure = None;
        for address in addresses {
            match open(*address, share.min(MAX_CONNECT_TIME)).await {
                Ok(stream) => {
                    self.directory.prefer(*address);
                    return Ok(stream);
                }
                Err(source) => failure = Some(ConnectError::Dial { address: *address, source: Arc::new(source) }),
            }
        }
        Err(failure.unwrap_or_else(|| self.directory.unresolved()))
    }
}

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<Link>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    /// The URI is the one that the directory was made for.
    fn call(&mut self, _: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move { connector.connect().await.map(TokioIo::new) })
    }
}

/// The collector's addresses.
#[derive(Debug)]
pub(super) struct Directory {
    host: String,
    port: u16,
    known: Mutex<Known>,
    looking: AtomicBool,
}

/// At most [`MAX_ADDRESSES`], the preferred one first.
#[derive(Debug, Default)]
struct Known {
    addresses: Vec<SocketAddr>,
    /// Why the last look-up failed.
    failure: String,
}

impl Directory {
    /// Looks `host` up: blocks. A name without an address is not an error: it is looked up again when needed.
    pub(super) fn resolve(host: &str, port: u16) -> Self {
        let directory = Self::with_addresses(host, port, Vec::new());
        directory.look_up();
        directory
    }

    fn with_addresses(host: &str, port: u16, addresses: Vec<SocketAddr>) -> Self {
        let known = Mutex::new(Known { addresses, failure: String::new() });
        Self { host: host.to_owned(), port, known, looking: AtomicBool::new(false) }
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        self.known().addresses.clone()
    }

    fn unresolved(&self) -> ConnectError {
        ConnectError::Resolve { host: self.host.clone(), reason: self.known().failure.clone() }
    }

    fn prefer(&self, address: SocketAddr) {
        let mut known = self.known();
        if let Some(at) = known.addresses.iter().position(|one| *one == address) {
            known.addresses.rotate_left(at);
        }
    }

    /// Looks the name up on a thread of its own and waits for it, but not for long: a late answer serves the next
    /// attempt. One look-up at a time.
    async fn look_up_again(self: &Arc<Self>) {
        if self.looking.swap(true, Ordering::AcqRel) {
            return;
        }
        let directory = Arc::clone(self);
        let looking = tokio::task::spawn_blocking(move || {
            directory.look_up();
            directory.looking.store(false, Ordering::Release);
        });
        let _ = timeout(MAX_LOOK_UP_WAIT, looking).await;
    }

    fn look_up(&self) {
        let result = (self.host.as_str(), self.port).to_socket_addrs();
        let mut known = self.known();
        match result {
            Ok(found) => known.learn(found.take(MAX_ADDRESSES).collect()),
            Err(error) => match loopback(&self.host, self.port) {
                Some(addresses) => known.learn(addresses.into()),
                None => known.failure = error.to_string(),
            },
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Takes what a look-up found; nothing found keeps what is known, the same addresses keep their order.
    fn learn(&mut self, mut found: Vec<SocketAddr>) {
        if found.is_empty() {
            "no address".clone_into(&mut self.failure);
            return;
        }
        if let Some(at) = found.iter().position(|one| self.addresses.first() == Some(one)) {
            found.rotate_left(at);
        }
        self.addresses = found;
    }
}

/// `localhost` where no file and no server knows it, as in small containers (RFC 6761, 6.3).
fn loopback(host: &str, port: u16) -> Option<[SocketAddr; 2]> {
    let is_local = host.trim_end_matches('.').eq_ignore_ascii_case("localhost");
    is_local.then(|| [(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()])
}

/// `host:port`, an IPv6 address in brackets.
pub(super) fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

async fn open(address: SocketAddr, within: Duration) -> io::Result<TcpStream> {
    let stream = timeout(within, TcpStream::connect(address)).await.map_err(|_| io::ErrorKind::TimedOut)??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Addresses that one name may have.
const MAX_ADDRESSES: usize = 16;
/// For one address.
const MAX_CONNECT_TIME: Duration = Duration::from_secs(5);
/// A resolver that hangs must not hide why the known addresses failed.
const MAX_LOOK_UP_WAIT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    /// Nobody listens there any more.
    async fn refusing() -> SocketAddr {
        tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
    }

    fn connector(host: &str, addresses: Vec<SocketAddr>) -> Connector {
        connecting(Directory::with_addresses(host, 1, addresses))
    }

    fn connecting(directory: Directory) -> Connector {
        let route = Route { target: "c:1".to_owned(), via: Via::Direct, tls: None };
        Connector::new(directory, Duration::from_secs(2), route)
    }

    #[tokio::test]
    async fn second_address_is_tried_when_the_first_refuses_and_remembered() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (closed, open) = (refusing().await, listener.local_addr().unwrap());
        let connector = connector("127.0.0.1", vec![closed, open]);
        connector.clone().dial().await.unwrap();
        assert_eq!(connector.directory.addresses(), [open, closed]);
    }

    #[tokio::test]
    async fn refused_connection_names_the_address_and_the_reason() {
        let closed = refusing().await;
        let error = connector("127.0.0.1", vec![closed]).try_each(&[closed]).await.unwrap_err();
        assert!(error.to_string().contains(&closed.to_string()), "{error}");
        assert!(error.to_string().to_lowercase().contains("connection refused"), "{error}");
    }

    #[tokio::test]
    async fn name_without_an_address_is_an_error_of_the_attempt_only() {
        let directory = Directory::resolve("no-such-host.invalid", 4317);
        let error = connecting(directory).dial().await.unwrap_err();
        assert!(matches!(&error, ConnectError::Resolve { host, .. } if host == "no-such-host.invalid"), "{error}");
        assert!(error.to_string().starts_with("cannot resolve no-such-host.invalid: "), "{error}");
    }

    #[test]
    fn localhost_needs_no_file_and_no_server() {
        for name in ["localhost", "LocalHost", "localhost."] {
            let addresses = loopback(name, 4318).unwrap();
            assert_eq!(addresses.map(|address| address.to_string()), ["127.0.0.1:4318", "[::1]:4318"]);
        }
        for name in ["localhost.example", "local", "127.0.0.1"] {
            assert_eq!(loopback(name, 4318), None);
        }
    }

    #[tokio::test]
    async fn name_that_resolves_later_is_found() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let directory = Directory::with_addresses("127.0.0.1", listener.local_addr().unwrap().port(), Vec::new());
        assert!(connecting(directory).dial().await.is_ok());
    }

    #[test]
    fn failed_look_up_keeps_the_addresses_known() {
        let known: SocketAddr = "127.0.0.1:1".parse().unwrap();
        let directory = Directory::with_addresses("no-such-host.invalid", 1, vec![known]);
        directory.look_up();
        assert_eq!(directory.addresses(), [known]);
    }
}
