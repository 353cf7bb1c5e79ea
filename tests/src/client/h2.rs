//! HTTP/2 with prior knowledge.

use std::future::Future;
use std::net::SocketAddr;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Response;
use crate::poll::SOON;
use crate::server::{BoxError, header_list};

/// A GET on a connection of its own.
#[track_caller]
pub fn h2_get(addr: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Response {
    h2_get_all(addr, &[path], headers).remove(0).unwrap_or_else(|e| panic!("GET {path} over HTTP/2 at {addr}: {e}"))
}

/// GETs at the same time on one connection; the answers in the order of the paths, an error where a stream was reset.
#[track_caller]
pub fn h2_get_all(addr: SocketAddr, paths: &[&str], headers: &[(&str, &str)]) -> Vec<Result<Response, String>> {
    h2_get_each(addr, &paths.iter().map(|path| (*path, headers)).collect::<Vec<_>>())
}

/// The same, each with headers of its own.
#[track_caller]
pub fn h2_get_each(addr: SocketAddr, asked: &[(&str, &[(&str, &str)])]) -> Vec<Result<Response, String>> {
    let requests: Vec<Request<Empty<Bytes>>> =
        asked.iter().map(|(path, headers)| request(addr, path, headers)).collect();
    block_on(async move {
        let stream = TcpStream::connect(addr).await.unwrap();
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        let mut background = JoinSet::new();
        background.spawn(connection);
        let mut streams = JoinSet::new();
        for (index, request) in requests.into_iter().enumerate() {
            let sender = sender.clone();
            streams.spawn(async move { (index, timeout(SOON, exchange(sender, request)).await) });
        }
        let mut answers = streams.join_all().await;
        answers.sort_by_key(|(index, _)| *index);
        answers.into_iter().map(|(_, answer)| flatten(answer)).collect()
    })
}

/// Runs a future of a client's on a runtime of its own.
pub fn block_on<F: Future>(future: F) -> F::Output {
    Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

async fn exchange(mut sender: SendRequest<Empty<Bytes>>, request: Request<Empty<Bytes>>) -> Result<Response, BoxError> {
    let (head, body) = sender.send_request(request).await?.into_parts();
    let headers = header_list(&head.headers);
    let body = body.collect().await?.to_bytes().to_vec();
    Ok(Response { status: head.status.as_u16(), headers, body, informational: Vec::new() })
}

fn request(addr: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Request<Empty<Bytes>> {
    let mut request = Request::get(format!("http://{addr}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Empty::new()).unwrap()
}

fn flatten(answer: Result<Result<Response, BoxError>, tokio::time::error::Elapsed>) -> Result<Response, String> {
    answer.map_err(|_| format!("no answer within {SOON:?}"))?.map_err(|e| format!("{e:?}"))
}
