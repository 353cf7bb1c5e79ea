//! What the doors must gather, which follows from the settings alone: what nobody asked for costs nothing.
//!
//! `lua/otel.cfg` is told through environment variables, which HAProxy reads after it has loaded the module; the other doors ask
//! [`Plan`] itself.

use super::propagation::doors::{DoorPlan, Frontends};
use crate::config::{AttributesConfig, Config};

/// What is gathered of each request beyond what always is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// At the start: frontend, source, TLS, method, version and target, beside the headers.
    pub head: bool,
    /// With the response, in this order. At most [`MAX_GATHERED`].
    pub gathered: Vec<Gather>,
    /// What becomes of headers.
    pub headers: DoorPlan,
    /// `tracestate` is changed often: the profile does so natively, at the cost of a second rule for every request.
    pub tracestate: bool,
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
        let head = config.traces.enabled && (by_frontend || config.traces.sampling.needs_head() || counted);
        // Callers that are not trusted lose theirs, and consistent samplers write their own.
        let tracestate = headers.untrusted != Frontends::default() || config.traces.sampler.is_consistent();
        let mut plan = Self { head, gathered: gathered(&config.attributes), headers, tracestate };
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

    /// Bytes that are taken of each gathered value: all of them and what is carried must fit into one buffer of HAProxy's.
    pub fn value_bytes(&self) -> usize {
        (MAX_GATHERED_BYTES / self.gathered.len().max(1)).min(MAX_VALUE)
    }

    /// Variables for `lua/otel.cfg`, and their values. Those that are absent here must be absent there.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let mut variables = Vec::new();
        if self.head {
            variables.push(("VITALS_HEAD", "1".to_owned()));
        }
        if self.tracestate {
            variables.push(("VITALS_TRACESTATE", "1".to_owned()));
        }
        variables.extend(self.headers.environment());
        if !self.gathered.is_empty() {
            let most = self.value_bytes();
            let field =
                |gather: &Gather| format!(" %[{}{},bytes(0,{most}),hex]", gather.expression(), gather.cast_to_text());
            let fields = self.gathered.iter().map(field);
            variables.push(("VITALS_FIELDS", fields.collect()));
        }
        variables
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

    /// A converter that takes text and leaves it as it is: without it HAProxy hands numbers, booleans and addresses to the
    /// next one in binary form. What is binary itself must stay so: as text it ends at a NUL.
    fn cast_to_text(&self) -> &'static str {
        match self {
            Self::Fetch(FINGERPRINT) | Self::ResponseHeader(_) => "",
            Self::Variable(_) | Self::Fetch(_) => ",concat()",
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

/// Values that may be gathered. The record has one field for each.
pub const MAX_GATHERED: usize = 64;

/// Bytes of all gathered values together. They are written twice as long, beside two times what is carried, the request line and
/// the fixed values: with the default `tune.bufsize` of 16 KiB there is room.
const MAX_GATHERED_BYTES: usize = 3072;

/// Bytes of one gathered value.
const MAX_VALUE: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn haproxy_is_told_what_is_wanted_and_nothing_else() {
        assert_eq!(Plan::default().environment(), []);
        let gathered = vec![
            Gather::ResponseHeader("x-cache".to_owned()),
            Gather::Variable("txn.user".to_owned()),
            Gather::Fetch("ssl_fc_cipher"),
        ];
        let fields = [
            " %[res.fhdr(x-cache,-1),bytes(0,512),hex]",
            " %[var(txn.user),concat(),bytes(0,512),hex]",
            " %[ssl_fc_cipher,concat(),bytes(0,512),hex]",
        ]
        .concat();
        let plan = Plan { head: true, gathered, ..Plan::default() };
        assert_eq!(plan.environment(), [("VITALS_HEAD", "1".to_owned()), ("VITALS_FIELDS", fields)]);
    }
}
