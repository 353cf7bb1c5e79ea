//! Metrics, log records and the memory of the last requests, put together from the settings; and the ways out of each signal.

use std::sync::Arc;

use super::process::ProcessError;
use crate::config::{Config, ExportConfig, ExporterKind};
use crate::export::envelope::Envelope;
use crate::export::{Outlet, Outlets, Sender, Signal, Sink};
use crate::metrics::Sources;
use crate::metrics::listener::{Closer, Exposition, Listener};
use crate::metrics::reader::Reader;
use crate::resource::Resource;
use crate::runtime::Tasks;
use crate::stats::{self, ExportStats};
use crate::trace::logs::LogBatch;
use crate::trace::metrics::Meter;
use crate::trace::metrics::active::Active;
use crate::trace::metrics::own::Own;
use crate::trace::observers::Observers;
use crate::trace::plan::Plan;
use crate::trace::recent::Recent;
use crate::trace::wording::Wording;

/// What is made of finished requests beside spans. All absent where the settings do not ask for it.
#[derive(Default)]
pub(super) struct Signals {
    pub(super) observers: Observers,
    pub(super) reader: Option<Reader>,
    pub(super) metrics: Option<Arc<Outlets>>,
    pub(super) logs: Option<Arc<Outlets>>,
    pub(super) exposition: Option<Arc<Exposition>>,
    pub(super) listener: Option<Closer>,
    pub(super) recent: Option<Arc<Recent>>,
}

impl Signals {
    /// By the settings; its tasks run until the process stops.
    pub(super) fn start(config: &Config, resource: &Resource, tasks: &Tasks) -> Result<Self, ProcessError> {
        let mut signals = Self::default();
        if !config.traces.enabled {
            return Ok(signals);
        }
        let plan = Plan::new(config);
        let wording = Arc::new(Wording::new(&config.attributes, &plan));
        if config.metrics.enabled {
            signals.metrics(config, (&plan, &wording), resource, tasks)?;
        }
        if config.logs.enabled {
            signals.logs = outlets(config, Signal::Logs, tasks)?;
            let batch = |outlets: &Arc<Outlets>| {
                let outlet = Arc::clone(outlets) as Arc<dyn Outlet>;
                LogBatch::new(&config.logs, Arc::clone(&wording), Envelope::new(resource), outlet)
            };
            signals.observers.logs = signals.logs.as_ref().map(batch);
        }
        if config.traces.recent > 0 {
            let recent = Arc::new(Recent::new(config.traces.recent, plan.gathered.len()));
            signals.observers.recent = Some(Arc::clone(&recent));
            signals.recent = Some(recent);
        }
        Ok(signals)
    }

    fn metrics(
        &mut self,
        config: &Config,
        (plan, wording): (&Plan, &Arc<Wording>),
        resource: &Resource,
        tasks: &Tasks,
    ) -> Result<(), ProcessError> {
        let meter = Arc::new(Meter::new(&config.metrics, plan, Arc::clone(wording)));
        let exports = !config.export.has(ExporterKind::None);
        let mut sources = Sources::default();
        sources.add(Arc::clone(&meter) as _);
        sources.add(Arc::new(Own { queue_capacity: exports.then_some(config.export.max_queue_size as u64) }));
        if config.metrics.active_requests {
            sources.add(Arc::new(Active));
        }
        self.metrics = outlets(config, Signal::Metrics, tasks)?;
        if let Some(outlets) = &self.metrics {
            let outlet = Arc::clone(outlets) as Arc<dyn Outlet>;
            let reader = Reader::new(&config.metrics, sources.clone(), Envelope::new(resource), outlet);
            tasks.spawn("metrics", reader.clone().run(tasks.stop()));
            self.reader = Some(reader);
        }
        let exposition = Arc::new(Exposition::new(sources, resource.clone()));
        if let Some(address) = config.metrics.listen {
            let listener = Listener::bind(address, Arc::clone(&exposition), tasks)?;
            self.listener = Some(listener.closer());
            tasks.spawn("scrapes", listener.run(tasks.stop()));
        }
        self.exposition = Some(exposition);
        self.observers.meter = Some(meter);
        Ok(())
    }
}

/// The ways out of a signal that the settings ask for: a collector's queue with the task that empties it, and local sinks.
/// Nothing where there are none.
pub(super) fn outlets(config: &Config, signal: Signal, tasks: &Tasks) -> Result<Option<Arc<Outlets>>, ProcessError> {
    let export = for_signal(config, signal);
    let sinks = Sink::open_all(&export, &[signal])?;
    let queue = if export.has(ExporterKind::Otlp) {
        let (queue, exporter) = crate::export::queue(&export, Sender::new(&export, signal)?);
        tasks.spawn("export", exporter.run(tasks.stop()));
        Some(Arc::new(queue))
    } else {
        None
    };
    let some = queue.is_some() || !sinks.is_empty();
    Ok(some.then(|| Arc::new(Outlets::new(signal, stats_of(signal), queue, sinks))))
}

const fn stats_of(signal: Signal) -> &'static ExportStats {
    match signal {
        Signal::Traces => &stats::EXPORT,
        Signal::Metrics => &stats::METRICS_EXPORT,
        Signal::Logs => &stats::LOGS_EXPORT,
    }
}

/// `[export]` with what a signal has of its own: exporters, bounds and times.
fn for_signal(config: &Config, signal: Signal) -> ExportConfig {
    let mut export = config.export.clone();
    match signal {
        Signal::Traces => {}
        Signal::Metrics => {
            export.exporters.clone_from(&config.metrics.exporters);
            export.export_timeout = config.metrics.timeout;
        }
        Signal::Logs => {
            export.exporters.clone_from(&config.logs.exporters);
            export.export_timeout = config.logs.export_timeout;
            export.max_queue_size = config.logs.max_queue_size;
        }
    }
    export
}
