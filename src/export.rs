//! From encoded batches to the collector: a bounded queue, one request at a time, OTLP over gRPC or HTTP.
//!
//! Every span that [`QueueHandle::push`] took ends in exactly one counter of [`ExportStats`](crate::stats::ExportStats).

mod connect;
mod console;
mod error;
mod exporter;
pub mod file;
mod grpc;
mod http;
pub mod json;
mod outlets;
mod queue;
mod report;
mod retry;
pub mod ring;
mod sender;
mod signal;
mod sink;
#[cfg(test)]
mod tests;

pub use connect::ConnectError;
pub use error::{Cause, SendError, SetupError};
pub use exporter::Exporter;
pub use outlets::Outlets;
pub use queue::{QueueHandle, queue};
pub use retry::Retry;
pub use sender::{Accepted, Sender};
pub use signal::Signal;
pub use sink::{Sink, SinkError};

/// Spans on their way, already encoded. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// A complete `opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest`. At most 64 MiB.
    pub bytes: bytes::Bytes,
    /// How many spans it holds.
    pub spans: u64,
}
