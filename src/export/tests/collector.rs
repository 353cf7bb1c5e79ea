//! Collectors that answer as a test tells them.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use ::http::{HeaderMap, Request, Response};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::rt::Executor;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

/// What arrived: the headers, the request's path, the message.
pub(super) type Seen = (HeaderMap, String, ExportTraceServiceRequest);

/// A collector until it is dropped.
pub(super) struct Collector {
    pub(super) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    _stop: tokio::sync::oneshot::Sender<()>,
}

impl Collector {
    /// Answers the `n`th request (from 0) with `answer(n)`.
    pub(super) async fn http<F>(answer: F) -> Self
    where
        F: Fn(usize) -> Response<Bytes> + Send + Sync + 'static,
    {
        let (seen, answer) = (Arc::<Mutex<Vec<Seen>>>::default(), Arc::new(answer));
        let log = Arc::clone(&seen);
        let service = service_fn(move |request: Request<Incoming>| {
            let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let message = ExportTraceServiceRequest::decode(body).unwrap_or_default();
                let mut log = log.lock().unwrap();
                log.push((head.headers, head.uri.path().to_owned(), message));
                Ok::<_, Infallible>(answer(log.len() - 1).map(Full::new))
            }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::start(listener, seen, service)
    }

    /// Answers the `n`th call (from 0) with `answer(n)`.
    pub(super) async fn grpc<F>(answer: F) -> Self
    where
        F: Fn(usize) -> Result<ExportTraceServiceResponse, tonic::Status> + Send + Sync + 'static,
    {
        Self::grpc_on(TcpListener::bind("127.0.0.1:0").await.unwrap(), answer)
    }

    pub(super) fn grpc_on<F>(listener: TcpListener, answer: F) -> Self
    where
        F: Fn(usize) -> Result<ExportTraceServiceResponse, tonic::Status> + Send + Sync + 'static,
    {
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let script = Script { seen: Arc::clone(&seen), answer };
        let service = TowerToHyperService::new(TraceServiceServer::new(script));
        Self::start(listener, seen, service)
    }

    /// Everything that has arrived so far.
    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    fn start<S, B>(listener: TcpListener, seen: Arc<Mutex<Vec<Seen>>>, service: S) -> Self
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        TokioExecutor::new().execute(async move {
            let mut connections = Vec::new();
            let accept = async {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    let (close, closed) = tokio::sync::oneshot::channel::<()>();
                    connections.push(close);
                    let service = service.clone();
                    TokioExecutor::new().execute(async move {
                        let server = auto::Builder::new(TokioExecutor::new());
                        tokio::select! {
                            _ = server.serve_connection(TokioIo::new(stream), service) => {}
                            _ = closed => {}
                        }
                    });
                }
            };
            tokio::select! {
                () = accept => {}
                _ = stopped => {}
            }
        });
        Self { address, seen, _stop: stop }
    }
}

/// Hands every connection, its first bytes read, to `treat`.
pub(super) async fn raw<F, T>(treat: F) -> SocketAddr
where
    F: Fn(usize, TcpStream) -> T + Send + 'static,
    T: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    TokioExecutor::new().execute(async move {
        for n in 0.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await;
            TokioExecutor::new().execute(treat(n, stream));
        }
    });
    address
}

/// An answer that rejects `rejected` spans.
pub(super) fn partial(rejected: i64, message: &str) -> ExportTraceServiceResponse {
    let partial = ExportTracePartialSuccess { rejected_spans: rejected, error_message: message.to_owned() };
    ExportTraceServiceResponse { partial_success: Some(partial) }
}

struct Script<F> {
    seen: Arc<Mutex<Vec<Seen>>>,
    answer: F,
}

#[tonic::async_trait]
impl<F> TraceService for Script<F>
where
    F: Fn(usize) -> Result<ExportTraceServiceResponse, tonic::Status> + Send + Sync + 'static,
{
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        let (metadata, _, message) = request.into_parts();
        let mut seen = self.seen.lock().unwrap();
        seen.push((metadata.into_headers(), String::new(), message));
        (self.answer)(seen.len() - 1).map(tonic::Response::new)
    }
}
