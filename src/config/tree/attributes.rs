//! What spans say: the settings, typed. Their keys stand in `[traces]`.

use ipnet::IpNet;

/// What spans say beyond the conventions' minimum, and how much of it.
#[derive(Debug, Clone, PartialEq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub struct AttributesConfig {
    /// Templates for `http.route`, in order: the first that matches counts. At most [`MAX_ROUTES`].
    pub routes: Vec<Route>,
    /// The variable that names the route; stronger than `routes`.
    pub route_variable: Option<String>,
    /// The variable that names the SERVER span.
    pub span_name_variable: Option<String>,
    /// `OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS`: replaces the conventions' list.
    pub known_methods: Option<Vec<String>>,
    /// Peers whose forwarding headers are believed.
    pub trusted_networks: Vec<IpNet>,
    /// Which headers those are.
    pub forwarded: Forwarded,
    /// Lower-case names of request headers that become attributes.
    pub request_headers: Vec<String>,
    /// Lower-case names of response headers that become attributes.
    pub response_headers: Vec<String>,
    /// Headers that carry credentials may be among both.
    pub allow_credentials: bool,
    /// What becomes of a query.
    pub query: QueryMode,
    /// Parameters whose values are redacted; `None`: the conventions' list.
    pub redact_query: Option<Vec<String>>,
    /// Parameters whose values are kept in [`QueryMode::AllowList`].
    pub query_allowed: Vec<String>,
    /// Details of both connections' TLS.
    pub tls: bool,
    /// The client's certificate.
    pub tls_client_certificate: bool,
    /// Attributes from variables.
    pub variables: Vec<VariableAttribute>,
    /// Attributes that every span has.
    pub fixed: Vec<(String, FixedValue)>,
    /// gRPC requests are told apart.
    pub rpc: bool,
    /// `OTEL_SEMCONV_STABILITY_OPT_IN` has `rpc/dup`: the old names too.
    pub rpc_old_names: bool,
    /// Methods that are known, as `pkg.Service/Method` or `pkg.Service/*`; empty: all.
    pub rpc_methods: Vec<String>,
    /// Span events with HAProxy's times.
    pub events: bool,
    /// Spans of their own for phases of a request.
    pub child_spans: Vec<ChildSpan>,
    /// Limits on spans.
    pub limits: LimitsConfig,
}

/// One template, such as `/users/{id}` or `GET /static/*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// For requests of this method only.
    pub method: Option<String>,
    /// Begins with a slash: what `http.route` says.
    pub template: String,
}

/// Which headers say whom a proxy before this one speaks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Forwarded {
    /// `x-forwarded`: `X-Forwarded-For`, `-Proto`, `-Host`.
    #[default]
    XForwarded,
    /// `forwarded`: RFC 7239.
    Standard,
}

/// What becomes of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum QueryMode {
    /// `redact`: secrets are replaced.
    #[default]
    Redact,
    /// `allow_list`: everything but what is allowed is replaced.
    AllowList,
    /// `drop`: it is left out.
    Drop,
}

/// An attribute whose value is a variable's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VariableAttribute {
    /// The attribute's name.
    pub name: String,
    /// With its scope, such as `txn.user`.
    pub variable: String,
    /// What the text is read as.
    pub kind: ValueKind,
}

/// What a variable's text is read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueKind {
    /// `string`
    Text,
    /// `int`
    Integer,
    /// `bool`
    Bool,
    /// `double`
    Double,
}

/// The value of an attribute that every span has.
#[derive(Debug, Clone, PartialEq)]
pub enum FixedValue {
    /// Text.
    Text(String),
    /// A number without a fraction.
    Integer(i64),
    /// A number with a fraction.
    Double(f64),
    /// True or false.
    Bool(bool),
}

/// A phase that may have a span of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChildSpan {
    /// `queue`: waiting for a server.
    Queue,
    /// `connect`: connecting to it.
    Connect,
}

/// OpenTelemetry specification, "Attribute Limits" and "Span Limits".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitsConfig {
    /// `OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT`, else `OTEL_ATTRIBUTE_COUNT_LIMIT`.
    pub attributes: usize,
    /// `OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT`, else `OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT`: characters. `None`: no limit.
    pub value_length: Option<usize>,
    /// `OTEL_SPAN_EVENT_COUNT_LIMIT`.
    pub events: usize,
    /// `OTEL_SPAN_LINK_COUNT_LIMIT`.
    pub links: usize,
    /// `OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT`.
    pub event_attributes: usize,
    /// `OTEL_LINK_ATTRIBUTE_COUNT_LIMIT`.
    pub link_attributes: usize,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            attributes: 128,
            value_length: None,
            events: 128,
            links: 128,
            event_attributes: 128,
            link_attributes: 128,
        }
    }
}

/// Routes that may be configured.
pub const MAX_ROUTES: usize = 256;
