//! Servers that others wrote, as processes: gRPC health servers on grpcio and grpc-js, which `tasks/third-party` installs, and
//! Python's own for HTTP.

mod echo;
mod process;

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use nix::sys::signal::Signal;
use tonic_health::ServingStatus;

pub use echo::EchoServer;

use crate::grpc_backend::Pki;
use crate::port::Port;
use crate::{GrpcBackend, SOON};
use process::Process;

/// Whose server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// `grpcio` with `grpcio-health-checking`: the C core.
    Python,
    /// `@grpc/grpc-js` with `grpc-health-check`: Node's own HTTP/2.
    Node,
}

impl Foreign {
    /// Everybody's.
    pub const ALL: [Self; 2] = [Self::Python, Self::Node];

    /// Starts with the health service. The server as a whole (`""`) serves; other services are unknown until set.
    pub fn start(self) -> ForeignBackend {
        ForeignBackend::new(self, &[])
    }

    /// Starts with the health service, behind TLS.
    pub fn with_tls(self, pki: &Pki) -> ForeignBackend {
        ForeignBackend::new(self, &["--cert", &file(pki, "server.pem"), "--key", &file(pki, "server.key")])
    }

    /// The same, for clients with a certificate of `pki`'s only.
    pub fn with_mutual_tls(self, pki: &Pki) -> ForeignBackend {
        let (cert, key, ca) = (file(pki, "server.pem"), file(pki, "server.key"), file(pki, "ca.pem"));
        ForeignBackend::new(self, &["--cert", &cert, "--key", &key, "--client-ca", &ca])
    }

    fn command(self) -> Command {
        match self {
            Self::Python => process::python("health.py"),
            Self::Node => process::node("health.js"),
        }
    }

    /// Starts without the health service.
    pub fn without_health(self) -> ForeignBackend {
        ForeignBackend::new(self, &["--no-health"])
    }

    /// Starts with the health service; every connection gets GOAWAY after about so many milliseconds.
    pub fn with_max_age(self, millis: u32) -> ForeignBackend {
        ForeignBackend::new(self, &["--max-age", &millis.to_string()])
    }
}

/// What every gRPC backend of the harness can do, whoever wrote it.
pub trait HealthServer {
    /// Its address.
    fn addr(&self) -> SocketAddr;

    /// Sets a service's status; whoever watches it is told.
    fn set_status(&self, service: &str, status: ServingStatus);

    /// How many Checks came so far, also before a restart.
    fn checks(&self) -> usize;

    /// How many Watches came so far, also before a restart.
    fn watches(&self) -> usize;

    /// Dies: connections break, and new ones are refused.
    fn stop(&self);

    /// Comes back on the same port.
    fn restart(&self);

    /// Sets a service to SERVING.
    fn set_serving(&self, service: &str) {
        self.set_status(service, ServingStatus::Serving);
    }

    /// Sets a service to `NOT_SERVING`.
    fn set_not_serving(&self, service: &str) {
        self.set_status(service, ServingStatus::NotServing);
    }
}

impl HealthServer for GrpcBackend {
    fn addr(&self) -> SocketAddr {
        self.addr()
    }

    fn set_status(&self, service: &str, status: ServingStatus) {
        self.set_status(service, status);
    }

    fn checks(&self) -> usize {
        self.checks()
    }

    fn watches(&self) -> usize {
        self.watches()
    }

    fn stop(&self) {
        self.stop();
    }

    fn restart(&self) {
        self.restart();
    }
}

/// One process of somebody's server, on a port that stays its own when it dies. Dropping it kills the process.
pub struct ForeignBackend {
    whose: Foreign,
    options: Vec<String>,
    port: Port,
    process: Mutex<Process>,
    /// Checks and Watches of the processes before this one.
    before: Mutex<(usize, usize)>,
}

impl ForeignBackend {
    fn new(whose: Foreign, options: &[&str]) -> Self {
        let options: Vec<String> = options.iter().map(ToString::to_string).collect();
        let port = Port::reserve();
        let process = Mutex::new(Process::start(whose.command(), port.number(), &options));
        Self { whose, options, port, process, before: Mutex::default() }
    }

    /// Stops in order: GOAWAY on every connection, then the end of the process. Returns when that has come.
    #[track_caller]
    pub fn stop_gracefully(&self) {
        let mut process = self.process.lock().unwrap();
        process.order("stop");
        process.wait_end(SOON);
    }

    /// Freezes the process, `SIGSTOP`: the kernel still takes connections for it, and nobody answers.
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Lets it go on, `SIGCONT`.
    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Sends the process a signal. grpcio's stops serving at `SIGUSR1` and serves again at `SIGUSR2`.
    pub fn signal(&self, signal: Signal) {
        self.process.lock().unwrap().signal(signal);
    }
}

impl HealthServer for ForeignBackend {
    fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    fn set_status(&self, service: &str, status: ServingStatus) {
        let word = match status {
            ServingStatus::Unknown => "UNKNOWN",
            ServingStatus::Serving => "SERVING",
            ServingStatus::NotServing => "NOT_SERVING",
        };
        self.process.lock().unwrap().order(format!("set {word} {service}").trim_end());
    }

    fn checks(&self) -> usize {
        self.before.lock().unwrap().0 + self.process.lock().unwrap().heard("asked Check")
    }

    fn watches(&self) -> usize {
        self.before.lock().unwrap().1 + self.process.lock().unwrap().heard("asked Watch")
    }

    fn stop(&self) {
        let mut process = self.process.lock().unwrap();
        process.signal(Signal::SIGKILL);
        process.wait_end(SOON);
    }

    fn restart(&self) {
        let counts = (self.checks(), self.watches());
        let mut process = self.process.lock().unwrap();
        assert!(process.has_ended(), "the server still runs");
        *self.before.lock().unwrap() = counts;
        *process = Process::start(self.whose.command(), self.port.number(), &self.options);
    }
}

fn file(pki: &Pki, name: &str) -> String {
    let path = pki.path(name);
    Path::to_str(&path).unwrap().to_owned()
}
