//! AWS X-Ray's `X-Amzn-Trace-Id`. AWS X-Ray Developer Guide, "Tracing header".
//!
//! `Root=1-{8 hexadecimal digits}-{24}[;Parent={16}][;Sampled=0|1|?]`, and fields that others put in (`Self`, `Lineage`), which are
//! passed over. Without `Parent` nobody is there to continue from.

use super::context::{Context, Found, Sent, padded};

/// Reads the header's value.
pub fn read(value: &[u8]) -> Option<Found> {
    let (mut trace_id, mut span_id, mut sampled) = (None, None, None);
    for field in value.split(|&byte| byte == b';') {
        match field.trim_ascii() {
            [b'R', b'o', b'o', b't', b'=', root @ ..] if trace_id.is_none() => trace_id = Some(read_root(root)?),
            [b'P', b'a', b'r', b'e', b'n', b't', b'=', parent @ ..] if span_id.is_none() => {
                span_id = Some(padded(parent).filter(|_| parent.len() == 16)?);
            }
            [b'S', b'a', b'm', b'p', b'l', b'e', b'd', b'=', flag @ ..] if sampled.is_none() => {
                sampled = Some(match flag {
                    b"1" => Some(true),
                    b"0" => Some(false),
                    // "?": the caller asks for the decision.
                    b"?" => None,
                    _ => return None,
                });
            }
            // A field that stands twice says nothing.
            field if [&b"Root="[..], b"Parent=", b"Sampled="].iter().any(|name| field.starts_with(name)) => {
                return None;
            }
            _ => {}
        }
    }
    let (trace_id, span_id) = (trace_id?, span_id?);
    Some(Found::Context(Context { trace_id, span_id, sampled: sampled.flatten(), debug: false }))
}

/// The header's value.
pub fn write(sent: &Sent) -> Vec<u8> {
    let (time, rest) = sent.trace_id.split_at_checked(8).unwrap_or_default();
    [b"Root=1-", time, b"-", rest, b";Parent=", &sent.span_id, b";Sampled=", sent.sampled_digit()].concat()
}

fn read_root(root: &[u8]) -> Option<[u8; 32]> {
    let [b'1', b'-', digits @ ..] = root else { return None };
    let (time, rest) = digits.split_at_checked(8)?;
    let [b'-', rest @ ..] = rest else { return None };
    if rest.len() != 24 {
        return None;
    }
    padded(&[time, rest].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TRACE: &str = "5759e988bd862e3fe1be46a994272793";
    const SPAN: &str = "53995c3f42cd8ad8";

    fn context(text: &str) -> Option<Context> {
        match read(text.as_bytes()) {
            Some(Found::Context(context)) => Some(context),
            Some(Found::Decision { .. }) => panic!("{text}"),
            None => None,
        }
    }

    #[test]
    fn the_guide_s_examples_are_read() {
        for (text, sampled) in [
            ("Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1", Some(true)),
            ("Root=1-5759e988-bd862e3fe1be46a994272793; Parent=53995c3f42cd8ad8; Sampled=0", Some(false)),
            ("Sampled=?;Parent=53995C3F42CD8AD8;Root=1-5759E988-BD862E3FE1BE46A994272793", None),
            (
                "Self=1-67891234-12456789abcdef012345678;Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;CalledFrom=app",
                None,
            ),
            (
                "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1;Lineage=a87bd80c:1",
                Some(true),
            ),
            ("Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;", None),
        ] {
            let read = context(text).expect(text);
            assert_eq!((&read.trace_id[..], &read.span_id[..]), (TRACE.as_bytes(), SPAN.as_bytes()), "{text}");
            assert_eq!((read.sampled, read.debug), (sampled, false), "{text}");
        }
    }

    #[test]
    fn invalid_headers_are_refused() {
        for text in [
            "",
            ";",
            "Root=1-5759e988-bd862e3fe1be46a994272793",
            "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1",
            "Parent=53995c3f42cd8ad8;Sampled=1",
            "Root=2-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8",
            "Root=1-5759e988bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8",
            "Root=1-5759e98-8bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8",
            "Root=1-00000000-000000000000000000000000;Parent=53995c3f42cd8ad8",
            "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=0000000000000000",
            "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=3995c3f42cd8ad8",
            "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=2",
            "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Parent=53995c3f42cd8ad8",
            "Root=1-5759e988-bd862e3fe1be46a99427279x;Parent=53995c3f42cd8ad8",
        ] {
            assert_eq!(context(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120), text in "(Root=1-|Parent=|Sampled=|[0-9a-f]{4}|[-;?]){0,30}") {
            let _ = read(&bytes);
            let _ = read(text.as_bytes());
        }
    }
}
