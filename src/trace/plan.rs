//! What must be gathered of requests, which follows from the settings alone: what no setting asks for costs nothing.

use super::propagation::doors::DoorPlan;
use super::record::MAX_VALUE;
use crate::config::{AttributesConfig, Config};

/// What is gathered of each request beyond what always is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// At the start: frontend, source and TLS, beside what the request itself says.
    pub arrival: bool,
    /// With the response, in this order. At most [`MAX_GATHERED`].
    pub gathered: Vec<Gather>,
    /// What becomes of headers.
    pub headers: DoorPlan,
}

/// One value that HAProxy is asked for when there is a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gather {
    /// A response header's value, by its lower-case name: the last one, whole (`res.fhdr`).
    ResponseHeader(String),
    /// A variable with its scope, such as `txn.user`.
    Variable(String),
    /// A sample fetch without arguments, such as `ssl_fc_cipher`.
    Fetch(&'static str),
}

impl Plan {
    /// What `config` asks for.
    pub fn new(config: &Config) -> Self {
        let headers = DoorPlan::new(&config.traces);
        let by_frontend = !config.traces.trust_of.is_empty();
        let metrics = &config.metrics;
        let counted = metrics.enabled && metrics.active_requests;
        let arrival = config.traces.enabled && (by_frontend || config.traces.sampling.needs_head() || counted);
        let mut plan = Self { arrival, gathered: gathered(&config.attributes), headers };
        if metrics.enabled && metrics.body_sizes {
            plan.gather(Gather::ResponseHeader("content-length".to_owned()));
        }
        plan
    }

    /// Once, whoever asks.
    fn gather(&mut self, value: Gather) {
        if !self.gathered.contains(&value) {
            self.gathered.push(value);
        }
    }

    /// Where `gather` stands among what is gathered.
    pub fn place(&self, gather: &Gather) -> Option<usize> {
        self.gathered.iter().position(|one| one == gather)
    }

    /// Bytes that are taken of each gathered value: all of them fit into one record.
    pub fn value_bytes(&self) -> usize {
        value_bytes(self.gathered.len())
    }
}

impl Gather {
    /// HAProxy's expression for it. Configuration manual, 7.3.
    pub fn expression(&self) -> String {
        match self {
            Self::ResponseHeader(name) => format!("res.fhdr({name},-1)"),
            Self::Variable(name) => format!("var({name})"),
            Self::Fetch(name) => (*name).to_owned(),
        }
    }
}

/// What `config` asks for beyond what every request gives, in the order of the settings.
fn gathered(attributes: &AttributesConfig) -> Vec<Gather> {
    let variable = |name: &String| Gather::Variable(name.clone());
    let mut all: Vec<_> =
        attributes.route_variable.iter().chain(&attributes.span_name_variable).map(variable).collect();
    all.extend(attributes.variables.iter().map(|attribute| variable(&attribute.variable)));
    all.extend(attributes.response_headers.iter().cloned().map(Gather::ResponseHeader));
    if attributes.rpc {
        all.push(Gather::ResponseHeader(GRPC_STATUS.to_owned()));
    }
    all.extend(TLS.iter().filter(|_| attributes.tls).map(|name| Gather::Fetch(name)));
    all.extend(TLS_CLIENT.iter().filter(|_| attributes.tls_client_certificate).map(|name| Gather::Fetch(name)));
    let mut once: Vec<Gather> = Vec::new();
    for gather in all {
        if !once.contains(&gather) {
            once.push(gather);
        }
    }
    once.truncate(MAX_GATHERED);
    once
}

/// Where gRPC says how a call ended, if there is no body: in the headers.
pub(super) const GRPC_STATUS: &str = "grpc-status";

/// Both connections' TLS.
const TLS: [&str; 6] =
    ["ssl_fc_cipher", "ssl_fc_curve", "ssl_fc_alpn", "ssl_fc_sni", "ssl_fc_is_resumed", "ssl_bc_protocol"];

/// The client's certificate.
const TLS_CLIENT: [&str; 3] = ["ssl_c_s_dn", "ssl_c_i_dn", FINGERPRINT];

/// Binary.
const FINGERPRINT: &str = "ssl_c_sha1";

/// Bytes that are taken of each of `count` gathered values.
pub fn value_bytes(count: usize) -> usize {
    (MAX_GATHERED_BYTES / count.max(1)).min(MAX_VALUE)
}

/// Values that may be gathered. The record has one field for each.
pub const MAX_GATHERED: usize = 64;

/// Bytes of all gathered values together.
const MAX_GATHERED_BYTES: usize = 3072;
