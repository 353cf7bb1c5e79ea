//! Parts of URLs as attributes: hosts without ports, URLs without credentials. RFC 3986; HTTP semantic conventions,
//! `url.full`.

use std::net::IpAddr;

use super::text::Text;
use crate::trace::record::Target;
use crate::trace::record::scan::{find, split_once};
use crate::trace::wording::QueryRules;

/// `[userinfo@]host[:port]`, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Authority<'a> {
    /// Without an IPv6 literal's brackets; empty if there is none.
    pub(super) host: &'a [u8],
    /// As given: no default is put in.
    pub(super) port: Option<u16>,
    /// Host and port as they came.
    text: &'a [u8],
    has_userinfo: bool,
    /// The address of a server whose name is not known.
    peer: Option<IpAddr>,
}

impl<'a> Authority<'a> {
    /// Takes apart what a client sent. What is not a host and a port is taken as a host.
    pub(super) fn parse(authority: &'a [u8]) -> Self {
        let mut text = authority;
        while let Some((_, after)) = split_once(text, b'@') {
            text = after;
        }
        let (host, port) = split_port(text);
        Self { host, port, text, has_userinfo: text.len() < authority.len(), peer: None }
    }

    /// The address of a server whose name is not known: there is no host.
    pub(super) const fn of_peer(peer: Option<IpAddr>, port: Option<u16>) -> Self {
        Self { host: b"", port, text: b"", has_userinfo: false, peer }
    }

    fn push(&self, out: &mut Vec<u8>) {
        if self.has_userinfo {
            out.extend_from_slice(b"REDACTED:REDACTED@");
        }
        if self.text.is_empty() {
            self.push_host_and_port(out);
        } else {
            out.extend_from_slice(self.text);
        }
    }

    fn push_host_and_port(&self, out: &mut Vec<u8>) {
        match self.peer {
            Some(IpAddr::V6(address)) => out.extend_from_slice(format!("[{address}]").as_bytes()),
            Some(IpAddr::V4(address)) => out.extend_from_slice(Text::of(address.into()).as_bytes()),
            None => {}
        }
        if let Some(port) = self.port {
            out.push(b':');
            out.extend_from_slice(port.to_string().as_bytes());
        }
    }
}

/// Appends the begin of `url.full`, up to the path.
pub(super) fn push_origin(out: &mut Vec<u8>, scheme: &[u8], authority: &Authority<'_>) {
    out.extend_from_slice(scheme);
    out.extend_from_slice(b"://");
    authority.push(out);
}

/// Appends the rest of `url.full`.
pub(super) fn push_target(out: &mut Vec<u8>, target: &Target<'_>, rules: &QueryRules) {
    // RFC 9112, 3.3: the asterisk form's URI has an empty path.
    if target.path != b"*" {
        out.extend_from_slice(target.path);
    }
    if let Some(query) = target.query.filter(|_| *rules != QueryRules::Drop) {
        out.push(b'?');
        rules.push(out, query);
    }
}

/// `host:port`, `[v6]:port`, or only a host.
fn split_port(text: &[u8]) -> (&[u8], Option<u16>) {
    if find(text, b':').is_none() {
        return (text, None);
    }
    let mut parts = text.rsplitn(2, |&b| b == b':');
    let (port, host) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    match unbracketed(text) {
        Some(address) => return (address, None),
        None if !port.iter().all(u8::is_ascii_digit) => return (text, None),
        None => {}
    }
    let number = std::str::from_utf8(port).ok().and_then(|port| port.parse().ok()).filter(|&port| port != 0);
    match unbracketed(host) {
        Some(address) => (address, number),
        // An IPv6 address without brackets has no port that could be told from it.
        None if host.contains(&b':') => (text, None),
        None => (host, number),
    }
}

fn unbracketed(host: &[u8]) -> Option<&[u8]> {
    host.strip_prefix(b"[")?.strip_suffix(b"]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_lose_ports_brackets_and_userinfo() {
        let cases: [(&str, &str, Option<u16>); 14] = [
            ("", "", None),
            ("example.com", "example.com", None),
            ("example.com:8080", "example.com", Some(8080)),
            ("example.com:", "example.com", None),
            ("example.com:0", "example.com", None),
            ("example.com:99999", "example.com", None),
            ("example.com:http", "example.com:http", None),
            ("10.1.2.3:80", "10.1.2.3", Some(80)),
            ("[2001:db8::1]", "2001:db8::1", None),
            ("[2001:db8::1]:8443", "2001:db8::1", Some(8443)),
            ("2001:db8::1", "2001:db8::1", None),
            ("[::1", "[::1", None),
            ("user:secret@example.com:81", "example.com", Some(81)),
            ("a@b@example.com", "example.com", None),
        ];
        for (text, host, port) in cases {
            let authority = Authority::parse(text.as_bytes());
            assert_eq!((authority.host, authority.port), (host.as_bytes(), port), "{text}");
        }
    }
}
