//! `[health]`: the settings, typed.

use std::time::Duration;

/// `[health]`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HealthConfig {
    /// `[[health.backend]]`, in order; a name stands at most once.
    pub backends: Vec<BackendConfig>,
}

/// `[[health.backend]]`: one of HAProxy's backends whose servers are checked.
#[derive(Debug, Clone, PartialEq)]
pub struct BackendConfig {
    /// The backend's name in HAProxy's configuration.
    pub name: String,
    /// The `service` of `HealthCheckRequest`; empty asks about the whole server.
    pub service: String,
    /// `:authority` of the check; absent means the server's address.
    pub authority: Option<String>,
    /// Between the start of one check and the start of the next.
    pub interval: Duration,
    /// The same while a state change is pending.
    pub fast_interval: Duration,
    /// The same while the server is down.
    pub down_interval: Duration,
    /// Bound on connecting: TCP and HTTP/2 preface.
    pub connect_timeout: Duration,
    /// Bound on the call; sent as `grpc-timeout`. With `connect_timeout` at most `interval`.
    pub rpc_timeout: Duration,
    /// Passes in a row that bring a server up, 1 to 100.
    pub rise: u32,
    /// Failures in a row that take it down, 1 to 100.
    pub fall: u32,
}

impl BackendConfig {
    /// The defaults for the backend called `name`.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            service: String::new(),
            authority: None,
            interval: Duration::from_secs(2),
            fast_interval: Duration::from_secs(1),
            down_interval: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(1),
            rpc_timeout: Duration::from_secs(1),
            rise: 2,
            fall: 3,
        }
    }
}
