//! What is measured of every finished request.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::{ExemplarFilter, HistogramKind, MetricAttribute, MetricsConfig};
use crate::metrics::{Attributes, Exemplar, Histogram, Info, MeterSource, Metric, Value};
use crate::trace::outcome::{ErrorType, Outcome};
use crate::trace::plan::{Gather, Plan};
use crate::trace::record::{Record, Response, Server, decimal};
use crate::trace::spans::{self, Facts};
use crate::trace::wording::{Call, Wording};

/// Measures requests. One task calls [`observe`](Self::observe), any may ask for its [`metrics`](Self::metrics); the lock is held for a
/// look-up, or for a copy of all series.
pub struct Meter {
    exemplars: ExemplarFilter,
    attributes: Vec<MetricAttribute>,
    /// Where the response's `content-length` stands among the gathered values, if body sizes are wanted.
    response_length: Option<usize>,
    wording: Arc<Wording>,
    instruments: Mutex<Instruments>,
}

#[derive(Debug)]
struct Instruments {
    /// Where keys are put together.
    key: Vec<u8>,
    /// Requests measured so far.
    observed: u64,
    server_duration: Histogram,
    client_duration: Histogram,
    /// Of gRPC requests, where the settings want them told apart.
    server_call: Histogram,
    client_call: Histogram,
    request_size: Histogram,
    response_size: Histogram,
}

impl Meter {
    /// A meter by the settings. `plan` says what the doors gather, `wording` how spans say it.
    pub fn new(config: &MetricsConfig, plan: &Plan, wording: Arc<Wording>) -> Self {
        let exponential = config.histogram == HistogramKind::Exponential;
        let histogram = |info| Histogram::new(info, exponential, config.cardinality_limit);
        let length = |gather: &Gather| matches!(gather, Gather::ResponseHeader(name) if name == "content-length");
        Self {
            exemplars: config.exemplars,
            attributes: config.attributes.clone(),
            response_length: plan.gathered.iter().position(length).filter(|_| config.body_sizes),
            wording,
            instruments: Mutex::new(Instruments {
                key: Vec::new(),
                observed: 0,
                server_duration: histogram(SERVER_DURATION),
                client_duration: histogram(CLIENT_DURATION),
                server_call: histogram(SERVER_CALL),
                client_call: histogram(CLIENT_CALL),
                request_size: histogram(REQUEST_SIZE),
                response_size: histogram(RESPONSE_SIZE),
            }),
        }
    }

    /// Measures one finished request: the same duration and `error.type` as its spans.
    pub fn observe(&self, record: &Record<'_>) {
        let facts = Facts::new(record, &self.wording);
        let duration = spans::interval(record).seconds();
        let client = spans::client_interval(record);
        let mut instruments = self.instruments();
        let instruments = &mut *instruments;
        instruments.observed += 1;
        let order = instruments.observed;
        if let Some((interval, name)) = client {
            let seconds = interval.seconds();
            let exemplar = self.exemplar(record, record.client_span, order, seconds);
            let key = self.client_key(&mut instruments.key, record, &facts, name);
            let attributes = || self.client_attributes(record, &facts, name);
            instruments.client_duration.record_as(key, attributes, seconds, exemplar);
            if let Some(call) = &facts.call {
                let exemplar = self.exemplar(record, record.client_span, order, seconds);
                instruments.client_call.record(call_attributes(call, facts.client), seconds, exemplar);
            }
        }
        if let Some(call) = &facts.call {
            let exemplar = self.exemplar(record, record.server_span, order, duration);
            instruments.server_call.record(call_attributes(call, facts.server), duration, exemplar);
        }
        let key = self.server_key(&mut instruments.key, record, &facts);
        let attributes = || self.server_attributes(record, &facts);
        if let Some(length) = self.response_length {
            let exemplar = |value| self.exemplar(record, record.server_span, order, value);
            if let Some(size) = record.content_length {
                instruments.request_size.record_as(key, attributes, size as f64, exemplar(size as f64));
            }
            if let Some(size) = record.response.gathered.value(length).and_then(decimal) {
                instruments.response_size.record_as(key, attributes, size as f64, exemplar(size as f64));
            }
        }
        let exemplar = self.exemplar(record, record.server_span, order, duration);
        instruments.server_duration.record_as(key, attributes, duration, exemplar);
    }

    /// What tells one attribute set from another: everything that [`Self::server_attributes`] reads.
    fn server_key<'k>(&self, key: &'k mut Vec<u8>, record: &Record<'_>, facts: &Facts<'_>) -> &'k [u8] {
        key.clear();
        push(key, facts.method);
        push(key, facts.scheme);
        push(key, facts.route.as_deref().unwrap_or_default());
        push(key, facts.version);
        push_outcome(key, facts.server);
        self.push_own(key, &record.response, None);
        key
    }

    /// The same for [`Self::client_attributes`].
    fn client_key<'k>(&self, key: &'k mut Vec<u8>, record: &Record<'_>, facts: &Facts<'_>, name: &[u8]) -> &'k [u8] {
        key.clear();
        push(key, facts.sent_method);
        push(key, spans::protocol_version(record.response.server_http_major, b""));
        push_outcome(key, facts.client);
        self.push_own(key, &record.response, Some(name));
        key
    }

    /// The same for [`Self::with_own`].
    fn push_own(&self, key: &mut Vec<u8>, response: &Response<'_>, client: Option<&[u8]>) {
        for wanted in &self.attributes {
            match wanted {
                MetricAttribute::Frontend => push(key, response.frontend),
                MetricAttribute::Backend => push(key, response.backend),
                MetricAttribute::Server => push(key, server_name(response, client)),
                MetricAttribute::ServerAddress => {
                    let address = response.server_ip.map_or_else(String::new, |ip| ip.to_string());
                    push(key, address.as_bytes());
                    push(key, &response.server_port.unwrap_or_default().to_le_bytes());
                }
            }
        }
    }

    /// Its metrics as they are now, cumulative.
    pub fn metrics(&self) -> Vec<Metric> {
        let i = self.instruments();
        let (calls, sizes) = ([&i.server_call, &i.client_call], [&i.request_size, &i.response_size]);
        let all = [&i.server_duration, &i.client_duration].into_iter().chain(calls).chain(sizes);
        all.filter_map(Histogram::collect).collect()
    }

    fn instruments(&self) -> MutexGuard<'_, Instruments> {
        self.instruments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn server_attributes(&self, record: &Record<'_>, facts: &Facts<'_>) -> Attributes {
        let attributes = Attributes::none()
            .with("http.request.method", Value::lossy(facts.method))
            .with("url.scheme", Value::lossy(facts.scheme))
            .with_some("http.route", facts.route.as_deref().map(Value::lossy));
        let version = present(facts.version);
        let attributes = with_outcome(attributes, facts.server).with_some("network.protocol.version", version);
        self.with_own(attributes, &record.response, None)
    }

    fn client_attributes(&self, record: &Record<'_>, facts: &Facts<'_>, server: &[u8]) -> Attributes {
        let attributes = Attributes::none().with("http.request.method", Value::lossy(facts.sent_method));
        let attributes = with_outcome(attributes, facts.client);
        let response = &record.response;
        let version = spans::protocol_version(response.server_http_major, b"");
        self.with_own(attributes.with_some("network.protocol.version", present(version)), response, Some(server))
    }

    /// What the settings ask for beyond the conventions. `client`: the chosen server, of a CLIENT span.
    fn with_own(&self, attributes: Attributes, response: &Response<'_>, client: Option<&[u8]>) -> Attributes {
        self.attributes.iter().fold(attributes, |attributes, wanted| match wanted {
            MetricAttribute::Frontend => attributes.with_some("haproxy.frontend.name", present(response.frontend)),
            MetricAttribute::Backend => attributes.with_some("haproxy.backend.name", present(response.backend)),
            MetricAttribute::Server => {
                attributes.with_some("haproxy.server.name", present(server_name(response, client)))
            }
            MetricAttribute::ServerAddress if client.is_some() => attributes
                .with_some("server.address", response.server_ip.map(|ip| Value::from(ip.to_string())))
                .with_some("server.port", response.server_port),
            MetricAttribute::ServerAddress => attributes,
        })
    }

    fn exemplar(&self, record: &Record<'_>, span_id: [u8; 8], order: u64, value: f64) -> Option<Exemplar> {
        let wanted = match self.exemplars {
            ExemplarFilter::AlwaysOn => true,
            ExemplarFilter::AlwaysOff => false,
            ExemplarFilter::TraceBased => record.sampled,
        };
        let (time_unix_nanos, trace_id) = (record.end_unix_nanos, record.trace_id);
        wanted.then_some(Exemplar { value, time_unix_nanos, order, trace_id, span_id })
    }
}

impl MeterSource for Meter {
    fn collect(&self, out: &mut Vec<Metric>) {
        out.extend(self.metrics());
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meter").finish_non_exhaustive()
    }
}

/// A length before each part: no two sets of parts give one key.
fn push(key: &mut Vec<u8>, part: &[u8]) {
    let [low, high, ..] = part.len().to_le_bytes();
    key.extend_from_slice(&[low, high]);
    key.extend_from_slice(part);
}

fn push_outcome(key: &mut Vec<u8>, outcome: Outcome) {
    let [low, high] = outcome.status.unwrap_or_default().to_le_bytes();
    key.extend_from_slice(&[low, high]);
    match outcome.error {
        None => push(key, b""),
        Some(ErrorType::Status(code)) => push(key, &code.to_le_bytes()),
        Some(ErrorType::Word(word)) => push(key, word.as_str().as_bytes()),
        Some(ErrorType::Rpc(name)) => push(key, name.as_bytes()),
    }
}

/// `client`: the chosen server, of a CLIENT span.
fn server_name<'r>(response: &Response<'r>, client: Option<&'r [u8]>) -> &'r [u8] {
    match (client, response.server) {
        (Some(name), _) | (None, Server::Real(name) | Server::Applet(name)) => name,
        (None, Server::None) => b"",
    }
}

/// RPC semantic conventions, `rpc.server.call.duration` and `rpc.client.call.duration`.
fn call_attributes(call: &Call, outcome: Outcome) -> Attributes {
    let attributes = Attributes::none()
        .with("rpc.system.name", Value::from("grpc"))
        .with("rpc.method", Value::lossy(call.name()))
        .with_some("rpc.response.status_code", call.status_name());
    with_error(attributes, outcome)
}

fn with_outcome(attributes: Attributes, outcome: Outcome) -> Attributes {
    with_error(attributes.with_some("http.response.status_code", outcome.status), outcome)
}

fn with_error(attributes: Attributes, outcome: Outcome) -> Attributes {
    let error: Option<Cow<'static, str>> = outcome.error.map(|error| match error {
        ErrorType::Status(code) => Cow::Owned(code.to_string()),
        ErrorType::Word(word) => Cow::Borrowed(word.as_str()),
        ErrorType::Rpc(name) => Cow::Borrowed(name),
    });
    attributes.with_some("error.type", error.map(Value::Text))
}

fn present(text: &[u8]) -> Option<Value> {
    (!text.is_empty()).then(|| Value::lossy(text))
}

/// Seconds. HTTP semantic conventions, `http.server.request.duration`, `ExplicitBucketBoundaries`.
const SECONDS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// Bytes. The conventions name no bounds: powers of four.
const BYTES: &[f64] =
    &[64.0, 256.0, 1024.0, 4096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0, 4_194_304.0, 16_777_216.0, 67_108_864.0];

const SERVER_DURATION: Info = Info {
    name: "http.server.request.duration",
    description: "Duration of HTTP server requests.",
    unit: "s",
    bounds: SECONDS,
};
const CLIENT_DURATION: Info = Info {
    name: "http.client.request.duration",
    description: "Duration of HTTP client requests.",
    unit: "s",
    bounds: SECONDS,
};
const SERVER_CALL: Info =
    Info { name: "rpc.server.call.duration", description: "Duration of RPC server calls.", unit: "s", bounds: SECONDS };
const CLIENT_CALL: Info =
    Info { name: "rpc.client.call.duration", description: "Duration of RPC client calls.", unit: "s", bounds: SECONDS };
const REQUEST_SIZE: Info = Info {
    name: "http.server.request.body.size",
    description: "Size of HTTP server request bodies.",
    unit: "By",
    bounds: BYTES,
};
const RESPONSE_SIZE: Info = Info {
    name: "http.server.response.body.size",
    description: "Size of HTTP server response bodies.",
    unit: "By",
    bounds: BYTES,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Data, HistogramPoint};
    use crate::trace::record::Field;
    use crate::trace::record::sample::{START, Sample};
    use proptest::prelude::*;

    const END: u64 = 1_700_000_000_250_000_000;

    fn observe(meter: &Meter, sample: &Sample) {
        let payload = sample.payload();
        meter.observe(&Record::parse(&payload, END).unwrap());
    }

    fn points(meter: &Meter, name: &str) -> Vec<HistogramPoint> {
        match meter.metrics().into_iter().find(|metric| metric.name == name).map(|metric| metric.data) {
            Some(Data::Histogram { points, .. }) => points,
            None => Vec::new(),
            other => panic!("{other:?}"),
        }
    }

    fn pairs(attributes: &Attributes) -> Vec<String> {
        attributes.iter().map(|(name, value)| format!("{name}={value:?}")).collect()
    }

    #[test]
    fn a_request_is_measured_as_its_spans_say_it() {
        let meter = Meter::new(&MetricsConfig::default(), &Plan::default(), Arc::default());
        observe(&meter, &Sample::default());
        let server = &points(&meter, "http.server.request.duration")[0];
        assert!((server.sum - 0.25).abs() < 1e-9 && server.count == 1, "{server:?}");
        let expected = [
            "http.request.method=Text(\"GET\")",
            "url.scheme=Text(\"https\")",
            "http.response.status_code=Int(200)",
            "network.protocol.version=Text(\"1.1\")",
        ];
        assert_eq!(pairs(&server.attributes), expected);
        let exemplar = server.exemplars.iter().flatten().next().unwrap();
        assert_eq!((exemplar.span_id, exemplar.time_unix_nanos), ([0x11; 8], END));
        let client = &points(&meter, "http.client.request.duration")[0];
        // Headers and queue: 3 ms.
        assert!((client.sum - 0.247).abs() < 1e-9, "{client:?}");
        assert_eq!(client.exemplars.iter().flatten().next().unwrap().span_id, 0x0123_4567_89ab_cdef_u64.to_be_bytes());
    }

    #[test]
    fn the_servers_leg_is_measured_by_finer_clocks_where_there_are_some() {
        let meter = Meter::new(&MetricsConfig::default(), &Plan::default(), Arc::default());
        let sample = Sample::default().status(200).numbers(|numbers| {
            (numbers.server_status, numbers.timers[3]) = (404, 0);
            (numbers.left, numbers.forwarded) = (START + 1_500_000, START + 200_000_000);
        });
        observe(&meter, &sample);
        let client = &points(&meter, "http.client.request.duration")[0];
        assert!((client.sum - 0.1985).abs() < 1e-9, "{client:?}");
        assert!(pairs(&client.attributes).contains(&"http.response.status_code=Int(404)".to_owned()));
        let server = &points(&meter, "http.server.request.duration")[0];
        assert!((server.sum - 0.25).abs() < 1e-9, "{server:?}");
        assert!(pairs(&server.attributes).contains(&"http.response.status_code=Int(200)".to_owned()));
    }

    #[test]
    fn haproxys_names_and_the_route_stand_there_on_request() {
        let attributes = vec![
            MetricAttribute::Frontend,
            MetricAttribute::Backend,
            MetricAttribute::Server,
            MetricAttribute::ServerAddress,
        ];
        let config = MetricsConfig { attributes, exemplars: ExemplarFilter::AlwaysOff, ..MetricsConfig::default() };
        let route = crate::config::Route { method: None, template: "/cart/{item}".to_owned() };
        let attributes = crate::config::AttributesConfig { routes: vec![route], ..Default::default() };
        let wording = Arc::new(Wording::new(&attributes, &Plan::default()));
        let meter = Meter::new(&config, &Plan::default(), wording);
        observe(&meter, &Sample::default());
        let server = &points(&meter, "http.server.request.duration")[0];
        let names: Vec<_> = server.attributes.iter().map(|(name, _)| name).collect();
        assert!(
            names.ends_with(&["haproxy.frontend.name", "haproxy.backend.name", "haproxy.server.name"]),
            "{names:?}"
        );
        assert!(pairs(&server.attributes).contains(&"http.route=Text(\"/cart/{item}\")".to_owned()));
        assert!(server.exemplars.is_empty());
        let client = &points(&meter, "http.client.request.duration")[0];
        let pairs = pairs(&client.attributes);
        assert!(pairs.contains(&"server.address=Text(\"10.0.0.7\")".to_owned()), "{pairs:?}");
        assert!(!pairs.iter().any(|pair| pair.starts_with("http.route")), "{pairs:?}");
    }

    #[test]
    fn calls_are_measured_beside_requests_where_settings_tell_them_apart() {
        let attributes = crate::config::AttributesConfig { rpc: true, ..Default::default() };
        let plan = Plan::new(&crate::config::Config { attributes: attributes.clone(), ..Default::default() });
        let wording = Arc::new(Wording::new(&attributes, &plan));
        let meter = Meter::new(&MetricsConfig::default(), &plan, wording);
        let sample = Sample::default().line("POST /a.B/C HTTP/2.0").carrying(Field::Rpc, b"");
        observe(&meter, &sample.gathered(&[Some(b"13")]));
        for name in ["rpc.server.call.duration", "rpc.client.call.duration"] {
            let point = &points(&meter, name)[0];
            let expected = [
                "rpc.system.name=Text(\"grpc\")",
                "rpc.method=Text(\"a.B/C\")",
                "rpc.response.status_code=Text(\"INTERNAL\")",
                "error.type=Text(\"INTERNAL\")",
            ];
            assert_eq!((point.count, pairs(&point.attributes)), (1, expected.map(str::to_owned).to_vec()), "{name}");
        }
    }

    #[test]
    fn errors_are_those_of_the_spans() {
        let meter = Meter::new(&MetricsConfig::default(), &Plan::default(), Arc::default());
        observe(&meter, &Sample::default().status(404));
        let error = |name| points(&meter, name)[0].attributes.iter().any(|(name, _)| name == "error.type");
        assert!(!error("http.server.request.duration") && error("http.client.request.duration"));
    }

    #[test]
    fn the_exemplar_filter_is_followed() {
        for (exemplars, sampled, unsampled) in
            [(ExemplarFilter::AlwaysOn, 1, 1), (ExemplarFilter::AlwaysOff, 0, 0), (ExemplarFilter::TraceBased, 1, 0)]
        {
            for (sample, expected) in [(Sample::default(), sampled), (Sample::default().unsampled(), unsampled)] {
                let config = MetricsConfig { exemplars, ..MetricsConfig::default() };
                let meter = Meter::new(&config, &Plan::default(), Arc::default());
                observe(&meter, &sample);
                let point = &points(&meter, "http.server.request.duration")[0];
                assert_eq!(point.exemplars.iter().flatten().count(), expected, "{exemplars:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn the_histogram_counts_every_request_once(
            requests in proptest::collection::vec(
                (any::<bool>(), 100_u16..600, "[A-Z]{1,8}", proptest::sample::select(vec!["--", "CD", "sH", "PR", "LR", "SC"])),
                1..200,
            ),
            limit in 2_usize..40,
        ) {
            let config = MetricsConfig { cardinality_limit: limit, ..MetricsConfig::default() };
            let meter = Meter::new(&config, &Plan::default(), Arc::default());
            let mut chosen = 0;
            for (sampled, status, method, state) in &requests {
                let sample = Sample::ended(state).status(*status).line(format!("{method} / HTTP/1.1"));
                let payload = if *sampled { sample } else { sample.unsampled() }.payload();
                let record = Record::parse(&payload, END).unwrap();
                prop_assert_eq!(record.sampled, *sampled);
                chosen += u64::from(spans::client_interval(&record).is_some());
                meter.observe(&record);
            }
            let count = |name| points(&meter, name).iter().map(|point| point.count).sum::<u64>();
            prop_assert_eq!(count("http.server.request.duration"), requests.len() as u64);
            prop_assert_eq!(count("http.client.request.duration"), chosen);
        }
    }
}
