//! What the doors must gather, which follows from the settings alone: what nobody asked for costs nothing.
//!
//! `lua/otel.cfg` is told through environment variables, which HAProxy reads after it has loaded the module; the other doors ask
//! [`Plan`] itself.

use crate::config::Config;

/// What is gathered of each request beyond what always is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// At the start: frontend, source, TLS, method, version and target, beside the headers.
    pub head: bool,
    /// With the response, in this order. At most [`MAX_GATHERED`].
    pub gathered: Vec<Gather>,
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
        let mut plan = Self::default();
        let metrics = &config.metrics;
        if metrics.enabled {
            plan.head |= metrics.active_requests;
            if metrics.body_sizes {
                plan.gather(Gather::ResponseHeader("content-length".to_owned()));
            }
        }
        plan
    }

    /// Once, whoever asks.
    fn gather(&mut self, value: Gather) {
        if !self.gathered.contains(&value) {
            self.gathered.push(value);
        }
    }

    /// Variables for `lua/otel.cfg`, and their values. Those that are absent here must be absent there.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let mut variables = Vec::new();
        if self.head {
            variables.push(("VITALS_HEAD", "1".to_owned()));
        }
        if !self.gathered.is_empty() {
            let fields = self.gathered.iter().map(|gather| format!(" %[{},hex]", gather.expression()));
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
}

/// Values that may be gathered. The record has one field for each.
pub const MAX_GATHERED: usize = 64;

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
        let fields = " %[res.fhdr(x-cache,-1),hex] %[var(txn.user),hex] %[ssl_fc_cipher,hex]".to_owned();
        let plan = Plan { head: true, gathered };
        assert_eq!(plan.environment(), [("VITALS_HEAD", "1".to_owned()), ("VITALS_FIELDS", fields)]);
    }
}
