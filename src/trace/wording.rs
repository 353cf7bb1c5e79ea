//! The settings of the cold half, compiled once: what spans say beyond what every request gives.

mod forwarding;
mod limits;
mod query;
mod routes;
mod rpc;

pub(super) use forwarding::{Forwarding, Origin};
pub(super) use limits::Limits;
pub(super) use query::QueryRules;
pub(super) use routes::Routes;
#[cfg(feature = "host")]
pub(crate) use rpc::STATUSES;
pub(super) use rpc::{Call, Method, OTHER, RpcRules};

use super::plan::{GRPC_STATUS, Gather, Plan};
use super::protobuf::{self, SPAN_ATTRIBUTES};
use crate::config::{AttributesConfig, ChildSpan, FixedValue, ValueKind};

/// How spans are worded. The default is that of a proxy without settings.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each follows from a setting of its own")]
pub struct Wording {
    /// `None`: the conventions' list.
    pub(super) methods: Option<Vec<Vec<u8>>>,
    pub(super) query: QueryRules,
    pub(super) routes: Routes,
    pub(super) route_variable: Option<usize>,
    pub(super) name_variable: Option<usize>,
    pub(super) forwarding: Option<Forwarding>,
    /// Attributes' names, in the order of `Wanted`.
    pub(super) request_headers: Vec<Vec<u8>>,
    /// Places among what is gathered, with attributes' names.
    pub(super) response_headers: Vec<(usize, Vec<u8>)>,
    pub(super) variables: Vec<(usize, Vec<u8>, ValueKind)>,
    pub(super) tls: Tls,
    /// How many values are gathered.
    pub(super) gathered: usize,
    /// A setting is not at its default: what follows from it is looked at.
    pub(super) asks: bool,
    pub(super) rpc: Option<RpcRules>,
    /// Encoded attributes that every span has, and how many they are.
    pub(super) fixed: (Vec<u8>, usize),
    pub(super) events: bool,
    pub(super) queue_span: bool,
    pub(super) connect_span: bool,
    pub(super) limits: Limits,
}

/// Places among what is gathered.
#[derive(Debug, Clone, Default)]
pub(super) struct Tls {
    /// `tls.established` is said.
    pub(super) wanted: bool,
    pub(super) cipher: Option<usize>,
    pub(super) curve: Option<usize>,
    pub(super) next_protocol: Option<usize>,
    pub(super) server_name: Option<usize>,
    pub(super) resumed: Option<usize>,
    pub(super) to_server: Option<usize>,
    pub(super) subject: Option<usize>,
    pub(super) issuer: Option<usize>,
    pub(super) fingerprint: Option<usize>,
}

impl Wording {
    /// Compiles `config`. `plan` says what is gathered, and where it stands.
    pub fn new(config: &AttributesConfig, plan: &Plan) -> Self {
        let place = |gather: Gather| plan.place(&gather);
        let variable = |name: &String| place(Gather::Variable(name.clone()));
        let header = |kind: &str, name: &str| format!("http.{kind}.header.{name}").into_bytes();
        let child = |kind| config.child_spans.contains(&kind);
        let placed_header =
            |name: &String| Some((place(Gather::ResponseHeader(name.clone()))?, header("response", name)));
        let placed_variable = |attribute: &crate::config::VariableAttribute| {
            Some((variable(&attribute.variable)?, attribute.name.clone().into_bytes(), attribute.kind))
        };
        Self {
            methods: config.known_methods.as_ref().map(|methods| bytes_of(methods)),
            query: QueryRules::new(config),
            routes: Routes::new(&config.routes),
            route_variable: config.route_variable.as_ref().and_then(variable),
            name_variable: config.span_name_variable.as_ref().and_then(variable),
            forwarding: Forwarding::new(config),
            request_headers: config.request_headers.iter().map(|name| header("request", name)).collect(),
            response_headers: config.response_headers.iter().filter_map(placed_header).collect(),
            variables: config.variables.iter().filter_map(placed_variable).collect(),
            tls: Tls::new(config, plan),
            gathered: plan.gathered.len(),
            asks: *config != AttributesConfig::default(),
            rpc: config.rpc.then(|| {
                let status = place(Gather::ResponseHeader(GRPC_STATUS.to_owned()));
                RpcRules::new(&config.rpc_methods, config.rpc_old_names, status)
            }),
            fixed: (encode_fixed(&config.fixed), config.fixed.len()),
            events: config.events,
            queue_span: child(ChildSpan::Queue),
            connect_span: child(ChildSpan::Connect),
            limits: Limits::new(&config.limits),
        }
    }

    /// Spans that one request gives at most: SERVER, CLIENT, and those of phases.
    pub fn max_spans(&self) -> u64 {
        2 + u64::from(self.queue_span) + u64::from(self.connect_span)
    }
}

impl Tls {
    fn new(config: &AttributesConfig, plan: &Plan) -> Self {
        let place = |name| plan.place(&Gather::Fetch(name));
        Self {
            wanted: config.tls,
            cipher: place("ssl_fc_cipher"),
            curve: place("ssl_fc_curve"),
            next_protocol: place("ssl_fc_alpn"),
            server_name: place("ssl_fc_sni"),
            resumed: place("ssl_fc_is_resumed"),
            to_server: place("ssl_bc_protocol"),
            subject: place("ssl_c_s_dn"),
            issuer: place("ssl_c_i_dn"),
            fingerprint: place("ssl_c_sha1"),
        }
    }
}

fn bytes_of(texts: &[String]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.clone().into_bytes()).collect()
}

fn encode_fixed(attributes: &[(String, FixedValue)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in attributes {
        let name = name.as_bytes();
        match value {
            FixedValue::Text(text) => {
                protobuf::built_attribute(&mut out, SPAN_ATTRIBUTES, name, |out| {
                    out.extend_from_slice(text.as_bytes());
                });
            }
            FixedValue::Integer(number) => protobuf::named_int_attribute(&mut out, SPAN_ATTRIBUTES, name, *number),
            FixedValue::Double(number) => protobuf::double_attribute(&mut out, SPAN_ATTRIBUTES, name, *number),
            FixedValue::Bool(flag) => protobuf::bool_attribute(&mut out, SPAN_ATTRIBUTES, name, *flag),
        }
    }
    out
}
