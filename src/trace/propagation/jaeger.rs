//! Jaeger's `uber-trace-id`. Jaeger documentation, "Client libraries", "Propagation Format"; the format is deprecated there.
//!
//! `{trace id}:{span id}:{parent's span id}:{flags}`; the colons may be percent-encoded. Baggage in `uberctx-*` headers is
//! neither read nor written.

use super::context::{Context, Found, Sent, padded};

/// Reads the header's value.
pub fn read(value: &[u8]) -> Option<Found> {
    let mut rest = value;
    let (trace_id, span_id) = (part(&mut rest)?, part(&mut rest)?);
    let parent = part(&mut rest)?;
    // "Most Jaeger clients ignore it on the receiving side": it must be an id, or nothing.
    if parent.len() > 16 || !parent.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let flags = flags(rest)?;
    let (trace_id, span_id) = (padded(trace_id)?, padded(span_id)?);
    let debug = flags & (SAMPLED | DEBUG) == SAMPLED | DEBUG;
    Some(Found::Context(Context { trace_id, span_id, sampled: Some(flags & SAMPLED != 0), debug }))
}

/// The header's value. The parent is 0: "valid and means root span (when not ignored)".
pub fn write(sent: &Sent) -> Vec<u8> {
    let flags = if sent.debug { b"3" } else { sent.sampled_digit() };
    [&sent.trace_id[..], b":", &sent.span_id, b":0:", flags].concat()
}

/// What stands before the next colon.
fn part<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let at = rest.iter().position(|&byte| matches!(byte, b':' | b'%'))?;
    let (part, after) = rest.split_at_checked(at)?;
    *rest = match after {
        [b':', rest @ ..] | [b'%', b'3', b'a' | b'A', rest @ ..] => rest,
        _ => return None,
    };
    Some(part)
}

/// "One byte bitmap, as one or two hex digits".
fn flags(text: &[u8]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    match text {
        [low] => digit(*low),
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    }
}

const SAMPLED: u8 = 0x01;
/// "Should only be set when the sampled flag is set."
const DEBUG: u8 = 0x02;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn context(text: &str) -> Option<Context> {
        match read(text.as_bytes()) {
            Some(Found::Context(context)) => Some(context),
            Some(Found::Decision { .. }) => panic!("{text}"),
            None => None,
        }
    }

    #[test]
    fn full_short_and_encoded_ids_are_read() {
        for (text, trace_id, span_id, sampled, debug) in [
            (
                "4bf92f3577b34da6a3ce929d0e0e4736:00f067aa0ba902b7:0:1",
                "4bf92f3577b34da6a3ce929d0e0e4736",
                "00f067aa0ba902b7",
                true,
                false,
            ),
            (
                "4bf92f3577b34da6a3ce929d0e0e4736%3A00f067aa0ba902b7%3a0%3A1",
                "4bf92f3577b34da6a3ce929d0e0e4736",
                "00f067aa0ba902b7",
                true,
                false,
            ),
            ("abc45:5b6f:17c:0", "000000000000000000000000000abc45", "0000000000005b6f", false, false),
            ("ABC45:5B6F::3", "000000000000000000000000000abc45", "0000000000005b6f", true, true),
            ("1:1:0:02", "00000000000000000000000000000001", "0000000000000001", false, false),
            ("1:1:0:0b", "00000000000000000000000000000001", "0000000000000001", true, true),
            ("1:1:0:9", "00000000000000000000000000000001", "0000000000000001", true, false),
        ] {
            let read = context(text).expect(text);
            assert_eq!((&read.trace_id[..], &read.span_id[..]), (trace_id.as_bytes(), span_id.as_bytes()), "{text}");
            assert_eq!((read.sampled, read.debug), (Some(sampled), debug), "{text}");
        }
    }

    #[test]
    fn invalid_headers_are_refused() {
        for text in [
            "",
            ":",
            ":::",
            "1:1:0",
            "1:1:0:",
            "1:1:0:1:1",
            "0:1:0:1",
            "1:0:0:1",
            ":1:0:1",
            "1::0:1",
            "x:1:0:1",
            "1:1:x:1",
            "1:1:0:x",
            "1:1:0:001",
            "1:1:0:+1",
            "1%3b1:0:1",
            "1%3:1:0:1",
            "4bf92f3577b34da6a3ce929d0e0e47361:1:0:1",
            "1:100f067aa0ba902b7:0:1",
            "1:1:100f067aa0ba902b7:1",
        ] {
            assert_eq!(context(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..90), text in "[0-9a-f:%]{0,90}") {
            let _ = read(&bytes);
            let _ = read(text.as_bytes());
        }
    }
}
