//! What the servers of the harness share: a thread with a runtime, a port, and a switch.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::thread;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

use crate::port::Port;

/// Any error of a body or of a service.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// Any response body.
pub(crate) type Body = UnsyncBoxBody<Bytes, BoxError>;
/// Answers one connection until it ends.
pub(crate) type Serve = Arc<dyn Fn(TcpStream) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// A TCP server on a thread of its own. It can stop and start again on the same port.
pub(crate) struct Server {
    port: Port,
    serve: Serve,
    running: Mutex<Option<Running>>,
    runtime: Option<Runtime>,
}

struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Server {
    /// Starts on a free port.
    pub(crate) fn start(serve: Serve) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let server = Self { port: Port::reserve(), serve, running: Mutex::new(None), runtime: Some(runtime) };
        server.restart();
        server
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// Closes the listener and every connection: from now on the port refuses connections. Does nothing when stopped.
    pub(crate) fn stop(&self) {
        let Some(running) = self.running.lock().unwrap().take() else { return };
        drop(running.stop);
        self.block_on(running.task).unwrap();
    }

    /// Listens again. Does nothing when running.
    pub(crate) fn restart(&self) {
        let mut running = self.running.lock().unwrap();
        if running.is_some() {
            return;
        }
        let listener = self.port.listen();
        listener.set_nonblocking(true).unwrap();
        let (stop, stopped) = oneshot::channel();
        let runtime = self.runtime.as_ref().unwrap();
        let _inside = runtime.enter();
        let listener = TcpListener::from_std(listener).unwrap();
        *running = Some(Running { stop, task: runtime.spawn(accept(listener, self.serve.clone(), stopped)) });
    }

    /// Runs a future on the server's runtime. On a thread of its own: the caller may be inside a client's runtime.
    pub(crate) fn block_on<F: Future<Output: Send> + Send>(&self, future: F) -> F::Output {
        let runtime = self.runtime.as_ref().unwrap();
        thread::scope(|scope| scope.spawn(|| runtime.block_on(future)).join().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Serves HTTP/1.1 or HTTP/2 with prior knowledge, whichever the client speaks. An error of `answer` breaks the stream.
pub(crate) async fn serve_http<S, A, F>(stream: S, answer: A)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    A: Fn(Request<Incoming>) -> F,
    F: Future<Output = Result<Response<Body>, BoxError>> + Send + 'static,
{
    let service = service_fn(answer);
    // How a connection ended is the client's business.
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}

/// A body that is known as a whole.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A response of tonic's, with this harness's body type.
pub(crate) fn from_tonic(response: Response<tonic::body::Body>) -> Response<Body> {
    response.map(|body| body.map_err(BoxError::from).boxed_unsync())
}

/// Names and values, in order, duplicates kept. A value that is no text is shown lossily.
pub(crate) fn header_list(headers: &http::HeaderMap) -> Vec<(String, String)> {
    headers.iter().map(|(k, v)| (k.to_string(), String::from_utf8_lossy(v.as_bytes()).into_owned())).collect()
}

async fn accept(listener: TcpListener, serve: Serve, mut stopped: oneshot::Receiver<()>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            Some(_) = connections.join_next() => {}
            Ok((stream, _)) = listener.accept() => {
                let _ = stream.set_nodelay(true);
                connections.spawn(serve(stream));
            }
        }
    }
    drop(listener);
    connections.shutdown().await;
}
