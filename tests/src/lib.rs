//! The harness: a real HAProxy, a strict OTLP receiver, origins and gRPC backends that misbehave on demand, and clients.
//!
//! Everything here is blocking and owns its threads, so that a case reads from top to bottom. Whatever goes wrong panics
//! with a sentence that says what was awaited: in a harness a panic is the answer.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a harness fails its test by panicking"
)]

pub mod agent;
pub mod agent_program;
pub mod client;
pub mod collector;
pub mod exposition;
pub mod foreign;
pub mod grpc_backend;
pub mod haproxy;
pub mod names;
pub mod odd;
pub mod otlp;
pub mod pki;
pub mod poll;
pub mod port;
pub mod prometheus;
pub mod proxy;
pub mod relay;
mod server;
pub mod third_party;
pub mod upstream;
pub mod vitals;

pub use agent_program::{AgentBuilder, AgentProgram};
pub use collector::Collector;
pub use foreign::{EchoServer, Foreign, ForeignBackend, HealthServer};
pub use grpc_backend::GrpcBackend;
pub use haproxy::{Haproxy, Mode};
pub use names::NameServer;
pub use odd::OddServer;
pub use otlp::{Behaviour, OtlpReceiver, Refusal, SpanView};
pub use pki::Pki;
pub use poll::SOON;
pub use port::Port;
pub use prometheus::Prometheus;
pub use proxy::HttpProxy;
pub use relay::Relay;
pub use upstream::Upstream;
