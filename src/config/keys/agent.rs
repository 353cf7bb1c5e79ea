//! `[agent]` and `[bridge]`.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::attributes::show_networks;
use super::{Key, Show, UP_TO_AN_HOUR, key, plain, text, time, word};
use crate::config::error::ConfigError;
use crate::config::setting::Setting;
use crate::config::tree::{BridgeAddress, Config};

pub(in crate::config) static KEYS: &[Key<Config>] = &[
    Key {
        name: "agent.listen",
        set: |tree, setting| {
            tree.agent.listen = agent_address(setting)?;
            Ok(())
        },
        show: Show::One(|tree| text(&tree.agent.listen.map(|address| address.to_string()).unwrap_or_default())),
    },
    key!("agent.allow_any", agent.allow_any, flag(), plain),
    key!("agent.on_error", agent.on_error, word(), word),
    key!("agent.max_connections", agent.max_connections, whole(1..=4096), plain),
    key!("agent.max_line", agent.max_line, whole(64..=16384), plain),
    key!("agent.max_lines", agent.max_lines, whole(1..=1_000_000), plain),
    key!("agent.idle_timeout", agent.idle_timeout, duration(UP_TO_AN_HOUR), time),
    key!("agent.allow_from", agent.allow_from, networks(), show_networks),
    key!("agent.allow_to", health.single.allow_to, networks(), show_networks),
    key!("agent.timeout", agent.timeout, duration(UP_TO_AN_HOUR), time),
    key!("agent.reuse_port", agent.reuse_port, flag(), plain),
    Key {
        name: "bridge.listen",
        set: |tree, setting| {
            tree.bridge.listen = bridge_address(setting)?;
            Ok(())
        },
        show: Show::One(|tree| text(&tree.bridge.listen.as_ref().map(ToString::to_string).unwrap_or_default())),
    },
    key!("bridge.max_connections", bridge.max_connections, whole(1..=4096), plain),
    key!("bridge.idle_timeout", bridge.idle_timeout, duration(UP_TO_AN_HOUR), time),
];

/// Empty: none. No name is looked up, but `localhost` is known.
fn agent_address(setting: &Setting) -> Result<Option<SocketAddr>, ConfigError> {
    let given = setting.text()?;
    let bad = || setting.bad_text("an address and a port, such as `127.0.0.1:5555` or `[::1]:5555`");
    if given.is_empty() { Ok(None) } else { numeric(given).map(Some).ok_or_else(bad) }
}

fn bridge_address(setting: &Setting) -> Result<Option<BridgeAddress>, ConfigError> {
    let given = setting.text()?;
    if given.is_empty() {
        return Ok(None);
    }
    let address = match given.strip_prefix(UNIX) {
        Some(path) if path.starts_with('/') && path.len() <= MAX_PATH => Some(BridgeAddress::Unix(PathBuf::from(path))),
        Some(_) => None,
        None => numeric(given).map(BridgeAddress::Tcp),
    };
    let expected =
        "`unix@` and an absolute path of at most 90 bytes, or an address and a port such as `127.0.0.1:5556`";
    address.map(Some).ok_or_else(|| setting.bad_text(expected))
}

fn numeric(given: &str) -> Option<SocketAddr> {
    match given.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}").parse().ok(),
        None => given.parse().ok(),
    }
}

impl std::fmt::Display for BridgeAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

/// As HAProxy writes it.
const UNIX: &str = "unix@";
/// Of a unix socket, in bytes.
const MAX_PATH: usize = 90;
