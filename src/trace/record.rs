//! A request on its way from HAProxy's threads to the runtime: typed, in binary. Total: any bytes get an answer.
//!
//! | bytes | what |
//! |---|---|
//! | 0..56 | [`Head`]: what was decided, the ids, when it began |
//! | then | fields: [`Field`] (1 byte), length (2 bytes, little-endian), value |
//!
//! The start of a request writes the head and what its headers give; the end appends [`Numbers`] and names. HAProxy holds what
//! is written in between: in its filter's place with native hooks, in a variable with Lua's.

mod attribute;
mod field;
mod head;
mod numbers;
mod request_line;
mod response;
#[cfg(test)]
pub(crate) mod sample;
pub(crate) mod scan;
#[cfg(test)]
mod tests;
mod writer;

pub use attribute::{AttributeValue, Attributes, is_name};
pub use field::{Field, MAX_FORWARDED, MAX_HEADER_VALUE, MAX_TRACESTATE, MAX_VALUE};
pub use head::{Head, LEN as HEAD_LEN, RECORDED, SERVER_SPAN, Verdict, is_only_measured, is_recorded, started};
pub use numbers::{ABSENT, Numbers, bits};
pub use request_line::{RequestLine, Target};
pub use response::{Gathered, Response, Retries, Sent, Server, Stamps, Timers};
pub use writer::Writer;

use std::net::IpAddr;

use super::outcome::{Ending, State};
use super::sampler::Kept;
use field::Fields;
use response::Found;

/// One finished request, or one connection in TCP mode. Borrows its bytes.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Record<'a> {
    /// A connection in TCP mode.
    pub is_connection: bool,
    /// The trace's id.
    pub trace_id: [u8; 16],
    /// W3C trace flags, as sent to the server.
    pub trace_flags: u8,
    /// Whether its spans are exported in any case; otherwise what the end says decides.
    pub sampled: bool,
    /// Nothing but metrics and logs asked for its end.
    pub is_only_measured: bool,
    /// Why it is exported although it is not sampled: set where that is decided.
    pub kept: Option<Kept>,
    /// The SERVER span's id.
    pub server_span: [u8; 8],
    /// The CLIENT span's id: the parent that the server sees.
    pub client_span: [u8; 8],
    /// The caller's span id.
    pub parent: Option<[u8; 8]>,
    /// The caller that is linked to instead of continued.
    pub link: Option<Link>,
    /// Empty if none.
    pub tracestate: &'a [u8],
    /// `Host` or `:authority` as the client sent it; empty if absent.
    pub host: &'a [u8],
    /// Empty if absent.
    pub user_agent: &'a [u8],
    /// When the request began. Unix time, nanoseconds.
    pub start_unix_nanos: u64,
    /// When it ended. Unix time, nanoseconds.
    pub end_unix_nanos: u64,
    /// What the client asked for.
    pub request: RequestLine<'a>,
    /// The request's `Content-Length`, where body sizes are measured.
    pub content_length: Option<u64>,
    /// What HAProxy says of its end.
    pub response: Response<'a>,
    /// Rules have put attributes on the span.
    pub has_attributes: bool,
    fields: Fields<'a>,
}

/// Another trace's span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Its trace's id.
    pub trace_id: [u8; 16],
    /// Its id.
    pub span_id: [u8; 8],
    /// Its W3C trace flags.
    pub flags: u8,
}

/// Why bytes are not a request to make spans of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// A fault of this module.
    #[error("the record has no head")]
    Head,
    /// Its end is not wanted.
    #[error("the request is not recorded")]
    Unrecorded,
    /// A fault of this module.
    #[error("the record has no end")]
    End,
}

impl<'a> Record<'a> {
    /// Reads a record and when it ended (Unix time, nanoseconds).
    pub fn parse(payload: &'a [u8], end_unix_nanos: u64) -> Result<Self, RecordError> {
        let (head, rest) = Head::read(payload).ok_or(RecordError::Head)?;
        if !head.verdict.recorded {
            return Err(RecordError::Unrecorded);
        }
        let fields = Fields(rest);
        let (mut numbers, mut found) = (None, Found::default());
        let (mut method, mut target, mut version) = (&[][..], &[][..], &[][..]);
        let (mut host, mut user_agent, mut tracestate) = (&[][..], &[][..], &[][..]);
        let (mut link, mut content_length, mut has_attributes) = (None, &[][..], false);
        let mut walk = fields;
        while let Some((tag, value)) = walk.next_field() {
            match Field::of_tag(tag) {
                Some(Field::Numbers) => numbers = Numbers::read(value),
                Some(Field::Method) => method = value,
                Some(Field::Target) => target = value,
                Some(Field::Version) => version = value,
                Some(Field::Host) => host = value,
                Some(Field::UserAgent) => user_agent = value,
                Some(Field::TraceState) => tracestate = value,
                Some(Field::Link) => link = Link::read(value),
                Some(Field::ContentLength) => content_length = value,
                Some(Field::Attribute) => has_attributes = true,
                Some(Field::Frontend) => found.frontend = value,
                Some(Field::Backend) => found.backend = value,
                Some(Field::Server) => found.server = value,
                Some(Field::ServerAddress) => found.server_address = value,
                Some(Field::ClientAddress) => found.client_address = value,
                Some(Field::Tls) => found.tls = value,
                Some(Field::SentMethod) => found.sent.method = value,
                Some(Field::SentTarget) => found.sent.target = value,
                Some(Field::SentHost) => found.sent.host = value,
                Some(Field::RpcStatus) => found.rpc_status = value,
                _ => {}
            }
        }
        let numbers = numbers.ok_or(RecordError::End)?;
        Ok(Self {
            is_connection: head.verdict.connection,
            trace_id: head.trace_id,
            trace_flags: head.flags,
            sampled: head.verdict.sampled,
            is_only_measured: head.verdict.measured,
            kept: None,
            server_span: head.server_span,
            client_span: head.client_span,
            parent: (head.parent != [0; 8]).then_some(head.parent),
            link,
            tracestate,
            host,
            user_agent,
            start_unix_nanos: start(&head, &numbers),
            end_unix_nanos,
            request: RequestLine::new(method, target, version),
            content_length: decimal(content_length),
            response: Response::new(&numbers, &found, fields),
            has_attributes,
            fields,
        })
    }

    /// The last termination state that is known.
    pub const fn state(&self) -> State {
        self.response.state
    }

    /// Whether one span stands for both legs.
    pub fn is_single(&self) -> bool {
        self.server_span == self.client_span
    }

    /// The attributes that rules put on the span, in order.
    pub const fn attributes(&self) -> Attributes<'a> {
        Attributes(self.fields)
    }

    /// The first field of a kind; empty if there is none.
    pub fn carried(&self, field: Field) -> &'a [u8] {
        self.all_carried(field).next().unwrap_or_default()
    }

    /// Every field of a kind, in order.
    pub fn all_carried(&self, field: Field) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.fields.of(field)
    }

    /// An address that a field holds.
    pub fn address(&self, field: Field) -> Option<IpAddr> {
        response::address(self.carried(field))
    }

    /// The facts that decide on status and `error.type`.
    pub const fn ending(&self) -> Ending {
        let response = &self.response;
        Ending {
            state: response.state,
            status: response.status,
            server_status: response.server_status,
            server_chosen: matches!(response.server, Server::Real(_)),
            headers_received: response.timers.response_headers.is_some(),
        }
    }
}

impl Link {
    fn read(bytes: &[u8]) -> Option<Self> {
        let (trace_id, rest) = bytes.split_first_chunk::<16>()?;
        let (span_id, rest) = rest.split_first_chunk::<8>()?;
        Some(Self { trace_id: *trace_id, span_id: *span_id, flags: *rest.first()? })
    }
}

/// HAProxy's date of the first byte, where the door read it.
fn start(head: &Head, numbers: &Numbers) -> u64 {
    if numbers.began == 0 { by_timer(head.started, numbers) } else { numbers.began }
}

/// When the first byte of a request came that was first `seen` here when its headers were complete: less the time that they took by
/// HAProxy's timer. Nanoseconds; at most `seen`.
pub fn by_timer(seen: u64, numbers: &Numbers) -> u64 {
    let [_, _, headers, ..] = numbers.timers;
    seen.saturating_sub(u64::try_from(headers).unwrap_or(0).saturating_mul(1_000_000))
}

/// The first field of a kind in a record; empty if there is none.
pub fn first_field(record: &[u8], field: Field) -> &[u8] {
    record.get(HEAD_LEN..).and_then(|rest| Fields(rest).of(field).next()).unwrap_or_default()
}

/// Method, target and `Host` as the client sent them; empty where there is none.
pub fn asked(record: &[u8]) -> [&[u8]; 3] {
    let (mut method, mut target, mut host) = (&[][..], &[][..], &[][..]);
    let mut fields = Fields(record.get(HEAD_LEN..).unwrap_or_default());
    while let Some((tag, value)) = fields.next_field() {
        match Field::of_tag(tag) {
            Some(Field::Method) => method = value,
            Some(Field::Target) => target = value,
            Some(Field::Host) => host = value,
            // These come first.
            _ if !method.is_empty() => break,
            _ => {}
        }
    }
    [method, target, host]
}

/// Whether a record has a field of this kind.
pub fn has_field(record: &[u8], field: Field) -> bool {
    record.get(HEAD_LEN..).is_some_and(|rest| Fields(rest).of(field).next().is_some())
}

/// RFC 9110, 8.6: `Content-Length`.
pub(crate) fn decimal(text: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?;
    digits.parse().ok()
}

/// `N` bytes from 2 N lower-case hexadecimal digits.
pub(crate) fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let (pairs, rest) = digits.as_chunks::<2>();
    let mut bytes = [0; N];
    let mut valid = pairs.len() == N && rest.is_empty();
    for (byte, &[high, low]) in bytes.iter_mut().zip(pairs) {
        valid &= is_hex(high) & is_hex(low);
        *byte = nibble(high) << 4 | nibble(low);
    }
    valid.then_some(bytes)
}

const fn is_hex(digit: u8) -> bool {
    digit.is_ascii_digit() | (digit.wrapping_sub(b'a') < 6)
}

/// Without a branch, so that the compiler can take many at once.
const fn nibble(digit: u8) -> u8 {
    (digit & 0x0f) + 9 * (digit >> 6 & 1)
}

/// Bytes of what the start of a request may write, and rules may add.
pub const MAX_START: usize = 4096;

/// Bytes of a whole record, but for the numbers of its end.
pub const MAX_LEN: usize = 8192;
