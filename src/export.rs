//! From finished records to the collector.

pub mod ring;
