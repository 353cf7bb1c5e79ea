//! What becomes of headers beyond `traceparent`: the server's, and the client's.

use super::context::Sent;
use super::{b3, jaeger, xray};
use crate::config::{Propagator, ResponseHeader, TracesConfig, Trust};

/// What doors do with headers. The default is a `traceparent` for the server and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DoorPlan {
    /// `traceparent` and `tracestate` are not ours.
    pub without_tracecontext: bool,
    /// Formats that the server gets beside W3C's.
    pub formats: Vec<Propagator>,
    /// Where callers are not trusted.
    pub untrusted: Frontends,
    /// What the client gets.
    pub response: Option<ResponseHeader>,
    /// `txn.otel.trace_id` and others.
    pub variables: bool,
}

/// Some of HAProxy's frontends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frontends {
    /// Only these.
    These(Vec<String>),
    /// All but these.
    AllBut(Vec<String>),
}

impl Default for Frontends {
    fn default() -> Self {
        Self::These(Vec::new())
    }
}

/// A header to set, or to delete where there is no value.
pub type Change = (&'static str, Option<Vec<u8>>);

impl DoorPlan {
    /// What `config` asks for. Without tracing, callers' headers go on as they came.
    pub fn new(config: &TracesConfig) -> Self {
        let without_tracecontext = !config.propagators.contains(&Propagator::TraceContext);
        if !config.enabled {
            return Self { without_tracecontext, ..Self::default() };
        }
        let ours = |format: &Propagator| !matches!(format, Propagator::TraceContext | Propagator::Baggage);
        let named = |accepted: bool| {
            let names = config.trust_of.iter().filter(move |(_, trust)| (*trust == Trust::Accept) == accepted);
            names.map(|(name, _)| name.clone()).collect()
        };
        Self {
            without_tracecontext,
            formats: config.propagators.iter().copied().filter(ours).collect(),
            untrusted: match config.trust {
                Trust::Accept => Frontends::These(named(false)),
                Trust::Restart | Trust::Ignore => Frontends::AllBut(named(true)),
            },
            response: Some(config.response_header).filter(|header| *header != ResponseHeader::None),
            variables: config.variables,
        }
    }

    /// Whether callers of this frontend are not trusted.
    pub fn distrusts(&self, frontend: &[u8]) -> bool {
        let among = |names: &[String]| names.iter().any(|name| name.as_bytes() == frontend);
        match &self.untrusted {
            Frontends::These(names) => among(names),
            Frontends::AllBut(names) => !among(names),
        }
    }

    /// Whether there is anything to do with a request's headers beyond `traceparent`.
    pub fn changes_requests(&self) -> bool {
        !self.formats.is_empty() || self.untrusted != Frontends::default()
    }

    /// What to do with the headers of a request that came in by `frontend` and goes on as `sent`, in order.
    pub fn request_headers(&self, sent: &Sent, frontend: &[u8]) -> Vec<Change> {
        let mut changes = Vec::new();
        if self.distrusts(frontend) {
            changes.extend(FOREIGN.map(|name| (name, None)));
            if self.without_tracecontext {
                changes.extend(["traceparent", "tracestate"].map(|name| (name, None)));
            }
        }
        for format in &self.formats {
            self.write(*format, sent, &mut changes);
        }
        changes
    }

    /// The name of [`Self::response`]'s header.
    pub const fn response_name(&self) -> Option<&'static str> {
        match self.response {
            None | Some(ResponseHeader::None) => None,
            Some(ResponseHeader::TraceResponse) => Some("traceresponse"),
            Some(ResponseHeader::ServerTiming) => Some("server-timing"),
        }
    }

    /// The value of [`Self::response`]'s header. The span is the one that the client has called. W3C Trace Context level 2 as of
    /// 2021, "Traceresponse"; editors' draft, "Trace Context Server Timing Metric".
    pub fn response_value(&self, sent: &Sent) -> Option<Vec<u8>> {
        let name = match self.response? {
            ResponseHeader::None => return None,
            ResponseHeader::TraceResponse => &b""[..],
            ResponseHeader::ServerTiming => b"trace;desc=",
        };
        Some([name, b"00-", &sent.trace_id, b"-", &sent.called_span(), b"-", &sent.flag_digits()].concat())
    }

    fn write(&self, format: Propagator, sent: &Sent, changes: &mut Vec<Change>) {
        match format {
            Propagator::TraceContext | Propagator::Baggage => {}
            Propagator::B3 => {
                // One trace, one context: what the other encoding said is the caller's.
                if !self.formats.contains(&Propagator::B3Multi) {
                    changes.extend(B3_MULTI.map(|name| (name, None)));
                }
                changes.push(("b3", Some(b3::write_single(sent))));
            }
            Propagator::B3Multi => {
                if !self.formats.contains(&Propagator::B3) {
                    changes.push(("b3", None));
                }
                changes.extend(B3_MULTI.map(|name| (name, None)));
                changes.push(("x-b3-traceid", Some(sent.trace_id.to_vec())));
                changes.push(("x-b3-spanid", Some(sent.span_id.to_vec())));
                // "Debug implies an accept decision, so don't also send the X-B3-Sampled header."
                changes.push(if sent.debug {
                    ("x-b3-flags", Some(b"1".to_vec()))
                } else {
                    ("x-b3-sampled", Some(sent.sampled_digit().to_vec()))
                });
            }
            Propagator::Jaeger => changes.push(("uber-trace-id", Some(jaeger::write(sent)))),
            Propagator::XRay => changes.push(("x-amzn-trace-id", Some(xray::write(sent)))),
        }
    }
}

/// The headers of `b3multi`.
const B3_MULTI: [&str; 5] = ["x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags"];

/// What callers that are not trusted may say to no server.
const FOREIGN: [&str; 9] = [
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

#[cfg(test)]
mod tests {
    use super::*;

    const BARE: Sent = Sent {
        trace_id: *b"80f198ee56343ba864fe8b2a57d3eff7",
        span_id: *b"e457b5a2e4d86bd1",
        server_span: None,
        flags: 2,
        debug: false,
    };
    const DEBUG: Sent = Sent { server_span: Some([b'1'; 16]), flags: 1, debug: true, ..BARE };

    fn plan(formats: &[Propagator]) -> DoorPlan {
        DoorPlan::new(&TracesConfig { propagators: formats.to_vec(), ..TracesConfig::default() })
    }

    fn written(plan: &DoorPlan, sent: &Sent) -> Vec<(&'static str, String)> {
        let changes = plan.request_headers(sent, b"www").into_iter();
        changes.filter_map(|(name, value)| Some((name, String::from_utf8(value?).unwrap()))).collect()
    }

    #[test]
    fn the_default_does_nothing_more() {
        let plan = DoorPlan::new(&TracesConfig::default());
        assert_eq!((plan.changes_requests(), plan.distrusts(b"www")), (false, false));
        assert_eq!(plan, DoorPlan::default());
    }

    #[test]
    fn every_format_is_written() {
        use Propagator::{B3, B3Multi, Jaeger, XRay};
        let plan = plan(&[B3, B3Multi, Jaeger, XRay]);
        assert!(plan.without_tracecontext);
        let text = |pairs: [(&'static str, &str); 6]| pairs.map(|(name, value)| (name, value.to_owned()));
        let (trace, span) = ("80f198ee56343ba864fe8b2a57d3eff7", "e457b5a2e4d86bd1");
        assert_eq!(
            written(&plan, &BARE),
            text([
                ("b3", "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-0"),
                ("x-b3-traceid", trace),
                ("x-b3-spanid", span),
                ("x-b3-sampled", "0"),
                ("uber-trace-id", "80f198ee56343ba864fe8b2a57d3eff7:e457b5a2e4d86bd1:0:0"),
                ("x-amzn-trace-id", "Root=1-80f198ee-56343ba864fe8b2a57d3eff7;Parent=e457b5a2e4d86bd1;Sampled=0"),
            ])
        );
        assert_eq!(
            written(&plan, &DEBUG),
            text([
                ("b3", "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-d"),
                ("x-b3-traceid", trace),
                ("x-b3-spanid", span),
                ("x-b3-flags", "1"),
                ("uber-trace-id", "80f198ee56343ba864fe8b2a57d3eff7:e457b5a2e4d86bd1:0:3"),
                ("x-amzn-trace-id", "Root=1-80f198ee-56343ba864fe8b2a57d3eff7;Parent=e457b5a2e4d86bd1;Sampled=1"),
            ])
        );
    }

    #[test]
    fn the_other_encoding_of_b3_and_a_parent_s_id_are_deleted() {
        let deleted = |formats: &[Propagator]| {
            let changes = plan(formats).request_headers(&BARE, b"www").into_iter();
            changes.filter(|(_, value)| value.is_none()).map(|(name, _)| name).collect::<Vec<_>>()
        };
        assert_eq!(deleted(&[Propagator::B3]), B3_MULTI);
        assert_eq!(deleted(&[Propagator::B3Multi]), [&["b3"], &B3_MULTI[..]].concat());
        assert_eq!(deleted(&[Propagator::B3, Propagator::B3Multi]), B3_MULTI);
    }

    #[test]
    fn callers_that_are_not_trusted_say_nothing_to_servers() {
        let named = |trust: Trust, names: &[(&str, Trust)]| {
            let trust_of = names.iter().map(|(name, trust)| ((*name).to_owned(), *trust)).collect();
            DoorPlan::new(&TracesConfig { trust, trust_of, ..TracesConfig::default() })
        };
        let some = named(Trust::Accept, &[("a", Trust::Ignore), ("b", Trust::Accept), ("c", Trust::Restart)]);
        assert_eq!(some.request_headers(&BARE, b"a"), FOREIGN.map(|name| (name, None)));
        assert_eq!(some.request_headers(&BARE, b"b"), []);
        let most = named(Trust::Restart, &[("b", Trust::Accept), ("c", Trust::Ignore)]);
        assert_eq!([&b"a"[..], b"b", b"c"].map(|name| most.distrusts(name)), [true, false, true]);
        assert!(named(Trust::Ignore, &[]).distrusts(b"any"));
    }

    #[test]
    fn the_client_is_told_the_span_that_it_called() {
        let plan = |response_header| DoorPlan::new(&TracesConfig { response_header, ..TracesConfig::default() });
        let value = |header, sent: &Sent| plan(header).response_value(sent).map(|v| String::from_utf8(v).unwrap());
        let sent = "00-80f198ee56343ba864fe8b2a57d3eff7-1111111111111111-01";
        assert_eq!(value(ResponseHeader::TraceResponse, &DEBUG).unwrap(), sent);
        assert_eq!(value(ResponseHeader::ServerTiming, &DEBUG).unwrap(), format!("trace;desc={sent}"));
        assert_eq!(
            value(ResponseHeader::TraceResponse, &BARE).unwrap(),
            "00-80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-02"
        );
        assert_eq!(value(ResponseHeader::None, &BARE), None);
    }

    #[test]
    fn without_tracing_headers_go_on_as_they_came() {
        let config = TracesConfig {
            enabled: false,
            propagators: vec![Propagator::B3],
            trust: Trust::Ignore,
            ..TracesConfig::default()
        };
        assert_eq!(DoorPlan::new(&config), DoorPlan { without_tracecontext: true, ..DoorPlan::default() });
    }
}
