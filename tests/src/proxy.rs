//! A small HTTP proxy: tunnels and whole URLs. Every name leads to this machine.

use std::io::Result;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpStream;

use crate::server::Server;

/// What it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyRequest {
    /// The method; `CONNECT` for a tunnel.
    pub method: String,
    /// `host:port` for a tunnel, else a URL.
    pub target: String,
    /// `Proxy-Authorization`.
    pub authorization: Option<String>,
}

/// A proxy for tests. It sees the first request of each connection only.
pub struct HttpProxy {
    server: Server,
    seen: Arc<Mutex<Vec<ProxyRequest>>>,
}

impl HttpProxy {
    /// Starts on a free port and serves everyone.
    pub fn start() -> Self {
        Self::start_with(None)
    }

    /// The same, for those only who send this `Proxy-Authorization`.
    pub fn demanding(authorization: &str) -> Self {
        Self::start_with(Some(authorization.to_owned()))
    }

    fn start_with(demanded: Option<String>) -> Self {
        let seen = Arc::<Mutex<Vec<ProxyRequest>>>::default();
        let (log, demanded) = (seen.clone(), Arc::new(demanded));
        let serve = Arc::new(move |stream| -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
            let (log, demanded) = (log.clone(), demanded.clone());
            Box::pin(async move {
                // How a connection ended is the client's business.
                let _ = pass(stream, &log, demanded.as_deref()).await;
            })
        });
        Self { server: Server::start(serve), seen }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<ProxyRequest> {
        self.seen.lock().unwrap().clone()
    }
}

async fn pass(mut client: TcpStream, log: &Mutex<Vec<ProxyRequest>>, demanded: Option<&str>) -> Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let (line, headers) = head.split_once("\r\n").unwrap();
    let mut words = line.split(' ');
    let (method, target) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
    let is_ours = |line: &&str| line.to_ascii_lowercase().starts_with("proxy-authorization:");
    let authorization = headers.split("\r\n").find(is_ours).and_then(|line| Some(line.split_once(": ")?.1.to_owned()));
    let refused = demanded.is_some_and(|demanded| authorization.as_deref() != Some(demanded));
    log.lock().unwrap().push(ProxyRequest { method: method.clone(), target: target.clone(), authorization });
    if refused {
        return client.write_all(b"HTTP/1.1 407 Authenticate\r\ncontent-length: 0\r\n\r\n").await;
    }
    let authority = target.trim_start_matches("http://").split('/').next().unwrap();
    let port: u16 = authority.rsplit_once(':').unwrap().1.parse().unwrap();
    let mut server = TcpStream::connect(("127.0.0.1", port)).await?;
    if method == "CONNECT" {
        client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
    } else {
        let path = target.trim_start_matches("http://").trim_start_matches(authority);
        let kept: Vec<&str> = headers.split("\r\n").filter(|line| !is_ours(line)).collect();
        server.write_all(format!("{method} {path} HTTP/1.1\r\n{}", kept.join("\r\n")).as_bytes()).await?;
    }
    copy_bidirectional(&mut client, &mut server).await.map(|_| ())
}
