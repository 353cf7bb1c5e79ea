//! HTTP/2 with prior knowledge, through hyper.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use super::route::{CUT, HELLO, Route, header_lines};
use super::{Journal, Seen};
use crate::server::{Body, BoxError, full, header_list, serve_http};

pub(super) async fn serve(stream: TcpStream, journal: Arc<Journal>, connection: u64) {
    serve_http(stream, move |request| answer(journal.clone(), connection, request)).await;
}

async fn answer(
    journal: Arc<Journal>,
    connection: u64,
    request: Request<Incoming>,
) -> Result<Response<Body>, BoxError> {
    let seen = read(connection, request).await;
    journal.record(seen.clone());
    match Route::parse(&seen.target) {
        Route::Status(status) => respond(status, format!("{status}\n")),
        Route::Delay(delay) => {
            sleep(delay).await;
            respond(200, HELLO)
        }
        Route::Bytes(count) => respond(200, vec![b'x'; count]),
        Route::Chunked(count) => Ok(Response::new(Pieces::new(b"chunk\n", count, Duration::ZERO).boxed_unsync())),
        Route::Drip(count, delay) => Ok(Response::new(Pieces::new(b".", count, delay).boxed_unsync())),
        Route::EchoHeaders => respond(200, header_lines(&seen.headers)),
        Route::Hang => std::future::pending().await,
        Route::Close | Route::Reset | Route::Garbage => Err("as the path asks".into()),
        Route::Cut => {
            let (promised, sent) = CUT;
            // The head and the piece leave before the break.
            let body = Pieces { breaks: true, ..Pieces::new(sent, 1, Duration::from_millis(50)) };
            Ok(Response::builder().header("content-length", promised).body(body.boxed_unsync())?)
        }
        Route::Early | Route::Upgrade | Route::Hello => respond(200, HELLO),
    }
}

async fn read(connection: u64, request: Request<Incoming>) -> Seen {
    let (head, mut body) = request.into_parts();
    let (mut body_length, mut complete) = (0, true);
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            complete = false;
            break;
        };
        body_length += frame.data_ref().map_or(0, Bytes::len);
    }
    let authority = head.uri.authority().map(|authority| (":authority".to_owned(), authority.to_string()));
    Seen {
        method: head.method.to_string(),
        target: head.uri.path_and_query().map_or_else(|| "*".to_owned(), ToString::to_string),
        version: format!("{:?}", head.version),
        headers: authority.into_iter().chain(header_list(&head.headers)).collect(),
        body_length,
        complete,
        connection,
        at: Instant::now(),
    }
}

fn respond(status: u16, body: impl Into<Bytes>) -> Result<Response<Body>, BoxError> {
    Ok(Response::builder().status(status).header("content-type", "text/plain").body(full(body))?)
}

/// A body of unknown length, sent piece by piece.
struct Pieces {
    piece: &'static [u8],
    left: usize,
    delay: Duration,
    timer: Pin<Box<Sleep>>,
    /// Whether the stream breaks after the last piece.
    breaks: bool,
}

impl Pieces {
    fn new(piece: &'static [u8], count: usize, delay: Duration) -> Self {
        Self { piece, left: count, delay, timer: Box::pin(sleep(delay)), breaks: false }
    }

    /// Waits for the next piece's time.
    fn poll_timer(&mut self, context: &mut Context<'_>) -> Poll<()> {
        ready!(self.timer.as_mut().poll(context));
        self.timer.set(sleep(self.delay));
        Poll::Ready(())
    }
}

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.left == 0 && !self.breaks {
            return Poll::Ready(None);
        }
        ready!(self.poll_timer(context));
        if self.left == 0 {
            return Poll::Ready(Some(Err("as the path asks".into())));
        }
        self.left -= 1;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(self.piece)))))
    }
}
