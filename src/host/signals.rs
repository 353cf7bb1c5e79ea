//! Metrics, log records and the memory of the last requests: put together from the settings.

use std::sync::Arc;

use crate::config::{Config, ExporterKind};
use crate::export::Signal;
use crate::runtime::Tasks;
use crate::trace::envelope::Envelope;
use crate::trace::logs::LogBatch;
use crate::trace::metrics::Meter;
use crate::trace::metrics::active::Active;
use crate::trace::metrics::listener::{Closer, Exposition, ListenError, Listener};
use crate::trace::metrics::own::Own;
use crate::trace::metrics::reader::Reader;
use crate::trace::observers::{self, Observers, Outlet};
use crate::trace::plan::Plan;
use crate::trace::recent::Recent;

/// What is made of finished requests beside spans. All absent where the settings do not ask for it.
#[derive(Default)]
pub(super) struct Signals {
    pub(super) observers: Observers,
    pub(super) reader: Option<Reader>,
    pub(super) exposition: Option<Arc<Exposition>>,
    pub(super) listener: Option<Closer>,
    pub(super) recent: Option<Arc<Recent>>,
}

impl Signals {
    /// By the settings; its tasks run until the process stops.
    pub(super) fn start(config: &Config, tasks: &Tasks) -> Result<Self, ListenError> {
        let mut signals = Self::default();
        if !config.traces.enabled {
            return Ok(signals);
        }
        let plan = Plan::new(config);
        if config.metrics.enabled {
            signals.metrics(config, &plan, tasks)?;
        }
        if config.logs.enabled {
            let outlet = outlet(Signal::Logs, &config.logs.exporters);
            signals.observers.logs = outlet.map(|outlet| LogBatch::new(&config.logs, envelope(config), outlet));
        }
        if config.traces.recent > 0 {
            let recent = Arc::new(Recent::new(config.traces.recent, plan.gathered.len()));
            signals.observers.recent = Some(Arc::clone(&recent));
            signals.recent = Some(recent);
        }
        Ok(signals)
    }

    fn metrics(&mut self, config: &Config, plan: &Plan, tasks: &Tasks) -> Result<(), ListenError> {
        let meter = Arc::new(Meter::new(&config.metrics, plan));
        let exports = config.export.exporter != ExporterKind::None;
        meter.add_source(Arc::new(Own { queue_capacity: exports.then_some(config.export.max_queue_size as u64) }));
        if config.metrics.active_requests {
            meter.add_source(Arc::new(Active));
        }
        if let Some(outlet) = outlet(Signal::Metrics, &config.metrics.exporters) {
            let reader = Reader::new(&config.metrics, Arc::clone(&meter), envelope(config), outlet);
            tasks.spawn("metrics", reader.clone().run(tasks.stop()));
            self.reader = Some(reader);
        }
        let exposition = Arc::new(Exposition::new(Arc::clone(&meter), observers::resource(config)));
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

/// The way out of a signal that the settings ask for.
fn outlet(_signal: Signal, _exporters: &[ExporterKind]) -> Option<Arc<dyn Outlet>> {
    None
}

fn envelope(config: &Config) -> Envelope {
    Envelope::new(&observers::resource(config))
}
