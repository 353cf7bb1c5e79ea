//! A connection to the collector, plain or with TLS.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::tls;

/// One of both, as the HTTP client takes it.
#[derive(Debug)]
pub(super) enum Link {
    Plain {
        stream: TcpStream,
        /// Requests name the whole URL: an HTTP proxy is at the other end.
        proxied: bool,
    },
    Tls {
        stream: Box<TlsStream<TcpStream>>,
        fault: Fault,
    },
}

/// Why TLS ended the last connection. With TLS 1.3 a client certificate is refused after the handshake, when the HTTP client has
/// the connection already, and tells no more than that it was closed.
#[derive(Debug, Clone, Default)]
pub(super) struct Fault(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    /// The connection is new, and nothing has come from the other side.
    silent: bool,
    reason: Option<String>,
}

impl Fault {
    /// A new connection has TLS.
    pub(super) fn watch(&self) {
        *self.seen() = Seen { silent: true, reason: None };
    }

    /// The reason, once. The word about it may be lost, because the other side closes with our request unread.
    pub(super) fn take(&self) -> Option<String> {
        let seen = std::mem::take(&mut *self.seen());
        seen.reason.or_else(|| seen.silent.then(|| CLOSED_EARLY.to_owned()))
    }

    fn note(&self, read: &Poll<io::Result<()>>, bytes: usize) {
        match read {
            Poll::Ready(Ok(())) if bytes > 0 => self.seen().silent = false,
            Poll::Ready(Err(error)) => self.seen().reason = tls::reason_within(error),
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const CLOSED_EARLY: &str =
    "the collector closed the connection after the handshake: it may ask for another client certificate";

impl Connection for Link {
    fn connected(&self) -> Connected {
        Connected::new().proxy(matches!(self, Self::Plain { proxied: true, .. }))
    }
}

impl AsyncRead for Link {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain { stream, .. } => Pin::new(stream).poll_read(context, buffer),
            Self::Tls { stream, fault } => {
                let before = buffer.filled().len();
                let read = Pin::new(stream).poll_read(context, buffer);
                fault.note(&read, buffer.filled().len() - before);
                read
            }
        }
    }
}

impl AsyncWrite for Link {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain { stream, .. } => Pin::new(stream).poll_write(context, bytes),
            Self::Tls { stream, .. } => Pin::new(stream).poll_write(context, bytes),
        }
    }

    // Without these two the client copies every body into one buffer before it writes.
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain { stream, .. } => Pin::new(stream).poll_write_vectored(context, parts),
            Self::Tls { stream, .. } => Pin::new(stream).poll_write_vectored(context, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain { stream, .. } => stream.is_write_vectored(),
            Self::Tls { stream, .. } => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain { stream, .. } => Pin::new(stream).poll_flush(context),
            Self::Tls { stream, .. } => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain { stream, .. } => Pin::new(stream).poll_shutdown(context),
            Self::Tls { stream, .. } => Pin::new(stream).poll_shutdown(context),
        }
    }
}
