//! Python's own HTTP server.

use std::net::SocketAddr;

use super::process::{Process, python};
use crate::port::Port;

/// Answers every GET with the headers that came; `/missing` is a 404, `/slow` takes 300 ms. Dropping it kills the process.
pub struct EchoServer {
    port: Port,
    _process: Process,
}

impl EchoServer {
    /// Starts on a free port.
    pub fn start() -> Self {
        let port = Port::reserve();
        let process = Process::start(python("echo.py"), port.number(), &[]);
        Self { port, _process: process }
    }

    /// Its address.
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }
}
