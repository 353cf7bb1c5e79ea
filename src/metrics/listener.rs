//! A listener of our own that answers Prometheus. HTTP/1.1, one request per connection.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::Sources;
use super::prometheus::{self, Format};
use crate::resource::{Resource, Value};
use crate::runtime::{Closer, Closing, Stop, Tasks, steer};

/// What is answered: the metrics now, and whose they are.
#[derive(Debug)]
pub struct Exposition {
    sources: Sources,
    resource: Resource,
}

impl Exposition {
    /// Of the metrics of `sources`, with `resource` as `target_info`.
    pub const fn new(sources: Sources, resource: Resource) -> Self {
        Self { sources, resource }
    }

    /// What a scraper with this `Accept` gets: content type, and text.
    pub fn answer(&self, accept: &str) -> (&'static str, String) {
        let format = Format::negotiate(accept);
        (format.content_type(), prometheus::write(&self.sources.collect(), &self.labels(), format))
    }

    fn labels(&self) -> Vec<(String, String)> {
        let text = |value: &Value| match value {
            Value::Text(text) => text.clone(),
            Value::Integer(number) => number.to_string(),
            Value::Texts(texts) => texts.join(","),
        };
        self.resource.attributes().iter().map(|(name, value)| (name.clone(), text(value))).collect()
    }
}

/// A listening socket. Bound at HAProxy's init, so that a low port can be had; there shared (`SO_REUSEPORT`) with the worker that
/// a reload brings.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    exposition: Arc<Exposition>,
    tasks: Tasks,
    closing: Closing,
}

/// The address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("`metrics.listen`: cannot listen on {address}: {source}")]
pub struct ListenError {
    address: SocketAddr,
    source: std::io::Error,
}

impl Listener {
    /// Listens on `address`, which others may listen on too if it is `shared`. On the runtime.
    pub fn bind(
        address: SocketAddr,
        shared: bool,
        exposition: Arc<Exposition>,
        tasks: &Tasks,
    ) -> Result<Self, ListenError> {
        let socket = steer::listen(address, shared, BACKLOG).map_err(|source| ListenError { address, source })?;
        Ok(Self { socket, exposition, tasks: tasks.clone(), closing: Closing::new() })
    }

    /// Where it listens, with the port that it got.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Closes it from elsewhere.
    pub fn closer(&self) -> Closer {
        self.closing.closer()
    }

    /// Answers until the process stops or the listener is closed. At most `MAX_CONNECTIONS` at once; further ones wait in the
    /// socket's own queue.
    pub async fn run(self, mut stop: Stop) {
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS as usize));
        let next = async || {
            let place = Arc::clone(&places).acquire_owned().await.ok();
            (place, self.socket.accept().await)
        };
        loop {
            let (place, accepted) = tokio::select! {
                () = stop.wait() => break,
                () = self.closing.asked() => break,
                next = next() => next,
            };
            match accepted {
                Ok((stream, _)) => self.admit(stream, place),
                // No descriptor is free, most likely: not a reason to spin.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
        self.leave(places).await;
    }

    fn admit(&self, stream: TcpStream, place: Option<OwnedSemaphorePermit>) {
        self.tasks.spawn("scrape", scrape(stream, Arc::clone(&self.exposition), place));
    }

    /// Takes those who wait to be accepted along: closing alone would reset their connections. The new worker gets all others.
    async fn leave(self, places: Arc<Semaphore>) {
        let Self { socket, exposition, tasks, .. } = self;
        // Goes with the last of them.
        let (waited_for, mut all_gone) = mpsc::channel::<Infallible>(1);
        if let Ok(socket) = socket.into_std() {
            let give = |stream| {
                let (exposition, places) = (Arc::clone(&exposition), Arc::clone(&places));
                let waited_for = waited_for.clone();
                tasks.spawn("scrape", async move {
                    let place = places.acquire_owned().await.ok();
                    scrape(stream, exposition, place).await;
                    drop(waited_for);
                });
            };
            steer::leave(socket, give).await;
        }
        drop(waited_for);
        let answered = async {
            all_gone.recv().await;
            // Those who were let in before.
            places.acquire_many(MAX_CONNECTIONS).await.map(drop)
        };
        let _ = tokio::time::timeout(GRACE, answered).await;
    }
}

async fn scrape(stream: TcpStream, exposition: Arc<Exposition>, place: Option<OwnedSemaphorePermit>) {
    let _ = tokio::time::timeout(SCRAPE_TIMEOUT, serve(stream, exposition)).await;
    drop(place);
}

async fn serve(stream: TcpStream, exposition: Arc<Exposition>) {
    let answer = service_fn(|request: Request<Incoming>| {
        let response = respond(&request, &exposition);
        async move { Ok::<_, Infallible>(response) }
    });
    let mut http = http1::Builder::new();
    http.keep_alive(false).max_buf_size(MAX_REQUEST).header_read_timeout(None);
    // How a scrape ends is the scraper's business.
    let _ = http.serve_connection(TokioIo::new(stream), answer).await;
}

fn respond(request: &Request<Incoming>, exposition: &Exposition) -> Response<Full<Bytes>> {
    let plain = |status, text: &'static str| {
        let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
        *response.status_mut() = status;
        response
    };
    if request.uri().path() != "/metrics" {
        return plain(StatusCode::NOT_FOUND, "/metrics\n");
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "GET\n");
    }
    let lines = request.headers().get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let (content_type, text) = exposition.answer(&lines.collect::<Vec<_>>().join(","));
    let mut response = Response::new(Full::new(Bytes::from(text)));
    response.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    response
}

/// Scrapes at once.
const MAX_CONNECTIONS: u32 = 16;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 64;

/// For those who had come when the listener was closed to get their answer.
const GRACE: Duration = Duration::from_millis(500);

/// From the connection to the end of the answer.
const SCRAPE_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of a request's head.
const MAX_REQUEST: usize = 16 * 1024;
