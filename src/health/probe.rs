//! One unary `grpc.health.v1.Health/Check`, its bounds, and its one uncounted retry.

use std::future::Future;
use std::time::Duration;

use http::Uri;
use tokio::time::{Instant, timeout, timeout_at};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::address::Address;
use super::fault::LinkFault;
use super::link::Link;
use super::outcome::{CheckResult, Class, printable};
use crate::config::BackendConfig;
use crate::runtime::Tasks;

/// Something that can be asked how a server is.
pub(crate) trait Probe: Send + 'static {
    /// Asks once. Ends within a bound of its own.
    fn check(&mut self) -> impl Future<Output = CheckResult> + Send;

    /// Forgets what a fault may have left in disorder.
    fn reset(&mut self);
}

/// Asks one server over a connection that it keeps between checks.
pub(crate) struct GrpcProbe {
    address: Address,
    origin: Uri,
    service: String,
    connect_timeout: Duration,
    rpc_timeout: Duration,
    tasks: Tasks,
    link: Option<Link>,
}

/// The configured `authority` is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the configured `authority` is not a host, with or without a port")]
pub(crate) struct AuthorityError;

impl GrpcProbe {
    /// A probe that has not connected yet.
    pub(crate) fn new(config: &BackendConfig, address: Address, tasks: Tasks) -> Result<Self, AuthorityError> {
        let authority = config.authority.clone().unwrap_or_else(|| address.authority());
        Ok(Self {
            origin: origin(&authority)?,
            address,
            service: config.service.clone(),
            connect_timeout: config.connect_timeout,
            rpc_timeout: config.rpc_timeout,
            tasks,
            link: None,
        })
    }

    /// One request; the connection stays for the next one when it is still good.
    async fn attempt(&mut self, deadline: Instant) -> Result<CheckResult, LinkFault> {
        let link = match self.link.take() {
            Some(link) => link,
            None => self.connect(deadline).await?,
        };
        let deadline = deadline.min(Instant::now() + self.rpc_timeout);
        let Ok(answer) = timeout_at(deadline, self.call(link.clone())).await else {
            // The connection goes too: it may lead nowhere.
            return Ok(CheckResult::soft(
                Class::Timeout,
                format!("no answer within {} ms", self.rpc_timeout.as_millis()),
            ));
        };
        match answer {
            Ok(status) => {
                self.link = Some(link);
                Ok(CheckResult::from_status(status))
            }
            Err(status) if link.server_refused() => {
                self.link = Some(link);
                Ok(CheckResult::from_code(status.code(), status.message()))
            }
            Err(status) => match LinkFault::below(&status) {
                Some(fault) => Err(fault),
                None => Ok(CheckResult::soft(Class::Protocol, printable(status.message()))),
            },
        }
    }

    async fn connect(&self, deadline: Instant) -> Result<Link, LinkFault> {
        let bound = self.connect_timeout.min(deadline.saturating_duration_since(Instant::now()));
        match timeout(bound, Link::connect(&self.address, &self.tasks)).await {
            Ok(link) => link,
            Err(_) => Err(LinkFault::ConnectTimeout(self.connect_timeout.as_millis())),
        }
    }

    async fn call(&self, link: Link) -> Result<i32, tonic::Status> {
        let mut request = tonic::Request::new(HealthCheckRequest { service: self.service.clone() });
        // Sent as `grpc-timeout`: a server that is late may stop working on it.
        request.set_timeout(self.rpc_timeout);
        let client = HealthClient::with_origin(link, self.origin.clone());
        let answer = client.max_decoding_message_size(MAX_MESSAGE_BYTES).check(request).await?;
        Ok(answer.into_inner().status)
    }
}

impl Probe for GrpcProbe {
    /// Ends within `connect_timeout` + `rpc_timeout`, the retry included.
    async fn check(&mut self) -> CheckResult {
        let deadline = Instant::now() + self.connect_timeout + self.rpc_timeout;
        self.link.take_if(|link| !link.is_open());
        let reused = self.link.is_some();
        let mut answer = self.attempt(deadline).await;
        if answer.as_ref().is_err_and(|fault| fault.is_retryable(reused)) {
            answer = self.attempt(deadline).await;
        }
        answer.unwrap_or_else(|fault| fault.result())
    }

    fn reset(&mut self) {
        self.link = None;
    }
}

fn origin(authority: &str) -> Result<Uri, AuthorityError> {
    // User information has no place in `:authority`: RFC 9113, section 8.3.1.
    if authority.contains('@') {
        return Err(AuthorityError);
    }
    Uri::builder().scheme("http").authority(authority).path_and_query("/").build().map_err(|_| AuthorityError)
}

/// Bytes of a `HealthCheckResponse`; one that says more is refused unread. Two bytes are usual.
const MAX_MESSAGE_BYTES: usize = 64 * 1024;
