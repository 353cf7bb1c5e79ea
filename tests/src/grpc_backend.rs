//! A gRPC server with `grpc.health.v1.Health`, or without it.

mod tls;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::body::Incoming;
use tokio_rustls::TlsAcceptor;
use tonic::codegen::Service;
use tonic::{Code, Status};
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_health::server::{HealthReporter, HealthService};

pub use tls::Pki;

use crate::poll;
use crate::server::{Body, BoxError, Serve, Server, from_tonic, header_list, serve_http};

/// How the backend answers a Check or a Watch.
#[derive(Clone, Debug, Default)]
pub enum Answer {
    /// With the status that is set for the service.
    #[default]
    Normal,
    /// With that status, after a while.
    Delay(Duration),
    /// With a gRPC error.
    Fail(Code),
    /// Never.
    Hang,
}

/// A health request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    /// `Check` or `Watch`.
    pub method: &'static str,
    /// The service asked for; empty for the whole server.
    pub service: String,
    /// `:authority`.
    pub authority: String,
    /// Its metadata and the headers of gRPC, in order.
    pub metadata: Vec<(String, String)>,
    /// When it came.
    pub at: Instant,
}

impl Asked {
    /// The first value of an entry of the metadata.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.metadata.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str())
    }
}

/// A gRPC backend on a free port. The server as a whole (`""`) serves from the start; other services are unknown until set.
pub struct GrpcBackend {
    reporter: HealthReporter,
    journal: Arc<Journal>,
    server: Server,
}

impl GrpcBackend {
    /// Starts with the health service.
    pub fn start() -> Self {
        Self::serve(true, None)
    }

    /// Starts with the health service, behind TLS.
    pub fn with_tls(pki: &Pki) -> Self {
        Self::serve(true, Some(pki.acceptor(false)))
    }

    /// The same, for clients with a certificate of `pki`'s only.
    pub fn with_mutual_tls(pki: &Pki) -> Self {
        Self::serve(true, Some(pki.acceptor(true)))
    }

    /// Starts without it: every method is `UNIMPLEMENTED`.
    pub fn without_health() -> Self {
        Self::serve(false, None)
    }

    fn serve(health: bool, tls: Option<TlsAcceptor>) -> Self {
        let (reporter, journal) = (HealthReporter::new(), Arc::new(Journal::default()));
        let service =
            Recording { inner: HealthService::from_health_reporter(reporter.clone()), journal: journal.clone() };
        let service = health.then(|| HealthServer::new(service));
        let serve: Serve = Arc::new(move |stream| {
            let (service, tls) = (service.clone(), tls.clone());
            let answer = move |request| answer(service.clone(), request);
            Box::pin(async move {
                match tls {
                    None => serve_http(stream, answer).await,
                    Some(tls) => {
                        // A handshake that fails is what some cases want.
                        if let Ok(stream) = tls.accept(stream).await {
                            serve_http(stream, answer).await;
                        }
                    }
                }
            })
        });
        Self { reporter, journal, server: Server::start(serve) }
    }

    /// Its address.
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// Sets a service to SERVING.
    pub fn set_serving(&self, service: &str) {
        self.set_status(service, ServingStatus::Serving);
    }

    /// Sets a service to `NOT_SERVING`.
    pub fn set_not_serving(&self, service: &str) {
        self.set_status(service, ServingStatus::NotServing);
    }

    /// Sets a service's status; whoever watches it is told.
    pub fn set_status(&self, service: &str, status: ServingStatus) {
        self.server.block_on(self.reporter.set_service_status(service, status));
    }

    /// Makes a service unknown again; whoever watches it sees the end of the stream.
    pub fn forget(&self, service: &str) {
        self.server.block_on(self.reporter.clone().clear_service_status(service));
    }

    /// How it answers from now on.
    pub fn answer(&self, answer: Answer) {
        *self.journal.answer() = answer;
    }

    /// Metadata of each answer to a Check from now on; it replaces what was there.
    pub fn metadata(&self, name: &'static str, value: &str) {
        *self.journal.metadata() = Some((name, value.to_owned()));
    }

    /// No metadata from now on.
    pub fn no_metadata(&self) {
        *self.journal.metadata() = None;
    }

    /// Dies: connections break, and new ones are refused.
    pub fn stop(&self) {
        self.server.stop();
    }

    /// Comes back on the same port, with the statuses it had.
    pub fn restart(&self) {
        self.server.restart();
    }

    /// The health requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.journal.asked().clone()
    }

    /// How many Checks came so far.
    pub fn checks(&self) -> usize {
        self.journal.asked().iter().filter(|asked| asked.method == "Check").count()
    }

    /// How many Watches came so far.
    pub fn watches(&self) -> usize {
        self.journal.asked().iter().filter(|asked| asked.method == "Watch").count()
    }

    /// Waits for so many more Checks than there were when this was called.
    #[track_caller]
    pub fn wait_checks(&self, more: usize, within: Duration) {
        let before = self.checks();
        poll::until(within, &format!("{more} more health checks"), || self.checks() >= before + more);
    }

    /// Forgets the requests.
    pub fn clear(&self) {
        self.journal.asked().clear();
    }
}

#[derive(Default)]
struct Journal {
    asked: Mutex<Vec<Asked>>,
    answer: Mutex<Answer>,
    metadata: Mutex<Option<(&'static str, String)>>,
}

impl Journal {
    fn asked(&self) -> MutexGuard<'_, Vec<Asked>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self) -> MutexGuard<'_, Answer> {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn metadata(&self) -> MutexGuard<'_, Option<(&'static str, String)>> {
        self.metadata.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What tonic keeps from a service: who was asked for.
#[derive(Clone)]
struct Authority(String);

async fn answer(
    service: Option<HealthServer<Recording>>,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, BoxError> {
    let Some(mut service) = service else {
        return Ok(from_tonic(Status::unimplemented("no such service").into_http()));
    };
    let authority = request.uri().authority().map(ToString::to_string).unwrap_or_default();
    request.extensions_mut().insert(Authority(authority));
    Ok(from_tonic(service.call(request).await?))
}

/// tonic's health service behind a journal.
struct Recording {
    inner: HealthService,
    journal: Arc<Journal>,
}

impl Recording {
    async fn note(&self, method: &'static str, request: &tonic::Request<HealthCheckRequest>) -> Result<(), Status> {
        let authority = request.extensions().get::<Authority>();
        self.journal.asked().push(Asked {
            method,
            service: request.get_ref().service.clone(),
            authority: authority.map(|authority| authority.0.clone()).unwrap_or_default(),
            metadata: header_list(request.metadata().as_ref()),
            at: Instant::now(),
        });
        let answer = self.journal.answer().clone();
        match answer {
            Answer::Normal => Ok(()),
            Answer::Delay(delay) => {
                tokio::time::sleep(delay).await;
                Ok(())
            }
            Answer::Fail(code) => Err(Status::new(code, "as the test asked")),
            Answer::Hang => std::future::pending().await,
        }
    }
}

#[tonic::async_trait]
impl Health for Recording {
    type WatchStream = <HealthService as Health>::WatchStream;

    async fn check(
        &self,
        request: tonic::Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<HealthCheckResponse>, Status> {
        self.note("Check", &request).await?;
        let mut response = self.inner.check(request).await?;
        if let Some((name, value)) = &*self.journal.metadata() {
            let value = value.parse().map_err(|_| Status::internal("no metadata"))?;
            response.metadata_mut().insert(*name, value);
        }
        Ok(response)
    }

    async fn watch(
        &self,
        request: tonic::Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<Self::WatchStream>, Status> {
        self.note("Watch", &request).await?;
        self.inner.watch(request).await
    }
}
