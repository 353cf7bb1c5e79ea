//! The way through an HTTP proxy: a tunnel for TLS and gRPC, whole URLs for plain HTTP. RFC 9110, section 9.3.6; RFC 9112,
//! section 3.2.2.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::config::Proxy;

/// Asks the proxy at the other end of `stream` for a tunnel to `target`, a `host:port`. On failure the reason.
pub(super) async fn open(stream: &mut TcpStream, proxy: &Proxy, target: &str) -> Result<(), String> {
    let authorization = authorization(proxy).map_or_else(String::new, |it| format!("proxy-authorization: {it}\r\n"));
    let request = format!("CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n{authorization}\r\n");
    stream.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
    let head = read_head(stream).await?;
    match status(&head) {
        Some(200..=299) => Ok(()),
        Some(407) => Err("it asks for a user name and a password (407)".to_owned()),
        Some(status) => Err(format!("it refused the tunnel with status {status}")),
        None => Err("its answer is not HTTP".to_owned()),
    }
}

/// `Proxy-Authorization`, a secret. RFC 7617.
pub(super) fn authorization(proxy: &Proxy) -> Option<String> {
    proxy.credentials.as_ref().map(|credentials| format!("Basic {}", STANDARD.encode(credentials)))
}

/// Everything up to the empty line, and nothing of what follows: a server that speaks first may already have.
async fn read_head(stream: &mut TcpStream) -> Result<Vec<u8>, String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == MAX_HEAD {
            return Err(format!("its answer is longer than {MAX_HEAD} bytes"));
        }
        let byte = stream.read_u8().await.map_err(|_| "it closed the connection".to_owned())?;
        head.push(byte);
    }
    Ok(head)
}

/// The status of an `HTTP/1.x NNN` line.
fn status(head: &[u8]) -> Option<u16> {
    let rest = head.strip_prefix(b"HTTP/1.")?.get(1..)?.strip_prefix(b" ")?;
    let digits = rest.get(..3).filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Bytes of the answer's head.
const MAX_HEAD: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokio::net::TcpListener;

    /// What becomes of the tunnel when the proxy answers so; and what the proxy was asked.
    async fn answered(answer: &'static [u8], credentials: Option<&str>) -> (Result<(), String>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let credentials = credentials.map(str::to_owned);
        let proxy = Proxy { host: "p".to_owned(), port: 1, credentials };
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let asked = read_head(&mut stream).await.unwrap();
            stream.write_all(answer).await.unwrap();
            String::from_utf8(asked).unwrap()
        };
        let ask = async {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let opened = open(&mut stream, &proxy, "c:4317").await;
            (opened, stream)
        };
        let ((opened, mut stream), asked) = tokio::join!(ask, serve);
        if opened.is_ok() {
            assert_eq!(stream.read_u8().await.unwrap(), b'X', "nothing beyond the head is read");
        }
        (opened, asked)
    }

    #[tokio::test]
    async fn a_tunnel_is_asked_for_with_the_credentials() {
        let (opened, asked) = answered(b"HTTP/1.1 200 Connection established\r\n\r\nX", Some("user:word")).await;
        assert_eq!(opened, Ok(()));
        let expected = "CONNECT c:4317 HTTP/1.1\r\nhost: c:4317\r\nproxy-authorization: Basic dXNlcjp3b3Jk\r\n\r\n";
        assert_eq!(asked, expected);
    }

    #[tokio::test]
    async fn a_refusal_is_named() {
        let refused = async |answer| answered(answer, None).await.0.unwrap_err();
        assert_eq!(refused(b"HTTP/1.1 407 No\r\n\r\n").await, "it asks for a user name and a password (407)");
        assert_eq!(refused(b"HTTP/1.0 503 No\r\n\r\n").await, "it refused the tunnel with status 503");
        assert_eq!(refused(b"SSH-2.0\r\n\r\n").await, "its answer is not HTTP");
        assert_eq!(refused(b"HTTP/1.1 2").await, "it closed the connection");
        assert_eq!(refused(&[b'a'; MAX_HEAD + 1]).await, "its answer is longer than 8192 bytes");
    }

    proptest! {
        #[test]
        fn arbitrary_answers_never_panic(head: Vec<u8>) {
            let _ = status(&head);
        }
    }
}
