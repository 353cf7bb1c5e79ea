//! What a path asks for.

use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Status(u16),
    Delay(Duration),
    Bytes(usize),
    Chunked(usize),
    Drip(usize, Duration),
    EchoHeaders,
    Early,
    Upgrade,
    Hang,
    Close,
    Reset,
    Cut,
    Garbage,
    Hello,
}

impl Route {
    pub(super) fn parse(target: &str) -> Self {
        let path = target.split_once('?').map_or(target, |(path, _)| path);
        let mut parts = path.trim_start_matches('/').split('/');
        let name = parts.next().unwrap_or_default();
        let numbers: Vec<u32> = parts.map_while(|part| part.parse().ok()).collect();
        let millis = |n: u32| Duration::from_millis(n.into());
        match (name, numbers.as_slice()) {
            ("status", [status]) => Self::Status(u16::try_from(*status).unwrap_or(500)),
            ("delay", [delay]) => Self::Delay(millis(*delay)),
            ("bytes", [count]) => Self::Bytes(*count as usize),
            ("chunked", [count]) => Self::Chunked(*count as usize),
            ("drip", [count, delay]) => Self::Drip(*count as usize, millis(*delay)),
            ("echo-headers", _) => Self::EchoHeaders,
            ("early", _) => Self::Early,
            ("upgrade", _) => Self::Upgrade,
            ("hang", _) => Self::Hang,
            ("close", _) => Self::Close,
            ("reset", _) => Self::Reset,
            ("cut", _) => Self::Cut,
            ("garbage", _) => Self::Garbage,
            ("missing", _) => Self::Status(404),
            ("slow", _) => Self::Delay(SLOW),
            _ => Self::Hello,
        }
    }
}

/// The line that `/echo-headers` answers for each header.
pub(super) fn header_lines(headers: &[(String, String)]) -> Vec<u8> {
    headers.iter().flat_map(|(name, value)| [name, ": ", value, "\n"]).collect::<String>().into_bytes()
}

/// How long `/slow` takes.
const SLOW: Duration = Duration::from_millis(300);

pub(super) const HELLO: &[u8] = b"hello\n";
/// What `/cut` promises and what it sends.
pub(super) const CUT: (usize, &[u8]) = (1000, b"ten bytes.");
