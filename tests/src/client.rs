//! Clients: raw bytes, requests over HTTP/1.1, HTTP/2, HTTP/3 and gRPC, clients that leave early, and load.

mod grpc;
mod h2;
mod h3;
mod load;
mod response;

use std::fmt::Write as _;
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::SockRef;

pub use grpc::ask_health;
pub use h2::{block_on, h2_get, h2_get_all, h2_get_each};
pub use h3::h3_get_each;
pub use load::{Load, Report, RunningLoad, Until, load};
pub use response::Response;

use crate::poll::SOON;

/// Sends bytes, and returns what comes back until a response is complete or the connection closes.
#[track_caller]
pub fn raw(addr: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut session = Session::connect(addr);
    session.send(bytes).unwrap();
    let head_only = bytes.starts_with(b"HEAD ");
    // A broken answer is an answer too: the bytes tell.
    let _ = session.fill(head_only);
    session.buffer
}

/// A GET on a connection of its own.
#[track_caller]
pub fn get(addr: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Response {
    request(addr, "GET", path, headers, b"")
}

/// A request on a connection of its own. A body is sent with its length.
#[track_caller]
pub fn request(addr: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
    let answer = try_request(addr, method, path, headers, body);
    answer.unwrap_or_else(|e| panic!("{method} {path} at {addr}: {e}"))
}

/// [`request`], for where there may be no complete answer.
pub fn try_request(
    addr: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Response> {
    Session::try_connect(addr)?.request(method, path, headers, body)
}

/// Sends a GET, reads `bytes` of the answer, and resets the connection.
#[track_caller]
pub fn abort_in_response(addr: SocketAddr, path: &str, bytes: usize) {
    let mut session = Session::connect(addr);
    session.send(&head("GET", path, addr, &[], 0)).unwrap();
    let mut part = vec![0; bytes];
    session.stream.read_exact(&mut part).unwrap();
    session.abort();
}

/// Sends the head of a POST that promises `promised` bytes, `sent` of them, and resets the connection.
#[track_caller]
pub fn abort_in_request(addr: SocketAddr, path: &str, promised: usize, sent: usize) {
    let mut session = Session::connect(addr);
    session.send(&head("POST", path, addr, &[], promised)).unwrap();
    session.send(&vec![b'x'; sent]).unwrap();
    session.abort();
}

/// A connection for HTTP/1.1 that stays open from request to request.
pub struct Session {
    addr: SocketAddr,
    stream: TcpStream,
    /// Received and not yet used.
    buffer: Vec<u8>,
}

impl Session {
    /// Connects. Every read gives up after [`SOON`].
    #[track_caller]
    pub fn connect(addr: SocketAddr) -> Self {
        Self::try_connect(addr).unwrap_or_else(|e| panic!("cannot connect to {addr}: {e}"))
    }

    /// [`Self::connect`], for where nobody may listen.
    pub fn try_connect(addr: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&addr, SOON)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SOON))?;
        Ok(Self { addr, stream, buffer: Vec::new() })
    }

    /// The client's own address, which the proxy sees as its peer.
    pub fn local_addr(&self) -> SocketAddr {
        self.stream.local_addr().unwrap()
    }

    /// Sends a request and reads the answer. A body is sent with its length; `host` is added unless given.
    pub fn request(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Response> {
        let head = head(method, path, self.addr, headers, body.len());
        self.send(&[&head, body].concat())?;
        self.read_response(method == "HEAD")
    }

    /// A GET.
    pub fn get(&mut self, path: &str, headers: &[(&str, &str)]) -> Result<Response> {
        self.request("GET", path, headers, b"")
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes)
    }

    /// Reads one response; `head_only` for the answer to a HEAD.
    pub fn read_response(&mut self, head_only: bool) -> Result<Response> {
        let (response, length) = self.fill(head_only)?;
        self.buffer.drain(..length);
        Ok(response)
    }

    /// Reads so many bytes that belong to no response, as after an upgrade.
    pub fn read_bytes(&mut self, count: usize) -> Result<Vec<u8>> {
        while self.buffer.len() < count {
            if self.more()? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.buffer.drain(..count).collect())
    }

    /// Whether the server has closed its side. Waits for it until [`SOON`].
    pub fn is_closed(&mut self) -> bool {
        matches!(self.more(), Ok(0)) || self.stream.take_error().is_ok_and(|e| e.is_some())
    }

    /// Closes the connection with a reset.
    pub fn abort(self) {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Whether no byte of an answer has come since the last one.
    fn is_untouched(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Receives until the buffer holds a response; returns it with its length.
    fn fill(&mut self, head_only: bool) -> Result<(Response, usize)> {
        let mut closed = false;
        loop {
            if let Some(found) = Response::parse(&self.buffer, closed, head_only)? {
                return Ok(found);
            }
            if closed {
                return Err(Error::new(ErrorKind::UnexpectedEof, "closed before the end of the response"));
            }
            closed = self.more()? == 0;
        }
    }

    fn more(&mut self) -> Result<usize> {
        let mut part = [0; 16_384];
        let length = self.stream.read(&mut part)?;
        self.buffer.extend_from_slice(&part[..length]);
        Ok(length)
    }
}

fn head(method: &str, path: &str, addr: SocketAddr, headers: &[(&str, &str)], body_length: usize) -> Vec<u8> {
    let has = |name: &str| headers.iter().any(|(k, _)| k.eq_ignore_ascii_case(name));
    let mut text = format!("{method} {path} HTTP/1.1\r\n");
    if !has("host") {
        let _ = write!(text, "host: {addr}\r\n");
    }
    if !has("content-length") && !has("transfer-encoding") && (body_length > 0 || method == "POST" || method == "PUT") {
        let _ = write!(text, "content-length: {body_length}\r\n");
    }
    for (name, value) in headers {
        let _ = write!(text, "{name}: {value}\r\n");
    }
    text += "\r\n";
    text.into_bytes()
}
