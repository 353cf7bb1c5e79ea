//! What HAProxy sends (`agent-send`): `BACKEND/SERVER`, or the four fields of haproxy-grpc-agent.

/// One request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
        /// An address or a name.
        host: &'a str,
        /// 1 to 65535.
        port: u16,
        /// `ssl`.
        tls: bool,
        /// `:authority` of the check.
        authority: &'a str,
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
            [Some(host), Some(port), Some(tls), Some(authority), None] => {
                let port = port.parse().ok().filter(|port| *port > 0).ok_or("the port is not 1 to 65535")?;
                let tls = match tls {
                    "ssl" => true,
                    "no-ssl" => false,
                    _ => return Err("the third field is not `ssl` or `no-ssl`"),
                };
                Ok(Self::Target { host, port, tls, authority })
            }
            _ => Err(EXPECTED),
        }
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
        let target = |tls| Ok(Request::Target { host: "10.0.0.1", port: 50051, tls, authority: "shop.example" });
        assert_eq!(Request::parse(b"10.0.0.1 50051 no-ssl shop.example"), target(false));
        assert_eq!(Request::parse(b"10.0.0.1\t+50051  ssl shop.example "), target(true));
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
            let _ = Request::parse(&bytes);
            if let Some((end, next)) = split(&bytes) {
                prop_assert!(end < next && next <= bytes.len());
                prop_assert!(split(&bytes[..end]).is_none());
            }
        }
    }
}
