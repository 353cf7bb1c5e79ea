//! Parts of spans that many requests have in common: what follows from frontend, backend, server, method, host, status and protocol
//! is encoded once, and copied.

use std::fmt;
use std::hash::Hasher;

use super::span::{Identity, Kind, Span};
use super::{Request, Server};

/// The parts of requests that were seen lately. Bounded: [`SLOTS`] of them; one that finds its slot taken replaces what is there.
pub struct Shared {
    slots: Vec<Option<Parts>>,
    key: Vec<u8>,
}

/// What one kind of request has in common.
pub(super) struct Parts {
    key: Box<[u8]>,
    pub(super) server: Vec<u8>,
    pub(super) client: Vec<u8>,
}

impl Default for Shared {
    fn default() -> Self {
        Self { slots: (0..SLOTS).map(|_| None).collect(), key: Vec::new() }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Shared {
    /// The parts of a request's spans, encoded if they are not remembered. `None`: what is rare is not worth a slot.
    pub(super) fn parts(&mut self, request: &Request<'_, '_>, server: Option<&[u8]>) -> Option<&Parts> {
        let response = &request.record.response;
        if response.retries.count > 0 || request.record.host.len() > LONGEST || response.sent.host.len() > LONGEST {
            return None;
        }
        write_key(&mut self.key, request, server);
        let slot = self.slots.get_mut(usize::try_from(hash(&self.key) % SLOTS as u64).unwrap_or_default())?;
        if slot.as_ref().is_none_or(|parts| *parts.key != *self.key) {
            *slot = Some(Parts::new(&self.key, request, server));
        }
        slot.as_ref()
    }
}

impl Parts {
    fn new(key: &[u8], request: &Request<'_, '_>, server: Option<&[u8]>) -> Self {
        let mut parts = Self { key: key.into(), server: Vec::new(), client: Vec::new() };
        let identity = |kind, name| Identity { kind, name, id: [0; 8], parent: None, start: 0, end: 0 };
        let mut span = Span::part(&mut parts.server);
        span.named(&identity(Kind::Server, request.method_name()));
        request.server_part(&mut span);
        if let Some(server) = server {
            let sent = request.sent();
            let mut span = Span::part(&mut parts.client);
            span.named(&identity(Kind::Client, sent.name));
            request.client_part(server, &sent, &mut span);
        }
        parts
    }
}

/// Everything that the parts are made from. A length before each text: no two requests that differ give one key.
fn write_key(key: &mut Vec<u8>, request: &Request<'_, '_>, server: Option<&[u8]>) {
    let (record, response) = (request.record, &request.record.response);
    key.clear();
    let [status, server_status] =
        [response.status, response.server_status].map(|status| status.unwrap_or(0).to_le_bytes());
    let [server_port, frontend_port] =
        [response.server_port, response.frontend_port].map(|port| port.unwrap_or(0).to_le_bytes());
    let truth = |truth: Option<bool>| truth.map_or(2, u8::from);
    let major = |major: Option<u64>| major.and_then(|major| u8::try_from(major).ok()).unwrap_or(0);
    let kind = match response.server {
        Server::None => 0,
        Server::Applet(_) => 1,
        Server::Real(_) => 2,
    };
    let flags = [
        response.state.0[0],
        response.state.0[1],
        truth(response.connection_reused),
        truth(response.server_tls),
        major(response.client_http_major),
        major(response.server_http_major),
        kind,
        u8::from(server.is_some()),
        u8::from(response.timers.response_headers.is_some()),
        u8::from(response.retries.redispatched),
    ];
    for numbers in [&status[..], &server_status, &server_port, &frontend_port, &flags] {
        key.extend_from_slice(numbers);
    }
    let name = match response.server {
        Server::Real(name) | Server::Applet(name) => name,
        Server::None => b"",
    };
    let upgrade = if response.status == Some(101) { record.carried(super::Field::Upgrade) } else { b"" };
    let texts = [
        record.request.method,
        record.request.version,
        record.request.target.authority,
        record.host,
        response.frontend,
        response.backend,
        name,
        response.tls_version,
        response.sent.method,
        response.sent.host,
        upgrade,
    ];
    for text in texts {
        let [low, high, ..] = text.len().to_le_bytes();
        key.extend_from_slice(&[low, high]);
        key.extend_from_slice(text);
    }
    match response.server_ip {
        None => {}
        Some(std::net::IpAddr::V4(address)) => key.extend_from_slice(&address.octets()),
        Some(std::net::IpAddr::V6(address)) => key.extend_from_slice(&address.octets()),
    }
}

/// Eight bytes at a time: what it is good for is a slot, and a wrong one costs an encoding.
fn hash(key: &[u8]) -> u64 {
    let mut hasher = Mix(0);
    let (words, rest) = key.as_chunks::<8>();
    for word in words {
        hasher.write_u64(u64::from_le_bytes(*word));
    }
    for byte in rest {
        hasher.write_u64(u64::from(*byte));
    }
    hasher.finish()
}

struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}

/// Kinds of requests that are remembered: some 2 KiB each.
const SLOTS: usize = 256;

/// Bytes of the longest host that is worth a slot.
const LONGEST: usize = 128;
