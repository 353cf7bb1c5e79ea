//! What TLS says after its handshake: HTTP/2 would keep the text and forget what kind of error it was.
//!
//! With TLS 1.3 a server refuses our certificate only then.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::rustls;

use super::fault::LinkFault;
use super::link::{Fault, Io};

/// An encrypted connection that notes why it failed.
pub(crate) struct Alerted {
    pub(crate) io: Pin<Box<dyn Io>>,
    pub(crate) fault: Fault,
}

impl AsyncRead for Alerted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = self.io.as_mut().poll_read(cx, buffer);
        if let Poll::Ready(Err(error)) = &read
            && is_tls(error)
        {
            let _ = self.fault.set(LinkFault::tls(error));
        }
        read
    }
}

impl AsyncWrite for Alerted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.io.as_mut().poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.as_mut().poll_shutdown(cx)
    }
}

fn is_tls(error: &io::Error) -> bool {
    error.get_ref().and_then(<dyn Error + Send + Sync>::downcast_ref::<rustls::Error>).is_some()
}
