//! A health service that always serves, on every loopback address, and costs little.

use std::convert::Infallible;
use std::io::Read;
use std::net::Ipv4Addr;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use super::Failure;

/// Prints its port and answers until its input ends.
pub(super) fn serve() -> Result<(), Failure> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&std::net::SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).into())?;
    socket.listen(4096)?;
    socket.set_nonblocking(true)?;
    println!("{}", socket.local_addr()?.as_socket().ok_or("no port")?.port());

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    #[expect(clippy::disallowed_methods, reason = "a program of its own, without the library's runtime")]
    runtime.spawn(async move {
        let listener = TcpListener::from_std(socket.into())?;
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(answer(stream));
        }
        #[expect(unreachable_code, reason = "says the type of an error")]
        Ok::<(), std::io::Error>(())
    });
    let _ = std::io::stdin().read(&mut [0])?;
    runtime.shutdown_timeout(Duration::ZERO);
    Ok(())
}

async fn answer(stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let serving = service_fn(|_: http::Request<Incoming>| async {
        let mut trailers = http::HeaderMap::new();
        trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
        let body = Full::new(Bytes::from_static(SERVING)).with_trailers(std::future::ready(Some(Ok(trailers))));
        let mut response = http::Response::new(body);
        response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/grpc"));
        Ok::<_, Infallible>(response)
    });
    let _ = http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), serving).await;
}

/// A `HealthCheckResponse` that says SERVING: gRPC over HTTP/2, Length-Prefixed-Message.
const SERVING: &[u8] = b"\0\0\0\0\x02\x08\x01";
