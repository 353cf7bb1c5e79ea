//! The agent: answers HAProxy's `agent-check` (Configuration Manual, section 5.2) from what the checker knows.
//!
//! One line, one answer, in order. States are never taken from what stands in a request: who can connect learns, and
//! changes nothing.

mod connection;
mod herald;
mod reply;
mod request;

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::address::Address;
use super::door::{Door, ListenError, Place};
use super::oracle::{Oracle, Verdict};
use super::registry::Asked;
use super::{Checker, Class, TargetSpec};
use crate::config::{AgentConfig, HealthConfig};
use crate::runtime::{Closer, Stop, Tasks};
use crate::stats;
use herald::Herald;
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
        let place = if config.reuse_port { Place::Tcp(address) } else { Place::OwnTcp(address) };
        let door = Door::bind("agent.listen", &place, config.max_connections, &stats::AGENT, tasks)?;
        let oracle = Oracle::new(checker.clone(), health);
        let answers = Answers { oracle, config: config.clone(), herald: Herald::new(health.single.max_targets) };
        Ok(Some(Self { door, answers: Arc::new(answers) }))
    }

    /// Where it listens, with the port that it got.
    pub fn address(&self) -> Option<SocketAddr> {
        self.door.address()
    }

    /// Closes it from elsewhere.
    pub fn closer(&self) -> Closer {
        self.door.closer()
    }

    /// Answers until the process stops or the listener is closed.
    pub async fn run(self, stop: Stop) {
        let answers = self.answers;
        // Checks that only they wait for go on as long as checks may.
        let grace = if answers.config.allow_any { answers.config.timeout + LAST_WORDS } else { LAST_WORDS };
        let door = self.door.with_grace(grace);
        door.run("agent", move |stream, seat| connection::serve(stream, seat, Arc::clone(&answers)), stop).await;
    }
}

/// From lines to lines.
pub(crate) struct Answers {
    oracle: Oracle,
    config: AgentConfig,
    herald: Herald,
}

impl Answers {
    /// The answer to one line of `peer`'s, with its LF. Waits only for targets that are not configured.
    async fn answer(&self, line: &[u8], peer: Option<IpAddr>) -> String {
        match self.verdict(line, peer).await {
            Ok(verdict) => reply::of(&verdict),
            Err(problem) => self.problem(&problem, line, peer),
        }
    }

    /// The answer to what cannot be answered.
    fn problem(&self, problem: &str, line: &[u8], peer: Option<IpAddr>) -> String {
        stats::AGENT.refused.add(1);
        self.herald.refused(problem, line, peer);
        reply::problem(problem, self.config.on_error)
    }

    async fn verdict(&self, line: &[u8], peer: Option<IpAddr>) -> Result<Verdict, Cow<'static, str>> {
        if !self.may_ask(peer) {
            return Err("this address may not ask: it is not in `agent.allow_from`".into());
        }
        match Request::parse(line)? {
            Request::Server { backend, server } => {
                Ok(self.oracle.server(backend, server).ok_or("no such server is checked")?)
            }
            // A check's own state is large: it is there while the check runs, and not in every connection.
            Request::Target { address, tls, authority } => Box::pin(self.target(address, tls, authority, peer)).await,
        }
    }

    async fn target(
        &self,
        address: Address,
        tls: bool,
        authority: String,
        peer: Option<IpAddr>,
    ) -> Result<Verdict, Cow<'static, str>> {
        let asked = Asked { address: &address, tls, authority: &authority };
        if let Some(verdict) = self.oracle.address(asked) {
            return Ok(verdict);
        }
        if !self.config.allow_any {
            return Err("no such server is checked, and `agent.allow_any` is not set".into());
        }
        let backend = address.authority();
        let (host, port) = match address {
            Address::Tcp(address) => (address.ip().to_string(), address.port()),
            Address::Name(name, port) => (name, port),
            Address::Unix(_) => return Err("paths are not checked".into()),
        };
        Herald::asked(&backend, tls, peer);
        let spec = TargetSpec { host, port, tls, authority: Some(authority), foreign: true, ..TargetSpec::default() };
        let (verdict, class) = self.oracle.once(spec, self.config.timeout).await;
        self.herald.answered(&backend, tls, &verdict, class);
        match verdict {
            Verdict::Unsure(reason) if class == Some(Class::Forbidden) => Err(reason.into()),
            verdict => Ok(verdict),
        }
    }

    fn may_ask(&self, peer: Option<IpAddr>) -> bool {
        let networks = &self.config.allow_from;
        networks.is_empty() || peer.is_some_and(|peer| networks.iter().any(|network| network.contains(&peer)))
    }
}

/// For those who had asked when the listener closed: beyond the bound on a check.
const LAST_WORDS: Duration = Duration::from_millis(300);
