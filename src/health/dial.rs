//! From an address to a connection that is ready for requests: name, TCP, TLS, HTTP/2, within one bound.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use ipnet::IpNet;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::address::Address;
use super::alert::Alerted;
use super::fault::{LinkFault, Stage};
use super::link::{Fault, Io, Link};
use super::resolve;
use super::tls::{ALPN, Tls};
use super::voice::Voice;
use crate::runtime::Tasks;

/// Where connections go, and how.
#[derive(Clone)]
pub(crate) struct Dial {
    /// The server.
    pub(crate) address: Address,
    /// Absent where nothing is encrypted.
    pub(crate) tls: Option<Encryption>,
    /// Where it may lead; empty means anywhere. Looked at after names are resolved, so that a name is no way around it.
    pub(crate) networks: Arc<[IpNet]>,
    /// For messages.
    pub(crate) backend: String,
    /// What reading certificates again has to say.
    pub(crate) voice: Arc<Voice>,
    /// What connections run on.
    pub(crate) tasks: Tasks,
}

/// Certificates, and the name that the server's must bear.
#[derive(Clone)]
pub(crate) struct Encryption {
    pub(crate) tls: Arc<Tls>,
    pub(crate) name: ServerName<'static>,
}

impl Dial {
    /// A connection whose server has sent its HTTP/2 settings, within `bound`.
    pub(crate) async fn connect(&self, bound: Duration) -> Result<Link, LinkFault> {
        let stage = AtomicU8::new(0);
        let link = timeout(bound, self.steps(&stage)).await;
        link.unwrap_or_else(|_| {
            let stage = STAGES.get(usize::from(stage.load(Ordering::Relaxed))).copied().unwrap_or(Stage::Tcp);
            Err(LinkFault::ConnectTimeout(stage, bound.as_millis()))
        })
    }

    async fn steps(&self, stage: &AtomicU8) -> Result<Link, LinkFault> {
        let at = |now: Stage| {
            let index = STAGES.iter().position(|stage| *stage == now).unwrap_or_default();
            stage.store(u8::try_from(index).unwrap_or_default(), Ordering::Relaxed);
        };
        let fault = Fault::default();
        let mut io = self.dial(&at).await?;
        if let Some(encryption) = &self.tls {
            at(Stage::Tls);
            io = Box::pin(Alerted { io: self.encrypt(encryption, io).await?, fault: Arc::clone(&fault) });
        }
        at(Stage::Settings);
        match Link::open(io, fault, &self.tasks).await {
            // With TLS 1.3 a server may refuse our certificate, or the want of one, without a word.
            Err(LinkFault::Closed(_)) if self.tls.is_some() => {
                Err(LinkFault::Tls("the server closed the connection right after the handshake".to_owned()))
            }
            link => link,
        }
    }

    async fn dial(&self, at: &impl Fn(Stage)) -> Result<Pin<Box<dyn Io>>, LinkFault> {
        match &self.address {
            Address::Tcp(address) => {
                at(Stage::Tcp);
                self.tcp(*address).await
            }
            Address::Unix(path) => {
                at(Stage::Tcp);
                let stream = UnixStream::connect(path).await.map_err(|error| LinkFault::connect(&error))?;
                Ok(Box::pin(stream))
            }
            Address::Name(host, port) => {
                at(Stage::Resolve);
                let found = resolve::look_up(host, *port, &self.tasks).await?;
                at(Stage::Tcp);
                resolve::first(found, |address| self.tcp(address)).await
            }
        }
    }

    async fn tcp(&self, address: SocketAddr) -> Result<Pin<Box<dyn Io>>, LinkFault> {
        let ip = address.ip().to_canonical();
        if self.networks.is_empty() || self.networks.iter().any(|network| network.contains(&ip)) {
            return tcp(address).await;
        }
        Err(LinkFault::Forbidden(ip))
    }

    async fn encrypt(&self, encryption: &Encryption, io: Pin<Box<dyn Io>>) -> Result<Pin<Box<dyn Io>>, LinkFault> {
        let config = encryption.tls.config(&self.backend, &self.voice).await;
        let stream = TlsConnector::from(config).connect(encryption.name.clone(), io).await;
        let stream = stream.map_err(|error| LinkFault::tls(&error))?;
        if stream.get_ref().1.alpn_protocol() != Some(ALPN) {
            return Err(LinkFault::Tls("the server does not offer HTTP/2 (ALPN `h2`)".to_owned()));
        }
        Ok(Box::pin(stream))
    }
}

async fn tcp(address: SocketAddr) -> Result<Pin<Box<dyn Io>>, LinkFault> {
    let stream = TcpStream::connect(address).await.map_err(|error| LinkFault::connect(&error))?;
    // A check is two small writes; Nagle's algorithm would only delay it.
    let _ = stream.set_nodelay(true);
    Ok(Box::pin(stream))
}

const STAGES: [Stage; 4] = [Stage::Resolve, Stage::Tcp, Stage::Tls, Stage::Settings];
