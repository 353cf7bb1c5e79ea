//! Metrics, log records and the memory of the last requests, put together from the settings.

use std::sync::Arc;

use super::process::ProcessError;
use crate::config::{Config, ExporterKind};
use crate::export::envelope::Envelope;
use crate::export::{Outlet, Outlets, Signal};
use crate::health::Checker;
use crate::health::observe::{AgentNames, CheckMetrics};
use crate::metrics::{Published, Sources};
use crate::resource::Resource;
use crate::runtime::Tasks;
use crate::trace::logs::LogBatch;
use crate::trace::metrics::Meter;
use crate::trace::metrics::active::Active;
use crate::trace::metrics::own::Own;
use crate::trace::observers::Observers;
use crate::trace::plan::Plan;
use crate::trace::recent::Recent;
use crate::trace::wording::Wording;

/// What is made beside spans. All absent where the settings do not ask for it.
#[derive(Default)]
pub(super) struct Signals {
    /// Of finished requests.
    pub(super) observers: Observers,
    pub(super) metrics: Option<Published>,
    pub(super) logs: Option<Arc<Outlets>>,
    pub(super) recent: Option<Arc<Recent>>,
}

impl Signals {
    /// By the settings; its tasks run until the process stops. Without traces nothing is made of requests.
    pub(super) fn start(
        config: &Config,
        checker: Option<&Checker>,
        resource: &Resource,
        tasks: &Tasks,
    ) -> Result<Self, ProcessError> {
        let mut signals = Self::default();
        let mut sources = Sources::default();
        if config.traces.enabled {
            signals.requests(config, &mut sources, resource, tasks)?;
        }
        if config.metrics.enabled {
            let mut prometheus = Sources::default();
            if let Some(checker) = checker {
                sources.add(Arc::new(CheckMetrics::new(checker, config)));
                if config.metrics.grpc_agent_names {
                    prometheus.add(Arc::new(AgentNames::new(checker)));
                }
            }
            if !sources.is_empty() {
                signals.metrics = Some(Published::start(config, sources, prometheus, resource, tasks)?);
            }
        }
        Ok(signals)
    }

    /// What is made of finished requests.
    fn requests(
        &mut self,
        config: &Config,
        sources: &mut Sources,
        resource: &Resource,
        tasks: &Tasks,
    ) -> Result<(), ProcessError> {
        let plan = Plan::new(config);
        let wording = Arc::new(Wording::new(&config.attributes, &plan));
        if config.metrics.enabled {
            let meter = Arc::new(Meter::new(&config.metrics, &plan, Arc::clone(&wording)));
            measure(config, &meter, sources);
            self.observers.meter = Some(meter);
        }
        if config.logs.enabled {
            self.logs = Outlets::open(config, Signal::Logs, tasks)?;
            let batch = |outlets: &Arc<Outlets>| {
                let outlet = Arc::clone(outlets) as Arc<dyn Outlet>;
                LogBatch::new(&config.logs, Arc::clone(&wording), Envelope::new(resource), outlet)
            };
            self.observers.logs = self.logs.as_ref().map(batch);
        }
        if config.traces.recent > 0 {
            let recent = Arc::new(Recent::new(config.traces.recent));
            self.observers.recent = Some(Arc::clone(&recent));
            self.recent = Some(recent);
        }
        Ok(())
    }
}

/// What requests took, and what tracing itself did.
fn measure(config: &Config, meter: &Arc<Meter>, sources: &mut Sources) {
    let exports = !config.export.has(ExporterKind::None);
    sources.add(Arc::clone(meter) as _);
    sources.add(Arc::new(Own { queue_capacity: exports.then_some(config.export.max_queue_size as u64) }));
    if config.metrics.active_requests {
        sources.add(Arc::new(Active));
    }
}
