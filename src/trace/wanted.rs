//! Request headers for the spans: looked for at the start, of requests that are recorded alone.

use memchr::memchr;

use super::carry::{Field, MAX_FORWARDED, Writer};
use super::headers::Headers;
use crate::config::{AttributesConfig, Forwarded};
use crate::stats;

/// What is carried beyond the fixed values.
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

    /// Carries who was before the peer. Before everything else a client may fill the room with: the nearest hops decide.
    pub(super) fn carry_hops(&self, block: &[u8], carry: &mut Writer) {
        let Some(forwarded) = self.forwarded else { return };
        let name: &[u8] = if forwarded == Forwarded::XForwarded { b"x-forwarded-for" } else { b"forwarded" };
        let (mut hops, mut proto, mut host) = (Hops::default(), &b""[..], &b""[..]);
        let mut headers = Headers::new(block);
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
            carry.field(Field::ForwardedFor, &hops.joined());
        }
        if forwarded == Forwarded::XForwarded {
            for (field, value) in [(Field::ForwardedProto, last_of(proto)), (Field::ForwardedHost, last_of(host))] {
                if !value.is_empty() {
                    carry.field(field, value);
                }
            }
        }
    }

    /// Carries the rest.
    pub(super) fn carry_headers(&self, block: &[u8], carry: &mut Writer) {
        if self.rpc && is_grpc(block) {
            carry.field(Field::Rpc, b"");
        }
        if self.headers.is_empty() {
            return;
        }
        for (name, value) in Headers::new(block) {
            let place = (1..).zip(&self.headers).find(|(_, wanted)| name.eq_ignore_ascii_case(wanted));
            if place.is_some_and(|(place, _)| !carry.header(place, value)) {
                stats::ATTRIBUTES_LEFT_OUT.add(1);
            }
        }
    }
}

/// Headers that are looked for only when there will be spans.
#[derive(Debug, Default)]
pub(super) struct ForSpans<'a> {
    pub(super) host: &'a [u8],
    pub(super) user_agent: &'a [u8],
    pub(super) upgrade: &'a [u8],
}

impl<'a> ForSpans<'a> {
    pub(super) fn read(block: &'a [u8]) -> Self {
        let mut found = Self::default();
        let mut headers = Headers::new(block);
        while let Some((name, value)) = headers.next_of(b"hu") {
            match name.len() {
                4 if name.eq_ignore_ascii_case(b"host") => found.host = value,
                7 if name.eq_ignore_ascii_case(b"upgrade") => found.upgrade = value,
                10 if name.eq_ignore_ascii_case(b"user-agent") => found.user_agent = value,
                _ => {}
            }
        }
        found
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
fn is_grpc(block: &[u8]) -> bool {
    let mut headers = Headers::new(block);
    while let Some((name, value)) = headers.next_of(b"c") {
        if name.eq_ignore_ascii_case(b"content-type") {
            let (kind, rest) = value.split_at_checked(GRPC.len()).unwrap_or((value, b""));
            let ends = matches!(rest.first(), None | Some(b'+' | b';' | b' '));
            return kind.eq_ignore_ascii_case(GRPC) && ends;
        }
    }
    false
}

const GRPC: &[u8] = b"application/grpc";

/// Lines of a forwarding header that are looked at.
const MAX_LINES: usize = 16;

#[cfg(test)]
mod tests {
    use super::super::carry::{Carry, TracestateAction, Verdict};
    use super::super::headers::write_block;
    use super::*;
    use proptest::prelude::*;

    fn carried(config: &AttributesConfig, headers: &[(&[u8], &[u8])]) -> Vec<u8> {
        let wanted = Wanted::new(config).unwrap();
        let verdict = Verdict { recorded: true, sampled: true, tracestate: TracestateAction::Keep };
        let mut writer = Writer::new();
        writer.begin(&[b'0'; 55], verdict, b"1111111111111111", None, b"");
        let block = write_block(headers);
        wanted.carry_hops(&block, &mut writer);
        wanted.carry_headers(&block, &mut writer);
        writer.end();
        writer.as_bytes().to_vec()
    }

    fn first<'a>(carry: &Carry<'a>, field: Field) -> &'a [u8] {
        carry.attributes().beside(field).next().unwrap_or_default()
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
    fn every_line_of_a_wanted_header_is_carried_with_its_place() {
        let names = ["x-a", "x-b"].map(str::to_owned).to_vec();
        let config = AttributesConfig { request_headers: names, ..AttributesConfig::default() };
        let long = [b'v'; 600];
        let bytes = carried(&config, &[(b"X-B", b"1"), (b"x-c", b"2"), (b"x-a", &long), (b"x-b", b"")]);
        let (carry, _) = Carry::parse(&bytes).unwrap();
        let found: Vec<_> = carry.attributes().beside(Field::Header).collect();
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
            let bytes = carried(&config, &[(b"cookie", b"a"), (b"Content-Type", value)]);
            let (carry, _) = Carry::parse(&bytes).unwrap();
            assert_eq!(carry.attributes().beside(Field::Rpc).count() == 1, expected, "{value:?}");
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
        let bytes = carried(&trusting(Forwarded::XForwarded), &headers);
        let (carry, _) = Carry::parse(&bytes).unwrap();
        let hops = first(&carry, Field::ForwardedFor);
        assert!(hops.len() <= MAX_FORWARDED && hops.starts_with(b"192.0.2.1,"), "{}", hops.escape_ascii());
        assert!(hops.ends_with(b"192.0.2.1,10.9.9.9,10.0.0.1"));
        assert_eq!(first(&carry, Field::ForwardedProto), b"https");
        let bytes = carried(&trusting(Forwarded::Standard), &headers);
        let (carry, _) = Carry::parse(&bytes).unwrap();
        assert_eq!(
            (first(&carry, Field::ForwardedFor), first(&carry, Field::ForwardedProto)),
            (&b"for=1"[..], &b""[..])
        );
    }

    proptest! {
        #[test]
        fn the_last_hop_is_always_carried(
            before in proptest::collection::vec("[ -~]{0,200}", 0..40), last in "[0-9a-f.:]{1,40}",
        ) {
            let mut headers: Vec<(&[u8], &[u8])> =
                before.iter().map(|value| (&b"x-forwarded-for"[..], value.as_bytes())).collect();
            headers.push((b"x-forwarded-for", last.as_bytes()));
            let bytes = carried(&trusting(Forwarded::XForwarded), &headers);
            let (carry, _) = Carry::parse(&bytes).unwrap();
            let hops = first(&carry, Field::ForwardedFor);
            prop_assert_eq!(hops.rsplit(|&b| b == b',').next(), Some(last.as_bytes()));
        }
    }
}
