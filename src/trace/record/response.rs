//! What HAProxy says of a request that has ended.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::field::Fields;
use super::numbers::{ABSENT, Numbers, bits};
use super::{Field, RequestLine};
use crate::trace::outcome::State;

/// What HAProxy says of a request that has ended.
#[derive(Debug, Clone)]
pub struct Response<'a> {
    /// The termination state.
    pub state: State,
    /// 100 to 999.
    pub status: Option<u16>,
    /// What the server answered with, where that is known apart.
    pub server_status: Option<u16>,
    /// The frontend's name if no backend was chosen.
    pub backend: &'a [u8],
    /// Who answered.
    pub server: Server<'a>,
    /// The server's address.
    pub server_ip: Option<IpAddr>,
    /// The server's port.
    pub server_port: Option<u16>,
    /// The client's address.
    pub client_ip: Option<IpAddr>,
    /// The client's port.
    pub client_port: Option<u16>,
    /// The frontend's name.
    pub frontend: &'a [u8],
    /// The port that the client connected to.
    pub frontend_port: Option<u16>,
    /// For example `TLSv1.3`; empty without TLS.
    pub tls_version: &'a [u8],
    /// HAProxy's own clocks.
    pub timers: Timers,
    /// Attempts after the first.
    pub retries: Retries,
    /// Clocks that are finer than HAProxy's.
    pub stamps: Stamps,
    /// 1, 2 or 3.
    pub client_http_major: Option<u64>,
    /// 1, 2 or 3.
    pub server_http_major: Option<u64>,
    /// Whether the server's connection was used before.
    pub connection_reused: Option<bool>,
    /// Whether the server is reached over TLS.
    pub server_tls: Option<bool>,
    /// Bytes from the client, of a connection in TCP mode.
    pub bytes_in: Option<u64>,
    /// Bytes to the client, of a connection in TCP mode.
    pub bytes_out: Option<u64>,
    /// What the settings ask for.
    pub gathered: Gathered<'a>,
    /// What was sent to the server, where it differs from what came.
    pub sent: Sent<'a>,
    /// gRPC's status as text; empty if it is not known.
    pub rpc_status: &'a [u8],
}

/// Attempts after the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retries {
    /// How many.
    pub count: u64,
    /// The last one went to another server.
    pub redispatched: bool,
}

/// Who answered. HAProxy writes everything but a server's name in angle brackets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Server<'a> {
    /// Nobody was chosen.
    #[default]
    None,
    /// HAProxy itself: `<STATS>`, `<lua.NAME>`. With the brackets.
    Applet(&'a [u8]),
    /// A server of the backend.
    Real(&'a [u8]),
}

/// HAProxy's timers. Milliseconds; `None` where the step was not reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timers {
    /// TCP and TLS handshakes.
    pub handshake: Option<u64>,
    /// Idle time before the request.
    pub idle: Option<u64>,
    /// First byte to the end of the request headers.
    pub request_headers: Option<u64>,
    /// Queues.
    pub queue: Option<u64>,
    /// Connection to the server.
    pub connect: Option<u64>,
    /// The server's answer, up to the end of its headers.
    pub response_headers: Option<u64>,
}

/// When a request passed each step. Unix time, nanoseconds; `None` where it did not, or where the engine cannot know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stamps {
    /// It was ready to leave for a server.
    pub left: Option<u64>,
    /// The connection to the server was there.
    pub connected: Option<u64>,
    /// The response's headers were there.
    pub answered: Option<u64>,
    /// The response had been forwarded.
    pub forwarded: Option<u64>,
}

/// What was sent to the server, where it differs from what came; empty where it does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sent<'a> {
    /// The method.
    pub method: &'a [u8],
    /// The target.
    pub target: &'a [u8],
    /// `Host`.
    pub host: &'a [u8],
}

impl<'a> Response<'a> {
    pub(super) fn new(numbers: &Numbers, found: &Found<'a>, fields: Fields<'a>) -> Self {
        let [handshake, idle, request_headers, queue, connect, response_headers] =
            numbers.timers.map(|timer| u64::try_from(timer).ok());
        let known = |known, bit| numbers.has(known).then(|| numbers.has(bit));
        let count = |bytes: u64| (bytes != ABSENT).then_some(bytes);
        Self {
            state: State(numbers.state),
            status: status(numbers.status),
            server_status: status(numbers.server_status),
            backend: found.backend,
            server: Server::from_name(found.server),
            server_ip: address(found.server_address),
            server_port: port(numbers.server_port),
            client_ip: address(found.client_address),
            client_port: port(numbers.client_port),
            frontend: found.frontend,
            frontend_port: port(numbers.frontend_port),
            tls_version: found.tls,
            timers: Timers { handshake, idle, request_headers, queue, connect, response_headers },
            retries: Retries { count: numbers.retries.into(), redispatched: numbers.has(bits::REDISPATCHED) },
            stamps: Stamps {
                left: stamp(numbers.left),
                connected: stamp(numbers.connected),
                answered: stamp(numbers.answered),
                forwarded: stamp(numbers.forwarded),
            },
            client_http_major: major(numbers.client_http_major),
            server_http_major: major(numbers.server_http_major),
            connection_reused: known(bits::REUSE_KNOWN, bits::REUSED),
            server_tls: known(bits::SERVER_TLS_KNOWN, bits::SERVER_TLS),
            bytes_in: count(numbers.bytes_in),
            bytes_out: count(numbers.bytes_out),
            gathered: Gathered(fields),
            sent: found.sent,
            rpc_status: found.rpc_status,
        }
    }
}

/// Texts of the end, as they are found among the fields.
#[derive(Debug, Default)]
pub(super) struct Found<'a> {
    pub(super) frontend: &'a [u8],
    pub(super) backend: &'a [u8],
    pub(super) server: &'a [u8],
    pub(super) server_address: &'a [u8],
    pub(super) client_address: &'a [u8],
    pub(super) tls: &'a [u8],
    pub(super) sent: Sent<'a>,
    pub(super) rpc_status: &'a [u8],
}

/// Values that the settings ask for, in the order of [`Plan::gathered`](crate::trace::plan::Plan::gathered).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gathered<'a>(Fields<'a>);

impl<'a> Gathered<'a> {
    /// The first `count` values; `None` where HAProxy had none. Of several for one place the last one counts.
    pub fn values(&self, count: usize) -> Vec<Option<&'a [u8]>> {
        let mut values = vec![None; count];
        for (place, value) in self.0.of(Field::Gathered).filter_map(<[u8]>::split_first) {
            if let Some(slot) = values.get_mut(usize::from(*place)) {
                *slot = Some(value);
            }
        }
        values
    }

    /// The value at one place.
    pub fn value(&self, place: usize) -> Option<&'a [u8]> {
        let all = self.0.of(Field::Gathered).filter_map(<[u8]>::split_first);
        all.filter(|(at, _)| usize::from(**at) == place).last().map(|(_, value)| value)
    }
}

impl<'a> Server<'a> {
    pub(super) const fn from_name(name: &'a [u8]) -> Self {
        match name {
            b"" | b"<NOSRV>" => Self::None,
            [b'<', ..] => Self::Applet(name),
            _ => Self::Real(name),
        }
    }
}

/// 4 or 16 bytes. An IPv4 address mapped into IPv6 stays what it is.
pub(super) fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => bytes.first_chunk::<4>().map(|bytes| Ipv4Addr::from(*bytes).into()),
        16 => bytes.first_chunk::<16>().map(|bytes| Ipv6Addr::from(*bytes).into()),
        _ => None,
    }
}

/// The parts of what a client asked for.
impl<'a> Sent<'a> {
    /// The request as the server got it: `came`, with what differs in its place.
    pub fn request(&self, came: &RequestLine<'a>) -> RequestLine<'a> {
        let method = if self.method.is_empty() { came.method } else { self.method };
        if self.method.is_empty() && self.target.is_empty() {
            return *came;
        }
        let target = if self.target.is_empty() { came.target } else { super::Target::parse(method, self.target) };
        RequestLine { method, target, version: came.version }
    }
}

const fn status(number: u16) -> Option<u16> {
    match number {
        100..=999 => Some(number),
        _ => None,
    }
}

const fn port(number: u16) -> Option<u16> {
    if number == 0 { None } else { Some(number) }
}

const fn stamp(nanos: u64) -> Option<u64> {
    if nanos == 0 { None } else { Some(nanos) }
}

fn major(number: u8) -> Option<u64> {
    (number != 0).then(|| number.into())
}
