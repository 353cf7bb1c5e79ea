//! Servers to check, in this process, on free ports.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_health::pb::HealthCheckResponse;
use tonic_health::server::HealthReporter;

use crate::runtime::Tasks;

/// Tasks on this test's runtime.
pub(super) fn tasks() -> (Tasks, watch::Sender<bool>) {
    let (stop, stopped) = watch::channel(false);
    (Tasks::new(tokio::runtime::Handle::current(), stopped), stop)
}

/// A server that goes with this.
pub(super) struct Running {
    pub(super) address: SocketAddr,
    task: JoinHandle<()>,
    _stop: watch::Sender<bool>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Running {
    fn new(address: SocketAddr, task: impl Future<Output = ()> + Send + 'static) -> Self {
        let (tasks, stop) = tasks();
        Self { address, task: tasks.spawn("test server", task), _stop: stop }
    }

    /// Frees the port.
    pub(super) async fn end(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }
}

pub(super) async fn listen(address: &str) -> TcpListener {
    TcpListener::bind(address).await.unwrap()
}

/// A real server: `""` is SERVING as tonic-health starts.
pub(super) async fn health() -> (HealthReporter, Running) {
    health_on(listen("127.0.0.1:0").await)
}

pub(super) fn health_on(listener: TcpListener) -> (HealthReporter, Running) {
    let (reporter, service) = tonic_health::server::health_reporter();
    let address = listener.local_addr().unwrap();
    let server = async move {
        // Connections end with the server, as those of a process do.
        let mut kept = Vec::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = TowerToHyperService::new(service.clone());
            kept.push(Running::new(address, async move {
                let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            }));
        }
    };
    (reporter, Running::new(address, server))
}

/// A real gRPC server without a health service.
pub(super) async fn without_health_service() -> Running {
    let listener = listen("127.0.0.1:0").await;
    let address = listener.local_addr().unwrap();
    let server = async move {
        let routes = Routes::default();
        Server::builder().add_routes(routes).serve_with_incoming(TcpIncoming::from(listener)).await.unwrap();
    };
    Running::new(address, server)
}

pub(super) type Answer = Response<BoxBody<Bytes, Infallible>>;

/// An HTTP/2 server that remembers the requests' heads and counts connections.
pub(super) struct Spy {
    pub(super) server: Running,
    pub(super) heads: Arc<Mutex<Vec<http::request::Parts>>>,
    pub(super) connections: Arc<AtomicUsize>,
}

impl Spy {
    /// Answers every request with `answer`; `first` has the first connections, by number from 0, and says whether to
    /// go on with HTTP/2 on it.
    pub(super) async fn start<F>(
        answer: impl Fn() -> Answer + Clone + Send + 'static,
        first: impl Fn(usize, TcpStream) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = Option<TcpStream>> + Send,
    {
        Self::start_by_path(move |_: &str| answer(), first).await
    }

    /// One that answers by the request's path.
    pub(super) async fn answering_by_path(answer: impl Fn(&str) -> Answer + Clone + Send + 'static) -> Self {
        Self::start_by_path(answer, |_, stream| async move { Some(stream) }).await
    }

    async fn start_by_path<F>(
        answer: impl Fn(&str) -> Answer + Clone + Send + 'static,
        first: impl Fn(usize, TcpStream) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = Option<TcpStream>> + Send,
    {
        let listener = listen("127.0.0.1:0").await;
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(AtomicUsize::new(0));
        let (noted, counted) = (Arc::clone(&heads), Arc::clone(&connections));
        let server = async move {
            let mut kept = Vec::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let number = counted.fetch_add(1, Ordering::SeqCst);
                let Some(stream) = first(number, stream).await else { continue };
                let (answer, noted) = (answer.clone(), Arc::clone(&noted));
                let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                    let answer = answer(request.uri().path());
                    noted.lock().unwrap().push(request.into_parts().0);
                    async move { Ok::<_, Infallible>(answer) }
                });
                let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                kept.push(Running::new(address, async move {
                    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                }));
            }
        };
        Self { server: Running::new(address, server), heads, connections }
    }

    /// One that answers every request with `answer`.
    pub(super) async fn answering(answer: impl Fn() -> Answer + Clone + Send + 'static) -> Self {
        Self::start(answer, |_, stream| async move { Some(stream) }).await
    }
}

/// A gRPC answer: `message` framed, then `grpc-status`.
pub(super) fn grpc(message: &[u8], status: &'static str) -> Answer {
    let mut body = vec![0];
    body.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
    body.extend_from_slice(message);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(status));
    let body = Full::new(Bytes::from(body)).with_trailers(async move { Some(Ok(trailers)) });
    Response::builder().header("content-type", "application/grpc").body(body.boxed()).unwrap()
}

/// `HealthCheckResponse.status`.
pub(super) fn status(status: i32) -> Answer {
    grpc(&HealthCheckResponse { status }.encode_to_vec(), "0")
}

/// An answer of a web server.
pub(super) fn web(code: u16) -> Answer {
    let body = Full::new(Bytes::from_static(b"<html>")).boxed();
    Response::builder().status(code).header("content-type", "text/html").body(body).unwrap()
}

/// A server that does `act` with every connection and keeps it open afterwards.
pub(super) async fn raw<F>(act: impl Fn(TcpStream) -> F + Send + 'static) -> Running
where
    F: Future<Output = TcpStream> + Send,
{
    let listener = listen("127.0.0.1:0").await;
    let address = listener.local_addr().unwrap();
    Running::new(address, async move {
        let mut kept = Vec::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            kept.push(act(stream).await);
        }
    })
}

/// A server that is SERVING, behind what `wrap` makes of a connection.
pub(super) async fn behind<F, S>(wrap: impl Fn(TcpStream) -> F + Send + 'static) -> Running
where
    F: Future<Output = Option<S>> + Send + 'static,
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let listener = listen("127.0.0.1:0").await;
    let address = listener.local_addr().unwrap();
    Running::new(address, async move {
        let mut kept = Vec::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let wrapped = wrap(stream);
            let service = hyper::service::service_fn(|request: Request<Incoming>| async move {
                drop(request);
                Ok::<_, Infallible>(status(1))
            });
            kept.push(Running::new(address, async move {
                let Some(stream) = wrapped.await else { return };
                let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            }));
        }
    })
}

/// A server that speaks TLS and then nothing.
pub(super) async fn raw_tls(acceptor: tokio_rustls::TlsAcceptor) -> Running {
    let listener = listen("127.0.0.1:0").await;
    let address = listener.local_addr().unwrap();
    Running::new(address, async move {
        let mut kept = Vec::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            kept.push(acceptor.accept(stream).await);
        }
    })
}

/// An answer that is nothing but a code, in its head.
pub(super) fn grpc_head(code: &'static str) -> Answer {
    let builder = Response::builder().header("content-type", "application/grpc").header("grpc-status", code);
    builder.body(Full::new(Bytes::new()).boxed()).unwrap()
}

/// A stream whose first message is this status, and that then stays open.
pub(super) fn open_stream(status: i32) -> Answer {
    let message = HealthCheckResponse { status }.encode_to_vec();
    let mut bytes = vec![0];
    bytes.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
    bytes.extend_from_slice(&message);
    stalled(Some(Bytes::from(bytes)))
}

/// A head, and nothing behind it.
pub(super) fn never() -> Answer {
    stalled(None)
}

fn stalled(first: Option<Bytes>) -> Answer {
    let builder = Response::builder().header("content-type", "application/grpc");
    builder.body(Stalled(first).boxed()).unwrap()
}

struct Stalled(Option<Bytes>);

impl hyper::body::Body for Stalled {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Infallible>>> {
        match self.0.take() {
            Some(bytes) => std::task::Poll::Ready(Some(Ok(hyper::body::Frame::data(bytes)))),
            None => std::task::Poll::Pending,
        }
    }
}

/// HTTP/2's first frame of a server: no settings.
pub(super) const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
/// `GOAWAY`: no stream was processed, `NO_ERROR`.
pub(super) const GOAWAY: &[u8] = &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// `RST_STREAM` of stream 1 with `REFUSED_STREAM`.
pub(super) const REFUSED: &[u8] = &[0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 7];
