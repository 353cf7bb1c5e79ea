//! What HAProxy noted when it made a response: values that it writes, one space after each but the last.

use super::RequestLine;
use super::scan;
use crate::trace::outcome::State;

/// Values after the context that every request has.
pub const FIELDS: usize = 25;

/// What HAProxy noted when it made a response, in the order of the payload. A number that cannot be read counts as
/// absent.
#[derive(Debug, Clone)]
pub struct Response<'a> {
    /// `%ts`: the termination state then.
    pub state: State,
    /// `%ST`; 100 to 999.
    pub status: Option<u16>,
    /// `%b`; the frontend's name if there was none.
    pub backend: &'a [u8],
    /// `%s`.
    pub server: Server<'a>,
    /// `%si`; empty if none.
    pub server_ip: &'a [u8],
    /// `%sp`.
    pub server_port: Option<u16>,
    /// `%ci`.
    pub client_ip: &'a [u8],
    /// `%cp`.
    pub client_port: Option<u16>,
    /// `%f`.
    pub frontend: &'a [u8],
    /// `%fp`.
    pub frontend_port: Option<u16>,
    /// `%sslv`, for example `TLSv1.3`; empty without TLS.
    pub tls_version: &'a [u8],
    /// `%Th %Ti %TR %Tw %Tc %Tr`.
    pub timers: Timers,
    /// `%rc`.
    pub retries: Retries,
    /// `request_date(us)`: the request's first byte. Unix time, nanoseconds.
    pub start_unix_nanos: Option<u64>,
    /// `fc_http_major`: 1, 2 or 3.
    pub client_http_major: Option<u64>,
    /// `bc_http_major`.
    pub server_http_major: Option<u64>,
    /// `bc_reused`.
    pub connection_reused: Option<bool>,
    /// What the settings ask for; before it come `%bq` and `%sq`, which no span uses.
    pub gathered: Gathered<'a>,
    /// `%r`.
    pub request: RequestLine<'a>,
}

/// Attempts after the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retries {
    /// How many.
    pub count: u64,
    /// The last one went to another server: HAProxy wrote `+`.
    pub redispatched: bool,
}

/// Who answered. HAProxy writes everything but a server's name in angle brackets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server<'a> {
    /// `<NOSRV>`.
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

impl<'a> Response<'a> {
    /// Reads the values. `None`: there are fewer than [`FIELDS`] and `gathered`.
    pub(super) fn parse(fields: &'a [u8], gathered: usize) -> Option<Self> {
        let mut fields = Fields(fields);
        Some(Self {
            state: fields.next()?.first_chunk().map_or(State::NORMAL, |state| State(*state)),
            status: status(fields.next()?),
            backend: fields.next()?,
            server: Server::from_name(fields.next()?),
            server_ip: present(fields.next()?),
            server_port: port(fields.next()?),
            client_ip: present(fields.next()?),
            client_port: port(fields.next()?),
            frontend: fields.next()?,
            frontend_port: port(fields.next()?),
            tls_version: present(fields.next()?),
            timers: Timers {
                handshake: unsigned(fields.next()?),
                idle: unsigned(fields.next()?),
                request_headers: unsigned(fields.next()?),
                queue: unsigned(fields.next()?),
                connect: unsigned(fields.next()?),
                response_headers: unsigned(fields.next()?),
            },
            retries: Retries::parse(fields.next()?),
            start_unix_nanos: unsigned(fields.next()?).and_then(|micros| micros.checked_mul(1000)),
            client_http_major: unsigned(fields.next()?),
            server_http_major: unsigned(fields.next()?),
            connection_reused: boolean(fields.next()?),
            gathered: {
                let (_backend_queue, _server_queue) = (fields.next()?, fields.next()?);
                let all = fields.0;
                for _ in 0..gathered {
                    fields.next()?;
                }
                let len = all.len() - fields.0.len();
                Gathered(all.get(..len).unwrap_or_default())
            },
            request: RequestLine::parse(fields.0),
        })
    }
}

/// Values that the settings ask for, in the order of [`Plan::gathered`](crate::trace::plan::Plan::gathered).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gathered<'a>(&'a [u8]);

impl Gathered<'_> {
    /// Each value in turn; `None` where HAProxy had none.
    pub fn values(&self) -> impl Iterator<Item = Option<Vec<u8>>> {
        let fields = self.0.strip_suffix(b" ").unwrap_or_default();
        fields.split(|&b| b == b' ').map(|digits| if digits.is_empty() { None } else { unhex(digits) })
    }
}

/// What HAProxy's converter `hex` writes, read back: `None` for anything else, such as the `-` of an absent value.
fn unhex(digits: &[u8]) -> Option<Vec<u8>> {
    let (pairs, rest) = digits.as_chunks::<2>();
    let nibble = |digit: u8| char::from(digit).to_digit(16).and_then(|nibble| u8::try_from(nibble).ok());
    let byte = |&[high, low]: &[u8; 2]| Some(nibble(high)? << 4 | nibble(low)?);
    if rest.is_empty() { pairs.iter().map(byte).collect() } else { None }
}

impl Retries {
    fn parse(field: &[u8]) -> Self {
        Self { count: unsigned(field).unwrap_or(0), redispatched: field.first() == Some(&b'+') }
    }
}

impl<'a> Server<'a> {
    const fn from_name(name: &'a [u8]) -> Self {
        match name {
            b"" | b"<NOSRV>" => Self::None,
            [b'<', ..] => Self::Applet(name),
            _ => Self::Real(name),
        }
    }
}

/// Values, each followed by a space; the last one is what remains.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        let (value, rest) = scan::split_once(self.0, b' ')?;
        self.0 = rest;
        Some(value)
    }
}

/// HAProxy writes `-` for what is absent.
fn present(field: &[u8]) -> &[u8] {
    if field == b"-" { b"" } else { field }
}

/// Decimal, at most 18 digits. HAProxy writes `+` before a number that may still grow; a negative one is absent.
pub(super) fn unsigned(field: &[u8]) -> Option<u64> {
    let digits = field.strip_prefix(b"+").unwrap_or(field);
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    let mut number = 0;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number * 10 + u64::from(digit);
    }
    Some(number)
}

fn status(field: &[u8]) -> Option<u16> {
    let status = unsigned(field).and_then(|status| u16::try_from(status).ok());
    status.filter(|status| (100..=999).contains(status))
}

fn port(field: &[u8]) -> Option<u16> {
    unsigned(field).and_then(|port| u16::try_from(port).ok()).filter(|&port| port != 0)
}

fn boolean(field: &[u8]) -> Option<bool> {
    match field {
        b"1" | b"true" => Some(true),
        b"0" | b"false" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gathered_values_stand_before_the_request_line() {
        let fields = b"-- 200 b s - - - - f - - 0 0 0 0 0 0 0 0 1 1 0 0 0 4120 - 2D GET /a b HTTP/1.1";
        let response = Response::parse(fields, 3).unwrap();
        let values: Vec<_> = response.gathered.values().collect();
        assert_eq!(values, [Some(b"A ".to_vec()), None, Some(b"-".to_vec())]);
        assert_eq!(response.request.method, b"GET");
        assert!(Response::parse(b"-- 200", 0).is_none());
        assert_eq!(Response::parse(fields, 0).unwrap().gathered.values().flatten().count(), 0);
    }

    #[test]
    fn numbers_may_carry_a_plus_and_nothing_else() {
        let cases: [(&[u8], Option<u64>); 9] = [
            (b"0", Some(0)),
            (b"+12", Some(12)),
            (b"-1", None),
            (b"999999999999999999", Some(999_999_999_999_999_999)),
            (b"1000000000000000000", None),
            (b"", None),
            (b"+", None),
            (b"1x", None),
            (b"--1", None),
        ];
        for (text, number) in cases {
            assert_eq!(unsigned(text), number, "{text:?}");
        }
    }
}
