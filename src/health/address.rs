//! HAProxy's text for a server's address becomes something to connect to, or the reason why it is not checked.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// Where a check connects to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// An IP address and a port other than 0.
    Tcp(SocketAddr),
    /// The path of a stream socket.
    Unix(PathBuf),
    /// A name to look up for each connection, and a port other than 0.
    Name(String, u16),
}

/// Why an address cannot be checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AddressError {
    /// HAProxy's resolver has no answer, or not yet.
    #[error("its name is not resolved")]
    Unresolved,
    /// `Server:get_addr()` prints abstract sockets as nothing.
    #[error("HAProxy does not tell its address (an abstract socket?)")]
    Hidden,
    /// The port is absent, 0, or an offset to the client's port.
    #[error("its line in HAProxy's configuration names no port")]
    NoPort,
    /// `0.0.0.0` or `::`: HAProxy connects to where the client wanted to go.
    #[error("its address is the client's destination")]
    Transparent,
    /// None of the forms that HAProxy prints.
    #[error("its address is not understood")]
    Malformed,
}

impl Address {
    /// Reads the text of `Server:get_addr()`: `127.0.0.1:21001`, `::1:21001` (no brackets: the last colon divides),
    /// `/run/grpc.sock`.
    pub(crate) fn parse(text: &str) -> Result<Self, AddressError> {
        match text {
            "" => return Err(AddressError::Hidden),
            "<unknown>" => return Err(AddressError::Unresolved),
            path if path.starts_with('/') => return Ok(Self::Unix(PathBuf::from(path))),
            _ => {}
        }
        let (host, port) = text.rsplit_once(':').ok_or(AddressError::Malformed)?;
        if host.is_empty() {
            return Err(AddressError::NoPort);
        }
        let ip = ip(host).ok_or(AddressError::Malformed)?;
        match port.parse() {
            Ok(0) => Err(AddressError::NoPort),
            Ok(_) if ip.is_unspecified() => Err(AddressError::Transparent),
            Ok(port) => Ok(Self::Tcp(SocketAddr::new(ip, port))),
            Err(_) => Err(AddressError::Malformed),
        }
    }

    /// Reads what a user wrote: a path, or an IP address or a name beside its port.
    pub(crate) fn of(host: &str, port: u16) -> Result<Self, AddressError> {
        if host.starts_with('/') {
            return Ok(Self::Unix(PathBuf::from(host)));
        }
        if port == 0 {
            return Err(AddressError::NoPort);
        }
        match ip(host) {
            Some(ip) if ip.is_unspecified() => Err(AddressError::Transparent),
            Some(ip) => Ok(Self::Tcp(SocketAddr::new(ip, port))),
            None if is_name(host) => Ok(Self::Name(host.to_owned(), port)),
            None => Err(AddressError::Malformed),
        }
    }

    /// `name` with this address's port: what a server that has a name is called.
    pub(crate) fn named(&self, name: Option<&str>) -> Option<String> {
        match self {
            Self::Tcp(address) => name.filter(|name| is_name(name)).map(|name| format!("{name}:{}", address.port())),
            Self::Unix(_) | Self::Name(..) => None,
        }
    }

    /// The `:authority` of requests to it, when the configuration names none. Sockets of the file system have no name
    /// of their own: `localhost`, as gRPC's name resolution says for `unix:`.
    pub(crate) fn authority(&self) -> String {
        match self {
            Self::Tcp(address) => address.to_string(),
            Self::Unix(_) => "localhost".to_owned(),
            Self::Name(host, port) => format!("{host}:{port}"),
        }
    }
}

fn ip(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    bare.unwrap_or(host).parse().ok()
}

/// RFC 1035, section 2.3.4, and what resolvers take. Not all digits and dots: that is an address gone wrong.
fn is_name(host: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    (1..=255).contains(&host.len())
        && host.bytes().all(fits)
        && !host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_form_that_haproxy_prints_is_understood() {
        for (text, expected) in [
            ("127.0.0.1:21001", Ok("127.0.0.1:21001")),
            ("::1:21001", Ok("[::1]:21001")),
            ("[::1]:21001", Ok("[::1]:21001")),
            ("2001:db8::7:443", Ok("[2001:db8::7]:443")),
            ("/run/grpc.sock", Ok("localhost")),
            ("/run/a:1", Ok("localhost")),
            ("", Err(AddressError::Hidden)),
            ("<unknown>", Err(AddressError::Unresolved)),
            (":0", Err(AddressError::NoPort)),
            (":100", Err(AddressError::NoPort)),
            ("10.0.0.1:0", Err(AddressError::NoPort)),
            ("0.0.0.0:100", Err(AddressError::Transparent)),
            (":::100", Err(AddressError::Transparent)),
            ("10.0.0.1", Err(AddressError::Malformed)),
            ("10.0.0.1:65536", Err(AddressError::Malformed)),
            ("10.0.0.1:-1", Err(AddressError::Malformed)),
            ("user@10.0.0.1:80", Err(AddressError::Malformed)),
            ("name.example:80", Err(AddressError::Malformed)),
        ] {
            let authority = Address::parse(text).map(|address| address.authority());
            assert_eq!(authority, expected.map(str::to_owned), "{text}");
        }
    }

    #[test]
    fn what_users_write_is_an_address_a_name_or_a_path() {
        for (host, port, expected) in [
            ("127.0.0.1", 1, Ok("127.0.0.1:1")),
            ("::1", 1, Ok("[::1]:1")),
            ("shop.example", 443, Ok("shop.example:443")),
            ("/run/grpc.sock", 0, Ok("localhost")),
            ("shop.example", 0, Err(AddressError::NoPort)),
            ("0.0.0.0", 1, Err(AddressError::Transparent)),
            ("10.0.0.256", 1, Err(AddressError::Malformed)),
            ("user@shop.example", 1, Err(AddressError::Malformed)),
            ("a/b", 1, Err(AddressError::Malformed)),
            ("", 1, Err(AddressError::Malformed)),
        ] {
            let authority = Address::of(host, port).map(|address| address.authority());
            assert_eq!(authority, expected.map(str::to_owned), "{host}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,60}") {
            let _ = Address::parse(&text);
            let _ = Address::of(&text, 1);
        }

        #[test]
        fn what_haproxy_prints_comes_back(ip: std::net::Ipv6Addr, port in 1u16..) {
            prop_assume!(!ip.is_unspecified());
            let expected = Address::Tcp(SocketAddr::new(ip.into(), port));
            prop_assert_eq!(Address::parse(&format!("{ip}:{port}")), Ok(expected));
        }
    }
}
