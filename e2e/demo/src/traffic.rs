//! Requests through HAProxy, one at a time.

use std::net::SocketAddr;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use haproxy_vitals_tests::client;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::Fault;
use crate::stage::Stage;

/// One request of the round.
#[derive(Clone, Copy)]
pub(crate) enum Call {
    /// A GET of this path.
    Http(&'static str),
    /// The call of a gRPC client: that of the health service, which every backend has.
    Grpc,
}

/// What is asked for, in turn.
pub(crate) const ROUND: [Call; 9] = [
    Call::Http("/"),
    Call::Grpc,
    Call::Http("/api/items/7?x=1"),
    Call::Http("/denied"),
    Call::Grpc,
    Call::Http("/missing"),
    Call::Grpc,
    Call::Http("/slow"),
    Call::Grpc,
];

/// HAProxy's two frontends.
#[derive(Clone, Copy)]
pub(crate) struct Doors {
    pub(crate) http: SocketAddr,
    pub(crate) grpc: SocketAddr,
}

impl Doors {
    pub(crate) fn of(stage: &Stage) -> Self {
        Self { http: stage.haproxy.addr("http"), grpc: stage.haproxy.addr("grpc") }
    }

    /// Sends one request and waits for its answer. An error is that there was none, whatever its status.
    pub(crate) fn send(self, call: Call) -> Result<(), Fault> {
        match call {
            Call::Http(path) => client::try_request(self.http, "GET", path, &[("user-agent", AGENT)], b"").map(drop)?,
            Call::Grpc => client::block_on(self.ask_health())?,
        }
        Ok(())
    }

    async fn ask_health(self) -> Result<(), Fault> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.grpc))?.user_agent(AGENT)?.timeout(PATIENCE);
        let mut client = HealthClient::new(endpoint.connect().await?);
        client.check(HealthCheckRequest::default()).await?;
        Ok(())
    }
}

/// Rounds in the background, until it is stopped.
pub(crate) struct Traffic {
    stop: Sender<()>,
    thread: JoinHandle<u64>,
}

impl Traffic {
    /// Sends one request each `pause`.
    pub(crate) fn start(doors: Doors, pause: Duration) -> Self {
        let (stop, stopped) = mpsc::channel();
        let thread = thread::spawn(move || {
            let mut unanswered = 0;
            for call in ROUND.into_iter().cycle() {
                if stopped.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
                    break;
                }
                unanswered += u64::from(doors.send(call).is_err());
            }
            unanswered
        });
        Self { stop, thread }
    }

    /// Ends after the request under way; returns how many had no answer.
    pub(crate) fn stop(self) -> u64 {
        drop(self.stop);
        self.thread.join().unwrap_or(u64::MAX)
    }
}

const AGENT: &str = "vitals-demo";
const PATIENCE: Duration = Duration::from_secs(5);
