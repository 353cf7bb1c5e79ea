//! `traces.variables`: the trace in variables, for rules and logs.

use haproxy_vitals_tests::client;
use haproxy_vitals_tests::vitals::{self, CALLER, Door};
use haproxy_vitals_tests::{OtlpReceiver, Upstream};

const FRONT: &str = "
  http-request set-header x-trace %[var(txn.otel.trace_id)]
  http-request set-header x-span %[var(txn.otel.span_id)]
  http-request set-header x-sampled yes if { var(txn.otel.sampled) -m bool }
";

#[test]
fn variables_name_the_trace_the_server_span_and_the_decision() {
    for door in Door::ALL {
        for wanted in [true, false] {
            let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
            let config = vitals::config(door, FRONT, "").upstream(&upstream).export_http(&receiver);
            let haproxy = config.env("HAPROXY_VITALS_TRACES_VARIABLES", wanted).start();
            let told = |flags: &str, tracestate: &str| {
                let caller = format!("00-{}-{CALLER}-{flags}", vitals::trace_id(1));
                client::get(haproxy.addr("http"), "/", &[("traceparent", &caller), ("tracestate", tracestate)]);
                let seen = upstream.last();
                ["x-trace", "x-span", "x-sampled"].map(|name| seen.header(name).unwrap_or_default().to_owned())
            };
            let sampled = told("01", "a=1");
            let span = vitals::server_span(&receiver, &vitals::trace_id(1));
            let texts = |texts: [&str; 3]| texts.map(str::to_owned);
            if wanted {
                assert_eq!(sampled, texts([&span.trace_id, &span.span_id, "yes"]), "{door:?}");
                assert_eq!(told("00", "a=1"), texts([&span.trace_id, "", ""]), "{door:?}");
                assert_eq!(told("00", "A=1"), texts([&span.trace_id, "", ""]), "{door:?}");
            } else {
                assert_eq!(sampled, texts(["", "", ""]), "{door:?}");
            }
            haproxy.finish();
        }
    }
}
