//! Asks one server, with the bounds of its backend and one uncounted retry.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, TE};
use http::{HeaderValue, Request, Uri};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::rustls::pki_types::ServerName;

use super::address::Address;
use super::call::{self, Answer, Answers};
use super::dial::{Dial, Encryption};
use super::fault::LinkFault;
use super::link::Link;
use super::load::Meter;
use super::outcome::{CheckResult, Class, Outcome};
use super::profile::{Profile, bare};
use super::voice::Voice;
use crate::runtime::Tasks;

/// Something that can be asked how a server is.
pub(crate) trait Probe: Send + 'static {
    /// Asks once. Ends within a bound of its own.
    fn check(&mut self) -> impl Future<Output = CheckResult> + Send;

    /// Lets go of the connection: it will not be of use, or a fault may have left it in disorder.
    fn reset(&mut self);
}

/// One server, as checks need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spot {
    /// Where.
    pub(crate) address: Address,
    /// Encrypted, as the profile and HAProxy's own line say.
    pub(crate) tls: bool,
    /// Replaces the configured `:authority`.
    pub(crate) authority: Option<String>,
    /// Its name with its port, where it has one: the default `:authority`.
    pub(crate) name: Option<String>,
}

/// Asks one server over a connection that it keeps between checks.
pub(crate) struct GrpcProbe {
    pub(crate) profile: Arc<Profile>,
    dial: Dial,
    origin: Origin,
    /// Each service with its request's body.
    questions: Vec<(String, Bytes)>,
    link: Option<Link>,
    /// When the connection was last of use.
    used: Instant,
    /// Counts connections.
    connections: u64,
    /// Since when the name has not been resolved.
    unresolved: Option<Instant>,
    /// Hears what answers say about the server's load.
    meter: Option<Arc<Meter>>,
}

#[derive(Debug, Clone)]
struct Origin {
    check: Uri,
    watch: Uri,
}

/// Why a server cannot be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SpotError {
    /// The configured `authority` is not one.
    #[error("its `authority` is not a host, with or without a port")]
    Authority,
    /// No name that a certificate could bear.
    #[error("TLS needs `server_name`: neither the authority nor the address is a name")]
    ServerName,
    /// The profile has no certificates.
    #[error("its backend's settings have no TLS")]
    NoTls,
}

impl GrpcProbe {
    /// A probe that has not connected yet.
    pub(crate) fn new(profile: Arc<Profile>, spot: Spot, voice: Arc<Voice>, tasks: Tasks) -> Result<Self, SpotError> {
        let config = &profile.config;
        let authority = spot.authority.or_else(|| config.authority.clone()).or(spot.name);
        let authority = authority.unwrap_or_else(|| spot.address.authority());
        let encryption = if spot.tls { Some(encryption(&profile, &authority)?) } else { None };
        let scheme = if spot.tls { "https" } else { "http" };
        let origin = Origin { check: uri(scheme, &authority, CHECK)?, watch: uri(scheme, &authority, WATCH)? };
        let questions = config.services.iter().map(|service| (service.clone(), call::frame(service))).collect();
        let (backend, networks) = (config.name.clone(), Arc::clone(&profile.networks));
        let dial = Dial { address: spot.address, tls: encryption, networks, backend, voice, tasks };
        Ok(Self {
            profile,
            dial,
            origin,
            questions,
            link: None,
            used: Instant::now(),
            connections: 0,
            unresolved: None,
            meter: None,
        })
    }

    /// The same, with an ear for the server's load.
    pub(crate) fn with_meter(self, meter: Option<Arc<Meter>>) -> Self {
        Self { meter, ..self }
    }

    /// A request without a bound of its own to another method of the server's.
    pub(crate) fn request_to(&self, path: &'static str) -> Option<Request<()>> {
        let mut parts = self.origin.check.clone().into_parts();
        parts.path_and_query = Some(http::uri::PathAndQuery::from_static(path));
        Some(self.request(&Uri::from_parts(parts).ok()?, None))
    }

    /// How many connections were made so far.
    pub(crate) fn connections(&self) -> u64 {
        self.connections
    }

    /// Whether a connection is kept and open.
    pub(crate) fn is_connected(&self) -> bool {
        self.link.as_ref().is_some_and(Link::is_open)
    }

    /// The kept connection, or a new one within `connect_timeout`.
    pub(crate) async fn connect(&mut self, deadline: Instant) -> Result<Link, LinkFault> {
        if let Some(link) = self.link.take_if(|link| link.is_open()) {
            return Ok(link);
        }
        let bound = self.profile.config.connect_timeout;
        let bound = bound.min(deadline.saturating_duration_since(Instant::now()));
        self.connections += 1;
        let link = self.dial.connect(bound).await;
        self.unresolved = match &link {
            Err(fault) if fault.is_unresolved() => self.unresolved.or(Some(Instant::now())),
            _ => None,
        };
        link
    }

    /// Takes a connection that is still good back.
    pub(crate) fn keep(&mut self, link: Link) {
        self.link = Some(link);
        self.used = Instant::now();
    }

    /// The services to ask for, each with a stream that tells its changes.
    pub(crate) fn watches(&self, link: &Link) -> Vec<(String, Opening)> {
        let watch = |(service, body): &(String, Bytes)| {
            let (link, request, body) = (link.clone(), self.request(&self.origin.watch, None), body.clone());
            let meter = self.meter.clone();
            let opening: Opening = Box::pin(async move {
                let mut answers = Answers::of(&link, request, body, meter).await?;
                let first = answers.next().await?;
                Ok((answers, first))
            });
            (service.clone(), opening)
        };
        self.questions.iter().map(watch).collect()
    }

    /// One Check for each service on `link`, all at once. An error means that the connection is of no use any more.
    pub(crate) async fn ask(&self, link: &Link, deadline: Instant) -> Result<CheckResult, LinkFault> {
        let bound = self.profile.config.rpc_timeout;
        let deadline = deadline.min(Instant::now() + bound);
        let calls = self.questions.iter().map(|(_, body)| {
            let request = self.request(&self.origin.check, Some(bound));
            let call = call::unary(link, request, body.clone(), self.meter.clone());
            Box::pin(
                async move { timeout_at(deadline, call).await.unwrap_or(Err(LinkFault::Timeout(bound.as_millis()))) },
            )
        });
        let answers: Vec<Result<Answer, LinkFault>> = all(calls.collect()).await;
        let mut results = Vec::with_capacity(answers.len());
        for ((service, _), answer) in self.questions.iter().zip(answers) {
            results.push((service.as_str(), self.profile.policy.result(&answer?)));
        }
        Ok(CheckResult::worst(results))
    }

    /// The result of a fault. A name that is not resolved leaves the last state for a while.
    pub(crate) fn verdict(&self, fault: &LinkFault) -> CheckResult {
        let mut result = fault.result(&self.profile.policy);
        let since = self.unresolved.filter(|_| fault.is_unresolved());
        if since.is_some_and(|since| since.elapsed() < self.profile.config.resolve_hold) {
            result.outcome = Outcome::Hold(Class::Dns);
        }
        result
    }

    /// One round; the connection stays for the next one when it is still good.
    async fn attempt(&mut self, deadline: Instant) -> Result<CheckResult, LinkFault> {
        let link = self.connect(deadline).await?;
        let result = self.ask(&link, deadline).await?;
        if self.profile.config.reuse {
            self.keep(link);
        }
        Ok(result)
    }

    fn request(&self, uri: &Uri, timeout: Option<Duration>) -> Request<()> {
        let mut request = Request::new(());
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = uri.clone();
        *request.version_mut() = http::Version::HTTP_2;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(TE, HeaderValue::from_static("trailers"));
        // gRPC over HTTP/2, Requests: at most 8 digits, which an hour in milliseconds has not.
        if let Some(Ok(value)) = timeout.map(|bound| HeaderValue::try_from(format!("{}m", bound.as_millis()))) {
            headers.insert("grpc-timeout", value);
        }
        headers.extend(self.profile.headers.clone());
        request
    }
}

impl Probe for GrpcProbe {
    /// Ends within `connect_timeout` + `rpc_timeout`, the retry included.
    async fn check(&mut self) -> CheckResult {
        let config = &self.profile.config;
        let deadline = Instant::now() + config.connect_timeout + config.rpc_timeout;
        let idle = self.used.elapsed() > config.interval.saturating_mul(IDLE_INTERVALS);
        self.link.take_if(|link| idle || !link.is_open());
        let reused = self.link.is_some();
        let mut answer = self.attempt(deadline).await;
        if answer.as_ref().is_err_and(|fault| fault.is_retryable(reused)) {
            answer = self.attempt(deadline).await;
        }
        answer.unwrap_or_else(|fault| self.verdict(&fault))
    }

    fn reset(&mut self) {
        self.link = None;
    }
}

/// A stream that has begun, and its first answer.
pub(crate) type Opened = Result<(Answers, Answer), LinkFault>;

/// A stream that begins.
pub(crate) type Opening = Pin<Box<dyn Future<Output = Opened> + Send>>;

fn encryption(profile: &Profile, authority: &str) -> Result<Encryption, SpotError> {
    let tls = profile.tls.clone().ok_or(SpotError::NoTls)?;
    let host = authority.parse::<http::uri::Authority>().map_err(|_| SpotError::Authority)?;
    let name = profile.config.server_name.clone().unwrap_or_else(|| bare(host.host()).to_owned());
    Ok(Encryption { tls, name: ServerName::try_from(name).map_err(|_| SpotError::ServerName)? })
}

fn uri(scheme: &str, authority: &str, path: &'static str) -> Result<Uri, SpotError> {
    // User information has no place in `:authority`: RFC 9113, section 8.3.1.
    if authority.contains('@') {
        return Err(SpotError::Authority);
    }
    let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(path);
    uri.build().map_err(|_| SpotError::Authority)
}

/// Waits for all of them, side by side.
async fn all<F: Future>(calls: Vec<Pin<Box<F>>>) -> Vec<F::Output> {
    let mut calls: Vec<_> = calls.into_iter().map(|call| (Some(call), None)).collect();
    std::future::poll_fn(|cx| {
        for (call, answer) in &mut calls {
            if let Some(Poll::Ready(found)) = call.as_mut().map(|call| call.as_mut().poll(cx)) {
                *answer = Some(found);
                *call = None;
            }
        }
        if calls.iter().any(|(call, _)| call.is_some()) { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    calls.into_iter().filter_map(|(_, answer)| answer).collect()
}

const CHECK: &str = "/grpc.health.v1.Health/Check";
const WATCH: &str = "/grpc.health.v1.Health/Watch";

/// A connection that was of no use for so many intervals is not tried again.
pub(crate) const IDLE_INTERVALS: u32 = 5;
