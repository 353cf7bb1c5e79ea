//! Which checked server somebody means who names an address.

use std::sync::Arc;

use super::{Entry, Registry};
use crate::health::address::Address;
use crate::health::target::Target;

/// A server as somebody else's configuration names it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// An IP address, a path, or the name on the server's line.
    pub(crate) address: &'a Address,
    /// Whether its connections are encrypted.
    pub(crate) tls: bool,
    /// Tells servers apart that have an `authority` in the configuration; others are meant whatever it is.
    pub(crate) authority: &'a str,
}

impl Registry {
    /// The server that is meant: one whose configured `authority` it is, else the first without one.
    pub(crate) fn target_of(&self, asked: Asked<'_>) -> Option<Arc<Target>> {
        let entries = self.backends.values().flat_map(|backend| backend.servers.values());
        let mut meant = None;
        for (entry, target) in entries.filter_map(|entry| Some((entry, entry.target()?))) {
            if !entry.is_at(asked.address) || target.profile.encrypts(entry.encrypted()) != asked.tls {
                continue;
            }
            match &target.profile.config.authority {
                Some(own) if is_same(own, asked.authority, asked.address) => return Some(Arc::clone(target)),
                Some(_) => {}
                None => meant = meant.or(Some(target)),
            }
        }
        meant.map(Arc::clone)
    }

    /// No sweep has shown any server yet: that a server is not known means nothing.
    pub(crate) fn is_new(&self) -> bool {
        self.round == 0
    }
}

impl Entry {
    fn is_at(&self, asked: &Address) -> bool {
        let Ok(own) = Address::parse(&self.address) else { return false };
        match (asked, &own) {
            (Address::Name(name, port), Address::Tcp(own)) => {
                let is_named = |own: &str| plain(own).eq_ignore_ascii_case(plain(name));
                *port == own.port() && self.known_name().is_some_and(is_named)
            }
            (Address::Tcp(asked), Address::Tcp(own)) => {
                asked.port() == own.port() && asked.ip().to_canonical() == own.ip().to_canonical()
            }
            _ => *asked == own,
        }
    }
}

/// A full name may end in a dot.
fn plain(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// Either may leave the port out.
fn is_same(own: &str, asked: &str, address: &Address) -> bool {
    let port = match address {
        Address::Tcp(address) => address.port(),
        Address::Name(_, port) => *port,
        Address::Unix(_) => 0,
    };
    let suffix = format!(":{port}");
    let bare = |authority: &str| authority.strip_suffix(&suffix).unwrap_or(authority).to_ascii_lowercase();
    bare(own) == bare(asked)
}
