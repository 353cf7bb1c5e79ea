//! Cost of the cold half: one finished request from its bytes to both encoded spans. The argument, if any, is the
//! number of requests: run two numbers under callgrind to have instructions per request.
#![expect(clippy::print_stdout, clippy::expect_used, reason = "a program that measures")]

use std::hint::black_box;
use std::time::Instant;

use haproxy_vitals::config::ServiceConfig;
use haproxy_vitals::export::envelope::Envelope;
use haproxy_vitals::resource::Resource;
use haproxy_vitals::trace::record::{Field, Head, Numbers, Record, Verdict, Writer, bits};
use haproxy_vitals::trace::spans::{self, Shared};
use haproxy_vitals::trace::wording::Wording;

fn main() {
    let requests: u32 = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(2_000_000);
    let payload = payload();
    let (wording, mut shared) = (Wording::default(), Shared::default());
    let mut out = Vec::with_capacity(1 << 20);
    let start = Instant::now();
    for _ in 0..requests {
        if out.len() > 1 << 19 {
            out.clear();
        }
        let record = Record::parse(black_box(&payload), black_box(END)).expect("a valid record");
        black_box(spans::encode(&record, &wording, &mut shared, &mut out));
    }
    let nanos = start.elapsed().as_nanos();
    let envelope = Envelope::new(&Resource::new(&ServiceConfig::default(), Vec::new()));
    println!(
        "{} ns per request, two spans; last batch {} bytes",
        nanos / u128::from(requests),
        envelope.wrap(&out).len()
    );
}

fn payload() -> Vec<u8> {
    let head = Head {
        verdict: Verdict { recorded: true, sampled: true, ..Verdict::default() },
        flags: 3,
        trace_id: 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef_u128.to_be_bytes(),
        client_span: 0x0123_4567_89ab_cdef_u64.to_be_bytes(),
        server_span: [0x11; 8],
        parent: [0x22; 8],
        started: START,
    };
    let fields: [(Field, &[u8]); 11] = [
        (Field::Host, b"shop.example.com"),
        (Field::UserAgent, b"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
        (Field::Method, b"GET"),
        (Field::Target, b"/cart/items?id=7&sort=asc"),
        (Field::Version, b"1.1"),
        (Field::Frontend, b"www"),
        (Field::Backend, b"api"),
        (Field::Server, b"api1"),
        (Field::ServerAddress, &[10, 0, 0, 7]),
        (Field::ClientAddress, &[192, 0, 2, 9]),
        (Field::Tls, b"TLSv1.3"),
    ];
    let mut writer = Writer::new();
    writer.begin(&head);
    for (field, value) in fields {
        writer.field(field, value);
    }
    writer.end();
    writer.numbers(&Numbers {
        status: 200,
        server_port: 8080,
        client_port: 51234,
        frontend_port: 443,
        client_http_major: 1,
        server_http_major: 1,
        bits: bits::REUSE_KNOWN | bits::REUSED,
        timers: [0, 0, 1, 2, 3, 25],
        began: START,
        ..Numbers::default()
    });
    writer.as_bytes().to_vec()
}

const START: u64 = 1_700_000_000_000_000_000;
const END: u64 = START + 40_000_000;
