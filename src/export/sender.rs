//! One attempt: one request, one answer, within bounds. Knows nothing of queues and retries.

use std::time::Duration;

use ::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use ::http::{Method, Uri, request};
use bytes::buf::Chain;
use bytes::{Buf, Bytes};
use http_body_util::{BodyExt, Collected, Full, LengthLimitError, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use tokio::time::timeout;

use super::connect::{Connector, Directory};
use super::error::{Cause, SendError, SetupError, quote};
use super::{Batch, grpc, http};
use crate::config::{Endpoint, ExportConfig, Protocol};

/// Sends batches to one collector, over connections that are kept between batches.
#[derive(Debug)]
pub struct Sender {
    protocol: Protocol,
    target: String,
    head: request::Parts,
    connector: Connector,
    client: Client<Connector, Body>,
}

impl Sender {
    /// A sender for the collector in `config`. Looks its name up, which blocks: to be called before HAProxy's chroot.
    /// A name that cannot be resolved is not an error: the attempts fail, and look it up again.
    ///
    /// # Errors
    ///
    /// TLS, an endpoint that gives no URI, a header that HTTP does not allow.
    pub fn new(config: &ExportConfig) -> Result<Self, SetupError> {
        if config.endpoint.tls {
            return Err(SetupError::Tls);
        }
        let head = head(config)?;
        let directory = Directory::resolve(&config.endpoint.host, config.endpoint.port);
        let connector = Connector::new(directory, config.timeout);
        let client = client(config.protocol, &connector);
        Ok(Self { protocol: config.protocol, target: authority(&config.endpoint), head, connector, client })
    }

    /// The collector's `host:port`.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Sends `batch` once. `within` bounds everything: look-up, connection, request, answer.
    pub async fn send(&mut self, batch: &Batch, within: Duration) -> Result<Accepted, SendError> {
        if batch.bytes.len() > MAX_REQUEST {
            return Err(SendError::RequestTooLong(MAX_REQUEST));
        }
        let Ok(result) = timeout(within, self.exchange(batch, within)).await else {
            // A connection that has fallen silent may be dead: the next attempt opens another.
            self.client = client(self.protocol, &self.connector);
            return Err(SendError::Timeout(within));
        };
        result
    }

    async fn exchange(&self, batch: &Batch, within: Duration) -> Result<Accepted, SendError> {
        let mut head = self.head.clone();
        let prefix = match self.protocol {
            Protocol::Grpc => grpc::prepare(&mut head, batch.bytes.len(), within),
            Protocol::HttpProtobuf => Bytes::new(),
        };
        let body = Full::new(prefix.chain(batch.bytes.clone()));
        let request = request::Request::from_parts(head, body);
        let (head, body) = self.client.request(request).await.map_err(SendError::from_client)?.into_parts();
        let answer = Limited::new(body, MAX_RESPONSE).collect().await.map_err(body_error)?;
        match self.protocol {
            Protocol::Grpc => grpc::read(&head, answer),
            Protocol::HttpProtobuf => http::read(&head, &answer.to_bytes()),
        }
    }
}

/// The collector took the batch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Accepted {
    /// Spans of the batch that it rejected (partial success): never sent again.
    pub rejected: u64,
    /// Why, or a warning; cut short, mostly empty.
    pub message: String,
}

impl Accepted {
    /// Reads an `ExportTraceServiceResponse`. One that cannot be read rejects nothing: the status said success.
    pub(super) fn decode(response: &[u8]) -> Self {
        let partial = ExportTraceServiceResponse::decode(response).ok().and_then(|answer| answer.partial_success);
        let partial = partial.unwrap_or_default();
        Self {
            rejected: u64::try_from(partial.rejected_spans).unwrap_or_default(),
            message: quote(&partial.error_message),
        }
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

/// Everything of the request but the body.
fn head(config: &ExportConfig) -> Result<request::Parts, SetupError> {
    let (path, content_type) = match config.protocol {
        Protocol::Grpc => (grpc::PATH, grpc::CONTENT_TYPE),
        Protocol::HttpProtobuf => (config.endpoint.path.as_str(), http::CONTENT_TYPE),
    };
    let endpoint = format!("http://{}{path}", authority(&config.endpoint));
    let uri = Uri::try_from(&endpoint).map_err(|_| SetupError::Endpoint { endpoint })?;
    let (mut head, ()) = request::Request::new(()).into_parts();
    head.method = Method::POST;
    head.uri = uri;
    head.headers = headers(&config.headers)?;
    head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
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

fn authority(endpoint: &Endpoint) -> String {
    let Endpoint { host, port, .. } = endpoint;
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
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
const RESERVED: [HeaderName; 6] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];
/// Bytes: the bound on a request that the OTLP specification names.
const MAX_REQUEST: usize = 64 * 1024 * 1024;
/// Bytes: the bound on an answer that the OTLP specification names.
const MAX_RESPONSE: usize = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn https_is_refused() {
        let mut config = ExportConfig::default();
        config.endpoint.tls = true;
        assert!(matches!(Sender::new(&config), Err(SetupError::Tls)));
    }

    #[test]
    fn headers_that_http_forbids_or_sets_are_refused_without_their_value() {
        for name in ["a b", "content-type", "TE", "grpc-timeout"] {
            let error = headers(&[(name.to_owned(), "secret".to_owned())]).unwrap_err();
            assert!(error.to_string().contains(name) && !error.to_string().contains("secret"), "{error}");
        }
        let error = headers(&[("x".to_owned(), "sec\nret".to_owned())]).unwrap_err();
        assert!(matches!(error, SetupError::Header { name } if name == "x"));
    }

    #[test]
    fn ipv6_address_is_put_in_brackets() {
        let mut config = ExportConfig::default();
        config.endpoint.host = "::1".to_owned();
        assert_eq!(Sender::new(&config).unwrap().target(), "[::1]:4318");
        assert_eq!(head(&config).unwrap().uri, "http://[::1]:4318/v1/traces");
    }

    #[test]
    fn host_that_gives_no_uri_is_refused() {
        let mut config = ExportConfig::default();
        config.endpoint.host = "a b".to_owned();
        assert!(matches!(Sender::new(&config), Err(SetupError::Endpoint { .. })));
    }

    #[tokio::test]
    async fn batch_beyond_its_bound_is_not_sent() {
        let batch = Batch { bytes: vec![0; MAX_REQUEST + 1].into(), spans: 1 };
        let result = Sender::new(&ExportConfig::default()).unwrap().send(&batch, Duration::from_secs(1)).await;
        assert!(matches!(result, Err(SendError::RequestTooLong(_))));
    }

    #[test]
    fn success_that_cannot_be_read_rejects_nothing() {
        assert_eq!(Accepted::decode(b"{}"), Accepted::default());
    }
}
