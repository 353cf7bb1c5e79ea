//! Traces: from a request's bytes to spans. No Lua, no I/O.
//!
//! The hot half runs on HAProxy's threads: [`carry`] holds what `begin` found and HAProxy keeps for us. The cold half
//! runs on the runtime's threads: [`record`] reads a finished request, [`spans`] says it in OpenTelemetry's words.

pub mod carry;
pub mod connection;
pub mod headers;
pub mod hot;
pub mod incoming;
pub mod logs;
pub mod metrics;
pub mod observers;
pub mod outcome;
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
