//! Request headers for the spans: looked for at the start, of requests that are recorded alone.

use memchr::memchr;

use super::headers::Block;
use super::picked::Picked;
use super::record::{Field, MAX_FORWARDED, Writer};
use crate::config::{AttributesConfig, Forwarded};
use crate::stats;

/// What is recorded beyond the fixed values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Lower-case names. Their places, from 1, stand in [`Field::Header`].
    headers: Vec<Box<[u8]>>,
    forwarded: Option<Forwarded>,
    rpc: bool,
}

impl Wanted {
    /// What the settings ask for, if it is anything.
    pub fn new(config: &AttributesConfig) -> Option<Self> {
        let headers = config.request_headers.iter().map(|name| name.as_bytes().into()).collect();
        let forwarded = (!config.trusted_networks.is_empty()).then_some(config.forwarded);
        let wanted = Self { headers, forwarded, rpc: config.rpc };
        (!wanted.headers.is_empty() || wanted.forwarded.is_some() || wanted.rpc).then_some(wanted)
    }

    /// Records the hops before the peer. Before everything else a client may fill the room with: the nearest hops decide.
    pub(super) fn record_hops(&self, headers: &Block<'_>, record: &mut Writer) {
        let Some(forwarded) = self.forwarded else { return };
        let name: &[u8] = if forwarded == Forwarded::XForwarded { b"x-forwarded-for" } else { b"forwarded" };
        let (mut hops, mut proto, mut host) = (Hops::default(), &b""[..], &b""[..]);
        let mut headers = headers.iter();
        while let Some((found, value)) = headers.next_of(b"xf") {
            if found.eq_ignore_ascii_case(name) {
                hops.push(value);
            } else if found.eq_ignore_ascii_case(b"x-forwarded-proto") {
                proto = value;
            } else if found.eq_ignore_ascii_case(b"x-forwarded-host") {
                host = value;
            }
        }
        if hops.count > 0 {
            record.field(Field::ForwardedFor, &hops.joined());
        }
        if forwarded == Forwarded::XForwarded {
            for (field, value) in [(Field::ForwardedProto, last_of(proto)), (Field::ForwardedHost, last_of(host))] {
                if !value.is_empty() {
                    record.field(field, value);
                }
            }
        }
    }

    /// Records the rest.
    pub(super) fn record_headers(&self, headers: &Block<'_>, picked: &Picked<'_>, record: &mut Writer) {
        if self.rpc && is_grpc(picked.content_type) {
            record.field(Field::Rpc, b"");
        }
        if self.headers.is_empty() {
            return;
        }
        for (name, value) in headers {
            let place = (1..).zip(&self.headers).find(|(_, wanted)| name.eq_ignore_ascii_case(wanted));
            if place.is_some_and(|(place, _)| !record.header(place, value)) {
                stats::ATTRIBUTES_LEFT_OUT.add(1);
            }
        }
    }
}

/// The last lines of a header that is a list.
#[derive(Default)]
struct Hops<'a> {
    /// A ring: line `n` stands at `n` modulo its length.
    lines: [&'a [u8]; MAX_LINES],
    count: usize,
}

impl<'a> Hops<'a> {
    fn push(&mut self, line: &'a [u8]) {
        if let Some(place) = self.lines.get_mut(self.count % MAX_LINES) {
            *place = line;
        }
        self.count += 1;
    }

    /// One list, cut at its left between two hops: the right-most ones count, and a client writes the others.
    fn joined(&self) -> Vec<u8> {
        let first = self.count.saturating_sub(MAX_LINES);
        let line = |n: usize| self.lines.get(n % MAX_LINES).copied().unwrap_or_default();
        let list = (first..self.count).map(line).collect::<Vec<_>>().join(&b',');
        match list.len().checked_sub(MAX_FORWARDED) {
            None | Some(0) => list,
            Some(over) => {
                let kept = list.get(over..).unwrap_or_default();
                let whole = memchr(b',', kept).and_then(|at| kept.get(at + 1..));
                whole.unwrap_or_default().to_vec()
            }
        }
    }
}

/// The right-most of a list: what the peer itself said.
fn last_of(list: &[u8]) -> &[u8] {
    list.rsplit(|&b| b == b',').next().unwrap_or_default().trim_ascii()
}

/// gRPC over HTTP/2, "Requests": the content type begins so.
pub(crate) fn is_grpc(content_type: &[u8]) -> bool {
    let (kind, rest) = content_type.split_at_checked(GRPC.len()).unwrap_or((content_type, b""));
    kind.eq_ignore_ascii_case(GRPC) && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
}

const GRPC: &[u8] = b"application/grpc";

/// Lines of a forwarding header that are looked at.
const MAX_LINES: usize = 16;

#[cfg(test)]
mod tests {
    use super::super::headers::write_block;
    use super::super::record::Record;
    use super::super::record::sample::Sample;
    use super::*;
    use proptest::prelude::*;

    /// An ordinary request's record with what `headers` add.
    fn recorded(config: &AttributesConfig, headers: &[(&[u8], &[u8])]) -> Vec<u8> {
        let wanted = Wanted::new(config).unwrap();
        let sample = Sample::default();
        let mut writer = sample.begun();
        let text = write_block(headers);
        let block = Block::Text(&text);
        wanted.record_hops(&block, &mut writer);
        wanted.record_headers(&block, &Picked::read(&block), &mut writer);
        writer.end();
        writer.numbers(&sample.numbers);
        writer.as_bytes().to_vec()
    }

    fn read(bytes: &[u8]) -> Record<'_> {
        Record::parse(bytes, 0).unwrap()
    }

    fn trusting(forwarded: Forwarded) -> AttributesConfig {
        let trusted_networks = vec!["10.0.0.0/8".parse().unwrap()];
        AttributesConfig { trusted_networks, forwarded, ..AttributesConfig::default() }
    }

    #[test]
    fn nothing_asked_for_is_nothing_wanted() {
        assert_eq!(Wanted::new(&AttributesConfig::default()), None);
    }

    #[test]
    fn every_line_of_a_captured_header_is_recorded_with_its_place() {
        let names = ["x-a", "x-b"].map(str::to_owned).to_vec();
        let config = AttributesConfig { request_headers: names, ..AttributesConfig::default() };
        let long = [b'v'; 600];
        let bytes = recorded(&config, &[(b"X-B", b"1"), (b"x-c", b"2"), (b"x-a", &long), (b"x-b", b"")]);
        let record = read(&bytes);
        let found: Vec<_> = record.all_carried(Field::Header).collect();
        assert_eq!(found, [&b"\x021"[..], &[b"\x01", &long[..512]].concat(), b"\x02"]);
    }

    #[test]
    fn grpc_is_known_by_its_content_type() {
        let config = AttributesConfig { rpc: true, ..AttributesConfig::default() };
        let cases: [(&[u8], bool); 6] = [
            (b"application/grpc", true),
            (b"Application/gRPC+proto", true),
            (b"application/grpc;x=1", true),
            (b"application/grpc-web", false),
            (b"application/json", false),
            (b"", false),
        ];
        for (value, expected) in cases {
            let bytes = recorded(&config, &[(b"cookie", b"a"), (b"content-type", value)]);
            let record = read(&bytes);
            assert_eq!(record.all_carried(Field::Rpc).count() == 1, expected, "{value:?}");
        }
    }

    #[test]
    fn the_nearest_hops_are_kept_whole() {
        let far = [&b"192.0.2.1,".repeat(60)[..], b"10.9.9.9"].concat();
        let headers: [(&[u8], &[u8]); 4] = [
            (b"x-forwarded-for", &far),
            (b"forwarded", b"for=1"),
            (b"X-Forwarded-For", b"10.0.0.1"),
            (b"x-forwarded-proto", b"a, https"),
        ];
        let bytes = recorded(&trusting(Forwarded::XForwarded), &headers);
        let record = read(&bytes);
        let hops = record.carried(Field::ForwardedFor);
        assert!(hops.len() <= MAX_FORWARDED && hops.starts_with(b"192.0.2.1,"), "{}", hops.escape_ascii());
        assert!(hops.ends_with(b"192.0.2.1,10.9.9.9,10.0.0.1"));
        assert_eq!(record.carried(Field::ForwardedProto), b"https");
        let bytes = recorded(&trusting(Forwarded::Standard), &headers);
        let record = read(&bytes);
        assert_eq!(
            (record.carried(Field::ForwardedFor), record.carried(Field::ForwardedProto)),
            (&b"for=1"[..], &b""[..])
        );
    }

    proptest! {
        #[test]
        fn the_last_hop_is_always_recorded(
            before in proptest::collection::vec("[ -~]{0,200}", 0..40), last in "[0-9a-f.:]{1,40}",
        ) {
            let mut headers: Vec<(&[u8], &[u8])> =
                before.iter().map(|value| (&b"x-forwarded-for"[..], value.as_bytes())).collect();
            headers.push((b"x-forwarded-for", last.as_bytes()));
            let bytes = recorded(&trusting(Forwarded::XForwarded), &headers);
            let record = read(&bytes);
            let hops = record.carried(Field::ForwardedFor);
            prop_assert_eq!(hops.rsplit(|&b| b == b',').next(), Some(last.as_bytes()));
        }
    }
}
