//! One HTTP/2 connection to a server, as a transport for the generated gRPC client. Closed when its last clone goes.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, USER_AGENT};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tonic::body::Body;

use super::address::Address;
use super::fault::LinkFault;
use crate::runtime::Tasks;

/// A connection. Carries one call at a time: [`Link::server_refused`] speaks of the last one.
#[derive(Clone)]
pub(crate) struct Link {
    send: SendRequest<Body>,
    notes: Arc<Notes>,
    /// The connection's tasks end when every clone of this has gone.
    _open: Arc<watch::Sender<()>>,
}

/// What the generated client does not hand on.
#[derive(Default)]
struct Notes {
    /// Why the connection as a whole failed, once it has.
    fault: OnceLock<LinkFault>,
    /// The last call's answer holds a `grpc-status` that is a failure.
    refused: AtomicBool,
}

impl Link {
    /// Connects. The caller bounds the time.
    pub(crate) async fn connect(address: &Address, tasks: &Tasks) -> Result<Self, LinkFault> {
        match address {
            Address::Tcp(address) => {
                let stream = TcpStream::connect(address).await.map_err(|error| LinkFault::connect(&error))?;
                // A check is two small writes; Nagle's algorithm would only delay it.
                let _ = stream.set_nodelay(true);
                Self::handshake(stream, tasks).await
            }
            Address::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(|error| LinkFault::connect(&error))?;
                Self::handshake(stream, tasks).await
            }
        }
    }

    async fn handshake<S>(stream: S, tasks: &Tasks) -> Result<Self, LinkFault>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, closed) = watch::channel(());
        let spawner = Spawner { tasks: tasks.clone(), closed };
        let handshake =
            Builder::new(spawner.clone()).max_header_list_size(MAX_HEADER_BYTES).handshake(TokioIo::new(stream));
        let (send, connection) = handshake.await.map_err(|error| LinkFault::from_error(&error))?;
        let notes = Arc::new(Notes::default());
        let written = Arc::clone(&notes);
        spawner.spawn(async move {
            let mut connection = pin!(connection);
            // Requests still waiting are told only when `connection` goes: they find the reason written.
            if let Err(error) = connection.as_mut().await {
                let _ = written.fault.set(LinkFault::from_error(&error));
            }
        });
        Ok(Self { send, notes, _open: Arc::new(sender) })
    }

    /// Whether a further request may be tried on it.
    pub(crate) fn is_open(&self) -> bool {
        !self.send.is_closed() && self.notes.fault.get().is_none()
    }

    /// Whether the last call failed because the server said so, and not in the transport or in decoding.
    pub(crate) fn server_refused(&self) -> bool {
        self.notes.refused.load(Ordering::Relaxed)
    }
}

impl tower_service::Service<Request<Body>> for Link {
    type Response = Response<Body>;
    type Error = LinkFault;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, LinkFault>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), LinkFault>> {
        // The generated client turns an error from here into text: `call` waits instead.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let mut send = self.send.clone();
        let notes = Arc::clone(&self.notes);
        notes.refused.store(false, Ordering::Relaxed);
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(AGENT));
        Box::pin(async move {
            send.ready().await.map_err(|error| notes.explain(&error))?;
            let response = send.send_request(request).await.map_err(|error| notes.explain(&error))?;
            notes.read(response)
        })
    }
}

impl Notes {
    fn read(self: Arc<Self>, response: Response<Incoming>) -> Result<Response<Body>, LinkFault> {
        let (status, headers) = (response.status(), response.headers());
        if status != StatusCode::OK && !headers.contains_key(GRPC_STATUS) {
            return Err(LinkFault::Http(status));
        }
        if status == StatusCode::OK && !is_grpc(headers) {
            return Err(LinkFault::NotGrpc);
        }
        if names_failure(headers) {
            self.refused.store(true, Ordering::Relaxed);
        }
        let explains = Arc::clone(&self);
        Ok(response.map(|body| {
            let body = body.map_frame(move |frame| {
                if frame.trailers_ref().is_some_and(names_failure) {
                    self.refused.store(true, Ordering::Relaxed);
                }
                frame
            });
            Body::new(body.map_err(move |error| explains.explain(&error)))
        }))
    }

    /// A request's error, or, when it says only that the connection has gone, why that went.
    fn explain(&self, error: &hyper::Error) -> LinkFault {
        let fault = LinkFault::from_error(error);
        match (&fault, self.fault.get()) {
            (LinkFault::Closed(_), Some(reason)) => reason.clone(),
            _ => fault,
        }
    }
}

/// gRPC over HTTP/2, "Responses": `application/grpc`, perhaps with `+proto` or parameters.
fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

fn names_failure(headers: &HeaderMap) -> bool {
    headers.get(GRPC_STATUS).is_some_and(|value| value != "0")
}

/// Runs hyper's tasks of one connection; they end with it.
#[derive(Clone)]
struct Spawner {
    tasks: Tasks,
    closed: watch::Receiver<()>,
}

impl Spawner {
    fn spawn(&self, task: impl Future + Send + 'static) {
        let mut closed = self.closed.clone();
        self.tasks.spawn("health connection", async move {
            tokio::select! {
                _ = task => {}
                _ = closed.changed() => {}
            }
        });
    }
}

impl<F> hyper::rt::Executor<F> for Spawner
where
    F: Future + Send + 'static,
{
    fn execute(&self, task: F) {
        self.spawn(task);
    }
}

const GRPC_STATUS: &str = "grpc-status";

/// `user-agent`, told apart from the exporters' and from tonic's own.
const AGENT: &str = concat!("haproxy-vitals/", env!("CARGO_PKG_VERSION"));

/// Bytes of one answer's header fields; more is refused. An answer of a health check has a few hundred.
const MAX_HEADER_BYTES: u32 = 16 * 1024;
