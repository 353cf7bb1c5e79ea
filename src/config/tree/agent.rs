//! `[agent]` and `[bridge]`: the settings, typed.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

/// `[agent]`: answers HAProxy's `agent-check`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentConfig {
    /// Where; absent means nowhere.
    pub listen: Option<SocketAddr>,
    /// Whether requests may name targets that are not configured: who can connect can make this process connect anywhere.
    pub allow_any: bool,
    /// What a request that cannot be answered does.
    pub on_error: OnAgentError,
    /// Connections at once, 1 to 4096; beyond that the one that was idle the longest is closed.
    pub max_connections: usize,
    /// Bytes of one request, 64 to 16384.
    pub max_line: usize,
    /// Requests of one connection, 1 to 1000000; then it is closed.
    pub max_lines: usize,
    /// A connection that asks nothing for so long is closed.
    pub idle_timeout: Duration,
    /// Who may ask; empty means everybody who can connect.
    pub allow_from: Vec<IpNet>,
    /// Bound on one check that somebody waits for: room for it, connection and call together. By default, with the time in which a
    /// line without an end counts as one, well under the 2 s of HAProxy's default `agent-inter`, after which it would keep the last state.
    pub timeout: Duration,
    /// Whether another process may listen on the same port (`SO_REUSEPORT`): a reload needs that.
    pub reuse_port: bool,
}

impl Default for AgentConfig {
    fn default() -> Self {
        Self {
            listen: None,
            allow_any: false,
            on_error: OnAgentError::Keep,
            max_connections: 256,
            max_line: 1024,
            max_lines: 64,
            idle_timeout: Duration::from_secs(5),
            allow_from: Vec::new(),
            timeout: Duration::from_millis(1700),
            reuse_port: true,
        }
    }
}

/// What a request that cannot be answered does to the server that it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnAgentError {
    /// Nothing.
    Keep,
    /// It goes down.
    Down,
}

/// `[bridge]`: answers HAProxy's `option httpchk`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeConfig {
    /// Where; absent means nowhere.
    pub listen: Option<BridgeAddress>,
    /// Connections at once, 1 to 4096; beyond that the one that was idle the longest is closed.
    pub max_connections: usize,
    /// A connection that asks nothing for so long is closed.
    pub idle_timeout: Duration,
}

impl Default for BridgeConfig {
    fn default() -> Self {
        Self { listen: None, max_connections: 256, idle_timeout: Duration::from_secs(5) }
    }
}

/// Where the bridge listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BridgeAddress {
    /// On an address and a port.
    Tcp(SocketAddr),
    /// On a unix socket: an absolute path of at most 90 bytes, so that its next name fits as well (`sun_path` has 108).
    Unix(PathBuf),
}
