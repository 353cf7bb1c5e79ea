//! Which formats are read, and which callers are trusted: where the settings say otherwise than the defaults.

use super::baggage;
use super::context::{Context, Found};
use super::lines::{Line, Lines};
use super::seen::{CallerDecision, ListOwner, More, Seen};
use super::{b3, jaeger, xray};
use crate::config::{Propagator, TracesConfig, Trust};
use crate::trace::headers::Block;
use crate::trace::incoming::Incoming;
use crate::trace::picked::Picked;
use crate::trace::record::{AttributeValue, Writer};
use crate::trace::w3c::{FLAG_SAMPLED, Traceparent};

/// The settings, for requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// In the order of reading. Without `baggage`.
    formats: Vec<Propagator>,
    trust: Trust,
    trust_of: Vec<(String, Trust)>,
    /// Keys of baggage that become attributes.
    baggage: Vec<String>,
}

impl Policy {
    /// What `config` asks for. `None`: W3C Trace Context of any caller and nothing else, which needs no policy.
    pub fn new(config: &TracesConfig) -> Option<Self> {
        let formats: Vec<_> =
            config.propagators.iter().copied().filter(|format| *format != Propagator::Baggage).collect();
        let has_baggage = config.propagators.contains(&Propagator::Baggage);
        let baggage = if has_baggage { config.baggage_attributes.clone() } else { Vec::new() };
        let policy = Self { formats, trust: config.trust, trust_of: config.trust_of.clone(), baggage };
        let plain = policy.formats == [Propagator::TraceContext] && policy.trusts_all() && policy.baggage.is_empty();
        (!plain).then_some(policy)
    }

    /// Reads the request's callers: the first format in order that holds a valid context counts.
    pub fn read(&self, request: &Incoming<'_>, picked: &Picked<'_>) -> Seen {
        let mut seen = self.read_formats(&request.headers, picked);
        let trust = self.trust_in(request.arrival.map(|arrival| arrival.frontend));
        if trust != Trust::Accept {
            let caller = seen.parent.take();
            let link = caller.filter(|_| trust == Trust::Restart);
            let more = More { link, untrusted: true, ..More::default() };
            seen = with(more);
        }
        if !self.formats.contains(&Propagator::TraceContext) {
            seen.more.get_or_insert_default().tracestate = ListOwner::Other;
        }
        seen
    }

    /// Puts the wanted baggage of a trusted caller on the SERVER span, after all else that is recorded: what finds no room is
    /// left out, and counted.
    pub fn keep_baggage(&self, seen: &Seen, headers: &Block<'_>, record: &mut Writer) {
        if self.baggage.is_empty() || seen.is_untrusted() {
            return;
        }
        let mut decoded = Vec::new();
        baggage::each_wanted(headers, &self.baggage, |at, value| {
            decoded.clear();
            baggage::push_decoded(&mut decoded, value);
            if let Some(key) = self.baggage.get(at) {
                record.attribute(key.as_bytes(), AttributeValue::Text(&decoded));
            }
        });
    }

    fn trusts_all(&self) -> bool {
        self.trust == Trust::Accept && self.trust_of.iter().all(|(_, trust)| *trust == Trust::Accept)
    }

    fn trust_in(&self, frontend: Option<&[u8]>) -> Trust {
        let own = frontend.and_then(|name| self.trust_of.iter().find(|(known, _)| known.as_bytes() == name));
        own.map_or(self.trust, |(_, trust)| *trust)
    }

    fn read_formats(&self, headers: &Block<'_>, picked: &Picked<'_>) -> Seen {
        let w3c = if self.formats.contains(&Propagator::TraceContext) { Seen::of(picked) } else { Seen::default() };
        let lines = Lines::read(headers);
        let mut decision = None;
        for format in &self.formats {
            let found = match format {
                Propagator::TraceContext if w3c.parent.is_some() => return w3c,
                Propagator::TraceContext | Propagator::Baggage => None,
                Propagator::B3 | Propagator::B3Multi => b3::read(&lines),
                Propagator::Jaeger => one(lines.jaeger).and_then(jaeger::read),
                Propagator::XRay => one(lines.xray).and_then(xray::read),
            };
            match found {
                Some(Found::Context(context)) => return of_context(&context),
                // A context in a later format says more.
                Some(Found::Decision { sampled, debug }) => decision = decision.or(Some((sampled, debug))),
                None => {}
            }
        }
        let Some((sampled, debug)) = decision else { return w3c };
        let nobody = Traceparent { trace_id: [b'0'; 32], parent_id: [b'0'; 16], flags: flags(sampled) };
        with(More { decision: CallerDecision::Alone(nobody), debug, ..More::default() })
    }
}

fn of_context(context: &Context) -> Seen {
    let flags = flags(context.sampled.unwrap_or(false));
    let decision = if context.sampled.is_some() { CallerDecision::OfParent } else { CallerDecision::Open };
    Seen {
        parent: Some(Traceparent { trace_id: context.trace_id, parent_id: context.span_id, flags }),
        ..with(More { decision, debug: context.debug, tracestate: ListOwner::Nobody, ..More::default() })
    }
}

fn with(more: More) -> Seen {
    Seen { more: Some(Box::new(more)), ..Seen::default() }
}

const fn one(line: Line<'_>) -> Option<&[u8]> {
    match line {
        Line::One(value) => Some(value),
        Line::Absent | Line::Several => None,
    }
}

/// Nobody says that these ids are random.
const fn flags(sampled: bool) -> u8 {
    if sampled { FLAG_SAMPLED } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::headers::write_block;
    use crate::trace::incoming::Arrival;

    const W3C: (&str, &str) = ("traceparent", "00-11111111111111111111111111111111-1111111111111111-03");
    const B3: (&str, &str) = ("b3", "22222222222222222222222222222222-2222222222222222-d");
    const JAEGER: (&str, &str) = ("uber-trace-id", "33333333333333333333333333333333:3333333333333333:0:0");
    const XRAY: (&str, &str) = ("x-amzn-trace-id", "Root=1-44444444-444444444444444444444444;Parent=4444444444444444");

    fn policy(formats: &[Propagator]) -> Policy {
        let config = TracesConfig { propagators: formats.to_vec(), ..TracesConfig::default() };
        Policy::new(&config).unwrap()
    }

    fn block(headers: &[(&str, &str)]) -> Vec<u8> {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        write_block(&headers)
    }

    fn read(policy: &Policy, request: &Incoming<'_>) -> Seen {
        policy.read(request, &Picked::read(&request.headers))
    }

    fn first_digit(policy: &Policy, headers: &[(&str, &str)]) -> Option<char> {
        let block = block(headers);
        let seen = read(policy, &Incoming::of_headers(&block));
        seen.parent.map(|parent| char::from(parent.trace_id[0]))
    }

    #[test]
    fn the_default_needs_no_policy() {
        assert_eq!(Policy::new(&TracesConfig::default()), None);
        let trusting = vec![("a".to_owned(), Trust::Accept)];
        assert_eq!(Policy::new(&TracesConfig { trust_of: trusting, ..TracesConfig::default() }), None);
    }

    #[test]
    fn the_first_format_with_a_valid_context_counts() {
        use Propagator::{B3 as Single, Baggage, Jaeger, TraceContext, XRay};
        let all = [W3C, B3, JAEGER, XRAY];
        assert_eq!(first_digit(&policy(&[TraceContext, Single, Jaeger, XRay]), &all), Some('1'));
        assert_eq!(first_digit(&policy(&[XRay, TraceContext, Single, Jaeger]), &all), Some('4'));
        assert_eq!(first_digit(&policy(&[Single, TraceContext]), &all), Some('2'));
        assert_eq!(first_digit(&policy(&[Baggage, Jaeger, TraceContext]), &all), Some('3'));
        assert_eq!(first_digit(&policy(&[XRay, Jaeger]), &[("x-amzn-trace-id", "x"), JAEGER]), Some('3'));
        assert_eq!(first_digit(&policy(&[Single, TraceContext]), &[("b3", "0"), W3C]), Some('1'));
        assert_eq!(first_digit(&policy(&[Jaeger]), &[W3C]), None);
        assert_eq!(first_digit(&policy(&[Jaeger]), &[JAEGER, JAEGER]), None);
        assert_eq!(first_digit(&policy(&[]), &all), None);
    }

    #[test]
    fn samplers_see_a_decision_where_there_is_one() {
        let policy = policy(&[Propagator::B3, Propagator::XRay]);
        let decided = |headers: &[(&str, &str)]| {
            let block = block(headers);
            let seen = read(&policy, &Incoming::of_headers(&block));
            (seen.parent.is_some(), seen.decided().map(|parent| parent.flags), seen.is_debug())
        };
        assert_eq!(decided(&[B3]), (true, Some(FLAG_SAMPLED), true));
        assert_eq!(decided(&[XRAY]), (true, None, false));
        assert_eq!(decided(&[("b3", "0")]), (false, Some(0), false));
        assert_eq!(decided(&[("x-b3-flags", "1")]), (false, Some(FLAG_SAMPLED), true));
        assert_eq!(decided(&[]), (false, None, false));
    }

    #[test]
    fn tracestate_belongs_to_the_traceparent_that_counts() {
        use crate::trace::w3c::Tracestate::{Absent, AsItCame, Void};
        use Propagator::{B3 as Single, TraceContext};
        let state = ("tracestate", "a=1");
        for (formats, headers, expected) in [
            (&[TraceContext, Single][..], &[W3C, B3, state][..], AsItCame),
            (&[Single, TraceContext], &[W3C, B3, state], Void),
            (&[Single, TraceContext], &[("b3", "0"), state], Void),
            (&[Single], &[B3, state], Absent),
            (&[Single, TraceContext], &[B3], Absent),
        ] {
            let block = block(headers);
            let request = Incoming::of_headers(&block);
            let seen = read(&policy(formats), &request);
            let picked = Picked::read(&request.headers);
            assert_eq!(seen.tracestate(&request.headers, &picked, &mut Vec::new()), expected, "{formats:?}");
        }
    }

    #[test]
    fn callers_are_trusted_by_frontend() {
        use crate::trace::w3c::Tracestate::{AsItCame, Void};
        let config = TracesConfig {
            trust: Trust::Restart,
            trust_of: vec![("inner".to_owned(), Trust::Accept), ("www".to_owned(), Trust::Ignore)],
            ..TracesConfig::default()
        };
        let policy = Policy::new(&config).unwrap();
        let block = block(&[W3C, ("tracestate", "a=1")]);
        let seen = |frontend: &'static str| {
            let arrival = Some(Arrival { frontend: frontend.as_bytes(), ..Arrival::default() });
            let request = Incoming { arrival, ..Incoming::of_headers(&block) };
            let seen = read(&policy, &request);
            let state = seen.tracestate(&request.headers, &Picked::read(&request.headers), &mut Vec::new());
            (seen.parent.is_some(), seen.link().is_some(), seen.is_untrusted(), state)
        };
        assert_eq!(seen("inner"), (true, false, false, AsItCame));
        assert_eq!(seen("www"), (false, false, true, Void));
        assert_eq!(seen("other"), (false, true, true, Void));
    }
}
