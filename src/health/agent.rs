//! The agent: answers HAProxy's `agent-check` (Configuration Manual, section 5.2) from what the checker knows.
//!
//! One line, one answer, in order. States are never taken from what stands in a request: who can connect learns, and
//! changes nothing.

mod connection;
mod reply;
mod request;

use std::sync::Arc;

use super::address::Address;
use super::door::{Closer, Door, ListenError, Place};
use super::oracle::{Oracle, Verdict};
use super::registry::Asked;
use super::{Checker, TargetSpec};
use crate::config::{AgentConfig, HealthConfig};
use crate::runtime::{Stop, Tasks};
use crate::stats;
use request::Request;

/// A listener for `agent-check`.
pub struct AgentListener {
    door: Door,
    answers: Arc<Answers>,
}

impl AgentListener {
    /// Listens where the settings say; None where they say nowhere. On the runtime.
    pub fn bind(
        config: &AgentConfig,
        health: &HealthConfig,
        checker: &Checker,
        tasks: &Tasks,
    ) -> Result<Option<Self>, ListenError> {
        let Some(address) = config.listen else { return Ok(None) };
        let place = Place::Tcp(address);
        let door = Door::bind("agent.listen", &place, config.max_connections, &stats::AGENT, tasks)?;
        let answers = Answers { oracle: Oracle::new(checker.clone(), health), config: config.clone() };
        Ok(Some(Self { door, answers: Arc::new(answers) }))
    }

    /// Where it listens.
    #[cfg(test)]
    pub(super) fn address(&self) -> std::net::SocketAddr {
        self.door.address()
    }

    /// Closes it from elsewhere.
    pub fn closer(&self) -> Closer {
        self.door.closer()
    }

    /// Answers until the process stops or the listener is closed.
    pub async fn run(self, stop: Stop) {
        let answers = self.answers;
        self.door.run("agent", move |stream, seat| connection::serve(stream, seat, Arc::clone(&answers)), stop).await;
    }
}

/// From lines to lines.
pub(crate) struct Answers {
    oracle: Oracle,
    config: AgentConfig,
}

impl Answers {
    /// The answer to one line, with its LF. Waits only for targets that are not configured.
    async fn answer(&self, line: &[u8]) -> String {
        match self.verdict(line).await {
            Ok(verdict) => reply::of(&verdict),
            Err(problem) => self.problem(problem),
        }
    }

    /// The answer to what cannot be answered.
    fn problem(&self, problem: &str) -> String {
        stats::AGENT.refused.add(1);
        reply::problem(problem, self.config.on_error)
    }

    async fn verdict(&self, line: &[u8]) -> Result<Verdict, &'static str> {
        match Request::parse(line)? {
            Request::Server { backend, server } => {
                self.oracle.server(backend, server).ok_or("no such server is checked")
            }
            Request::Target { address, tls, authority } => {
                let asked = Asked { address: &address, tls, authority: &authority };
                if let Some(verdict) = self.oracle.address(asked) {
                    return Ok(verdict);
                }
                if !self.config.allow_any {
                    return Err("no such server is checked, and `agent.allow_any` is not set");
                }
                let (host, port) = match address {
                    Address::Tcp(address) => (address.ip().to_string(), address.port()),
                    Address::Name(name, port) => (name, port),
                    Address::Unix(_) => return Err("paths are not checked"),
                };
                let spec = TargetSpec { host, port, tls, authority: Some(authority), ..TargetSpec::default() };
                Ok(self.oracle.once(spec).await)
            }
        }
    }
}
