//! What holds for every format that has an identifier, flags and nothing else.

use proptest::prelude::*;

use super::context::{Found, Sent};
use super::{b3, jaeger, xray};

struct Codec {
    write: fn(&Sent) -> Vec<u8>,
    read: fn(&[u8]) -> Option<Found>,
    has_debug: bool,
}

const CODECS: [Codec; 3] = [
    Codec { write: b3::write_single, read: b3::read_single, has_debug: true },
    Codec { write: jaeger::write, read: jaeger::read, has_debug: true },
    Codec { write: xray::write, read: xray::read, has_debug: false },
];

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        trace_id in "[0-9a-f]{31}[1-9a-f]",
        span_id in "[0-9a-f]{15}[1-9a-f]",
        flags in 0_u8..4,
        debug: bool,
    ) {
        let id = (trace_id.as_bytes().try_into().unwrap(), span_id.as_bytes().try_into().unwrap());
        let (trace_id, span_id): ([u8; 32], [u8; 16]) = id;
        for Codec { write, read, has_debug } in CODECS {
            let debug = debug && has_debug;
            let sent = Sent { trace_id, span_id, server_span: None, flags, debug };
            let Some(Found::Context(context)) = read(&write(&sent)) else { panic!() };
            prop_assert_eq!((context.trace_id, context.span_id), (trace_id, span_id));
            prop_assert_eq!((context.sampled, context.debug), (Some(debug || sent.is_sampled()), debug));
        }
    }
}
