//! `health.stats_socket`: read from a setting, and shown.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::super::text;
use crate::config::error::ConfigError;
use crate::config::setting::Setting;
use crate::config::tree::StatsSocket;

impl Setting {
    /// Empty: none. No name is looked up, but `localhost` is known.
    pub(super) fn stats_socket(&self) -> Result<Option<StatsSocket>, ConfigError> {
        let given = self.text()?;
        if given.is_empty() {
            return Ok(None);
        }
        parse(given).map(Some).ok_or_else(|| self.bad_text(EXPECTED))
    }
}

#[expect(clippy::ref_option, reason = "the table of keys hands the field over")]
pub(super) fn show_stats_socket(socket: &Option<StatsSocket>) -> String {
    text(&socket.as_ref().map(ToString::to_string).unwrap_or_default())
}

fn parse(given: &str) -> Option<StatsSocket> {
    let bare = |prefix| given.strip_prefix(prefix);
    if let Some(name) = bare(PADDED) {
        return named(name).map(|name| StatsSocket::Abstract { name, padded: true });
    }
    if let Some(name) = bare(UNPADDED) {
        return named(name).map(|name| StatsSocket::Abstract { name, padded: false });
    }
    if let Some(address) = bare("ipv4@") {
        return numeric(address).filter(SocketAddr::is_ipv4).map(StatsSocket::Tcp);
    }
    if let Some(address) = bare("ipv6@") {
        return numeric(address).filter(SocketAddr::is_ipv6).map(StatsSocket::Tcp);
    }
    let path = bare(UNIX).unwrap_or(given);
    if path.starts_with('/') {
        return (path.len() <= MAX_PATH && !path.contains('\0')).then(|| StatsSocket::Unix(PathBuf::from(path)));
    }
    numeric(given).map(StatsSocket::Tcp)
}

fn named(name: &str) -> Option<String> {
    let fits = (1..=MAX_PATH).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then(|| name.to_owned())
}

fn numeric(given: &str) -> Option<SocketAddr> {
    let address: SocketAddr = match given.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}").parse().ok(),
        None => given.parse().ok(),
    }?;
    (address.port() != 0).then_some(address)
}

impl fmt::Display for StatsSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
            Self::Abstract { name, padded } => write!(f, "{}{name}", if *padded { PADDED } else { UNPADDED }),
        }
    }
}

/// As HAProxy writes them. Configuration Manual, section 11.1.
const PADDED: &str = "abns@";
const UNPADDED: &str = "abnsz@";
const UNIX: &str = "unix@";
/// Of a unix socket, in bytes: `sun_path` without its end.
const MAX_PATH: usize = 107;
const EXPECTED: &str =
    "the address of HAProxy's stats socket: `abns@NAME`, `unix@/PATH`, `/PATH` or an IP address and a port";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_form_of_an_address_is_understood() {
        for (given, shown) in [
            ("abns@vitals", "abns@vitals"),
            ("abnsz@vitals", "abnsz@vitals"),
            ("unix@/run/stats", "unix@/run/stats"),
            ("/run/stats", "unix@/run/stats"),
            ("ipv4@127.0.0.1:9999", "127.0.0.1:9999"),
            ("127.0.0.1:9999", "127.0.0.1:9999"),
            ("localhost:9999", "127.0.0.1:9999"),
            ("[::1]:9999", "[::1]:9999"),
            ("ipv6@[::1]:9999", "[::1]:9999"),
        ] {
            assert_eq!(parse(given).map(|socket| socket.to_string()).as_deref(), Some(shown), "{given}");
        }
        let long = "a".repeat(MAX_PATH + 1);
        for given in [
            "abns@",
            "abns@a b",
            &format!("abns@{long}"),
            "unix@run/stats",
            "run/stats",
            &format!("/{long}"),
            "ipv4@[::1]:9999",
            "ipv6@127.0.0.1:9999",
            "127.0.0.1",
            "127.0.0.1:0",
            "stats.example:9999",
            "sockpair@3",
            "fd@3",
            "/a\0b",
        ] {
            assert_eq!(parse(given), None, "{given}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(given in "(abns@|abnsz@|unix@/|/|ipv4@|ipv6@)?[a-z0-9.:/]{0,120}") {
            if let Some(socket) = parse(&given) {
                prop_assert_eq!(parse(&socket.to_string()), Some(socket));
            }
        }
    }
}
