//! A connection of a frontend in TCP mode that has ended, as the doors hand it over. Total: any bytes get an answer.
//!
//! `payload` is [`MARK`] and what a request's record is when it ends normally ([`super::record`]), with these differences: the
//! termination state is the final one, the start is when the connection was accepted, what only a request has is empty, and the
//! gathered values are those of [`Connection`]: [`GATHERED`] of them, always, whatever the settings ask for.

use super::outcome::Ending;
use super::record::{Record, RecordError, Response, Server};

/// Stands before a connection's payload. No request's begins so: the third byte of a termination state's prefix is a space.
pub const MARK: &[u8; 3] = b"TCP";

/// Values that are gathered of each connection.
pub const GATHERED: usize = 6;

/// One connection that has ended. Borrows the payload.
#[derive(Debug, Clone)]
pub struct Connection<'a> {
    /// What it has in common with a request. Its response is there.
    pub record: Record<'a>,
    /// `dst`: the address that the client connected to; empty if it is none of IP.
    pub local_ip: Vec<u8>,
    /// `bytes_in`: bytes from the client. `None` where the door cannot know.
    pub bytes_in: Option<u64>,
    /// `bytes_out`: bytes to the client.
    pub bytes_out: Option<u64>,
    /// `ssl_fc_cipher`; empty without TLS.
    pub cipher: Vec<u8>,
    /// `ssl_fc_sni`: the name that the client asked for in TLS; empty if none.
    pub server_name: Vec<u8>,
    /// `ssl_fc_alpn`: the protocol that TLS agreed on; empty if none.
    pub next_protocol: Vec<u8>,
}

impl<'a> Connection<'a> {
    /// Whether `payload` is a connection's.
    pub fn is_one(payload: &[u8]) -> bool {
        payload.starts_with(MARK)
    }

    /// Reads what was handed over when the connection ended, and when that was (Unix time, nanoseconds).
    pub fn parse(payload: &'a [u8], end_unix_nanos: u64) -> Result<Self, RecordError> {
        let record = payload.strip_prefix(MARK).ok_or(RecordError::Context)?;
        let record = Record::parse(record, end_unix_nanos, GATHERED)?;
        let gathered = record.response.as_ref().ok_or(RecordError::Context)?.gathered;
        let mut values = gathered.values().map(Option::unwrap_or_default);
        let mut next = || values.next().unwrap_or_default();
        Ok(Self {
            local_ip: next(),
            bytes_in: number(&next()),
            bytes_out: number(&next()),
            cipher: next(),
            server_name: next(),
            next_protocol: next(),
            record,
        })
    }

    /// What was noted of it. `None` never occurs.
    pub const fn noted(&self) -> Option<&Response<'a>> {
        self.record.response.as_ref()
    }

    /// The facts that decide on `error.type`.
    pub fn ending(&self) -> Ending {
        Ending {
            state: self.record.state,
            status: None,
            server_chosen: self.noted().is_some_and(|noted| matches!(noted.server, Server::Real(_))),
            headers_received: false,
        }
    }
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::outcome::State;
    use super::super::record::sample::Sample;
    use super::*;
    use proptest::prelude::*;

    const END: u64 = 1_700_000_000_500_000_000;

    /// A connection's payload: an ordinary request's with some fields replaced, and the gathered values.
    pub(crate) fn payload(fields: &[(&str, &str)], gathered: [&str; GATHERED]) -> Vec<u8> {
        let hex = |text: &str| match text {
            "" => "-".to_owned(),
            text => text.bytes().fold(String::new(), |digits, byte| digits + &format!("{byte:02X}")),
        };
        let mut all = vec![("%ST", ""), ("%Tr", ""), ("fc_http_major", ""), ("bc_http_major", ""), ("%TR", "")];
        all.extend_from_slice(fields);
        let line = gathered.map(hex).join(" ") + " ";
        [&MARK[..], &Sample::with(&all).line(line.as_bytes()).payload()].concat()
    }

    pub(crate) const VALUES: [&str; GATHERED] = ["192.0.2.1", "10", "20", "AES", "db.example", "h 2"];

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(
            start in prop_oneof![Just(vec![]), Just(payload(&[], VALUES))],
            cut in 0_usize..700,
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let mut payload = start;
            payload.truncate(cut);
            payload.extend_from_slice(&bytes);
            let _ = Connection::parse(&payload, END);
            let _ = Connection::parse(&[&MARK[..], &payload].concat(), END);
        }
    }

    #[test]
    fn every_value_is_read() {
        let payload = payload(&[("%ts", "cD")], VALUES);
        assert!(Connection::is_one(&payload));
        let connection = Connection::parse(&payload, END).unwrap();
        assert_eq!(connection.record.state, State(*b"cD"));
        assert_eq!(connection.noted().unwrap().frontend, b"www");
        assert_eq!((connection.bytes_in, connection.bytes_out), (Some(10), Some(20)));
        let texts = [&connection.local_ip, &connection.cipher, &connection.server_name, &connection.next_protocol];
        assert_eq!(texts, [&b"192.0.2.1"[..], b"AES", b"db.example", b"h 2"]);
    }

    #[test]
    fn absent_values_are_absent_and_requests_are_no_connections() {
        let bare = payload(&[], [""; GATHERED]);
        let connection = Connection::parse(&bare, END).unwrap();
        assert_eq!((connection.bytes_in, connection.local_ip.len()), (None, 0));
        for request in [Sample::default().payload(), Sample::ended("CD").payload()] {
            assert!(!Connection::is_one(&request));
            assert_eq!(Connection::parse(&request, END).unwrap_err(), RecordError::Context);
        }
    }
}
