//! HTTP/1.1 by hand: headers are seen as they were written, and faults are faults of the wire.

use std::io::{Error, ErrorKind, Result};
use std::time::{Duration, Instant};

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::route::{CUT, HELLO, Route, header_lines};
use super::{Journal, Seen};

/// Answers requests one after another, until the client or a route ends the connection.
pub(super) async fn serve(stream: TcpStream, journal: &Journal, connection: u64) -> Result<()> {
    let mut wire = Wire { stream, buffer: Vec::new() };
    while let Some(head) = wire.read_head().await? {
        let Some(mut seen) = parse_head(&head, connection) else { return wire.respond(400, b"bad request\n").await };
        let (length, end) = wire.read_body(&seen).await;
        (seen.body_length, seen.complete, seen.at) = (length, end.is_ok(), Instant::now());
        journal.record(seen.clone());
        end?;
        if !wire.answer(&seen).await? || wants_close(&seen) {
            break;
        }
    }
    Ok(())
}

struct Wire {
    stream: TcpStream,
    /// Read and not yet used.
    buffer: Vec<u8>,
}

impl Wire {
    /// Everything up to the empty line; `None` when the client has nothing more to say.
    async fn read_head(&mut self) -> Result<Option<String>> {
        const END: &[u8] = b"\r\n\r\n";
        loop {
            if let Some(end) = self.buffer.windows(END.len()).position(|window| window == END) {
                let head = self.buffer.drain(..end + END.len()).collect::<Vec<u8>>();
                return Ok(Some(String::from_utf8_lossy(&head).into_owned()));
            }
            if self.more().await.is_err() {
                return Ok(None);
            }
        }
    }

    /// How much of the body came, and whether it came to its end.
    async fn read_body(&mut self, seen: &Seen) -> (usize, Result<()>) {
        let mut total = 0;
        if seen.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            let end = self.read_chunks(&mut total).await;
            return (total, end);
        }
        let length = seen.header("content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
        let end = self.skip(length, &mut total).await;
        (total, end)
    }

    async fn read_chunks(&mut self, total: &mut usize) -> Result<()> {
        loop {
            let line = self.read_line().await?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).map_err(|e| Error::new(ErrorKind::InvalidData, e))?;
            if size == 0 {
                while !self.read_line().await?.is_empty() {}
                return Ok(());
            }
            self.skip(size, total).await?;
            self.read_line().await?;
        }
    }

    /// A line without its end.
    async fn read_line(&mut self) -> Result<String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|window| window == b"\r\n") {
                let line = self.buffer.drain(..end + 2).collect::<Vec<u8>>();
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            self.more().await?;
        }
    }

    async fn skip(&mut self, length: usize, total: &mut usize) -> Result<()> {
        let mut left = length;
        loop {
            let part = left.min(self.buffer.len());
            self.buffer.drain(..part);
            *total += part;
            left -= part;
            if left == 0 {
                return Ok(());
            }
            self.more().await?;
        }
    }

    async fn more(&mut self) -> Result<()> {
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Does what the path asks for. `false` ends the connection.
    async fn answer(&mut self, seen: &Seen) -> Result<bool> {
        let head_only = seen.method == "HEAD";
        match Route::parse(&seen.target) {
            Route::Status(status) => self.respond(status, status_body(status, head_only).as_bytes()).await?,
            Route::Delay(delay) => {
                sleep(delay).await;
                self.respond(200, HELLO).await?;
            }
            _ if head_only => self.respond(200, b"").await?,
            Route::Bytes(count) => self.respond(200, &vec![b'x'; count]).await?,
            Route::Chunked(count) => self.respond_chunked(count).await?,
            Route::Drip(count, delay) => self.respond_slowly(count, delay).await?,
            Route::EchoHeaders => self.respond(200, &header_lines(&seen.headers)).await?,
            Route::Early => {
                self.send(b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n").await?;
                self.respond(200, HELLO).await?;
            }
            Route::Upgrade => return self.echo().await,
            Route::Hang => std::future::pending().await,
            Route::Close => return Ok(false),
            Route::Reset => {
                SockRef::from(&self.stream).set_linger(Some(Duration::ZERO))?;
                return Ok(false);
            }
            Route::Cut => {
                let (promised, sent) = CUT;
                self.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {promised}\r\n\r\n").as_bytes()).await?;
                self.send(sent).await?;
                return Ok(false);
            }
            Route::Garbage => {
                self.send(b"\x01\x02 this is no HTTP\r\n\r\n").await?;
                return Ok(false);
            }
            Route::Hello => self.respond(200, HELLO).await?,
        }
        Ok(true)
    }

    async fn respond(&mut self, status: u16, body: &[u8]) -> Result<()> {
        let length = if has_no_body(status) { String::new() } else { format!("content-length: {}\r\n", body.len()) };
        let head = format!("HTTP/1.1 {status} {}\r\ncontent-type: text/plain\r\n{length}\r\n", reason(status));
        self.send(&[head.as_bytes(), body].concat()).await
    }

    async fn respond_chunked(&mut self, count: usize) -> Result<()> {
        self.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await?;
        for _ in 0..count {
            self.send(b"6\r\nchunk\n\r\n").await?;
        }
        self.send(b"0\r\n\r\n").await
    }

    async fn respond_slowly(&mut self, count: usize, delay: Duration) -> Result<()> {
        self.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {count}\r\n\r\n").as_bytes()).await?;
        for _ in 0..count {
            sleep(delay).await;
            self.send(b".").await?;
        }
        Ok(())
    }

    async fn echo(&mut self) -> Result<bool> {
        self.send(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n").await?;
        loop {
            let bytes = std::mem::take(&mut self.buffer);
            self.send(&bytes).await?;
            if self.more().await.is_err() {
                return Ok(false);
            }
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).await
    }
}

fn parse_head(head: &str, connection: u64) -> Option<Seen> {
    let mut lines = head.trim_end().split("\r\n");
    let mut start = lines.next()?.splitn(3, ' ');
    let (method, target, version) = (start.next()?, start.next()?, start.next()?);
    let headers = lines.map(|line| line.split_once(':').map(|(k, v)| (k.to_owned(), v.trim().to_owned())));
    Some(Seen {
        method: method.to_owned(),
        target: target.to_owned(),
        version: version.to_owned(),
        headers: headers.collect::<Option<_>>()?,
        body_length: 0,
        complete: false,
        connection,
        at: Instant::now(),
    })
}

fn wants_close(seen: &Seen) -> bool {
    let closes = seen.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    closes || seen.version == "HTTP/1.0"
}

fn has_no_body(status: u16) -> bool {
    status == 204 || status == 304 || status < 200
}

fn status_body(status: u16, head_only: bool) -> String {
    if head_only || has_no_body(status) { String::new() } else { format!("{status}\n") }
}

fn reason(status: u16) -> &'static str {
    let known = http::StatusCode::from_u16(status).ok();
    known.and_then(|status| status.canonical_reason()).unwrap_or("Unknown")
}
