//! The bridge: answers HAProxy's own health checks (`option httpchk`) from what the checker knows. HTTP/1.1.
//!
//! | `GET /BACKEND/SERVER` | answer |
//! |---|---|
//! | up | 200 |
//! | drains | 404, for `http-check disable-on-404` |
//! | down, not known yet, not checked | 503; HAProxy shows the reason phrase |

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::ext::ReasonPhrase;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::Checker;
use super::door::{Closer, Door, ListenError, Place, Seat, Stream};
use super::oracle::{Oracle, Verdict, phrase};
use crate::config::{BridgeAddress, BridgeConfig, HealthConfig};
use crate::runtime::{Stop, Tasks};
use crate::stats;

/// A listener for `option httpchk`.
pub struct BridgeListener {
    door: Door,
    oracle: Oracle,
    idle: Duration,
}

impl BridgeListener {
    /// Listens where the settings say; None where they say nowhere. On the runtime.
    pub fn bind(
        config: &BridgeConfig,
        health: &HealthConfig,
        checker: &Checker,
        tasks: &Tasks,
    ) -> Result<Option<Self>, ListenError> {
        let place = match &config.listen {
            None => return Ok(None),
            Some(BridgeAddress::Tcp(address)) => Place::Tcp(*address),
            Some(BridgeAddress::Unix(path)) => Place::Unix(path.clone()),
        };
        let door = Door::bind("bridge.listen", &place, config.max_connections, &stats::BRIDGE, tasks)?;
        Ok(Some(Self { door, oracle: Oracle::new(checker.clone(), health), idle: config.idle_timeout }))
    }

    /// Where it listens.
    #[cfg(test)]
    pub(super) fn address(&self) -> std::net::SocketAddr {
        self.door.address()
    }

    /// Closes it from elsewhere.
    pub fn closer(&self) -> Closer {
        self.door.closer()
    }

    /// Answers until the process stops or the listener is closed.
    pub async fn run(self, stop: Stop) {
        let (oracle, idle) = (self.oracle, self.idle);
        self.door.run("bridge", move |stream, seat| serve(stream, seat, oracle.clone(), idle), stop).await;
    }
}

async fn serve(stream: Stream, seat: Seat, oracle: Oracle, idle: Duration) {
    let asked = Arc::new(Notify::new());
    let answer = service_fn(|request: Request<Incoming>| {
        seat.mark(false);
        asked.notify_one();
        seat.stats().answered.add(1);
        let response = respond(&oracle, request.method(), request.uri().path());
        async move { Ok::<_, Infallible>(response) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(idle).max_buf_size(MAX_REQUEST);
    let quiet = async { while timeout(idle, asked.notified()).await.is_ok() {} };
    // How a check ends is HAProxy's business.
    tokio::select! {
        () = seat.is_taken() => {}
        () = quiet => {}
        _ = http.serve_connection(TokioIo::new(stream), answer) => {}
    }
}

fn respond(oracle: &Oracle, method: &Method, path: &str) -> Response<Full<Bytes>> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return response(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD");
    }
    let names = path.strip_prefix('/').and_then(|path| path.split_once('/'));
    match names.and_then(|(backend, server)| oracle.server(backend, server)) {
        Some(Verdict::Up { .. }) => response(StatusCode::OK, "up"),
        Some(Verdict::Drain) => response(StatusCode::NOT_FOUND, "drains"),
        Some(Verdict::Down(reason) | Verdict::Unsure(reason)) => response(StatusCode::SERVICE_UNAVAILABLE, &reason),
        None => {
            stats::BRIDGE.refused.add(1);
            response(StatusCode::SERVICE_UNAVAILABLE, "no such server is checked")
        }
    }
}

/// RFC 9112, section 4: a reason phrase may be any text without control characters.
fn response(status: StatusCode, reason: &str) -> Response<Full<Bytes>> {
    let reason = phrase(reason);
    let mut response = Response::new(Full::new(Bytes::from(format!("{reason}\n"))));
    *response.status_mut() = status;
    if let Ok(phrase) = ReasonPhrase::try_from(reason) {
        response.extensions_mut().insert(phrase);
    }
    response
}

/// A request's line and headers, in bytes: the least that hyper takes.
const MAX_REQUEST: usize = 8192;
