//! `[health]`: the settings, typed.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::WeightConfig;

/// `[health]`.
#[derive(Debug, Clone, PartialEq)]
pub struct HealthConfig {
    /// Checks under way at once in the whole process, 1 to 4096.
    pub max_concurrent: usize,
    /// Where HAProxy tells what Lua cannot see; absent means that nobody asks.
    pub stats_socket: Option<StatsSocket>,
    /// Which checks become spans.
    pub spans: CheckSpans,
    /// `[[health.backend]]`, in order; a name stands at most once.
    pub backends: Vec<BackendConfig>,
    /// Checks of targets that somebody names.
    pub single: SingleConfig,
}

impl Default for HealthConfig {
    fn default() -> Self {
        Self {
            max_concurrent: 64,
            stats_socket: None,
            spans: CheckSpans::Off,
            backends: Vec::new(),
            single: SingleConfig::default(),
        }
    }
}

/// Of `[agent]` what is about checks of targets that somebody names: in a request to the agent, or in Lua.
#[derive(Debug, Clone, PartialEq)]
pub struct SingleConfig {
    /// How they are asked, where no configured backend's settings hold. Encrypted when the request says so.
    pub profile: BackendConfig,
    /// Where requests to the agent may lead; empty means anywhere.
    pub allow_to: Vec<IpNet>,
    /// A result this old answers no further question.
    pub max_age: Duration,
    /// Targets that are known at once, 1 to 65536; beyond that the one that was not asked for the longest is forgotten.
    pub max_targets: usize,
}

impl Default for SingleConfig {
    fn default() -> Self {
        Self {
            profile: BackendConfig { tls: TlsMode::Auto, ..BackendConfig::named("") },
            allow_to: Vec::new(),
            max_age: Duration::from_secs(1),
            max_targets: 256,
        }
    }
}

/// Which checks become spans.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum CheckSpans {
    /// None.
    Off,
    /// Those that change a server's state.
    Changes,
    /// Those, and those that do not pass.
    Failures,
    /// Those, and this share of the others, 0 to 1.
    Share(f64),
}

/// HAProxy's own stats socket, as its worker sees it after its chroot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatsSocket {
    /// An IP address and a port other than 0.
    Tcp(SocketAddr),
    /// An absolute path of at most 107 bytes.
    Unix(PathBuf),
    /// An abstract socket.
    Abstract {
        /// 1 to 107 bytes.
        name: String,
        /// HAProxy fills the name up with NULs (`abns@`), or does not (`abnsz@`).
        padded: bool,
    },
}

/// `[[health.backend]]`: one of HAProxy's backends whose servers are checked.
#[derive(Debug, Clone, PartialEq)]
pub struct BackendConfig {
    /// The backend's name in HAProxy's configuration.
    pub name: String,
    /// How HAProxy learns of their states.
    pub way: Way,
    /// How servers are asked.
    pub mode: CheckMode,
    /// What a server gets before its first result.
    pub init: InitState,
    /// The `service` of each `HealthCheckRequest`, 1 to 16 of them: all must pass. Empty text asks about the whole server.
    pub services: Vec<String>,
    /// `:authority` of the check; absent means the server's name, else its address.
    pub authority: Option<String>,
    /// Sent with each request; at most 32.
    pub metadata: Vec<(String, MetadataValue)>,
    /// `user-agent`; absent means `haproxy-vitals/VERSION`.
    pub user_agent: Option<String>,
    /// Between the start of one check and the start of the next.
    pub interval: Duration,
    /// The same while a state change is pending.
    pub fast_interval: Duration,
    /// The same while the server is down.
    pub down_interval: Duration,
    /// With [`CheckMode::Watch`]: between two Checks that prove that the stream still lives.
    pub watch_recheck: Duration,
    /// Bound on connecting: TCP, TLS and the server's HTTP/2 settings together.
    pub connect_timeout: Duration,
    /// Bound on the call; sent as `grpc-timeout`. With `connect_timeout` at most `interval`.
    pub rpc_timeout: Duration,
    /// How long a name that cannot be resolved leaves the last state.
    pub resolve_hold: Duration,
    /// Passes in a row that bring a server up, 1 to 100.
    pub rise: u32,
    /// Failures in a row that take it down, 1 to 100.
    pub fall: u32,
    /// Below this share of healthy servers, in percent, the last good ones stay up. 0 is off.
    pub panic_threshold: u32,
    /// Connections are kept between checks.
    pub reuse: bool,
    /// What `NOT_SERVING` does.
    pub not_serving: OnNotServing,
    /// What a server without health service gets.
    pub unimplemented: OnUnimplemented,
    /// What `RESOURCE_EXHAUSTED` does.
    pub overload: OnOverload,
    /// What single gRPC codes do, before every other rule.
    pub codes: Codes,
    /// How servers' load becomes their weight.
    pub weight: WeightConfig,
    /// Whether connections are encrypted.
    pub tls: TlsMode,
    /// Who may sign the server's certificate; empty means the system's.
    pub ca_file: Vec<PathBuf>,
    /// Our certificate, for servers that ask for one. With `key_file`.
    pub cert_file: Option<PathBuf>,
    /// Its private key.
    pub key_file: Option<PathBuf>,
    /// The name that the certificate must bear; absent means that of the authority.
    pub server_name: Option<String>,
    /// Any certificate will do.
    pub insecure_skip_verify: bool,
}

impl BackendConfig {
    /// The defaults for the backend called `name`.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            way: Way::Lua,
            mode: CheckMode::Check,
            init: InitState::Down,
            services: vec![String::new()],
            authority: None,
            metadata: Vec::new(),
            user_agent: None,
            interval: Duration::from_secs(2),
            fast_interval: Duration::from_secs(1),
            down_interval: Duration::from_secs(5),
            watch_recheck: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(1),
            rpc_timeout: Duration::from_secs(1),
            resolve_hold: Duration::from_secs(30),
            rise: 2,
            fall: 3,
            panic_threshold: 0,
            reuse: true,
            not_serving: OnNotServing::Down,
            unimplemented: OnUnimplemented::Down,
            overload: OnOverload::Down,
            codes: Codes::default(),
            weight: WeightConfig::default(),
            tls: TlsMode::Off,
            ca_file: Vec::new(),
            cert_file: None,
            key_file: None,
            server_name: None,
            insecure_skip_verify: false,
        }
    }

    /// Whether any result makes its servers drain.
    pub fn may_drain(&self) -> bool {
        self.not_serving == OnNotServing::Drain || !self.codes.with(CodeRule::Drain).is_empty()
    }
}

/// How HAProxy learns of its servers' states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// They are forced through Lua.
    Lua,
    /// It asks with `agent-check`.
    Agent,
    /// It asks with `option httpchk`.
    Bridge,
}

/// How servers are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckMode {
    /// One `Check` per interval.
    Check,
    /// One `Watch`, on which the server tells each change.
    Watch,
}

/// What a server gets before its first result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InitState {
    /// No requests.
    Down,
    /// Requests.
    Up,
    /// What HAProxy gives it, from a state file for example.
    Hold,
}

/// Whether connections are encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsMode {
    /// Never.
    Off,
    /// Always.
    On,
    /// As HAProxy's own to that server, where that is known; else not.
    Auto,
}

/// What `NOT_SERVING` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnNotServing {
    /// Down at once.
    Down,
    /// No new clients, at once; known ones stay.
    Drain,
    /// Passes: that it answers is enough.
    Ignore,
}

/// What a server without health service gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnUnimplemented {
    /// A failure.
    Down,
    /// A pass: it speaks gRPC.
    Up,
    /// The last state.
    Hold,
}

/// What `RESOURCE_EXHAUSTED` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnOverload {
    /// A failure.
    Down,
    /// The last state.
    Hold,
}

/// What one gRPC code does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeRule {
    /// Passes.
    Pass,
    /// Counts to `fall`.
    Fail,
    /// No new clients, at once.
    Drain,
    /// Leaves the last state.
    Hold,
}

/// Rules for single gRPC codes, 1 to 16.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Codes([Option<CodeRule>; Codes::COUNT]);

impl Codes {
    const COUNT: usize = 17;

    /// The rule for `code`.
    pub fn rule(&self, code: i32) -> Option<CodeRule> {
        self.0.get(usize::try_from(code).ok()?).copied().flatten()
    }

    /// Adds a rule; false when `code` has one already or can have none.
    pub(in crate::config) fn add(&mut self, code: usize, rule: CodeRule) -> bool {
        match self.0.get_mut(code) {
            Some(place @ None) if code != 0 => {
                *place = Some(rule);
                true
            }
            _ => false,
        }
    }

    /// The codes with this rule, in order.
    pub(in crate::config) fn with(&self, rule: CodeRule) -> Vec<usize> {
        (0..Self::COUNT).filter(|code| self.0.get(*code).copied().flatten() == Some(rule)).collect()
    }
}

/// A value of metadata, or where it is. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub enum MetadataValue {
    /// The value itself.
    Text(String),
    /// The file that holds it.
    File(PathBuf),
    /// The environment variable that holds it.
    Env(String),
}

impl fmt::Debug for MetadataValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("(hidden)"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Env(name) => write!(f, "environment {name}"),
        }
    }
}
