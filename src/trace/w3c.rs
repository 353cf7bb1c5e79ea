//! W3C Trace Context level 2: `traceparent` and `tracestate`, total over any bytes.

use super::record::MAX_TRACESTATE;

/// A caller's `traceparent` that the specification accepts. Identifiers stay in hexadecimal: they are copied, not
/// computed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traceparent {
    /// The trace's id, 32 lowercase hexadecimal digits, not all zero.
    pub trace_id: [u8; 32],
    /// The caller's span id, 16 lowercase hexadecimal digits, not all zero.
    pub parent_id: [u8; 16],
    /// The flags that are known here; others are gone. Sections 3.2.2.5 and 4.1.
    pub flags: u8,
}

/// Bytes of a `traceparent`. Section 3.2.
pub const TRACEPARENT_LEN: usize = 55;

/// The caller recorded its span. Section 3.2.2.5.1.
pub const FLAG_SAMPLED: u8 = 0x01;
/// At least 56 bits of the trace id are random. Section 3.2.2.5.2.
pub const FLAG_RANDOM: u8 = 0x02;

impl Traceparent {
    /// Reads a header's value; `None` means that the trace starts anew. Section 4.3, steps 2 to 6.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let value = value.trim_ascii();
        let (head, rest) = value.split_first_chunk::<TRACEPARENT_LEN>()?;
        let [v0, v1, b'-', tail @ ..] = head else { return None };
        let version = hex_byte(*v0, *v1)?;
        match (version, rest.first()) {
            (0xff, _) | (0, Some(_)) => return None,
            (_, None | Some(b'-')) => {}
            _ => return None,
        }
        let (trace_id, tail) = tail.split_first_chunk::<32>()?;
        let (dash, tail) = tail.split_first()?;
        let (parent_id, tail) = tail.split_first_chunk::<16>()?;
        let [dash2, f0, f1] = tail else { return None };
        let flags = hex_byte(*f0, *f1)?;
        if *dash != b'-' || *dash2 != b'-' || !is_id(trace_id) || !is_id(parent_id) {
            return None;
        }
        Some(Self { trace_id: *trace_id, parent_id: *parent_id, flags: flags & (FLAG_SAMPLED | FLAG_RANDOM) })
    }
}

/// The low eight bytes of a trace id as a number: what ratio samplers look at.
pub fn trace_id_low(trace_id: &[u8; 32]) -> u64 {
    let (_, low) = trace_id.split_at(16);
    low.iter().fold(0, |sum, &digit| (sum << 4) | u64::from(nibble(digit).unwrap_or(0)))
}

/// A version 00 header. Section 3.2.
pub fn write_traceparent(trace_id: &[u8; 32], span_id: &[u8; 16], flags: u8) -> [u8; TRACEPARENT_LEN] {
    let mut out = *b"00-00000000000000000000000000000000-0000000000000000-00";
    let mut put = |from: usize, part: &[u8]| {
        if let Some(room) = out.get_mut(from..from + part.len()) {
            room.copy_from_slice(part);
        }
    };
    put(3, trace_id);
    put(36, span_id);
    put(53, &hex2(flags));
    out
}

/// `value` in lowercase hexadecimal.
pub fn hex16(value: u64) -> [u8; 16] {
    let mut out = [0; 16];
    let (high, low) = out.split_at_mut(8);
    high.copy_from_slice(&hex8(value >> 32));
    low.copy_from_slice(&hex8(value & 0xffff_ffff));
    out
}

/// `value` in lowercase hexadecimal.
pub const fn hex2(value: u8) -> [u8; 2] {
    [digit(value >> 4), digit(value)]
}

/// The low 32 bits, all eight digits at once: a byte each, without a branch or a table. Hot path.
const fn hex8(value: u64) -> [u8; 8] {
    let spread = (value | value << 16) & 0x0000_ffff_0000_ffff;
    let spread = (spread | spread << 8) & 0x00ff_00ff_00ff_00ff;
    let nibbles = (spread | spread << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    // Adding six carries into the fifth bit where a nibble is a letter.
    let letters = ((nibbles + 0x0606_0606_0606_0606) >> 4) & 0x0101_0101_0101_0101;
    let to_letter = (b'a' - b'0' - 10) as u64;
    (nibbles + 0x3030_3030_3030_3030 + letters * to_letter).to_be_bytes()
}

/// What became of a request's `tracestate` headers. Section 3.3.
#[derive(Debug, PartialEq, Eq)]
pub enum Tracestate {
    /// There was none.
    Absent,
    /// One line, valid and in its plain form.
    AsItCame,
    /// Valid, and better said in one plain line.
    Combined,
    /// Nothing that may be passed on: empty, or invalid, which voids the whole list. Section 3.3.1.1.
    Void,
}

/// Reads the `tracestate` lines in order; `list` receives the plain form, cut to [`MAX_TRACESTATE`] bytes by whole
/// members: longer ones than 128 first, then from the right. Section 3.3.1.5.
pub fn read_tracestate<'a>(lines: impl Iterator<Item = &'a [u8]>, list: &mut Vec<u8>) -> Tracestate {
    list.clear();
    let mut seen: [&[u8]; MAX_MEMBERS] = [b""; MAX_MEMBERS];
    let (mut count, mut line_count, mut plain) = (0, 0, true);
    for line in lines {
        line_count += 1;
        plain &= line_count == 1 && !line.is_empty() && !line.contains(&b'\t');
        for (n, raw) in line.split(|&b| b == b',').enumerate() {
            let member = raw.trim_ascii();
            // A space before a comma, an empty member: legal, and gone in the plain form. One after it is common.
            plain &= !member.is_empty() && raw.len() <= member.len() + usize::from(n > 0) && raw.ends_with(member);
            if member.is_empty() {
                continue;
            }
            let Some(key) = member_key(member) else { return Tracestate::Void };
            if seen.iter().take(count).any(|known| *known == key) {
                return Tracestate::Void;
            }
            let Some(slot) = seen.get_mut(count) else { return Tracestate::Void };
            *slot = key;
            count += 1;
            if !list.is_empty() {
                list.push(b',');
            }
            list.extend_from_slice(member);
        }
    }
    match (line_count, count) {
        (0, _) => Tracestate::Absent,
        (_, 0) => Tracestate::Void,
        _ => {
            let too_long = list.len() > MAX_TRACESTATE;
            cut(list);
            // One long valid line may go on as it came: 512 bytes is the least that must, not the most that may.
            match (plain, too_long) {
                (true, _) => Tracestate::AsItCame,
                (false, true) if list.is_empty() => Tracestate::Void,
                (false, _) => Tracestate::Combined,
            }
        }
    }
}

/// The key of a valid list member. Section 3.3.1.3; `tenant@system` keys as level 1 bounds them.
fn member_key(member: &[u8]) -> Option<&[u8]> {
    let equals = member.iter().position(|&b| b == b'=')?;
    let (key, value) = member.split_at_checked(equals)?;
    let value = value.get(1..)?;
    (is_key(key) && is_value(value)).then_some(key)
}

fn is_key(key: &[u8]) -> bool {
    let part = |part: &[u8], longest: usize| {
        part.len() <= longest
            && matches!(part.first(), Some(b'a'..=b'z' | b'0'..=b'9'))
            && part.iter().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/'))
    };
    match key.iter().position(|&b| b == b'@') {
        None => part(key, 256),
        Some(at) => {
            let (tenant, system) = key.split_at_checked(at).unwrap_or_default();
            part(tenant, 241) && part(system.get(1..).unwrap_or_default(), 14)
        }
    }
}

fn is_value(value: &[u8]) -> bool {
    (1..=256).contains(&value.len())
        && value.iter().all(|b| matches!(b, 0x20..=0x2b | 0x2d..=0x3c | 0x3e..=0x7e))
        && value.last() != Some(&b' ')
}

/// Shortens `list` to its bound by whole members.
fn cut(list: &mut Vec<u8>) {
    if list.len() <= MAX_TRACESTATE {
        return;
    }
    let whole = std::mem::take(list);
    let mut excess = whole.len() - MAX_TRACESTATE;
    let mut keep: Vec<&[u8]> = whole.split(|&b| b == b',').collect();
    // From the right, so that what was changed last stays.
    let mut n = keep.len();
    while n > 0 && excess > 0 {
        n -= 1;
        if keep.get(n).is_some_and(|member| member.len() > 128) {
            let gone = keep.remove(n);
            excess = excess.saturating_sub(gone.len() + 1);
        }
    }
    while excess > 0 {
        let Some(gone) = keep.pop() else { break };
        excess = excess.saturating_sub(gone.len() + 1);
    }
    *list = keep.join(&b',');
}

fn is_id(id: &[u8]) -> bool {
    id.iter().all(|&b| nibble(b).is_some()) && id.iter().any(|&b| b != b'0')
}

fn hex_byte(high: u8, low: u8) -> Option<u8> {
    Some((nibble(high)? << 4) | nibble(low)?)
}

/// Lowercase only. Section 3.2.2: uppercase is invalid.
const fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

const fn digit(nibble: u8) -> u8 {
    match nibble & 0x0f {
        low @ 0..=9 => b'0' + low,
        high => b'a' + high - 10,
    }
}

/// Members of a list. Section 3.3.1.1.
const MAX_MEMBERS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const VALID: &str = "00-12345678901234567890123456789012-1234567890123456-01";

    fn list(lines: &[&str]) -> (Tracestate, String) {
        let mut out = Vec::new();
        let verdict = read_tracestate(lines.iter().map(|line| line.as_bytes()), &mut out);
        (verdict, String::from_utf8(out).unwrap())
    }

    #[test]
    fn valid_headers_are_read() {
        for text in [
            VALID.to_owned(),
            format!(" \t{VALID}\t "),
            format!("cc{}", &VALID[2..]),
            format!("cc{}-what-the-future-will-be-like", &VALID[2..]),
        ] {
            let parsed = Traceparent::parse(text.as_bytes()).expect(&text);
            assert_eq!(&parsed.trace_id, b"12345678901234567890123456789012");
            assert_eq!(&parsed.parent_id, b"1234567890123456");
            assert_eq!(parsed.flags, FLAG_SAMPLED);
        }
    }

    #[test]
    fn invalid_headers_are_refused() {
        for text in [
            "",
            "00-12345678901234567890123456789012-1234567890123456-01.",
            "00-12345678901234567890123456789012-1234567890123456-01-more",
            "cc-12345678901234567890123456789012-1234567890123456-01.more",
            "ff-12345678901234567890123456789012-1234567890123456-01",
            ".0-12345678901234567890123456789012-1234567890123456-01",
            "000-12345678901234567890123456789012-1234567890123456-01",
            "0-12345678901234567890123456789012-1234567890123456-01",
            "00-00000000000000000000000000000000-1234567890123456-01",
            "00-.2345678901234567890123456789012-1234567890123456-01",
            "00-1234567890123456789012345678901A-1234567890123456-01",
            "00-123456789012345678901234567890123-1234567890123456-01",
            "00-12345678901234567890123456789012-0000000000000000-01",
            "00-12345678901234567890123456789012-123456789012345-01",
            "00-12345678901234567890123456789012-1234567890123456-.0",
            "00-12345678901234567890123456789012-1234567890123456-001",
            "00-12345678901234567890123456789012-1234567890123456-1",
            "00x12345678901234567890123456789012-1234567890123456-01",
        ] {
            assert_eq!(Traceparent::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn every_flags_byte_is_accepted_and_only_known_bits_stay() {
        for flags in 0..=255_u8 {
            let text = format!("00-12345678901234567890123456789012-1234567890123456-{flags:02x}");
            assert_eq!(Traceparent::parse(text.as_bytes()).unwrap().flags, flags & 3);
        }
    }

    #[test]
    fn tracestate_lines_are_kept_combined_or_voided() {
        use Tracestate::{AsItCame, Combined, Void};
        let key = |n: usize| "z".repeat(n);
        let many = |n: usize| (0..n).map(|i| format!("k{i}=1")).collect::<Vec<_>>().join(",");
        for (lines, verdict, text) in [
            (vec!["foo=1,bar=2"], AsItCame, "foo=1,bar=2".to_owned()),
            (vec!["foo=1, bar=2"], AsItCame, "foo=1,bar=2".to_owned()),
            (vec!["foo=1,bar=2", "rojo=1,congo=2", "baz=3"], Combined, "foo=1,bar=2,rojo=1,congo=2,baz=3".to_owned()),
            (vec!["foo=1 \t , \t bar=2, \t baz=3"], Combined, "foo=1,bar=2,baz=3".to_owned()),
            (vec!["foo=1", ""], Combined, "foo=1".to_owned()),
            (vec!["", "foo=1"], Combined, "foo=1".to_owned()),
            (vec![""], Void, String::new()),
            (vec![" , "], Void, String::new()),
        ] {
            assert_eq!(list(&lines), (verdict, text), "{lines:?}");
        }
        for lines in [
            vec!["foo=1,foo=1"],
            vec!["foo=1", "foo=2"],
            vec!["foo =1"],
            vec!["FOO=1"],
            vec!["foo.bar=1"],
            vec!["foo@=1,bar=2"],
            vec!["@foo=1,bar=2"],
            vec!["foo@@bar=1,bar=2"],
            vec!["foo@bar@baz=1,bar=2"],
            vec!["foo=bar=baz"],
            vec!["foo=,bar=3"],
            vec!["foo"],
            vec![&*format!("{}=1", key(257))],
            vec![&*format!("{}@v=1", key(242))],
            vec![&*format!("t@{}=1", key(15))],
            vec![&*many(33)],
        ] {
            assert_eq!(list(&lines).0, Void, "{lines:?}");
        }
        for line in [format!("{}=1", key(256)), format!("{}@{}=1", key(241), key(14)), many(32)] {
            assert_eq!(list(&[&line]).0, AsItCame, "{line}");
        }
    }

    #[test]
    fn a_long_list_loses_long_members_first_and_then_its_end() {
        let long = format!("long={}", "v".repeat(200));
        let short: Vec<_> = (0..12).map(|n| format!("k{n:02}={}", "x".repeat(36))).collect();
        let (verdict, text) = list(&[&long, &short.join(",")]);
        assert_eq!(verdict, Tracestate::Combined);
        assert!(text.len() <= MAX_TRACESTATE);
        assert_eq!(text, short.join(","));
        let (_, text) =
            list(&[&short.join(","), &"a".repeat(90), "b=1"].map(|s| if s.len() == 90 { "c=2" } else { s }));
        assert!(text.starts_with("k00="));
    }

    proptest! {
        #[test]
        fn hexadecimal_is_what_it_is_elsewhere(value: u64) {
            prop_assert_eq!(hex16(value).to_vec(), format!("{value:016x}").into_bytes());
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = Traceparent::parse(&bytes);
            let mut out = Vec::new();
            let verdict = read_tracestate(bytes.split(|&b| b == b'\n'), &mut out);
            prop_assert!(out.len() <= MAX_TRACESTATE || verdict == Tracestate::Void);
        }

        #[test]
        fn what_is_written_is_read_back(high in 1_u64.., low: u64, span in 1_u64.., flags in 0_u8..4) {
            let mut trace_id = [0; 32];
            trace_id[..16].copy_from_slice(&hex16(high));
            trace_id[16..].copy_from_slice(&hex16(low));
            let written = write_traceparent(&trace_id, &hex16(span), flags);
            let parsed = Traceparent::parse(&written).unwrap();
            prop_assert_eq!(parsed.trace_id, trace_id);
            prop_assert_eq!(trace_id_low(&parsed.trace_id), low);
            prop_assert_eq!(parsed.parent_id, hex16(span));
            prop_assert_eq!(parsed.flags, flags);
        }
    }
}
