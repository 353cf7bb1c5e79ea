//! What is carried and counted of requests for others than spans.

use super::Hot;
use crate::config::Config;
use crate::trace::incoming::Incoming;
use crate::trace::metrics::active;
use crate::trace::picked::Picked;
use crate::trace::record::{Field, Writer, first_field};

/// What is wanted of requests beside spans. All off: nothing but spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wants {
    /// The end of every request, sampled or not.
    pub every_request: bool,
    /// How many are under way, by method and scheme. With `every_request` only.
    pub active_requests: bool,
    /// `Content-Length`. With `every_request` only.
    pub content_length: bool,
}

impl Wants {
    /// What `config` asks for, where metrics or logs are made of requests.
    pub const fn new(config: &Config) -> Self {
        let metrics = &config.metrics;
        Self {
            every_request: metrics.enabled || config.logs.enabled,
            active_requests: metrics.enabled && metrics.active_requests,
            content_length: metrics.enabled && metrics.body_sizes,
        }
    }
}

impl Hot {
    /// Cold on the default path: only where every request is recorded.
    pub(super) fn for_metrics(
        &mut self,
        request: &Incoming<'_>,
        picked: &Picked<'_>,
        sampled: bool,
        record: &mut Writer,
    ) {
        if !sampled {
            self.stats.recorded_only.bump();
        }
        if self.wants.active_requests {
            let class = [active::class(request)];
            record.field(Field::Active, &class);
            if let Some(begun) = active::index(&class).and_then(|index| self.stats.active_begun.get(index)) {
                begun.bump();
            }
        }
        if self.wants.content_length {
            record.present(Field::ContentLength, picked.content_length);
        }
    }

    pub(super) fn no_longer_active(&self, record: &[u8]) {
        let index = active::index(first_field(record, Field::Active));
        if let Some(ended) = index.and_then(|index| self.stats.active_ended.get(index)) {
            ended.bump();
        }
    }
}
