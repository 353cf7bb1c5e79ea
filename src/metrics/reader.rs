//! Pushes metrics at an interval. Metrics SDK specification, "Periodic exporting `MetricReader`".

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::otlp::{self, Window};
use super::{Attributes, Data, Exponential, HistogramPoint, Metric, NumberPoint, Sources};
use crate::config::{MetricsConfig, Temporality};
use crate::export::Outlet;
use crate::export::envelope::Envelope;
use crate::runtime::Stop;

/// Collects and pushes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Reader {
    sources: Sources,
    outlet: Arc<dyn Outlet>,
    interval: Duration,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    envelope: Envelope,
    temporality: Temporality,
    /// When the process began to count. Unix time, nanoseconds.
    started: u64,
    /// When metrics were last collected.
    last: u64,
    /// The highest number of an exemplar that was pushed.
    exemplars_sent: u64,
    /// What was collected last, of those that are pushed as differences. As many as there are, so bounded as they are.
    previous: Pushed,
}

#[derive(Debug)]
enum Previous {
    Number(i64),
    Histogram { count: u64, sum: f64, buckets: Vec<u64>, exponential: Option<Exponential> },
}

impl Reader {
    /// A reader of `sources` that pushes to `outlet`.
    pub fn new(config: &MetricsConfig, sources: Sources, envelope: Envelope, outlet: Arc<dyn Outlet>) -> Self {
        let now = unix_nanos();
        let temporality = config.temporality;
        let state =
            State { envelope, temporality, started: now, last: now, exemplars_sent: 0, previous: HashMap::new() };
        Self { sources, outlet, interval: config.interval, state: Arc::new(Mutex::new(state)) }
    }

    /// Pushes at the interval until the process stops. The last push is the caller's, once every request was measured:
    /// [`push`](Self::push).
    pub async fn run(self, mut stop: Stop) {
        loop {
            tokio::select! {
                () = stop.wait() => return,
                () = tokio::time::sleep(self.interval) => self.push(),
            }
        }
    }

    /// Collects now and hands the request over. Nothing where there is nothing to say.
    pub fn push(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (bytes, points) = state.collect(self.sources.collect(), unix_nanos());
        if points > 0 {
            self.outlet.ship(state.envelope.wrap(&bytes), points);
        }
    }
}

impl State {
    fn collect(&mut self, metrics: Vec<Metric>, now: u64) -> (Vec<u8>, u64) {
        let mut out = Vec::new();
        let mut points = 0;
        // Clocks may step back; a window may not.
        let now = now.max(self.last);
        let exemplars_sent = self.exemplars_sent;
        // Who is not collected any more is not remembered either.
        let mut before = std::mem::take(&mut self.previous);
        for mut metric in metrics {
            self.exemplars_sent = self.exemplars_sent.max(newest_exemplar(&metric.data));
            let delta = self.is_delta(&metric.data);
            if delta && !self.subtract(&mut metric, &mut before) {
                continue;
            }
            let start = if delta { self.last } else { self.started };
            points += otlp::encode(&metric, Window { start, end: now, delta, exemplars_sent }, &mut out);
        }
        self.last = now;
        (out, points)
    }

    const fn is_delta(&self, data: &Data) -> bool {
        match (self.temporality, data) {
            (Temporality::Delta, Data::Counter(_) | Data::Histogram { .. })
            | (Temporality::LowMemory, Data::Histogram { .. }) => true,
            (Temporality::Cumulative, _) | (_, Data::Counter(_) | Data::UpDownCounter(_) | Data::Gauge(_)) => false,
        }
    }

    /// Leaves what is new; `false` if nothing is.
    fn subtract(&mut self, metric: &mut Metric, before: &mut Pushed) -> bool {
        let (name, now) = (metric.name, &mut self.previous);
        match &mut metric.data {
            Data::Counter(points) | Data::UpDownCounter(points) | Data::Gauge(points) => {
                points.retain_mut(|point| number_since(before, now, name, point));
                !points.is_empty()
            }
            Data::Histogram { points, .. } => {
                points.retain_mut(|point| histogram_since(before, now, name, point));
                !points.is_empty()
            }
        }
    }
}

fn newest_exemplar(data: &Data) -> u64 {
    let Data::Histogram { points, .. } = data else { return 0 };
    points.iter().flat_map(|point| point.exemplars.iter().flatten()).map(|exemplar| exemplar.order).max().unwrap_or(0)
}

type Pushed = HashMap<(&'static str, Attributes), Previous>;

/// A count that is less than it was has begun anew: a server that was deleted and added again.
fn number_since(before: &mut Pushed, now: &mut Pushed, name: &'static str, point: &mut NumberPoint) -> bool {
    let key = (name, point.attributes.clone());
    let value = point.value;
    if let Some(Previous::Number(before)) = before.remove(&key)
        && before <= value
    {
        point.value -= before;
    }
    now.insert(key, Previous::Number(value));
    point.value != 0
}

fn histogram_since(before: &mut Pushed, now: &mut Pushed, name: &'static str, point: &mut HistogramPoint) -> bool {
    let key = (name, point.attributes.clone());
    let seen = Previous::Histogram {
        count: point.count,
        sum: point.sum,
        buckets: point.buckets.clone(),
        exponential: point.exponential.clone(),
    };
    if let Some(Previous::Histogram { count, sum, buckets, exponential }) = before.remove(&key)
        && count <= point.count
    {
        point.count -= count;
        point.sum -= sum;
        for (now, before) in point.buckets.iter_mut().zip(buckets) {
            *now = now.saturating_sub(before);
        }
        if let (Some(now), Some(before)) = (&mut point.exponential, exponential) {
            *now = now.since(&before);
        }
    }
    now.insert(key, seen);
    point.count > 0
}

fn unix_nanos() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{HistogramKind, ServiceConfig};
    use crate::export::Kept;
    use crate::metrics::{Exemplar, Histogram, Info, MeterSource};
    use crate::resource::Resource;
    use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
    use opentelemetry_proto::tonic::metrics::v1::metric::Data as Proto;
    use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
    use opentelemetry_proto::tonic::metrics::v1::{AggregationTemporality, Metric as ProtoMetric};
    use prost::Message;

    /// Two numbers that stay, and a histogram.
    struct Work(Mutex<(Histogram, u64)>);

    /// A counter for each server there is.
    #[derive(Default)]
    struct Servers(Mutex<Vec<(i64, u64)>>);

    impl MeterSource for Servers {
        fn collect(&self, out: &mut Vec<Metric>) {
            let servers = self.0.lock().unwrap();
            let point =
                |(server, count): &(i64, u64)| NumberPoint::new(Attributes::none().with("server", *server), *count);
            out.push(Metric::counter("servers", "", "", servers.iter().map(point).collect()));
        }
    }

    impl Work {
        fn new(histogram: HistogramKind) -> Self {
            let info = Info { name: "work.duration", description: "", unit: "s", bounds: &[0.1, 1.0] };
            Self(Mutex::new((Histogram::new(info, histogram == HistogramKind::Exponential, 10), 0)))
        }

        fn done(&self, times: u64) {
            let (histogram, order) = &mut *self.0.lock().unwrap();
            for _ in 0..times {
                *order += 1;
                let exemplar = Exemplar {
                    value: 0.5,
                    time_unix_nanos: unix_nanos(),
                    order: *order,
                    trace_id: [1; 16],
                    span_id: [2; 8],
                };
                histogram.record(Attributes::none(), 0.5, Some(exemplar));
            }
        }
    }

    impl MeterSource for Work {
        fn collect(&self, out: &mut Vec<Metric>) {
            let points = vec![NumberPoint { attributes: Attributes::none(), value: 7 }];
            for (name, data) in [("ticks", Data::Counter(points.clone())), ("live", Data::UpDownCounter(points))] {
                out.push(Metric { name, description: "", unit: "{tick}", data });
            }
            out.extend(self.0.lock().unwrap().0.collect());
        }
    }

    fn rig(config: &MetricsConfig) -> (Reader, Arc<Work>, Arc<Kept>) {
        let work = Arc::new(Work::new(config.histogram));
        let mut sources = Sources::default();
        sources.add(Arc::clone(&work) as _);
        let kept = Arc::new(Kept::default());
        let envelope = Envelope::new(&Resource::new(
            &ServiceConfig { name: "edge".to_owned(), ..ServiceConfig::default() },
            Vec::new(),
        ));
        (Reader::new(config, sources, envelope, Arc::clone(&kept) as Arc<dyn Outlet>), work, kept)
    }

    fn pushed(kept: &Kept) -> Vec<ProtoMetric> {
        let (bytes, points) = kept.take().pop().unwrap();
        let mut message = ExportMetricsServiceRequest::decode(bytes).unwrap();
        let resource = message.resource_metrics.pop().unwrap();
        assert_eq!(resource.resource.unwrap().attributes[0].key, "service.name");
        let scope = resource.scope_metrics.into_iter().next().unwrap();
        assert_eq!(scope.scope.unwrap().name, "haproxy-vitals");
        let len = |metric: &ProtoMetric| match metric.data.as_ref().unwrap() {
            Proto::Sum(sum) => sum.data_points.len(),
            Proto::Histogram(histogram) => histogram.data_points.len(),
            Proto::ExponentialHistogram(histogram) => histogram.data_points.len(),
            other => panic!("{other:?}"),
        };
        assert_eq!(scope.metrics.iter().map(len).sum::<usize>() as u64, points);
        scope.metrics
    }

    fn work_duration(metrics: &[ProtoMetric]) -> Option<(u64, i32, usize)> {
        let metric = metrics.iter().find(|metric| metric.name == "work.duration")?;
        assert_eq!(metric.unit, "s");
        Some(match metric.data.as_ref().unwrap() {
            Proto::Histogram(h) => {
                let point = &h.data_points[0];
                assert_eq!(point.bucket_counts.iter().sum::<u64>(), point.count);
                assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
                (point.count, h.aggregation_temporality, point.exemplars.len())
            }
            Proto::ExponentialHistogram(h) => {
                let point = &h.data_points[0];
                let counted: u64 = point.positive.as_ref().unwrap().bucket_counts.iter().sum();
                assert_eq!(counted + point.zero_count, point.count);
                (point.count, h.aggregation_temporality, point.exemplars.len())
            }
            other => panic!("{other:?}"),
        })
    }

    fn tick(metrics: &[ProtoMetric], name: &str) -> Option<i32> {
        let metric = metrics.iter().find(|metric| metric.name == name)?;
        let Some(Proto::Sum(sum)) = &metric.data else { panic!("{metric:?}") };
        Some(sum.aggregation_temporality)
    }

    const CUMULATIVE: i32 = AggregationTemporality::Cumulative as i32;
    const DELTA: i32 = AggregationTemporality::Delta as i32;

    #[test]
    fn cumulative_pushes_count_from_the_start_and_send_an_exemplar_once() {
        for histogram in [HistogramKind::Explicit, HistogramKind::Exponential] {
            let (reader, work, kept) = rig(&MetricsConfig { histogram, ..MetricsConfig::default() });
            work.done(3);
            reader.push();
            assert_eq!(work_duration(&pushed(&kept)), Some((3, CUMULATIVE, 1)), "{histogram:?}");
            reader.push();
            let again = pushed(&kept);
            assert_eq!(work_duration(&again), Some((3, CUMULATIVE, 0)), "{histogram:?}");
            assert_eq!(tick(&again, "ticks"), Some(CUMULATIVE));
        }
    }

    #[test]
    fn delta_pushes_count_from_the_last_one_and_leave_out_what_did_not_change() {
        for histogram in [HistogramKind::Explicit, HistogramKind::Exponential] {
            let config = MetricsConfig { histogram, temporality: Temporality::Delta, ..MetricsConfig::default() };
            let (reader, work, kept) = rig(&config);
            work.done(3);
            reader.push();
            let first = pushed(&kept);
            assert_eq!(work_duration(&first), Some((3, DELTA, 1)));
            assert_eq!((tick(&first, "ticks"), tick(&first, "live")), (Some(DELTA), Some(CUMULATIVE)));
            work.done(2);
            reader.push();
            let second = pushed(&kept);
            assert_eq!(work_duration(&second), Some((2, DELTA, 1)), "{histogram:?}");
            assert_eq!((tick(&second, "ticks"), tick(&second, "live")), (None, Some(CUMULATIVE)));
            reader.push();
            assert_eq!(work_duration(&pushed(&kept)), None);
        }
    }

    #[test]
    fn who_is_gone_is_forgotten_and_who_comes_back_counts_from_zero() {
        let config = MetricsConfig { temporality: Temporality::Delta, ..MetricsConfig::default() };
        let servers = Arc::new(Servers::default());
        let mut sources = Sources::default();
        sources.add(Arc::clone(&servers) as _);
        let envelope = Envelope::new(&Resource::new(&ServiceConfig::default(), Vec::new()));
        let kept = Arc::new(Kept::default());
        let reader = Reader::new(&config, sources, envelope, Arc::clone(&kept) as Arc<dyn Outlet>);
        let push = |now: &[(i64, u64)]| -> Vec<i64> {
            now.clone_into(&mut servers.0.lock().unwrap());
            reader.push();
            let metrics = pushed(&kept);
            let Some(Proto::Sum(sum)) = &metrics[0].data else { panic!("{metrics:?}") };
            assert_eq!(reader.state.lock().unwrap().previous.len(), now.len());
            sum.data_points
                .iter()
                .map(|point| match point.value {
                    Some(Number::AsInt(value)) => value,
                    other => panic!("{other:?}"),
                })
                .collect()
        };
        assert_eq!(push(&[(1, 5), (2, 7)]), [5, 7]);
        assert_eq!(push(&[(2, 9)]), [2]);
        // The first is new, and so is the second: it had counted more.
        assert_eq!(push(&[(1, 3), (2, 4)]), [3, 4]);
    }

    #[test]
    fn low_memory_is_delta_for_histograms_alone() {
        let config = MetricsConfig { temporality: Temporality::LowMemory, ..MetricsConfig::default() };
        let (reader, work, kept) = rig(&config);
        work.done(1);
        reader.push();
        let metrics = pushed(&kept);
        assert_eq!(work_duration(&metrics).map(|d| d.1), Some(DELTA));
        assert_eq!((tick(&metrics, "ticks"), tick(&metrics, "live")), (Some(CUMULATIVE), Some(CUMULATIVE)));
    }
}
