//! Whom a trusted proxy before this one speaks for. RFC 7239, and the `X-Forwarded-*` headers by custom.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::config::{AttributesConfig, Forwarded};
use crate::trace::record::{Field, Record};

/// Which peers are believed, and which headers.
#[derive(Debug, Clone)]
pub(in crate::trace) struct Forwarding {
    trusted: Vec<IpNet>,
    headers: Forwarded,
}

/// What the request was when it met the first trusted proxy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::trace) struct Origin<'a> {
    /// The right-most address that is not trusted; else the left-most one.
    pub(in crate::trace) client: Option<IpAddr>,
    /// `http` or `https`.
    pub(in crate::trace) scheme: Option<&'static [u8]>,
    /// Host and port; empty if not said.
    pub(in crate::trace) host: &'a [u8],
}

impl Forwarding {
    pub(super) fn new(config: &AttributesConfig) -> Option<Self> {
        let trusted = config.trusted_networks.clone();
        (!trusted.is_empty()).then_some(Self { trusted, headers: config.forwarded })
    }

    /// What the headers say, if the peer is trusted.
    pub(in crate::trace) fn origin<'a>(&self, record: &Record<'a>) -> Option<Origin<'a>> {
        let peer = record.response.client_ip?.to_canonical();
        if !self.trusts(peer) {
            return None;
        }
        let hops = record.carried(Field::ForwardedFor);
        let origin = match self.headers {
            Forwarded::Standard => self.by_elements(hops),
            Forwarded::XForwarded => Origin {
                client: self.walk(hops, address).map(|(client, _)| client),
                scheme: scheme(record.carried(Field::ForwardedProto)),
                host: record.carried(Field::ForwardedHost),
            },
        };
        Some(Origin { client: origin.client.or(Some(peer)), ..origin })
    }

    /// Scheme and host are those that stand beside the client's address.
    fn by_elements<'a>(&self, list: &'a [u8]) -> Origin<'a> {
        let Some((client, element)) = self.walk(list, |element| address(parameter(element, b"for")?)) else {
            return Origin::default();
        };
        Origin {
            client: Some(client),
            scheme: scheme(parameter(element, b"proto").unwrap_or_default()),
            host: parameter(element, b"host").unwrap_or_default(),
        }
    }

    /// From the nearest hop outwards, up to the first that is not trusted. One that is no address ends it too: what is
    /// beyond it, somebody unknown has said.
    fn walk<'a>(&self, list: &'a [u8], read: impl Fn(&'a [u8]) -> Option<IpAddr>) -> Option<(IpAddr, &'a [u8])> {
        let mut found = None;
        for hop in list.rsplit(|&b| b == b',') {
            let Some(client) = read(hop) else { break };
            found = Some((client, hop));
            if !self.trusts(client) {
                break;
            }
        }
        found
    }

    fn trusts(&self, peer: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(&peer))
    }
}

/// An address, also with a port, in brackets, in quotes. An IPv4 address mapped into IPv6 is an IPv4 address.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(unquoted(text.trim_ascii())).ok()?;
    let bare = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0,
        None if text.matches(':').count() == 1 => text.split_once(':')?.0,
        None => text,
    };
    bare.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

fn scheme(text: &[u8]) -> Option<&'static [u8]> {
    [&b"https"[..], b"http"].into_iter().find(|known| text.eq_ignore_ascii_case(known))
}

/// The value of one parameter of an element. RFC 7239, section 4.
fn parameter<'a>(element: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    element.split(|&b| b == b';').find_map(|pair| {
        let at = pair.iter().position(|&b| b == b'=')?;
        let (found, value) = pair.split_at_checked(at)?;
        let value = unquoted(value.get(1..)?.trim_ascii());
        found.trim_ascii().eq_ignore_ascii_case(name).then_some(value)
    })
}

fn unquoted(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\"")).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn forwarding() -> Forwarding {
        let trusted = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().unwrap()).to_vec();
        Forwarding { trusted, headers: Forwarded::XForwarded }
    }

    #[test]
    fn the_right_most_hop_that_is_not_trusted_is_the_client() {
        let cases = [
            ("192.0.2.1", Some("192.0.2.1")),
            ("6.6.6.6, 192.0.2.1, 10.0.0.2", Some("192.0.2.1")),
            ("6.6.6.6,192.0.2.1:443 ,\"[fd00::1]:80\"", Some("192.0.2.1")),
            ("10.0.0.1, 10.0.0.2", Some("10.0.0.1")),
            ("6.6.6.6, unknown, 10.0.0.2", Some("10.0.0.2")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("::ffff:192.0.2.7, ::ffff:10.1.1.1", Some("192.0.2.7")),
            ("unknown", None),
            ("", None),
        ];
        for (list, expected) in cases {
            let found = forwarding().walk(list.as_bytes(), address).map(|(client, _)| client.to_string());
            assert_eq!(found.as_deref(), expected, "{list}");
        }
    }

    #[test]
    fn scheme_and_host_stand_beside_the_client() {
        let list = b"for=6.6.6.6;proto=http;host=evil, For=\"192.0.2.1:1\" ; Proto=HTTPS;host=\"shop:8443\", for=10.0.0.1;proto=http";
        let origin = forwarding().by_elements(list);
        assert_eq!(origin.client.unwrap().to_string(), "192.0.2.1");
        assert_eq!((origin.scheme, origin.host), (Some(&b"https"[..]), &b"shop:8443"[..]));
        assert_eq!(forwarding().by_elements(b"for=_hidden;proto=https"), Origin::default());
    }

    proptest! {
        #[test]
        fn what_a_client_says_before_a_trusted_proxy_changes_nothing(said in "[ -~]{0,60}") {
            let list = format!("{said},192.0.2.1, 10.0.0.1");
            let (client, _) = forwarding().walk(list.as_bytes(), address).unwrap();
            prop_assert_eq!(client.to_string(), "192.0.2.1");
            let _ = forwarding().by_elements(list.as_bytes());
        }
    }
}
