//! Export against real collectors on the loopback.

mod collector;
mod grpc;
mod http;
mod outage;
mod queue;
mod rig;
