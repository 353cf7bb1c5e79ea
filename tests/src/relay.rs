//! A way to a server that is slow, or ends nowhere.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::server::{Serve, Server};

/// Passes connections on to one server, byte by byte as they are. It listens on a port of its own.
pub struct Relay {
    how: Arc<How>,
    server: Server,
}

#[derive(Default)]
struct How {
    delay_millis: AtomicU64,
    mute: AtomicBool,
}

impl Relay {
    /// Passes on at once what comes.
    pub fn to(addr: SocketAddr) -> Self {
        let how = Arc::new(How::default());
        let shared = Arc::clone(&how);
        let serve: Serve = Arc::new(move |stream| {
            let how = Arc::clone(&shared);
            Box::pin(async move {
                // How a connection ended is the client's business, and the server's.
                let _ = pass(stream, addr, &how).await;
            })
        });
        Self { how, server: Server::start(serve) }
    }

    /// Its own address.
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// Every piece of what the server says arrives so much later.
    pub fn delay(&self, delay: Duration) {
        self.how.delay_millis.store(u64::try_from(delay.as_millis()).unwrap(), Ordering::Relaxed);
    }

    /// What the server says arrives no more; or again, but for what was swallowed.
    pub fn mute(&self, mute: bool) {
        self.how.mute.store(mute, Ordering::Relaxed);
    }

    /// Breaks every connection and takes no new one.
    pub fn stop(&self) {
        self.server.stop();
    }

    /// Takes connections again.
    pub fn restart(&self) {
        self.server.restart();
    }
}

async fn pass(client: TcpStream, addr: SocketAddr, how: &How) -> std::io::Result<()> {
    let server = TcpStream::connect(addr).await?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let never = How::default();
    tokio::try_join!(copy(from_client, to_server, &never), copy(from_server, to_client, how))?;
    Ok(())
}

async fn copy(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, how: &How) -> std::io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        let length = from.read(&mut piece).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        tokio::time::sleep(Duration::from_millis(how.delay_millis.load(Ordering::Relaxed))).await;
        if !how.mute.load(Ordering::Relaxed) {
            to.write_all(&piece[..length]).await?;
        }
    }
}

/// Bytes that are passed on at once.
const PIECE: usize = 16 * 1024;
