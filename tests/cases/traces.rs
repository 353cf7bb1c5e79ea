//! Tracing, through every door.

mod agree;
mod attack;
mod attributes;
mod baggage;
mod clients;
mod conformance;
mod doors;
mod endings;
mod filter;
mod http3;
mod keep;
mod logs;
mod native;
mod parents;
mod propagators;
mod protocols;
mod rules;
mod run_time;
mod said;
mod samplers;
mod soak;
mod tcp;
mod tls;
mod trust;
mod variables;
mod volume;
