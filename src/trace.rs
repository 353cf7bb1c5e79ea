//! Traces: from a request's bytes to spans. No Lua, no I/O.
//!
//! The hot half ([`hot`]) runs on HAProxy's threads and fills a [`record`]; HAProxy keeps it from a request's start to its end.
//! The cold half runs on the runtime's threads: [`spans`] says a finished request in OpenTelemetry's words.

pub mod headers;
pub mod hot;
pub mod htx;
pub mod incoming;
pub mod logs;
pub mod metrics;
pub mod observers;
pub mod outcome;
pub mod picked;
pub mod pipeline;
pub mod plan;
pub mod propagation;
pub mod protobuf;
pub mod recent;
pub mod record;
pub mod sampler;
pub mod spans;
pub mod w3c;
pub mod wanted;
pub mod wording;
