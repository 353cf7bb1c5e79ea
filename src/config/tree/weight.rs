//! `[[health.backend]]`: how the load that servers report becomes HAProxy's weights.

use std::time::Duration;

/// Where a server's load is told, and how fast its weight follows. Off unless a source is named.
#[derive(Debug, Clone, PartialEq)]
pub struct WeightConfig {
    /// The metadata key (header or trailer) that says the weight itself, 0 to 100 %.
    pub metadata: Option<String>,
    /// Which utilisation of ORCA's load report counts.
    pub orca: Option<OrcaMetric>,
    /// How load reports come.
    pub orca_report: OrcaReport,
    /// With [`OrcaReport::Stream`]: between two reports, as it is asked for.
    pub orca_interval: Duration,
    /// How much of the former value stays in the new one, 0 to 0.99; 0 is no smoothing.
    pub smoothing: f64,
    /// The least weight, in percent of the server's own. 0 lets a server be emptied of new requests.
    pub min: u8,
    /// The greatest, in percent.
    pub max: u8,
    /// A change of fewer percent is not made.
    pub step: u8,
    /// After so long without a report the weight is 100 % again.
    pub expiry: Duration,
}

impl WeightConfig {
    /// Whether any source is named.
    pub fn is_on(&self) -> bool {
        self.metadata.is_some() || self.orca.is_some()
    }

    /// Whether reports come by a stream of their own.
    pub fn has_stream(&self) -> bool {
        self.orca.is_some() && self.orca_report == OrcaReport::Stream
    }
}

impl Default for WeightConfig {
    fn default() -> Self {
        Self {
            metadata: None,
            orca: None,
            orca_report: OrcaReport::Trailers,
            orca_interval: Duration::from_secs(10),
            smoothing: 0.5,
            min: 10,
            max: 100,
            step: 5,
            // gRFC A58, `weight_expiration_period`.
            expiry: Duration::from_mins(3),
        }
    }
}

/// One utilisation of `xds.data.orca.v3.OrcaLoadReport`: 0 is idle, 1 is full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrcaMetric {
    /// `cpu_utilization`.
    Cpu,
    /// `mem_utilization`.
    Memory,
    /// `application_utilization`.
    Application,
    /// An entry of `named_metrics`.
    Named(String),
    /// An entry of `utilization`.
    Utilization(String),
}

/// How load reports come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrcaReport {
    /// With the answers of checks.
    Trailers,
    /// By `xds.service.orca.v3.OpenRcaService/StreamCoreMetrics`, on a connection of its own.
    Stream,
}
