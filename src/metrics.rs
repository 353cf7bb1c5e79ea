//! Metrics on their way out, whoever measures: the model of a collection, what writes it, and who asks for it.
//!
//! A [`MeterSource`] says what its metrics are now. [`Sources`] are collected by [`reader`], which pushes OTLP, and by [`listener`],
//! which answers Prometheus. [`Published`] is both, by the settings.

mod exponential;
mod histogram;
mod limit;
pub mod listener;
mod model;
pub mod otlp;
pub mod prometheus;
mod publish;
pub mod reader;

use std::fmt;
use std::sync::Arc;

pub use exponential::Exponential;
pub use histogram::{Histogram, Info};
pub use model::{Attributes, Data, Exemplar, HistogramPoint, Metric, NumberPoint, Value};
pub use publish::{PublishError, Published};

/// Where metrics come from. Read whenever somebody collects, by any thread.
pub trait MeterSource: Send + Sync {
    /// Appends its metrics: cumulative, each name once, each set of attributes once.
    fn collect(&self, out: &mut Vec<Metric>);
}

/// All sources of a process, in the order of their metrics. No two may have a metric of one name.
#[derive(Clone, Default)]
pub struct Sources(Vec<Arc<dyn MeterSource>>);

impl Sources {
    /// One more.
    pub fn add(&mut self, source: Arc<dyn MeterSource>) {
        self.0.push(source);
    }

    /// These, then `others`.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All metrics as they are now.
    pub fn collect(&self) -> Vec<Metric> {
        let mut metrics = Vec::new();
        for source in &self.0 {
            source.collect(&mut metrics);
        }
        metrics
    }
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sources").field(&self.0.len()).finish()
    }
}
