//! One attempt: one request, one answer, within bounds. Knows nothing of queues and retries.

use std::fmt;
use std::time::Duration;

use ::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use ::http::{Method, Uri, request};
use bytes::buf::Chain;
use bytes::{Buf, Bytes};
use http_body_util::{BodyExt, Collected, Full, LengthLimitError, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::time::timeout;

use super::connect::{Connector, Directory, Route, Via, authority};
use super::error::{Cause, SendError, SetupError};
use super::payload::{self, Payload};
use super::tls::Tls;
use super::{Accepted, Batch, Signal, grpc, http, tunnel};
use crate::config::{Compression, Endpoint, ExportConfig, Protocol, SignalExport};

/// Sends one signal's batches to one collector, over connections that are kept between batches.
pub struct Sender {
    signal: Signal,
    protocol: Protocol,
    compression: Compression,
    /// Bound on one attempt.
    timeout: Duration,
    target: String,
    head: request::Parts,
    connector: Connector,
    client: Client<Connector, Body>,
}

impl Sender {
    /// A sender for the collector of `signal` in `config`. Reads the files of certificates and looks the collector's (or the
    /// proxy's) name up, which blocks: to be called before HAProxy's chroot. A name that cannot be resolved is not an
    /// error: the attempts fail, and look it up again.
    ///
    /// # Errors
    ///
    /// A file that cannot be used, an endpoint that gives no URI, a header that HTTP does not allow.
    pub fn new(config: &ExportConfig, signal: Signal) -> Result<Self, SetupError> {
        let config = config.for_signal(signal);
        let (head, route) = plan(config, signal)?;
        let target = route.target.clone();
        let directory = match &config.proxy {
            Some(proxy) => Directory::resolve(&proxy.host, proxy.port),
            None => Directory::resolve(&config.endpoint.host, config.endpoint.port),
        };
        let connector = Connector::new(directory, config.timeout, route);
        let client = client(config.protocol, &connector);
        let (protocol, compression, timeout) = (config.protocol, config.compression, config.timeout);
        Ok(Self { signal, protocol, compression, timeout, target, head, connector, client })
    }

    /// Everything of [`new`](Self::new) but the network: for `haproxy -c`.
    pub fn check(config: &ExportConfig, signal: Signal) -> Result<(), SetupError> {
        plan(config.for_signal(signal), signal).map(|_| ())
    }

    /// What it sends.
    pub fn signal(&self) -> Signal {
        self.signal
    }

    /// The collector's `host:port`.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The bound on one attempt.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The batch as [`send`](Self::send) takes it.
    pub(super) fn encode(&self, batch: &Batch) -> Result<Payload, SendError> {
        Payload::new(batch, self.signal, self.protocol, self.compression)
    }

    /// Sends `payload` once. `within` bounds everything: look-up, connection, request, answer.
    pub(super) async fn send(&mut self, payload: &Payload, within: Duration) -> Result<Accepted, SendError> {
        let Ok(result) = timeout(within, self.exchange(payload, within)).await else {
            // A connection that has fallen silent may be dead: the next attempt opens another.
            self.client = client(self.protocol, &self.connector);
            return Err(SendError::Timeout(within));
        };
        result.map_err(|error| self.connector.explain(error))
    }

    async fn exchange(&self, Payload(bytes): &Payload, within: Duration) -> Result<Accepted, SendError> {
        let mut head = self.head.clone();
        let prefix = match self.protocol {
            Protocol::Grpc => grpc::prepare(&mut head, bytes.len(), self.compression != Compression::None, within),
            Protocol::HttpProtobuf | Protocol::HttpJson => Bytes::new(),
        };
        let request = request::Request::from_parts(head, Full::new(prefix.chain(bytes.clone())));
        let (head, body) = self.client.request(request).await.map_err(SendError::from_client)?.into_parts();
        let answer = Limited::new(body, MAX_RESPONSE).collect().await.map_err(body_error)?;
        match self.protocol {
            Protocol::Grpc => grpc::read(self.signal, &head, answer),
            Protocol::HttpProtobuf | Protocol::HttpJson => http::read(self.signal, &head, &answer.to_bytes()),
        }
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("signal", &self.signal).field("target", &self.target).finish_non_exhaustive()
    }
}

/// An answer whose body has been read.
pub(super) type Answer = Collected<Bytes>;

/// gRPC's five bytes, or nothing, and the batch: not copied together.
type Body = Full<Chain<Bytes, Bytes>>;

fn client(protocol: Protocol, connector: &Connector) -> Client<Connector, Body> {
    Client::builder(TokioExecutor::new())
        .http2_only(protocol == Protocol::Grpc)
        .pool_max_idle_per_host(1)
        .build(connector.clone())
}

/// What every request begins with, and how a connection gets there. Reads files, touches no network.
fn plan(config: &SignalExport, signal: Signal) -> Result<(request::Parts, Route), SetupError> {
    let Endpoint { tls, host, port, .. } = &config.endpoint;
    let mut head = head(config, signal)?;
    let tls = tls.then(|| Tls::new(config)).transpose()?;
    let via = match &config.proxy {
        None => Via::Direct,
        Some(proxy) if tls.is_some() || config.protocol == Protocol::Grpc => Via::Tunnel(proxy.clone()),
        Some(proxy) => {
            if let Some(Ok(mut value)) = tunnel::authorization(proxy).map(HeaderValue::try_from) {
                value.set_sensitive(true);
                head.headers.insert(header::PROXY_AUTHORIZATION, value);
            }
            Via::Forward
        }
    };
    Ok((head, Route { target: authority(host, *port), via, tls }))
}

/// Everything of the request but the body.
fn head(config: &SignalExport, signal: Signal) -> Result<request::Parts, SetupError> {
    let Endpoint { tls, host, port, path } = &config.endpoint;
    let (path, content_type) = match config.protocol {
        Protocol::Grpc => (signal.grpc_path(), grpc::CONTENT_TYPE),
        Protocol::HttpProtobuf => (path.as_str(), http::PROTOBUF),
        Protocol::HttpJson => (path.as_str(), http::JSON),
    };
    let endpoint = format!("{}://{}{path}", if *tls { "https" } else { "http" }, authority(host, *port));
    let uri = Uri::try_from(&endpoint).map_err(|_| SetupError::Endpoint { endpoint })?;
    let (mut head, ()) = request::Request::new(()).into_parts();
    head.method = Method::POST;
    head.uri = uri;
    head.headers = headers(&config.headers)?;
    head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Some(encoding) = payload::encoding(config.compression) {
        let name = match config.protocol {
            Protocol::Grpc => HeaderName::from_static("grpc-encoding"),
            Protocol::HttpProtobuf | Protocol::HttpJson => header::CONTENT_ENCODING,
        };
        head.headers.insert(name, HeaderValue::from_static(encoding));
    }
    Ok(head)
}

/// The configured headers, and the user agent unless they name one.
fn headers(configured: &[(String, String)]) -> Result<HeaderMap, SetupError> {
    let mut headers = HeaderMap::new();
    for (name, value) in configured {
        let invalid = || SetupError::Header { name: name.clone() };
        let key = HeaderName::try_from(name).map_err(|_| invalid())?;
        if RESERVED.contains(&key) || key.as_str().starts_with("grpc-") {
            return Err(SetupError::ReservedHeader { name: name.clone() });
        }
        let mut value = HeaderValue::try_from(value).map_err(|_| invalid())?;
        value.set_sensitive(true);
        headers.append(key, value);
    }
    if !headers.contains_key(header::USER_AGENT) {
        headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    }
    Ok(headers)
}

fn body_error(error: Box<dyn std::error::Error + Send + Sync>) -> SendError {
    if error.is::<LengthLimitError>() {
        SendError::ResponseTooLong(MAX_RESPONSE)
    } else {
        SendError::Broken(Cause(error))
    }
}

/// `product/version`, as the OTLP exporter specification asks ("User Agent").
const USER_AGENT: &str = concat!("haproxy-vitals/", env!("CARGO_PKG_VERSION"));
/// What HTTP or gRPC itself sets.
const RESERVED: [HeaderName; 7] = [
    header::CONNECTION,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];
/// Bytes: the bound on an answer that the OTLP specification names.
const MAX_RESPONSE: usize = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn traces() -> ExportConfig {
        ExportConfig::default()
    }

    #[test]
    fn headers_that_http_forbids_or_sets_are_refused_without_their_value() {
        for name in ["a b", "content-type", "Content-Encoding", "TE", "grpc-timeout"] {
            let error = headers(&[(name.to_owned(), "secret".to_owned())]).unwrap_err();
            assert!(error.to_string().contains(name) && !error.to_string().contains("secret"), "{error}");
        }
        let error = headers(&[("x".to_owned(), "sec\nret".to_owned())]).unwrap_err();
        assert!(matches!(error, SetupError::Header { name } if name == "x"));
    }

    #[test]
    fn ipv6_address_is_put_in_brackets() {
        let mut config = traces();
        config.resolved.traces.endpoint.host = "::1".to_owned();
        assert_eq!(Sender::new(&config, Signal::Traces).unwrap().target(), "[::1]:4318");
        assert_eq!(head(&config.resolved.traces, Signal::Traces).unwrap().uri, "http://[::1]:4318/v1/traces");
    }

    #[test]
    fn host_that_gives_no_uri_is_refused() {
        let mut config = traces();
        config.resolved.traces.endpoint.host = "a b".to_owned();
        assert!(matches!(Sender::check(&config, Signal::Traces), Err(SetupError::Endpoint { .. })));
    }

    #[test]
    fn each_signal_has_its_path() {
        let mut config = traces();
        for signal in Signal::ALL {
            assert_eq!(head(config.for_signal(signal), signal).unwrap().uri.path(), signal.http_path());
            config.resolved.of_mut(signal).protocol = Protocol::Grpc;
            assert_eq!(head(config.for_signal(signal), signal).unwrap().uri.path(), signal.grpc_path());
        }
    }
}
