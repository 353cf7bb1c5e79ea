//! From encoded batches to the collector: OTLP over gRPC or HTTP.

mod connect;
mod error;
mod grpc;
mod http;
mod retry;
mod sender;

pub use connect::ConnectError;
pub use error::{Cause, SendError, SetupError};
pub use retry::Retry;
pub use sender::{Accepted, Sender};

/// Spans on their way, already encoded. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// A complete `opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest`. At most 64 MiB.
    pub bytes: bytes::Bytes,
    /// How many spans it holds.
    pub spans: u64,
}
