//! The list member `ot` of `tracestate`, as far as sampling goes: `th`, the threshold below which traces are not sampled, and
//! `rv`, the randomness that is compared with it. OpenTelemetry specification, "`TraceState` handling" and "`TraceState`:
//! Probability sampling".

use crate::trace::record::MAX_TRACESTATE;
use crate::trace::w3c;

/// What the member says; what is absent or malformed is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Ot {
    /// `th`: 56 bits.
    pub(super) threshold: Option<u64>,
    /// `rv`: 56 bits.
    pub(super) randomness: Option<u64>,
}

impl Ot {
    /// Reads it from a valid list.
    pub(super) fn read(list: &[u8]) -> Self {
        let mut ot = Self::default();
        for (key, value) in list.split(|&b| b == b',').find_map(value_of).into_iter().flat_map(pairs) {
            match key {
                b"th" => ot.threshold = digits(value, 1),
                b"rv" => ot.randomness = digits(value, DIGITS),
                _ => {}
            }
        }
        ot
    }
}

/// What becomes of `th`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It stays, if it is there.
    Leave,
    /// It goes: nobody knows how likely the trace was.
    Erase,
    /// It says this.
    Set(u64),
}

/// Changes `th` in `list`, where all else of `ot` stays, and says whether anything has changed. A changed `ot` stands first,
/// as W3C Trace Context level 2, 3.5, wants it; where there is no room, members on the right go. `spare` is overwritten.
pub fn apply(change: Change, list: &mut Vec<u8>, spare: &mut Vec<u8>) -> bool {
    let is = Ot::read(list).threshold;
    let wanted = match change {
        Change::Leave => return false,
        Change::Erase => None,
        Change::Set(threshold) => Some(threshold),
    };
    if is == wanted && (is.is_some() || !has_threshold(list)) {
        return false;
    }
    spare.clear();
    spare.extend_from_slice(KEY);
    for pair in list.split(|&b| b == b',').find_map(value_of).into_iter().flat_map(|value| value.split(|&b| b == b';'))
    {
        if !pair.is_empty() && !pair.starts_with(b"th:") {
            push_separated(spare, b';', pair, KEY.len());
        }
    }
    if let Some(threshold) = wanted {
        let before = spare.len();
        push_separated(spare, b';', b"th:", KEY.len());
        push_threshold(spare, threshold);
        // "TraceState handling", Setting values: where the entry would be too long, it stays without.
        if spare.len() - KEY.len() > MAX_VALUE {
            spare.truncate(before);
        }
    }
    if spare.len() == KEY.len() {
        spare.clear();
    }
    let others = MAX_MEMBERS - usize::from(!spare.is_empty());
    for member in list.split(|&b| b == b',').filter(|one| !one.is_empty() && value_of(one).is_none()).take(others) {
        if spare.len() + 1 + member.len() > MAX_TRACESTATE {
            break;
        }
        push_separated(spare, b',', member, 0);
    }
    // Where the threshold found no room, all may be as it was.
    let changed = spare != list;
    std::mem::swap(list, spare);
    changed
}

/// The rejection threshold of a probability, to four digits; `None`: never. "Converting floating-point probability to threshold
/// value".
pub(super) fn threshold(probability: f64) -> Option<u64> {
    if probability <= 0.0 {
        return None;
    }
    if probability >= 1.0 {
        return Some(0);
    }
    // The exponent in the sense of frexp: one more than IEEE 754's, whose bias is 1023.
    let exponent = i64::try_from(probability.to_bits() >> 52 & 0x7ff).unwrap_or(0) - 1022;
    let precision = (PRECISION + (-exponent).div_euclid(4)).clamp(1, 12);
    // Between 1 and 2, so that the mantissa's 52 bits are the digits.
    let rejection = 2.0 - probability + 0.5 * 16_f64.powi(-i32::try_from(precision).unwrap_or(12));
    let digits = if rejection >= 2.0 { MANTISSA } else { rejection.to_bits() & MANTISSA };
    let kept = MANTISSA << (52 - 4 * precision);
    Some((digits & kept & MANTISSA) << 4)
}

/// 56 bits: what a trace's randomness has, and a threshold.
pub(super) const MASK: u64 = (1 << 56) - 1;

fn value_of(member: &[u8]) -> Option<&[u8]> {
    member.strip_prefix(KEY)
}

fn pairs(value: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    value.split(|&b| b == b';').filter_map(|pair| {
        let (key, value) = pair.split_at_checked(pair.iter().position(|&b| b == b':')?)?;
        Some((key, value.get(1..)?))
    })
}

/// Also a malformed one.
fn has_threshold(list: &[u8]) -> bool {
    let mut ot = list.split(|&b| b == b',').find_map(value_of).into_iter().flat_map(pairs);
    ot.any(|(key, _)| key == b"th")
}

/// At least so many hexadecimal digits, at most 14; those that are missing on the right are zero.
fn digits(text: &[u8], least: usize) -> Option<u64> {
    if !(least..=DIGITS).contains(&text.len()) {
        return None;
    }
    let digit = |sum: u64, &digit: &u8| Some(sum << 4 | u64::from(char::from(digit).to_digit(16)?));
    let value = text.iter().try_fold(0, digit)?;
    Some(value << (4 * (DIGITS - text.len())))
}

fn push_threshold(out: &mut Vec<u8>, threshold: u64) {
    let digits = w3c::hex16(threshold);
    let digits = digits.get(2..).unwrap_or_default();
    let len = digits.iter().rposition(|&digit| digit != b'0').map_or(1, |last| last + 1);
    out.extend_from_slice(digits.get(..len).unwrap_or_default());
}

/// Appends with a separator, unless nothing stands behind `start`.
fn push_separated(out: &mut Vec<u8>, separator: u8, part: &[u8], start: usize) {
    if out.len() > start {
        out.push(separator);
    }
    out.extend_from_slice(part);
}

const KEY: &[u8] = b"ot=";
/// Of 56 bits.
const DIGITS: usize = 14;
/// The digits that the specification recommends.
const PRECISION: i64 = 4;
const MANTISSA: u64 = (1 << 52) - 1;
/// Bytes of a member's value. W3C Trace Context level 2, 3.3.1.3.2.
const MAX_VALUE: usize = 256;
/// Members of a list. W3C Trace Context level 2, 3.3.1.1.
const MAX_MEMBERS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn changed(list: &str, change: Change) -> Option<String> {
        let mut bytes = list.as_bytes().to_vec();
        let changed = apply(change, &mut bytes, &mut Vec::new());
        assert!(changed || bytes == list.as_bytes());
        changed.then(|| String::from_utf8(bytes).unwrap())
    }

    fn shown(threshold: u64) -> String {
        let mut out = Vec::new();
        push_threshold(&mut out, threshold);
        String::from_utf8(out).unwrap()
    }

    /// The specification's own table, precision 4.
    #[test]
    fn probabilities_have_the_thresholds_of_the_specification() {
        for (one_in, expected) in [
            (1.0, "0"),
            (2.0, "8"),
            (3.0, "aaab"),
            (4.0, "c"),
            (5.0, "cccd"),
            (8.0, "e"),
            (10.0, "e666"),
            (16.0, "f"),
            (100.0, "fd70a"),
            (1000.0, "ffbe77"),
            (10_000.0, "fff9724"),
            (100_000.0, "ffff583a"),
            (1_000_000.0, "ffffef39"),
        ] {
            assert_eq!(shown(threshold(1.0 / one_in).unwrap()), expected, "1 in {one_in}");
        }
        assert_eq!(threshold(0.0), None);
    }

    #[test]
    fn what_is_malformed_says_nothing() {
        for (list, threshold, randomness) in [
            ("", None, None),
            ("a=1,ot=th:c,b=2", Some(0xc0_0000_0000_0000), None),
            ("ot=rv:0123456789abcd;th:0", Some(0), Some(0x01_2345_6789_abcd)),
            ("ot=th:;rv:123", None, None),
            ("ot=th:123456789abcdef", None, None),
            ("ot=th:xyz;p:8", None, None),
            ("xot=th:c", None, None),
        ] {
            assert_eq!(Ot::read(list.as_bytes()), Ot { threshold, randomness }, "{list}");
        }
    }

    #[test]
    fn th_is_set_first_in_the_list_and_all_else_stays() {
        let half = Change::Set(1 << 55);
        for (list, change, expected) in [
            ("", half, Some("ot=th:8")),
            ("", Change::Erase, None),
            ("a=1,b=2", half, Some("ot=th:8,a=1,b=2")),
            ("a=1,ot=p:8;th:c;rv:01234567890123,b=2", half, Some("ot=p:8;rv:01234567890123;th:8,a=1,b=2")),
            ("a=1,ot=th:8", half, None),
            ("a=1,ot=th:8", Change::Leave, None),
            ("a=1,ot=th:8", Change::Erase, Some("a=1")),
            ("ot=th:nonsense", Change::Erase, Some("")),
            ("a=1,ot=p:8;th:8", Change::Erase, Some("ot=p:8,a=1")),
            ("a=1,ot=p:8", Change::Erase, None),
        ] {
            assert_eq!(changed(list, change).as_deref(), expected, "{list} {change:?}");
        }
    }

    #[test]
    fn a_full_list_loses_its_right_end() {
        let many = (0..32).map(|n| format!("k{n}=1")).collect::<Vec<_>>().join(",");
        let list = changed(&many, Change::Set(0)).unwrap();
        assert!(list.starts_with("ot=th:0,k0=1,") && list.ends_with(",k30=1"), "{list}");
        let long = (0..5).map(|n| format!("k{n}={}", "v".repeat(98))).collect::<Vec<_>>().join(",");
        let list = changed(&long, Change::Set(0)).unwrap();
        assert!(list.len() <= MAX_TRACESTATE && list.starts_with("ot=th:0,k0=") && !list.contains("k4="), "{list}");
        let full = format!("ot=x:{}", "v".repeat(254));
        assert_eq!(changed(&full, Change::Set(0)), None);
    }

    proptest! {
        #[test]
        fn any_list_is_changed_without_a_panic_and_says_the_threshold(
            list in "([a-z]{1,3}|ot)=[ -+.-<>-~]{1,40}(,([a-z]{1,3}|ot)=[ -+.-<>-~]{1,40}){0,40}",
            threshold in 0..=MASK,
        ) {
            let mut bytes = list.into_bytes();
            apply(Change::Set(threshold), &mut bytes, &mut Vec::new());
            prop_assert_eq!(Ot::read(&bytes).threshold, Some(threshold));
            apply(Change::Erase, &mut bytes, &mut Vec::new());
            prop_assert_eq!(Ot::read(&bytes).threshold, None);
        }

        #[test]
        fn a_higher_probability_has_a_threshold_that_is_no_higher(a in 0.0_f64..=1.0, b in 0.0_f64..=1.0) {
            let of = |p| threshold(p).unwrap_or(MASK + 1);
            prop_assert!(of(a.max(b)) <= of(a.min(b)));
            let actual = 1.0 - of(a) as f64 / (MASK + 1) as f64;
            prop_assert!((actual - a).abs() <= a / 1000.0 + 1e-15, "{} {}", actual, a);
        }
    }
}
