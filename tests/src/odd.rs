//! Servers that are not what a health check expects.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::server::{BoxError, Serve, Server, serve_http};

/// A server that says one thing to everybody, whatever it is asked.
pub struct OddServer {
    sent: Arc<AtomicU64>,
    server: Server,
}

impl OddServer {
    /// Says these bytes to every connection, and then listens for ever.
    pub fn saying(words: &'static [u8]) -> Self {
        let serve: Serve = Arc::new(move |mut stream| {
            Box::pin(async move {
                let _ = stream.write_all(words).await;
                let mut heard = [0; 1024];
                while stream.read(&mut heard).await.is_ok_and(|length| length > 0) {}
            })
        });
        Self { sent: Arc::default(), server: Server::start(serve) }
    }

    /// Answers every call over HTTP/2 with one gRPC message of so many bytes, without a `content-length`.
    pub fn answering_at_length(bytes: u32) -> Self {
        let sent = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&sent);
        let serve: Serve = Arc::new(move |stream| {
            let counted = Arc::clone(&counted);
            Box::pin(serve_http(stream, move |_| {
                let body = Message { left: bytes, has_begun: false, sent: Arc::clone(&counted) };
                let response = Response::builder().header("content-type", "application/grpc");
                std::future::ready(Ok(response.body(body.boxed_unsync()).unwrap()))
            }))
        });
        Self { sent, server: Server::start(serve) }
    }

    /// Its address.
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// Bytes of answers that its clients have made room for.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

/// gRPC over HTTP/2, Length-Prefixed-Message, of zeros.
struct Message {
    left: u32,
    has_begun: bool,
    sent: Arc<AtomicU64>,
}

impl HttpBody for Message {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let data = if !std::mem::replace(&mut self.has_begun, true) {
            [&[0], self.left.to_be_bytes().as_slice()].concat().into()
        } else if self.left == 0 {
            return Poll::Ready(None);
        } else {
            let piece = self.left.min(u32::try_from(ZEROS.len()).unwrap());
            self.left -= piece;
            Bytes::from_static(&ZEROS[..piece as usize])
        };
        self.sent.fetch_add(data.len() as u64, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(data))))
    }
}

static ZEROS: [u8; 16 * 1024] = [0; 16 * 1024];
