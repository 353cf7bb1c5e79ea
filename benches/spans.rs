//! Cost of the cold half: one finished request from its bytes to both encoded spans. The argument, if any, is the
//! number of requests: run two numbers under callgrind to have instructions per request.
#![expect(clippy::print_stdout, clippy::expect_used, reason = "a program that measures")]

use std::hint::black_box;
use std::time::Instant;

use haproxy_vitals::config::ServiceConfig;
use haproxy_vitals::export::envelope::Envelope;
use haproxy_vitals::resource::Resource;
use haproxy_vitals::trace::carry::{Field, TRACEPARENT_LEN, TracestateAction, Verdict, Writer};
use haproxy_vitals::trace::record::Record;
use haproxy_vitals::trace::spans;
use haproxy_vitals::trace::wording::Wording;

fn main() {
    let requests: u32 = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(2_000_000);
    let payload = payload();
    let wording = Wording::default();
    let mut out = Vec::with_capacity(1 << 20);
    let start = Instant::now();
    for _ in 0..requests {
        if out.len() > 1 << 19 {
            out.clear();
        }
        let record = Record::parse(black_box(&payload), black_box(END), 0).expect("a valid record");
        black_box(spans::encode(&record, &wording, &mut out));
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
    let verdict = Verdict { recorded: true, sampled: true, tracestate: TracestateAction::Keep };
    let mut writer = Writer::new();
    writer.begin(TRACEPARENT, verdict, b"1111111111111111", Some(b"2222222222222222"), b"");
    writer.field(Field::Host, b"shop.example.com");
    writer.field(Field::UserAgent, b"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0");
    writer.end();
    [writer.as_bytes(), FIELDS].concat()
}

const END: u64 = 1_700_000_000_040_000_000;
const TRACEPARENT: &[u8; TRACEPARENT_LEN] = b"00-0123456789abcdef0123456789abcdef-0123456789abcdef-03";
const FIELDS: &[u8] =
    b" -- 200 api api1 10.0.0.7 8080 192.0.2.9 51234 www 443 TLSv1.3 0 0 1 2 3 25 0 1700000000000000 1 1 1 0 0 \
GET /cart/items?id=7&sort=asc HTTP/1.1";
