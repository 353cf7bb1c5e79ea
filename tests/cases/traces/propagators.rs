//! `OTEL_PROPAGATORS`: what is read from callers and what servers are told, in every format.

use std::thread;

use haproxy_vitals_tests::client;
use haproxy_vitals_tests::vitals::{self, Door};
use haproxy_vitals_tests::{Haproxy, OtlpReceiver, SOON, Upstream};

const TRACE: &str = "80f198ee56343ba864fe8b2a57d3eff7";
const SPAN: &str = "e457b5a2e4d86bd1";

/// Every header that any format has.
const ALL: [&str; 11] = [
    "traceparent",
    "tracestate",
    "baggage",
    "b3",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-flags",
    "uber-trace-id",
    "x-amzn-trace-id",
];

/// `T` stands for the trace's id, `S` for the span's that the server sees, `D` for a decision as a digit.
const FORMATS: [(&str, &[(&str, &str)]); 5] = [
    ("tracecontext", &[("traceparent", "00-T-S-0D")]),
    ("b3", &[("b3", "T-S-D")]),
    ("b3multi", &[("x-b3-traceid", "T"), ("x-b3-spanid", "S"), ("x-b3-sampled", "D")]),
    ("jaeger", &[("uber-trace-id", "T:S:0:D")]),
    ("xray", &[("x-amzn-trace-id", "Root=1-A-B;Parent=S;Sampled=D")]),
];

#[test]
fn every_propagator_is_read_and_written() {
    for (name, _) in FORMATS {
        everywhere(name, |haproxy, h2| {
            for decision in ["1", "0"] {
                let told = ask(haproxy, h2, &headers(name, SPAN, decision));
                let span = told.span();
                assert_ne!(span, SPAN);
                assert_eq!(told.0, headers(name, &span, decision), "{name}");
            }
            // A trace that starts here.
            let told = ask(haproxy, h2, &[]);
            let (trace, span) = (told.trace(), told.span());
            assert!(trace != TRACE && trace.len() == 32 && span.len() == 16, "{told:?}");
            let names: Vec<_> = told.0.iter().map(|(name, _)| name.clone()).collect();
            assert!(names.iter().eq(headers(name, SPAN, "1").iter().map(|(name, _)| name)), "{told:?}");
        });
    }
}

#[test]
fn all_propagators_are_written_together_and_say_the_same() {
    let list = "tracecontext,baggage,b3,b3multi,jaeger,xray";
    everywhere(list, |haproxy, h2| {
        for (name, _) in FORMATS {
            let told = ask(haproxy, h2, &headers(name, SPAN, "1"));
            let span = told.span();
            let mut expected: Vec<_> = FORMATS.iter().flat_map(|(name, _)| headers(name, &span, "1")).collect();
            expected.sort();
            assert_eq!(told.0, expected, "{name}");
        }
    });
}

#[test]
fn the_first_valid_context_in_the_list_counts() {
    let other = "1234567890123456789012345678abcd";
    let traceparent = format!("00-{other}-{SPAN}-01");
    let w3c = || vec![("traceparent".to_owned(), traceparent.clone()), ("tracestate".to_owned(), "a=1".to_owned())];
    for (list, expected, kept) in [("b3,tracecontext", TRACE, false), ("tracecontext,b3", other, true)] {
        everywhere(list, |haproxy, h2| {
            let told = ask(haproxy, h2, &[w3c(), headers("b3", SPAN, "1")].concat());
            assert_eq!(told.trace(), expected, "{list}");
            assert_eq!(told.get("tracestate").is_some(), kept, "{list}: {told:?}");
            // What cannot be read does not count.
            let told = ask(haproxy, h2, &[w3c(), headers("b3", "0", "1")].concat());
            assert_eq!((told.trace(), told.get("tracestate")), (other.to_owned(), Some("a=1")), "{list}");
        });
    }
}

#[test]
fn none_reads_nothing_and_leaves_every_header_as_it_came() {
    let mut sent: Vec<_> = FORMATS.iter().flat_map(|(name, _)| headers(name, SPAN, "1")).collect();
    sent.extend([("baggage", "a=1"), ("tracestate", "A=b")].map(|(name, value)| (name.to_owned(), value.to_owned())));
    sent.sort();
    everywhere("none", |haproxy, h2| {
        assert_eq!(ask(haproxy, h2, &sent).0, sent);
        assert_eq!(ask(haproxy, h2, &[]).0, []);
    });
    for door in Door::ALL {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let haproxy = vitals::config(door, "", "").upstream(&upstream).export_http(&receiver);
        let haproxy = haproxy.env("OTEL_PROPAGATORS", "none").start();
        client::get(haproxy.addr("http"), "/", &[("traceparent", &vitals::traceparent(1))]);
        let spans = receiver.wait_spans(2, SOON);
        assert!(spans.iter().all(|span| span.trace_id != vitals::trace_id(1)), "{spans:#?}");
        assert!(receiver.server_spans()[0].is_root());
        haproxy.finish();
    }
}

#[test]
fn formats_that_are_not_in_the_list_are_left_as_they_came() {
    let foreign = [headers("jaeger", SPAN, "0"), headers("tracecontext", SPAN, "0")].concat();
    let state = vec![("tracestate".to_owned(), "not valid".to_owned()), ("baggage".to_owned(), "a=1".to_owned())];
    everywhere("b3", |haproxy, h2| {
        let told = ask(haproxy, h2, &[foreign.clone(), state.clone()].concat());
        let left = told.0.iter().filter(|(name, _)| name != "b3").cloned().collect::<Vec<_>>();
        let mut expected = [foreign.clone(), state.clone()].concat();
        expected.sort();
        assert_eq!(left, expected);
        assert_ne!(told.get("b3").unwrap().split('-').next(), Some(TRACE));
    });
}

#[test]
fn b3_keeps_its_debug_flag_and_sends_no_parent_s_id() {
    let single = |text: String| vec![("b3".to_owned(), text)];
    let multi = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let ids = [("x-b3-traceid", TRACE), ("x-b3-spanid", SPAN)];
    let parent = ("x-b3-parentspanid", "05e3ac9a4f6e3b90");
    let with = |more: &[(&str, &str)]| -> Vec<(String, String)> { multi(&[&ids[..], &[parent], more].concat()) };
    for (sent, state) in [
        (single(format!("{TRACE}-{SPAN}-d")), "d"),
        (single(format!("{TRACE}-{SPAN}-1-05e3ac9a4f6e3b90")), "1"),
        (with(&[("x-b3-flags", "1")]), "d"),
        (with(&[("x-b3-sampled", "0")]), "0"),
        // One header counts before several.
        ([single(format!("{TRACE}-{SPAN}-0")), with(&[("x-b3-sampled", "1")])].concat(), "0"),
    ] {
        everywhere("b3", |haproxy, h2| {
            let told = ask(haproxy, h2, &sent);
            assert_eq!(told.0, single(format!("{TRACE}-{}-{state}", told.span())), "{sent:?}");
        });
        everywhere("b3multi", |haproxy, h2| {
            let told = ask(haproxy, h2, &sent);
            let span = told.span();
            let flag = if state == "d" { ("x-b3-flags", "1") } else { ("x-b3-sampled", state) };
            let mut expected: Vec<(String, String)> = multi(&[("x-b3-spanid", &span), ("x-b3-traceid", TRACE), flag]);
            expected.sort();
            assert_eq!(told.0, expected, "{sent:?}");
        });
    }
}

#[test]
fn a_caller_that_leaves_the_decision_open_gets_the_sampler_s() {
    let open = [
        ("b3", "b3", format!("{TRACE}-{SPAN}")),
        ("xray", "x-amzn-trace-id", format!("Root=1-{}-{};Parent={SPAN};Sampled=?", &TRACE[..8], &TRACE[8..])),
    ];
    let upstream = Upstream::start();
    for (name, header, value) in &open {
        for (sampler, decision) in [("parentbased_always_on", "1"), ("parentbased_always_off", "0")] {
            for door in Door::ALL {
                let config = vitals::config(door, "", "").upstream(&upstream).env("OTEL_TRACES_EXPORTER", "none");
                let haproxy = config.env("OTEL_TRACES_SAMPLER", sampler).env("OTEL_PROPAGATORS", name).start();
                let told = ask(&haproxy, false, &[((*header).to_owned(), value.clone())]);
                assert_eq!(told.0, headers(name, &told.span(), decision), "{name} {sampler} {door:?}");
                // A decision alone: a new trace.
                if *name == "b3" {
                    for decision in ["0", "1", "d"] {
                        let told = ask(&haproxy, false, &[("b3".to_owned(), decision.to_owned())]);
                        assert!(told.get("b3").unwrap().ends_with(&format!("-{decision}")), "{told:?}");
                        assert_ne!(told.trace(), TRACE);
                    }
                }
                haproxy.finish();
            }
        }
    }
}

#[test]
fn broken_and_repeated_headers_start_a_new_trace() {
    let long = format!("{TRACE}{TRACE}");
    let broken = [
        ("b3", "b3", format!("{TRACE}-{SPAN}-2")),
        ("b3", "b3", format!("{long}-{SPAN}-1")),
        ("b3", "b3", String::new()),
        ("b3multi", "x-b3-traceid", TRACE.to_owned()),
        ("jaeger", "uber-trace-id", format!("{long}:{SPAN}:0:1")),
        ("jaeger", "uber-trace-id", format!("{TRACE}:0:0:1")),
        ("xray", "x-amzn-trace-id", format!("Root=1-{};Parent={SPAN};Sampled=1", &TRACE[..8])),
        ("xray", "x-amzn-trace-id", format!("Root=1-{}-{};Sampled=1", &TRACE[..8], &TRACE[8..])),
    ];
    for (name, _) in FORMATS.iter().skip(1) {
        everywhere(name, |haproxy, h2| {
            for (_, header, value) in broken.iter().filter(|(of, _, _)| of == name) {
                let told = ask(haproxy, h2, &[((*header).to_owned(), value.clone())]);
                assert_ne!(told.trace(), TRACE, "{header}: {value}");
            }
            let twice = [headers(name, SPAN, "1"), headers(name, SPAN, "1")].concat();
            let told = ask(haproxy, h2, &twice);
            assert_ne!(told.trace(), TRACE, "{name}");
            assert_eq!(
                told.0,
                told.0.iter().cloned().collect::<std::collections::BTreeMap<_, _>>().into_iter().collect::<Vec<_>>()
            );
        });
    }
}

#[test]
fn requests_of_one_trace_at_the_same_time_keep_their_parents_in_every_format() {
    for (name, _) in FORMATS.iter().skip(1) {
        for door in Door::ALL {
            let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
            let config = vitals::config(door, "", "").upstream(&upstream).export_http(&receiver);
            let haproxy = config.env("OTEL_PROPAGATORS", name).start();
            let addr = haproxy.addr("http");
            thread::scope(|scope| {
                for n in 1..=8_u64 {
                    let sent = headers(name, &format!("{:016x}", n << 32), "1");
                    scope.spawn(move || client::get(addr, &format!("/delay/20?{n}"), &borrowed(&sent)));
                }
            });
            let spans = receiver.wait_spans(16, SOON);
            assert!(spans.len() == 16 && spans.iter().all(|span| span.trace_id == TRACE), "{spans:#?}");
            for n in 1..=8_u64 {
                let server = spans.iter().find(|span| span.str("url.query") == Some(&n.to_string())).unwrap();
                assert_eq!(server.parent_id, format!("{:016x}", n << 32), "{name} {door:?}");
                let client = receiver.client_span_of(server).unwrap();
                let seen = upstream.wait_for(SOON, |seen| seen.target.ends_with(&format!("?{n}")));
                for (header, value) in headers(name, &client.span_id, "1") {
                    assert_eq!(seen.header(&header), Some(&*value), "{name} {door:?}");
                }
            }
            receiver.assert_clean();
            haproxy.finish();
        }
    }
}

#[test]
fn without_tracing_no_format_is_touched() {
    let upstream = Upstream::start();
    for door in Door::ALL {
        let config = vitals::config(door, "", "").upstream(&upstream).env("OTEL_SDK_DISABLED", "true");
        let haproxy = config.env("OTEL_PROPAGATORS", "b3,jaeger").start();
        let mut sent = [headers("b3", SPAN, "1"), headers("tracecontext", SPAN, "1")].concat();
        sent.sort();
        assert_eq!(ask(&haproxy, false, &sent).0, sent);
        assert_eq!(ask(&haproxy, false, &[]).0, []);
        haproxy.finish();
    }
}

/// A format's headers, in order of their names.
fn headers(format: &str, span: &str, decision: &str) -> Vec<(String, String)> {
    let (_, pairs) = FORMATS.iter().find(|(name, _)| *name == format).unwrap();
    let fill = |text: &str| {
        let parts = text.chars().map(|c| match c {
            'T' => TRACE.to_owned(),
            'S' if !text.starts_with("Root") => span.to_owned(),
            'D' => decision.to_owned(),
            other => other.to_string(),
        });
        let text: String = parts.collect();
        text.replace("-A-B", &format!("-{}-{}", &TRACE[..8], &TRACE[8..])).replace("=S;", &format!("={span};"))
    };
    let mut pairs: Vec<_> = pairs.iter().map(|(name, value)| ((*name).to_owned(), fill(value))).collect();
    pairs.sort();
    pairs
}

fn borrowed(headers: &[(String, String)]) -> Vec<(&str, &str)> {
    headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

/// The trace headers that the server received, in order of their names.
#[derive(Debug)]
struct Told(Vec<(String, String)>);

impl Told {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Trace and span in whatever format there is, ours first.
    fn ids(&self) -> (String, String) {
        let cut = |text: &str, at: [char; 2], n: usize| text.split(at).nth(n).unwrap_or_default().to_owned();
        if let (Some(trace), Some(span)) = (self.get("x-b3-traceid"), self.get("x-b3-spanid")) {
            (trace.to_owned(), span.to_owned())
        } else if let Some(text) = self.get("b3") {
            (cut(text, ['-', '-'], 0), cut(text, ['-', '-'], 1))
        } else if let Some(text) = self.get("uber-trace-id") {
            (cut(text, [':', ':'], 0), cut(text, [':', ':'], 1))
        } else if let Some(text) = self.get("x-amzn-trace-id") {
            (format!("{}{}", cut(text, ['-', ';'], 1), cut(text, ['-', ';'], 2)), cut(text, ['=', ';'], 3))
        } else {
            let text = self.get("traceparent").unwrap();
            (cut(text, ['-', '-'], 1), cut(text, ['-', '-'], 2))
        }
    }

    fn trace(&self) -> String {
        self.ids().0
    }

    fn span(&self) -> String {
        self.ids().1
    }
}

/// Runs `check` through every door, over HTTP/1.1 and HTTP/2.
fn everywhere(propagators: &str, check: impl Fn(&Haproxy, bool)) {
    let upstream = Upstream::start();
    for door in Door::ALL {
        let config = vitals::config(door, "", "").upstream(&upstream).env("OTEL_TRACES_EXPORTER", "none");
        let haproxy = config.env("OTEL_PROPAGATORS", propagators).start();
        check(&haproxy, false);
        check(&haproxy, true);
        haproxy.finish();
    }
}

#[track_caller]
fn ask(haproxy: &Haproxy, h2: bool, headers: &[(String, String)]) -> Told {
    let get = if h2 { client::h2_get } else { client::get };
    let response = get(haproxy.addr("http"), "/echo-headers", &borrowed(headers));
    assert_eq!(response.status, 200, "{headers:?}");
    let text = response.text();
    let lines = text.lines().filter_map(|line| line.split_once(": "));
    let mut told: Vec<_> = lines
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .filter(|(name, _)| ALL.contains(&name.as_str()))
        .collect();
    told.sort();
    Told(told)
}
