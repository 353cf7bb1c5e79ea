//! Prometheus itself, which scrapes what its configuration says.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command};

use serde_json::Value;
use tempfile::TempDir;

use crate::port::Port;
use crate::third_party::e2e_tools;
use crate::{SOON, client, poll};

/// A running Prometheus. Dropping it kills it.
pub struct Prometheus {
    child: Child,
    addr: SocketAddr,
    folder: TempDir,
}

impl Prometheus {
    /// Starts with the text of a configuration.
    pub fn start(configuration: &str) -> Self {
        // It shares its port with nobody: somebody else may be quicker.
        for _ in 0..ATTEMPTS {
            let mut prometheus = Self::spawn(configuration);
            if prometheus.is_ready() {
                return prometheus;
            }
        }
        panic!("Prometheus did not start {ATTEMPTS} times");
    }

    /// The sum of what an expression finds now; `None` when it finds nothing.
    #[track_caller]
    pub fn sum(&self, expression: &str) -> Option<f64> {
        let asked = expression.replace('+', "%2B").replace('{', "%7B").replace('}', "%7D").replace('"', "%22");
        let answer = client::get(self.addr, &format!("/api/v1/query?query=sum({asked})"), &[]);
        let found: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(found["status"], "success", "{expression}: {found}");
        found["data"]["result"][0]["value"][1].as_str().map(|value| value.parse().unwrap())
    }

    /// Waits until an expression sums up to this.
    #[track_caller]
    pub fn wait_sum(&self, expression: &str, wanted: u64) {
        let mut last = None;
        let found = poll::try_until(SOON, || {
            last = self.sum(expression);
            last.is_some_and(|value| (value - wanted as f64).abs() < 0.5).then_some(())
        });
        assert!(found.is_some(), "{expression} is {last:?}, not {wanted}:\n{}", self.log());
    }

    /// What it has said.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    fn spawn(configuration: &str) -> Self {
        let (folder, addr) = (tempfile::tempdir().unwrap(), Port::reserve().addr());
        let file = |name: &str| -> PathBuf { folder.path().join(name) };
        fs::write(file("prometheus.yaml"), configuration).unwrap();
        let said = File::create(file("log")).unwrap();
        let mut command = Command::new(e2e_tools().join("prometheus"));
        command.arg("--config.file").arg(file("prometheus.yaml")).arg("--storage.tsdb.path").arg(file("data"));
        command.arg("--web.listen-address").arg(addr.to_string());
        command.stdout(said.try_clone().unwrap()).stderr(said);
        let child = command.spawn().unwrap_or_else(|e| panic!("cannot run {command:?}: {e}"));
        Self { child, addr, folder }
    }

    fn is_ready(&mut self) -> bool {
        let mut ended = false;
        poll::until(SOON, "Prometheus is ready", || {
            ended = self.child.try_wait().unwrap().is_some();
            let answer = client::try_request(self.addr, "GET", "/-/ready", &[], b"");
            ended || answer.is_ok_and(|answer| answer.status == 200)
        });
        !ended
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const ATTEMPTS: usize = 5;
