//! The metrics signal: what requests took, and what the module itself did. HTTP and OpenTelemetry SDK semantic conventions 1.44.0.
//!
//! [`Meter`] measures every finished request, sampled or not, on the runtime's threads. [`otlp`] and [`prometheus`] write what
//! [`Meter::collect`] gives; [`reader`] pushes it.

pub mod active;
mod exponential;
mod histogram;
pub mod listener;
mod meter;
mod model;
pub mod otlp;
pub mod own;
pub mod prometheus;
pub mod reader;

pub use exponential::Exponential;
pub use meter::{Meter, MeterSource};
pub use model::{Attributes, Data, Exemplar, HistogramPoint, Metric, NumberPoint, Value};
