//! What HAProxy sends (`agent-send`): `BACKEND/SERVER`, or the four fields of haproxy-grpc-agent.

use std::net::Ipv6Addr;

use crate::health::address::{Address, AddressError};

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Request<'a> {
    /// `BACKEND/SERVER`: the names in HAProxy's configuration.
    Server {
        /// Before the slash.
        backend: &'a str,
        /// After it.
        server: &'a str,
    },
    /// `HOST PORT ssl|no-ssl AUTHORITY`.
    Target {
        /// An IP address, or a name in small letters. Never a path.
        address: Address,
        /// `ssl`.
        tls: bool,
        /// `:authority` of the check: a host, with or without a port.
        authority: String,
    },
}

impl<'a> Request<'a> {
    /// Of a line without its end.
    pub(super) fn parse(line: &'a [u8]) -> Result<Self, &'static str> {
        let line = std::str::from_utf8(line).map_err(|_| EXPECTED)?;
        let mut words = line.split_whitespace();
        let fields = [words.next(), words.next(), words.next(), words.next(), words.next()];
        match fields {
            [Some(pair), None, ..] => match pair.split_once('/') {
                Some((backend, server)) if !backend.is_empty() && !server.is_empty() => {
                    Ok(Self::Server { backend, server })
                }
                _ => Err(EXPECTED),
            },
            [Some(host), Some(port), Some(tls), Some(of), None] => {
                let port = port.parse().ok().filter(|port| *port > 0).ok_or("the port is not 1 to 65535")?;
                let tls = match tls {
                    "ssl" => true,
                    "no-ssl" => false,
                    _ => return Err("the third field is not `ssl` or `no-ssl`"),
                };
                Ok(Self::Target { address: target(host, port)?, tls, authority: authority(of)? })
            }
            _ => Err(EXPECTED),
        }
    }
}

/// Sockets of this machine's file system are nobody's to ask for from outside.
fn target(host: &str, port: u16) -> Result<Address, &'static str> {
    match Address::of(&host.to_ascii_lowercase(), port) {
        Ok(address @ (Address::Tcp(_) | Address::Name(..))) => Ok(address),
        Ok(Address::Unix(_)) | Err(_) => Err("the host is not an IP address or a name to connect to"),
    }
}

/// RFC 3986, section 3.2, without userinfo. An IPv6 address may stand without its brackets.
fn authority(text: &str) -> Result<String, &'static str> {
    if text.parse::<Ipv6Addr>().is_ok() {
        return Ok(format!("[{text}]"));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !text.ends_with(']') => (host, port),
        _ => (text, "1"),
    };
    let is_host = |port| match Address::of(host, port) {
        Ok(Address::Tcp(address)) => address.is_ipv4() || host.starts_with('['),
        Ok(Address::Name(..)) | Err(AddressError::Transparent) => true,
        Ok(Address::Unix(_)) | Err(_) => false,
    };
    match port.parse::<u16>() {
        Ok(port) if is_host(port) => Ok(text.to_owned()),
        _ => Err("the authority is not a host, with or without a port"),
    }
}

/// Where the first line of `bytes` ends, and where the next begins: after CR, LF, CR LF or a literal `\n`, which is what
/// single quotes around `agent-send` make of it.
pub(super) fn split(bytes: &[u8]) -> Option<(usize, usize)> {
    let ends = |(at, byte): (usize, &u8)| match (byte, bytes.get(at + 1)) {
        (b'\r', Some(b'\n')) | (b'\\', Some(b'n')) => Some((at, at + 2)),
        (b'\r' | b'\n', _) => Some((at, at + 1)),
        _ => None,
    };
    bytes.iter().enumerate().find_map(ends)
}

const EXPECTED: &str = "expected `backend/server`, or `host port ssl|no-ssl authority`";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_forms_are_read() {
        let server = Ok(Request::Server { backend: "shop", server: "s1" });
        for line in ["shop/s1", " shop/s1 ", "shop/s1\t"] {
            assert_eq!(Request::parse(line.as_bytes()), server, "{line}");
        }
        let target = |tls| {
            let address = Address::Tcp("10.0.0.1:50051".parse().unwrap());
            Ok(Request::Target { address, tls, authority: "shop.example".to_owned() })
        };
        assert_eq!(Request::parse(b"10.0.0.1 50051 no-ssl shop.example"), target(false));
        assert_eq!(Request::parse(b"10.0.0.1\t+50051  ssl shop.example "), target(true));
    }

    #[test]
    fn hosts_and_authorities_are_addresses_or_names() {
        for (host, authority, expected) in [
            ("127.0.0.1", "a:80", Some(("127.0.0.1:5", "a:80"))),
            ("::1", "::1", Some(("[::1]:5", "[::1]"))),
            ("[::1]", "[::1]:80", Some(("[::1]:5", "[::1]:80"))),
            ("2001:DB8::1", "x_y.example", Some(("[2001:db8::1]:5", "x_y.example"))),
            ("Shop.Example", "Shop.Example", Some(("shop.example:5", "Shop.Example"))),
            ("/run/grpc.sock", "a", None),
            ("unix@/run/grpc.sock", "a", None),
            ("abns@grpc", "a", None),
            ("user@127.0.0.1", "a", None),
            ("127.0.0.1:80", "a", None),
            ("0.0.0.0", "a", None),
            ("::", "a", None),
            ("[::1", "a", None),
            ("a/b", "a", None),
            ("127.0.0.1", "a:1:2/x?y", None),
            ("127.0.0.1", "user@a", None),
            ("127.0.0.1", "a:", None),
            ("127.0.0.1", "a:0", None),
            ("127.0.0.1", "a:99999", None),
            ("127.0.0.1", "/a", None),
            ("127.0.0.1", "a#b", None),
            ("127.0.0.1", "::1:x", None),
            ("127.0.0.1", "[::1]x", None),
            ("127.0.0.1", "a%20b", None),
        ] {
            let line = format!("{host} 5 ssl {authority}");
            let read = match Request::parse(line.as_bytes()) {
                Ok(Request::Target { address, tls: true, authority }) => Some((address.authority(), authority)),
                _ => None,
            };
            assert_eq!(read, expected.map(|(host, of)| (host.to_owned(), of.to_owned())), "{line}");
        }
    }

    #[test]
    fn all_else_is_refused() {
        for line in
            ["", "shop", "/s1", "shop/", "a b", "a 1 ssl", "a 0 ssl b", "a 65536 ssl b", "a 1 SSL b", "a 1 ssl b c"]
        {
            assert!(Request::parse(line.as_bytes()).is_err(), "{line}");
        }
        assert!(Request::parse(b"\xff/s1").is_err());
    }

    #[test]
    fn lines_end_as_haproxy_configurations_end_them() {
        for (bytes, expected) in [
            (&b"a/b\n"[..], Some((3, 4))),
            (b"a/b\r\nc", Some((3, 5))),
            (b"a/b\rc", Some((3, 4))),
            (b"a/b\\n", Some((3, 5))),
            (b"a/b\\", None),
            (b"a/b", None),
            (b"", None),
        ] {
            assert_eq!(split(bytes), expected, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            if let Ok(Request::Target { address, .. }) = Request::parse(&bytes) {
                prop_assert!(!matches!(address, Address::Unix(_)));
            }
            if let Some((end, next)) = split(&bytes) {
                prop_assert!(end < next && next <= bytes.len());
                prop_assert!(split(&bytes[..end]).is_none());
            }
        }
    }
}
