//! B3, in one header or in several. `openzipkin/b3-propagation`, "Overall Process", "Single Header", "Multiple Headers".
//!
//! Both encodings are read, the single header first; the settings say which one is written. The parent's id is never written.

use super::context::{Context, Found, Sent, padded};
use super::lines::{Line, Lines};

/// Reads a request's B3: one header, or else several.
pub fn read(lines: &Lines<'_>) -> Option<Found> {
    let single = if let Line::One(value) = lines.b3 { read_single(value) } else { None };
    single.or_else(|| read_multi(lines))
}

/// `{trace id}-{span id}[-{state}[-{parent's span id}]]`, or the state alone.
pub fn read_single(value: &[u8]) -> Option<Found> {
    let mut parts = value.split(|&byte| byte == b'-');
    let (first, span_id) = (parts.next()?, parts.next());
    let Some(span_id) = span_id else {
        let (sampled, debug) = state(first)?;
        return Some(Found::Decision { sampled, debug });
    };
    let (sampled, debug) = match parts.next() {
        Some(text) => state(text).map(|(sampled, debug)| (Some(sampled), debug))?,
        None => (None, false),
    };
    if parts.next().is_some_and(|parent| !is_id(parent, &[16])) || parts.next().is_some() {
        return None;
    }
    context(first, span_id, sampled, debug)
}

/// `X-B3-TraceId`, `X-B3-SpanId`, `X-B3-Sampled` and `X-B3-Flags`.
pub fn read_multi(lines: &Lines<'_>) -> Option<Found> {
    let debug = match lines.b3_flags {
        Line::One(b"1") => true,
        // "Don't also send X-B3-Flags: 0": some do.
        Line::Absent | Line::One(_) => false,
        Line::Several => return None,
    };
    let sampled = match lines.b3_sampled {
        _ if debug => Some(true),
        Line::Absent => None,
        // "Some tracers propagated X-B3-Sampled as true or false": read, not written.
        Line::One(b"1" | b"true") => Some(true),
        Line::One(b"0" | b"false") => Some(false),
        Line::One(_) | Line::Several => return None,
    };
    match (lines.b3_trace_id, lines.b3_span_id) {
        (Line::One(trace_id), Line::One(span_id)) => context(trace_id, span_id, sampled, debug),
        (Line::Absent, Line::Absent) => sampled.map(|sampled| Found::Decision { sampled, debug }),
        _ => None,
    }
}

/// The value of `b3`.
pub fn write_single(sent: &Sent) -> Vec<u8> {
    let state = if sent.debug { b"d" } else { sent.sampled_digit() };
    [&sent.trace_id[..], b"-", &sent.span_id, b"-", state].concat()
}

/// Debug implies sampled.
const fn state(text: &[u8]) -> Option<(bool, bool)> {
    match text {
        b"0" => Some((false, false)),
        b"1" => Some((true, false)),
        b"d" => Some((true, true)),
        _ => None,
    }
}

fn context(trace_id: &[u8], span_id: &[u8], sampled: Option<bool>, debug: bool) -> Option<Found> {
    if !is_id(trace_id, &[16, 32]) || !is_id(span_id, &[16]) {
        return None;
    }
    let (trace_id, span_id) = (padded(trace_id)?, padded(span_id)?);
    Some(Found::Context(Context { trace_id, span_id, sampled, debug }))
}

/// "Lower-hex characters", of one of the `lengths`.
fn is_id(text: &[u8], lengths: &[usize]) -> bool {
    lengths.contains(&text.len()) && text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TRACE: &[u8; 32] = b"80f198ee56343ba864fe8b2a57d3eff7";
    const SPAN: &[u8; 16] = b"e457b5a2e4d86bd1";

    #[expect(clippy::unnecessary_wraps, reason = "as the functions under test have it")]
    fn found(sampled: Option<bool>, debug: bool) -> Option<Found> {
        Some(Found::Context(Context { trace_id: *TRACE, span_id: *SPAN, sampled, debug }))
    }

    #[test]
    fn the_specification_s_single_headers_are_read() {
        for (text, expected) in [
            ("80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1-05e3ac9a4f6e3b90", found(Some(true), false)),
            ("80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1", found(Some(true), false)),
            ("80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-0", found(Some(false), false)),
            ("80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-d", found(Some(true), true)),
            ("80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1", found(None, false)),
            ("0", Some(Found::Decision { sampled: false, debug: false })),
            ("1", Some(Found::Decision { sampled: true, debug: false })),
            ("d", Some(Found::Decision { sampled: true, debug: true })),
        ] {
            assert_eq!(read_single(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn a_trace_id_of_64_bits_is_padded() {
        let Some(Found::Context(context)) = read_single(b"64fe8b2a57d3eff7-e457b5a2e4d86bd1-1") else { panic!() };
        assert_eq!(&context.trace_id, b"000000000000000064fe8b2a57d3eff7");
    }

    #[test]
    fn invalid_single_headers_are_refused() {
        for text in [
            "",
            "2",
            "-",
            "1-",
            "80f198ee56343ba864fe8b2a57d3eff7",
            "80f198ee56343ba864fe8b2a57d3eff7-",
            "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd",
            "80F198EE56343BA864FE8B2A57D3EFF7-e457b5a2e4d86bd1-1",
            "80f198ee56343ba864fe8b2a57d3eff-e457b5a2e4d86bd1-1",
            "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-",
            "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-2",
            "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1-x",
            "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1-05e3ac9a4f6e3b90-1",
            "00000000000000000000000000000000-e457b5a2e4d86bd1-1",
            "80f198ee56343ba864fe8b2a57d3eff7-0000000000000000-1",
        ] {
            assert_eq!(read_single(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn several_headers_are_read_by_the_specification() {
        let ids = Lines { b3_trace_id: Line::One(TRACE), b3_span_id: Line::One(SPAN), ..Lines::default() };
        let sampled = |text: &'static [u8]| Lines { b3_sampled: Line::One(text), ..ids };
        assert_eq!(read_multi(&ids), found(None, false));
        for (text, expected) in [(&b"1"[..], true), (b"0", false), (b"true", true), (b"false", false)] {
            assert_eq!(read_multi(&sampled(text)), found(Some(expected), false));
            let alone = Lines { b3_sampled: Line::One(text), ..Lines::default() };
            assert_eq!(read_multi(&alone), Some(Found::Decision { sampled: expected, debug: false }));
        }
        assert_eq!(read_multi(&Lines { b3_flags: Line::One(b"1"), ..ids }), found(Some(true), true));
        assert_eq!(read_multi(&Lines { b3_flags: Line::One(b"0"), ..ids }), found(None, false));
        for lines in [
            sampled(b"2"),
            Lines { b3_sampled: Line::Several, ..ids },
            Lines { b3_flags: Line::Several, ..ids },
            Lines { b3_trace_id: Line::Several, ..ids },
            Lines { b3_span_id: Line::Absent, ..sampled(b"1") },
            Lines { b3_trace_id: Line::Absent, ..sampled(b"1") },
            Lines::default(),
        ] {
            assert_eq!(read_multi(&lines), None, "{lines:?}");
        }
    }

    #[test]
    fn one_header_counts_before_several() {
        let both = Lines { b3: Line::One(b"0"), b3_sampled: Line::One(b"1"), ..Lines::default() };
        assert_eq!(read(&both), Some(Found::Decision { sampled: false, debug: false }));
        let broken = Lines { b3: Line::One(b"x"), ..both };
        assert_eq!(read(&broken), Some(Found::Decision { sampled: true, debug: false }));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in "[-0-9a-fd]{0,90}|.{0,90}") {
            let _ = read_single(bytes.as_bytes());
            let line = Line::One(bytes.as_bytes());
            let _ = read(&Lines { b3: line, b3_trace_id: line, b3_span_id: line, b3_sampled: line, b3_flags: line, ..Lines::default() });
        }
    }
}
