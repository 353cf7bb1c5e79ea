//! Parts of spans that many requests have in common: what follows from frontend, backend, server, method, host, status and protocol
//! is encoded once, and copied.

use std::fmt;
use std::net::IpAddr;

use super::span::{Identity, Kind, Span};
use super::{Request, Server, url};
use crate::trace::record::Field;

/// The parts of requests that were seen lately. Bounded: `SLOTS` of them; one that finds its slot taken replaces what is there.
pub struct Shared {
    slots: Vec<Option<Parts>>,
}

/// What one kind of request has in common.
pub(super) struct Parts {
    numbers: Numbers,
    texts: [Box<[u8]>; TEXTS],
    pub(super) server: Vec<u8>,
    pub(super) client: Vec<u8>,
    /// `url.full` up to the path.
    pub(super) url: Vec<u8>,
}

impl Default for Shared {
    fn default() -> Self {
        Self { slots: (0..SLOTS).map(|_| None).collect() }
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
        let (numbers, texts) = (Numbers::of(request, server), texts(request));
        let slot = self.slots.get_mut(slot(&numbers, &texts))?;
        let fits = |parts: &Parts| parts.numbers == numbers && parts.texts.iter().zip(texts).all(|(a, b)| **a == *b);
        if !slot.as_ref().is_some_and(fits) {
            *slot = Some(Parts::new(numbers, &texts, request, server));
        }
        slot.as_ref()
    }
}

impl Parts {
    fn new(numbers: Numbers, texts: &[&[u8]; TEXTS], request: &Request<'_, '_>, server: Option<&[u8]>) -> Self {
        let mut parts =
            Self { numbers, texts: texts.map(Box::from), server: Vec::new(), client: Vec::new(), url: Vec::new() };
        let identity = |kind, name| Identity { kind, name, id: [0; 8], parent: None, start: 0, end: 0 };
        let mut span = Span::part(&mut parts.server);
        span.named(&identity(Kind::Server, request.method_name()));
        request.server_part(&mut span);
        if let Some(server) = server {
            let sent = request.sent();
            let mut span = Span::part(&mut parts.client);
            span.named(&identity(Kind::Client, sent.name));
            request.client_part(server, &sent, &mut span);
            url::push_origin(&mut parts.url, sent.scheme, &sent.authority);
        }
        parts
    }
}

/// All numbers that the parts are made from.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Numbers {
    state: [u8; 2],
    status: u16,
    server_status: u16,
    server_port: u16,
    frontend_port: u16,
    flags: u32,
    address: Option<IpAddr>,
}

impl Numbers {
    fn of(request: &Request<'_, '_>, server: Option<&[u8]>) -> Self {
        let response = &request.record.response;
        let kind = match response.server {
            Server::None => 0,
            Server::Applet(_) => 1,
            Server::Real(_) => 2,
        };
        let truth = |truth: Option<bool>| truth.map_or(2, u32::from);
        let major = |major: Option<u64>| major.and_then(|major| u32::try_from(major).ok()).unwrap_or(0).min(0xf);
        let flags = [
            (kind, 2),
            (truth(response.connection_reused), 2),
            (truth(response.server_tls), 2),
            (major(response.client_http_major), 4),
            (major(response.server_http_major), 4),
            (u32::from(server.is_some()), 1),
            (u32::from(response.timers.response_headers.is_some()), 1),
            (u32::from(response.retries.redispatched), 1),
        ];
        Self {
            state: response.state.0,
            status: response.status.unwrap_or(0),
            server_status: response.server_status.unwrap_or(0),
            server_port: response.server_port.unwrap_or(0),
            frontend_port: response.frontend_port.unwrap_or(0),
            flags: flags.into_iter().fold(0, |all, (value, bits)| all << bits | value),
            address: response.server_ip,
        }
    }
}

/// All texts that the parts are made from.
fn texts<'a>(request: &Request<'_, 'a>) -> [&'a [u8]; TEXTS] {
    let (record, response) = (request.record, &request.record.response);
    let name = match response.server {
        Server::Real(name) | Server::Applet(name) => name,
        Server::None => b"",
    };
    let upgrade = if response.status == Some(101) { record.carried(Field::Upgrade) } else { b"" };
    [
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
    ]
}

/// A slot: a wrong one costs an encoding, no more.
fn slot(numbers: &Numbers, texts: &[&[u8]; TEXTS]) -> usize {
    let mut mixed = u64::from(numbers.status) << 32 ^ u64::from(numbers.flags) << 16 ^ u64::from(numbers.server_port);
    for text in texts {
        let ends = [text.first(), text.last()].map(|byte| u64::from(byte.copied().unwrap_or(0)));
        let [first, last] = ends;
        mixed =
            (mixed.rotate_left(7) ^ (text.len() as u64) << 16 ^ first << 8 ^ last).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
    usize::try_from(mixed >> 56).unwrap_or_default() % SLOTS
}

/// Texts that the parts are made from.
const TEXTS: usize = 11;

/// Kinds of requests that are remembered: some 2 KiB each.
const SLOTS: usize = 256;

/// Bytes of the longest host that is worth a slot.
const LONGEST: usize = 128;
