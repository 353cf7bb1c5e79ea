//! `[logs]`: the settings, typed.

use std::time::Duration;

use super::ExporterKind;

/// `[logs]`.
#[derive(Debug, Clone, PartialEq)]
pub struct LogsConfig {
    /// Whether each request becomes a log record, sampled or not. `OTEL_LOGS_EXPORTER` turns it on.
    pub enabled: bool,
    /// `OTEL_LOGS_EXPORTER`: where they go.
    pub exporters: Vec<ExporterKind>,
    /// A batch is sent when its oldest record is this old. `OTEL_BLRP_SCHEDULE_DELAY`, milliseconds.
    pub schedule_delay: Duration,
    /// Bound on sending one batch with all its retries. `OTEL_BLRP_EXPORT_TIMEOUT`, milliseconds.
    pub export_timeout: Duration,
    /// Records that may wait to be sent. `OTEL_BLRP_MAX_QUEUE_SIZE`.
    pub max_queue_size: usize,
    /// Records in one batch, at most `max_queue_size`. `OTEL_BLRP_MAX_EXPORT_BATCH_SIZE`.
    pub max_export_batch_size: usize,
    /// Attributes of one record. `OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT`, else `OTEL_ATTRIBUTE_COUNT_LIMIT`.
    pub attribute_count_limit: usize,
    /// Characters of one attribute's text. `OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT`, else
    /// `OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT`.
    pub attribute_value_length_limit: usize,
}

impl Default for LogsConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            exporters: vec![ExporterKind::Otlp],
            schedule_delay: Duration::from_secs(1),
            export_timeout: Duration::from_secs(30),
            max_queue_size: 2048,
            max_export_batch_size: 512,
            attribute_count_limit: 128,
            attribute_value_length_limit: MAX_VALUE_LENGTH,
        }
    }
}

/// Characters: more than any value has, so that the default is no limit.
pub(in crate::config) const MAX_VALUE_LENGTH: usize = 1024 * 1024;
