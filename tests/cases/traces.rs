//! Tracing, through both doors.

mod attack;
mod attributes;
mod baggage;
mod clients;
mod conformance;
mod doors;
mod endings;
mod keep;
mod logs;
mod parents;
mod propagators;
mod protocols;
mod rules;
mod run_time;
mod said;
mod samplers;
mod tls;
mod trust;
mod variables;
mod volume;
