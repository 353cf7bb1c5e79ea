//! The bridge: answers HAProxy's own health checks (`option httpchk`) from what the checker knows. HTTP/1.1.
//!
//! | `GET`, `HEAD` or `OPTIONS` of `/BACKEND/SERVER` | answer |
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
use super::door::{Door, ListenError, Place, Seat, Stream};
use super::oracle::{Oracle, Verdict, phrase};
use crate::config::{BridgeAddress, BridgeConfig, HealthConfig};
use crate::runtime::{Closer, Stop, Tasks};
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
        self.door.address().unwrap()
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
        let (oracle, asked, seat) = (&oracle, &asked, &seat);
        seat.mark(true);
        asked.notify_one();
        async move {
            let response = respond(oracle, request.method(), request.uri().path(), FIRST.min(idle / 2)).await;
            seat.stats().answered.add(1);
            seat.mark(false);
            Ok::<_, Infallible>(response)
        }
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

async fn respond(oracle: &Oracle, method: &Method, path: &str, patience: Duration) -> Response<Full<Bytes>> {
    // HAProxy's own default is OPTIONS.
    if !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        stats::BRIDGE.refused.add(1);
        return response(StatusCode::METHOD_NOT_ALLOWED, "only GET, HEAD and OPTIONS");
    }
    let verdict = match path.strip_prefix('/').and_then(|path| path.split_once('/')) {
        Some((backend, server)) => oracle.server_soon(backend, server, patience).await,
        None => None,
    };
    match verdict {
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

/// For a server's first result: HAProxy has no answer that means "not yet". Its checks wait `timeout check`, else `inter`,
/// and fail then as they would at once.
const FIRST: Duration = Duration::from_secs(1);
/// A request's line and headers, in bytes: the least that hyper takes.
const MAX_REQUEST: usize = 8192;
