//! What is measured of every finished request.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::histogram::{Histogram, Info};
use super::{Attributes, Exemplar, Metric, Value};
use crate::config::{ExemplarFilter, HistogramKind, MetricAttribute, MetricsConfig};
use crate::trace::outcome::{self, ErrorType, Outcome};
use crate::trace::plan::{Gather, Plan};
use crate::trace::record::{Record, Response, Server};
use crate::trace::spans;

/// Where metrics come from that are read when they are collected: counters that exist anyway.
pub trait MeterSource: Send + Sync {
    /// Appends its metrics.
    fn collect(&self, out: &mut Vec<Metric>);
}

/// `http.route` of a request, where the settings know one: of low cardinality.
pub type Route = Box<dyn Fn(&Record<'_>) -> Option<String> + Send + Sync>;

/// Measures requests. One task calls [`observe`](Self::observe), any may [`collect`](Self::collect); the lock is held for a
/// look-up, or for a copy of all series.
pub struct Meter {
    exemplars: ExemplarFilter,
    attributes: Vec<MetricAttribute>,
    /// Where the response's `content-length` stands among the gathered values, if body sizes are wanted.
    response_length: Option<usize>,
    route: Option<Route>,
    instruments: Mutex<Instruments>,
    sources: Mutex<Vec<Arc<dyn MeterSource>>>,
}

#[derive(Debug)]
struct Instruments {
    /// Requests measured so far.
    observed: u64,
    server_duration: Histogram,
    client_duration: Histogram,
    request_size: Histogram,
    response_size: Histogram,
}

impl Meter {
    /// A meter by the settings. `plan` says what the doors gather.
    pub fn new(config: &MetricsConfig, plan: &Plan) -> Self {
        let exponential = config.histogram == HistogramKind::Exponential;
        let histogram = |info| Histogram::new(info, exponential, config.cardinality_limit);
        let length = |gather: &Gather| matches!(gather, Gather::ResponseHeader(name) if name == "content-length");
        Self {
            exemplars: config.exemplars,
            attributes: config.attributes.clone(),
            response_length: plan.gathered.iter().position(length).filter(|_| config.body_sizes),
            route: None,
            instruments: Mutex::new(Instruments {
                observed: 0,
                server_duration: histogram(SERVER_DURATION),
                client_duration: histogram(CLIENT_DURATION),
                request_size: histogram(REQUEST_SIZE),
                response_size: histogram(RESPONSE_SIZE),
            }),
            sources: Mutex::default(),
        }
    }

    /// With `http.route` on what is measured of SERVER spans.
    #[must_use]
    pub fn with_route(mut self, route: Route) -> Self {
        self.route = Some(route);
        self
    }

    /// Adds metrics that are read when they are collected.
    pub fn add_source(&self, source: Arc<dyn MeterSource>) {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner).push(source);
    }

    /// Measures one finished request: the same duration and `error.type` as its spans.
    pub fn observe(&self, record: &Record<'_>) {
        let server = self.server_attributes(record);
        let duration = spans::interval(record).seconds();
        let client = spans::client_interval(record);
        let mut instruments = self.instruments();
        instruments.observed += 1;
        let order = instruments.observed;
        if let Some((interval, name)) = client {
            let seconds = interval.seconds();
            let exemplar = self.exemplar(record, record.client_span, order, seconds);
            instruments.client_duration.record(self.client_attributes(record, name), seconds, exemplar);
        }
        if let Some(length) = self.response_length {
            let exemplar = |value| self.exemplar(record, record.server_span, order, value);
            if let Some(size) = record.content_length {
                instruments.request_size.record(server.clone(), size as f64, exemplar(size as f64));
            }
            let values = record.response.as_ref().map(|response| response.gathered);
            if let Some(size) = values.and_then(|values| decimal(values.values().nth(length)??.as_slice())) {
                instruments.response_size.record(server.clone(), size as f64, exemplar(size as f64));
            }
        }
        let exemplar = self.exemplar(record, record.server_span, order, duration);
        instruments.server_duration.record(server, duration, exemplar);
    }

    /// All metrics as they are now, cumulative.
    pub fn collect(&self) -> Vec<Metric> {
        let mut metrics: Vec<Metric> = {
            let i = self.instruments();
            let all = [&i.server_duration, &i.client_duration, &i.request_size, &i.response_size];
            all.into_iter().filter_map(Histogram::collect).collect()
        };
        let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for source in sources {
            source.collect(&mut metrics);
        }
        metrics
    }

    fn instruments(&self) -> MutexGuard<'_, Instruments> {
        self.instruments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn server_attributes(&self, record: &Record<'_>) -> Attributes {
        let response = record.response.as_ref();
        let route = self.route.as_ref().and_then(|route| route(record));
        let scheme = response.map(|r| if r.tls_version.is_empty() { "http" } else { "https" });
        let version = response.and_then(|r| version(r.client_http_major, record.request.version));
        let attributes = Attributes::none()
            .with("http.request.method", method(record.request.method))
            .with_some("url.scheme", scheme)
            .with_some("http.route", route);
        let attributes =
            with_outcome(attributes, outcome::server(&record.ending())).with_some("network.protocol.version", version);
        match response {
            Some(response) => self.with_own(attributes, response, None),
            None => attributes,
        }
    }

    fn client_attributes(&self, record: &Record<'_>, server: &[u8]) -> Attributes {
        let attributes = Attributes::none().with("http.request.method", method(record.request.method));
        let attributes = with_outcome(attributes, outcome::client(&record.ending()));
        let Some(response) = &record.response else { return attributes };
        let attributes = attributes.with_some("network.protocol.version", version(response.server_http_major, b""));
        self.with_own(attributes, response, Some(server))
    }

    /// What the settings ask for beyond the conventions. `client`: the chosen server, of a CLIENT span.
    fn with_own(&self, attributes: Attributes, response: &Response<'_>, client: Option<&[u8]>) -> Attributes {
        self.attributes.iter().fold(attributes, |attributes, wanted| match wanted {
            MetricAttribute::Frontend => attributes.with_some("haproxy.frontend.name", present(response.frontend)),
            MetricAttribute::Backend => attributes.with_some("haproxy.backend.name", present(response.backend)),
            MetricAttribute::Server => {
                let name = match (client, response.server) {
                    (Some(name), _) | (None, Server::Real(name) | Server::Applet(name)) => name,
                    (None, Server::None) => b"",
                };
                attributes.with_some("haproxy.server.name", present(name))
            }
            MetricAttribute::ServerAddress if client.is_some() => attributes
                .with_some("server.address", present(response.server_ip))
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

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meter").finish_non_exhaustive()
    }
}

fn method(method: &[u8]) -> Value {
    if spans::is_known(method) { Value::lossy(method) } else { "_OTHER".into() }
}

fn with_outcome(attributes: Attributes, outcome: Outcome) -> Attributes {
    let error: Option<Cow<'static, str>> = outcome.error.map(|error| match error {
        ErrorType::Status(code) => Cow::Owned(code.to_string()),
        ErrorType::Word(word) => Cow::Borrowed(word.as_str()),
    });
    attributes.with_some("http.response.status_code", outcome.status).with_some("error.type", error.map(Value::Text))
}

fn version(major: Option<u64>, line: &[u8]) -> Option<Value> {
    let text = std::str::from_utf8(spans::protocol_version(major, line)).ok()?;
    (!text.is_empty()).then(|| text.into())
}

fn present(text: &[u8]) -> Option<Value> {
    (!text.is_empty()).then(|| Value::lossy(text))
}

/// RFC 9110, 8.6: `Content-Length`.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()
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
    use crate::trace::metrics::{Data, HistogramPoint};
    use crate::trace::record::sample::Sample;
    use proptest::prelude::*;

    const END: u64 = 1_700_000_000_250_000_000;

    fn observe(meter: &Meter, sample: &Sample) {
        let payload = sample.payload();
        meter.observe(&Record::parse(&payload, END, 0).unwrap());
    }

    fn points(meter: &Meter, name: &str) -> Vec<HistogramPoint> {
        match meter.collect().into_iter().find(|metric| metric.name == name).map(|metric| metric.data) {
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
        let meter = Meter::new(&MetricsConfig::default(), &Plan::default());
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
    fn haproxys_names_and_the_route_stand_there_on_request() {
        let attributes = vec![
            MetricAttribute::Frontend,
            MetricAttribute::Backend,
            MetricAttribute::Server,
            MetricAttribute::ServerAddress,
        ];
        let config = MetricsConfig { attributes, exemplars: ExemplarFilter::AlwaysOff, ..MetricsConfig::default() };
        let route: Route = Box::new(|record| (record.request.method == b"GET").then(|| "/cart/{item}".to_owned()));
        let meter = Meter::new(&config, &Plan::default()).with_route(route);
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
    fn errors_are_those_of_the_spans() {
        let meter = Meter::new(&MetricsConfig::default(), &Plan::default());
        observe(&meter, &Sample::with(&[("%ST", "404")]));
        let error = |name| points(&meter, name)[0].attributes.iter().any(|(name, _)| name == "error.type");
        assert!(!error("http.server.request.duration") && error("http.client.request.duration"));
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
            let meter = Meter::new(&config, &Plan::default());
            let mut chosen = 0;
            for (sampled, status, method, state) in &requests {
                let sample = Sample::with(&[("%ST", &status.to_string()), ("%ts", state)]);
                let mut payload = sample.line(format!("{method} / HTTP/1.1").as_bytes()).payload();
                if !sampled {
                    payload[55] = b'R';
                }
                let record = Record::parse(&payload, END, 0).unwrap();
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
