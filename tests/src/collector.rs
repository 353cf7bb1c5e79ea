//! A collector that others wrote: rotel. What it takes in it passes on to a receiver of ours, in its own words.

use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::{Mutex, PoisonError};

use tempfile::TempDir;

use crate::port::Port;
use crate::third_party::installed;
use crate::{OtlpReceiver, SOON, poll};

/// A running collector. Dropping it kills it.
pub struct Collector {
    child: Mutex<Child>,
    command: Mutex<Command>,
    grpc: SocketAddr,
    http: SocketAddr,
    folder: TempDir,
}

impl Collector {
    /// Takes all signals in and passes them on to `receiver`, over gRPC.
    pub fn start(receiver: &OtlpReceiver) -> Self {
        // It shares its ports with nobody, so that they cannot be held for it: somebody else may be quicker.
        for _ in 0..ATTEMPTS {
            if let Some(collector) = Self::attempt(receiver) {
                return collector;
            }
        }
        panic!("the collector did not start {ATTEMPTS} times");
    }

    /// Dies: connections break, and new ones are refused. What it has not passed on yet is lost.
    pub fn stop(&self) {
        end(&mut self.child.lock().unwrap());
    }

    /// Comes back on the same ports.
    #[track_caller]
    pub fn restart(&self) {
        let mut child = self.child.lock().unwrap();
        assert!(child.try_wait().unwrap().is_some(), "the collector still runs");
        *child = self.command.lock().unwrap().spawn().unwrap();
        assert!(listens(&mut child, [self.grpc, self.http]), "the collector did not start again:\n{}", self.log());
    }

    /// Where it takes OTLP/gRPC.
    pub fn grpc_endpoint(&self) -> String {
        format!("http://{}", self.grpc)
    }

    /// Where it takes OTLP/HTTP.
    pub fn http_endpoint(&self) -> String {
        format!("http://{}", self.http)
    }

    /// What it has said.
    pub fn log(&self) -> String {
        std::fs::read_to_string(log(&self.folder)).unwrap()
    }

    fn attempt(receiver: &OtlpReceiver) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let (grpc, http) = {
            let ports = (Port::reserve(), Port::reserve());
            (ports.0.addr(), ports.1.addr())
        };
        let said = File::create(log(&folder)).unwrap();
        let mut command = Command::new(installed().join("python/rotel/rotel-agent"));
        command
            .args(["start", "--exporter", "otlp", "--otlp-exporter-compression", "none", "--batch-timeout", "20ms"])
            .args(["--otlp-exporter-endpoint", &receiver.grpc_endpoint()])
            .args(["--otlp-grpc-endpoint", &grpc.to_string(), "--otlp-http-endpoint", &http.to_string()])
            .arg("--pid-file")
            .arg(folder.path().join("pid"))
            .stdout(said.try_clone().unwrap())
            .stderr(said);
        let mut child = command.spawn().unwrap_or_else(|e| panic!("cannot run {command:?}: {e}"));
        let listens = listens(&mut child, [grpc, http]);
        let collector = Self { child: Mutex::new(child), command: Mutex::new(command), grpc, http, folder };
        listens.then_some(collector)
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        end(self.child.get_mut().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Waits until it listens; `false` when it has ended instead.
fn listens(child: &mut Child, addrs: [SocketAddr; 2]) -> bool {
    let mut ended = false;
    poll::until(SOON, "the collector listens", || {
        ended = child.try_wait().unwrap().is_some();
        ended || addrs.iter().all(|addr| TcpStream::connect(addr).is_ok())
    });
    !ended
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

fn log(folder: &TempDir) -> PathBuf {
    folder.path().join("log")
}

const ATTEMPTS: usize = 5;
