//! One HTTP/2 connection to a server. Closed when its last clone goes.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, Connection, ResponseFuture, SendRequest};
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::fault::LinkFault;
use crate::runtime::Tasks;
use crate::stats;

/// What a connection runs over.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Io for T {}

/// A connection whose server has sent its settings.
#[derive(Clone)]
pub(crate) struct Link {
    send: SendRequest<Bytes>,
    /// Why the connection as a whole failed, once it has.
    fault: Fault,
    _task: Arc<AbortOnDrop>,
}

/// Ends a task with its owner.
pub(crate) struct AbortOnDrop(pub(crate) JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// An open connection, counted.
struct Counted;

impl Counted {
    fn new() -> Self {
        stats::HEALTH_CONNECTIONS_OPENED.add(1);
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        stats::HEALTH_CONNECTIONS_CLOSED.add(1);
    }
}

impl Link {
    /// Speaks HTTP/2 on `io` until the server's settings have come. The caller bounds the time. `fault` is where `io`
    /// itself may say why it failed.
    pub(crate) async fn open(io: Pin<Box<dyn Io>>, fault: Fault, tasks: &Tasks) -> Result<Self, LinkFault> {
        let mut builder = Builder::new();
        builder
            .enable_push(false)
            .initial_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_header_list_size(MAX_HEADER_BYTES)
            // The settings' own number replaces it: how we know that they have come.
            .initial_max_send_streams(0);
        let handshake = builder.handshake(io).await;
        let (send, mut connection) = handshake.map_err(|error| explain(&fault, &error))?;
        let settings = await_settings(&mut connection, &send).await;
        settings.map_err(|error| error.map_or_else(closed, |error| explain(&fault, &error)))?;

        let (written, counted) = (Arc::clone(&fault), Counted::new());
        let task = tasks.spawn("health connection", async move {
            let _counted = counted;
            // Requests still waiting are told only when `connection` goes: they find the reason written.
            let mut connection = pin!(connection);
            if let Err(error) = connection.as_mut().await {
                let _ = written.set(LinkFault::from_h2(&error));
            } else {
                let _ = written.set(closed());
            }
        });
        Ok(Self { send, fault, _task: Arc::new(AbortOnDrop(task)) })
    }

    /// Whether a further request may be tried on it.
    pub(crate) fn is_open(&self) -> bool {
        self.fault.get().is_none()
    }

    /// Returns once the server has said good-bye (`GOAWAY`) or the connection has gone, seen at most `every` later: a
    /// stream that has begun goes on in silence then. Asks nobody.
    pub(crate) async fn retired(&self, every: Duration) {
        while self.takes_requests() {
            sleep(every).await;
        }
    }

    fn takes_requests(&self) -> bool {
        let mut look = Context::from_waker(Waker::noop());
        self.is_open() && !matches!(self.send.clone().poll_ready(&mut look), Poll::Ready(Err(_)))
    }

    /// Sends `request` with `body`, whole. Dropping what comes back resets the stream.
    pub(crate) async fn send(&self, request: Request<()>, body: Bytes) -> Result<ResponseFuture, LinkFault> {
        let mut ready = self.send.clone().ready().await.map_err(|error| self.explain(&error))?;
        let (response, mut stream) = ready.send_request(request, false).map_err(|error| self.explain(&error))?;
        stream.send_data(body, true).map_err(|error| self.explain(&error))?;
        Ok(response)
    }

    /// A request's error, or, when it says only that the connection has gone, why that went.
    pub(crate) fn explain(&self, error: &h2::Error) -> LinkFault {
        explain(&self.fault, error)
    }
}

/// Why a connection failed, once it has. The first reason stays.
pub(crate) type Fault = Arc<OnceLock<LinkFault>>;

fn explain(fault: &Fault, error: &h2::Error) -> LinkFault {
    match (LinkFault::from_h2(error), fault.get()) {
        (LinkFault::Closed(_), Some(reason)) => reason.clone(),
        (fault, _) => fault,
    }
}

fn closed() -> LinkFault {
    LinkFault::Closed("by the server".to_owned())
}

/// The error is absent where the connection ended in order.
async fn await_settings<T: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut Connection<T, Bytes>,
    send: &SendRequest<Bytes>,
) -> Result<(), Option<h2::Error>> {
    poll_fn(|cx| match Pin::new(&mut *connection).poll(cx) {
        Poll::Ready(end) => Poll::Ready(Err(end.err())),
        Poll::Pending if send.current_max_send_streams() > 0 => Poll::Ready(Ok(())),
        Poll::Pending => Poll::Pending,
    })
    .await
}

/// Bytes that a server may send unasked: one answer of the longest kind.
const WINDOW: u32 = 65_535 + 1024;

/// Bytes of one answer's header fields; more is refused. An answer of a health check has a few hundred.
const MAX_HEADER_BYTES: u32 = 16 * 1024;
