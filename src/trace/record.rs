//! A finished request, as HAProxy hands it over: bytes in, typed values out. Total: any bytes get an answer.
//!
//! `payload` is one of
//!
//! - `CTX SP FIELDS`: a normal end;
//! - `TS SP CTX [SP [CTX SP FIELDS]]`: any other; `TS` is the final termination state, two bytes, and the last part
//!   is missing when HAProxy made no response (silent-drop, reject).
//!
//! `CTX` is [`Carry`]'s encoding, which says its own length. `FIELDS` are the [`FIELDS`] values that [`Response`]
//! lists, with those that the settings ask for before the last; each but the last is followed by one space. HAProxy writes
//! them, and none but the last, the request line, can have a space in it.

mod request_line;
mod response;
#[cfg(test)]
pub(crate) mod sample;
pub(crate) mod scan;

pub use request_line::{RequestLine, Target, push_unescaped};
pub use response::{FIELDS, Gathered, Response, Retries, Server, Timers};

use super::carry::{Attributes, Carry, Field};
use super::outcome::{Ending, State};
use super::sampler::Kept;

/// One finished request. Borrows the payload.
#[derive(Debug, Clone)]
pub struct Record<'a> {
    /// The trace's id.
    pub trace_id: [u8; 16],
    /// W3C trace flags, as sent to the server.
    pub trace_flags: u8,
    /// Whether its spans are exported in any case; otherwise what the end says decides.
    pub sampled: bool,
    /// Why it is exported although it is not sampled: said by whoever decides it.
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
    /// The last termination state that is known.
    pub state: State,
    /// When the request began. Unix time, nanoseconds; `None` if nobody knows.
    pub start_unix_nanos: Option<u64>,
    /// When the stream ended. Unix time, nanoseconds.
    pub end_unix_nanos: u64,
    /// Its parts are empty where HAProxy made no response and the door could not look before.
    pub request: RequestLine<'a>,
    /// The request's `Content-Length`, where body sizes are measured.
    pub content_length: Option<u64>,
    /// What rules put on the SERVER span.
    pub attributes: Attributes<'a>,
    /// There are carried fields beside them that [`Self::carried`] gives.
    pub has_more: bool,
    /// `None`: HAProxy made no response, and nothing more is known than the above.
    pub response: Option<Response<'a>>,
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

impl Link {
    /// From hexadecimal digits: trace id, span id, flags.
    fn read(digits: &[u8]) -> Option<Self> {
        let [flags] = hex(digits.get(48..)?)?;
        Some(Self { trace_id: hex(digits.get(..32)?)?, span_id: hex(digits.get(32..48)?)?, flags })
    }
}

/// Why a payload is not a request to make spans of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// A fault of this module.
    #[error("the carried context cannot be read")]
    Context,
    /// Its end is not wanted.
    #[error("the request is not recorded")]
    Unrecorded,
    /// The configuration's format is not this module's.
    #[error("{found} of {wanted} values after the context")]
    Fields {
        /// Values there were.
        found: usize,
        /// Values there should be.
        wanted: usize,
    },
}

impl<'a> Record<'a> {
    /// Reads what HAProxy handed over when the stream ended, and when that was (Unix time, nanoseconds). `gathered`: how many
    /// values the settings ask for beyond the fixed ones.
    pub fn parse(payload: &'a [u8], end_unix_nanos: u64, gathered: usize) -> Result<Self, RecordError> {
        let (end, context) = match payload {
            [cause, phase, b' ', rest @ ..] => (Some(State([*cause, *phase])), rest),
            rest => (None, rest),
        };
        let (carry, rest) = Carry::parse(context).ok_or(RecordError::Context)?;
        if !carry.verdict.recorded {
            return Err(RecordError::Unrecorded);
        }
        let fields = match (end, rest) {
            (Some(_), [] | [b' ']) => None,
            (None, [b' ', fields @ ..]) => Some(fields),
            (Some(_), [b' ', second @ ..]) => match Carry::parse(second) {
                Some((_, [b' ', fields @ ..])) => Some(fields),
                _ => return Err(RecordError::Context),
            },
            _ => return Err(RecordError::Context),
        };
        let wanted = FIELDS + gathered;
        let read = |fields| {
            Response::parse(fields, gathered).ok_or_else(|| RecordError::Fields { found: count(fields), wanted })
        };
        let response = fields.map(read).transpose()?;
        Self::assemble(&carry, end, response, end_unix_nanos).ok_or(RecordError::Context)
    }

    fn assemble(
        carry: &Carry<'a>,
        end: Option<State>,
        response: Option<Response<'a>>,
        end_unix_nanos: u64,
    ) -> Option<Self> {
        let [flags] = hex(carry.traceparent.get(53..55)?)?;
        Some(Self {
            trace_id: hex(carry.traceparent.get(3..35)?)?,
            trace_flags: flags,
            sampled: carry.verdict.sampled,
            kept: None,
            server_span: hex(carry.server_span)?,
            client_span: hex(carry.traceparent.get(36..52)?)?,
            parent: match carry.parent {
                Some(parent) => Some(hex(parent)?),
                None => None,
            },
            link: carry.link.and_then(Link::read),
            tracestate: carry.tracestate,
            host: carry.host,
            user_agent: carry.user_agent,
            start_unix_nanos: start(carry, response.as_ref()),
            request: match &response {
                Some(response) if !response.request.method.is_empty() => response.request,
                _ => RequestLine::parse(carry.request_line),
            },
            content_length: response::unsigned(carry.content_length),
            attributes: carry.attributes(),
            has_more: carry.has_more,
            state: end.or(response.as_ref().map(|r| r.state)).unwrap_or(State::NORMAL),
            end_unix_nanos,
            response,
        })
    }

    /// Whether nobody but metrics and logs asked for its end.
    pub fn is_only_measured(&self) -> bool {
        self.all_carried(Field::Measured).next().is_some()
    }

    /// Whether one span stands for both legs.
    pub fn is_single(&self) -> bool {
        self.server_span == self.client_span
    }

    /// The first carried field of a kind that has no place of its own; empty if there is none.
    pub fn carried(&self, field: Field) -> &'a [u8] {
        self.all_carried(field).next().unwrap_or_default()
    }

    /// Every carried field of such a kind, in order.
    pub fn all_carried(&self, field: Field) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.has_more.then(|| self.attributes.beside(field)).into_iter().flatten()
    }

    /// The client's address as text; empty if nobody knows it.
    pub fn client_ip(&self) -> &'a [u8] {
        match &self.response {
            Some(response) => response.client_ip,
            None => self.carried(Field::Source),
        }
    }

    /// The facts that decide on status and `error.type`.
    pub fn ending(&self) -> Ending {
        let response = self.response.as_ref();
        Ending {
            state: self.state,
            status: response.and_then(|r| r.status),
            server_chosen: response.is_some_and(|r| matches!(r.server, Server::Real(_))),
            headers_received: response.is_some_and(|r| r.timers.response_headers.is_some()),
        }
    }
}

/// HAProxy's date of the first byte; else when the door saw the request, less the time that its headers took.
fn start(carry: &Carry<'_>, response: Option<&Response<'_>>) -> Option<u64> {
    response.and_then(|r| r.start_unix_nanos).or_else(|| {
        let headers = response.and_then(|r| r.timers.request_headers).unwrap_or(0);
        Some(carry.started_unix_nanos?.saturating_sub(headers.saturating_mul(1_000_000)))
    })
}

#[cold]
fn count(fields: &[u8]) -> usize {
    fields.split(|&b| b == b' ').count()
}

/// `N` bytes from 2 N lower-case hexadecimal digits.
fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
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

#[cfg(test)]
mod tests {
    use super::sample::{Sample, context};
    use super::*;
    use proptest::prelude::*;

    const END: u64 = 1_700_000_000_500_000_000;

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(
            start in prop_oneof![Just(vec![]), Just(Sample::default().payload()), Just(Sample::ended("CD").payload())],
            cut in 0_usize..600,
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let mut payload = start;
            payload.truncate(cut);
            payload.extend_from_slice(&bytes);
            let _ = Record::parse(&payload, END, 0);
        }

        #[test]
        fn any_field_values_are_read_without_a_panic(fields in proptest::collection::vec("[ -~]{0,12}", 20..30)) {
            let mut payload = context();
            payload.push(b' ');
            payload.extend_from_slice(fields.join(" ").as_bytes());
            let _ = Record::parse(&payload, END, 0);
        }
    }

    #[test]
    fn every_field_is_read() {
        let payload = Sample::default().payload();
        let record = Record::parse(&payload, END, 0).unwrap();
        assert_eq!(record.trace_id, 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef_u128.to_be_bytes());
        assert_eq!(record.client_span, 0x0123_4567_89ab_cdef_u64.to_be_bytes());
        assert_eq!(record.server_span, [0x11; 8]);
        assert_eq!(record.parent, Some([0x22; 8]));
        assert_eq!((record.trace_flags, record.state), (3, State::NORMAL));
        assert_eq!((record.tracestate, record.host), (&b"a=1"[..], &b"shop.example:8443"[..]));
        let response = record.response.unwrap();
        assert_eq!(response.status, Some(200));
        assert_eq!((response.backend, response.server), (&b"api"[..], Server::Real(b"api1")));
        assert_eq!((response.server_ip, response.server_port), (&b"10.0.0.7"[..], Some(8080)));
        assert_eq!((response.client_ip, response.client_port), (&b"192.0.2.9"[..], Some(51234)));
        assert_eq!((response.frontend, response.frontend_port), (&b"www"[..], Some(443)));
        assert_eq!(response.tls_version, b"TLSv1.3");
        assert_eq!(response.timers.handshake, Some(4));
        assert_eq!(response.timers.response_headers, Some(25));
        assert_eq!(response.retries, Retries { count: 0, redispatched: false });
        assert_eq!(response.start_unix_nanos, Some(1_700_000_000_000_000_000));
        assert_eq!((response.client_http_major, response.server_http_major), (Some(1), Some(1)));
        assert_eq!(response.connection_reused, Some(true));
        assert_eq!(response.request.method, b"GET");
    }

    #[test]
    fn the_final_state_is_stronger_than_the_one_at_the_response() {
        let payload = Sample::ended("CD").payload();
        let record = Record::parse(&payload, END, 0).unwrap();
        assert_eq!(record.state, State(*b"CD"));
        assert!(record.response.is_some());
    }

    #[test]
    fn a_request_without_a_response_is_a_record() {
        for end in ["", " "] {
            let payload = [b"PR ", &context()[..], end.as_bytes()].concat();
            let record = Record::parse(&payload, END, 0).unwrap();
            assert_eq!(record.state, State(*b"PR"));
            assert!(record.response.is_none());
        }
    }

    #[test]
    fn absent_values_are_none() {
        let absent = [
            ("%ST", "-1"),
            ("%s", "<NOSRV>"),
            ("%si", "-"),
            ("%sp", "0"),
            ("%sslv", "-"),
            ("%Tc", "-1"),
            ("start", ""),
            ("bc_http_major", ""),
            ("bc_reused", ""),
        ];
        let payload = Sample::with(&absent).payload();
        let response = Record::parse(&payload, END, 0).unwrap().response.unwrap();
        assert_eq!((response.status, response.server), (None, Server::None));
        assert_eq!((response.server_ip, response.server_port), (&b""[..], None));
        assert_eq!((response.tls_version, response.timers.connect), (&b""[..], None));
        assert_eq!((response.start_unix_nanos, response.server_http_major), (None, None));
        assert_eq!(response.connection_reused, None);
    }

    #[test]
    fn what_is_not_ours_is_refused_with_its_reason() {
        let error = |payload: &[u8]| Record::parse(payload, END, 0).unwrap_err();
        assert_eq!(error(b""), RecordError::Context);
        assert_eq!(error(b"CD "), RecordError::Context);
        assert_eq!(error(&context()), RecordError::Context);
        assert_eq!(error(&[&context()[..], b" "].concat()), RecordError::Fields { found: 1, wanted: FIELDS });
        assert_eq!(error(&[&context()[..], b" -- 200 api"].concat()), RecordError::Fields { found: 3, wanted: FIELDS });
        assert_eq!(error(&[b"CD ", &context()[..], b" -- 200"].concat()), RecordError::Context);
        let mut unsampled = Sample::default().payload();
        unsampled[55] = b'-';
        assert_eq!(error(&unsampled), RecordError::Unrecorded);
        let mut upper = Sample::default().payload();
        upper[4] = b'A';
        assert_eq!(error(&upper), RecordError::Context);
    }
}
