//! Tracing, through both doors.

mod attack;
mod attributes;
mod conformance;
mod doors;
mod endings;
mod keep;
mod logs;
mod parents;
mod protocols;
mod rules;
mod run_time;
mod samplers;
mod volume;
