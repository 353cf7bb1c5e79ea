//! From finished records to the collector.
