//! What requests took, and what tracing itself did: sources of [`metrics`](crate::metrics). HTTP and OpenTelemetry SDK semantic
//! conventions 1.44.0.
//!
//! [`Meter`] measures every finished request, sampled or not, on the runtime's threads.

pub mod active;
mod meter;
pub mod own;

pub use meter::Meter;
