//! From encoded batches to the collector: a bounded queue, one request at a time, OTLP over gRPC or HTTP, plain or with TLS, straight or
//! through a proxy. One queue and one sender for each signal.
//!
//! Every item that [`QueueHandle::push`] took ends in exactly one counter of [`ExportStats`](crate::stats::ExportStats).

mod answer;
mod circuit;
mod connect;
mod console;
pub mod envelope;
mod error;
mod exporter;
pub mod file;
#[doc(hidden)]
pub mod fuzz;
mod grpc;
mod http;
pub mod json;
mod link;
mod outlets;
mod payload;
mod queue;
mod report;
mod retry;
pub mod ring;
mod sender;
mod sink;
#[cfg(test)]
mod tests;
mod tls;
mod tunnel;

pub use answer::Accepted;
pub use connect::ConnectError;
pub use error::{Cause, SendError, SetupError};
pub use exporter::Exporter;
#[cfg(test)]
pub(crate) use outlets::Kept;
pub use outlets::{OpenError, Outlet, Outlets};
pub use queue::{QueueHandle, queue};
pub use retry::Retry;
pub use sender::Sender;
pub use sink::{Sink, SinkError};

pub use crate::config::Signal;

/// Spans, data points or log records on their way, already encoded. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// A complete request of the signal's service, such as `opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest`.
    /// At most 64 MiB.
    pub bytes: bytes::Bytes,
    /// How many spans, data points or log records it holds.
    pub items: u64,
}
