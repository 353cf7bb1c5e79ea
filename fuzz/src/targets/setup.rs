//! Two ways to set the tracing side up: as it is without settings, and with everything on.

use std::sync::{Arc, LazyLock};

use haproxy_vitals::config::{
    AttributesConfig, ChildSpan, Config, FixedValue, LimitsConfig, QueryMode, Route, Trust, ValueKind,
    VariableAttribute,
};
use haproxy_vitals::export::envelope::Envelope;
use haproxy_vitals::export::ring::{self, Reader};
use haproxy_vitals::trace::hot::{Hot, Wants};
use haproxy_vitals::trace::plan::Plan;
use haproxy_vitals::trace::propagation::Policy;
use haproxy_vitals::trace::sampler::Sampler;
use haproxy_vitals::trace::wanted::Wanted;
use haproxy_vitals::trace::wording::Wording;

/// Settings, and what follows from them.
pub(crate) struct Setup {
    pub(crate) config: Config,
    pub(crate) plan: Plan,
    pub(crate) wording: Arc<Wording>,
    pub(crate) envelope: Envelope,
}

/// Without settings.
pub(crate) static PLAIN: LazyLock<Setup> = LazyLock::new(|| Setup::new(Config::default()));

/// With everything on.
pub(crate) static RICH: LazyLock<Setup> = LazyLock::new(|| Setup::new(rich()));

/// Both.
pub(crate) fn both() -> [&'static Setup; 2] {
    [&PLAIN, &RICH]
}

/// Characters of a value, and attributes of a span, with everything on.
pub(crate) const LIMITS: (usize, usize) = (64, 48);

impl Setup {
    pub(crate) fn new(config: Config) -> Self {
        let plan = Plan::new(&config);
        let wording = Arc::new(Wording::new(&config.attributes, &plan));
        let resource = haproxy_vitals::resource::Resource::new(&config.service, Vec::new());
        Self { plan, wording, envelope: Envelope::new(&resource), config }
    }

    /// A tracer and the ring behind it.
    pub(crate) fn hot(&self) -> (Hot, Reader) {
        let (writer, reader) = ring::ring(64 * 1024, Arc::default());
        let traces = &self.config.traces;
        let hot = Hot::new(Some(Sampler::new(traces)), Arc::default(), Some(writer))
            .with_policy(Policy::new(traces).map(Arc::new))
            .with_wanted(Wanted::new(&self.config.attributes).map(Arc::new))
            .with(Wants::new(&self.config));
        (hot, reader)
    }
}

fn rich() -> Config {
    let mut config = Config::default();
    let traces = &mut config.traces;
    traces.propagators = super::propagation::every();
    traces.trust_of = vec![("edge".to_owned(), Trust::Restart), ("public".to_owned(), Trust::Ignore)];
    traces.baggage_attributes = texts(&["user", "tenant"]);
    traces.sampling.keep_errors = true;
    config.metrics.enabled = true;
    config.metrics.body_sizes = true;
    config.attributes = attributes();
    config
}

fn attributes() -> AttributesConfig {
    let variable =
        |name: &str, kind| VariableAttribute { name: format!("app.{name}"), variable: format!("txn.{name}"), kind };
    AttributesConfig {
        routes: vec![route(None, "/users/{id}"), route(Some("GET"), "/static/*")],
        route_variable: Some("txn.route".to_owned()),
        span_name_variable: Some("txn.name".to_owned()),
        known_methods: Some(texts(&["GET", "POST"])),
        trusted_networks: ["192.0.2.0/24", "::1/128"].map(|network| network.parse().expect("a network")).to_vec(),
        request_headers: texts(&["x-id", "accept"]),
        response_headers: texts(&["content-type"]),
        query: QueryMode::AllowList,
        query_allowed: texts(&["id", "page"]),
        tls: true,
        tls_client_certificate: true,
        variables: vec![
            variable("text", ValueKind::Text),
            variable("integer", ValueKind::Integer),
            variable("double", ValueKind::Double),
            variable("bool", ValueKind::Bool),
        ],
        fixed: vec![
            ("deployment".to_owned(), FixedValue::Text("blue".to_owned())),
            ("shard".to_owned(), FixedValue::Integer(-7)),
        ],
        rpc: true,
        rpc_old_names: true,
        rpc_methods: texts(&["shop.Cart/Add"]),
        events: true,
        child_spans: vec![ChildSpan::Queue, ChildSpan::Connect],
        limits: LimitsConfig { value_length: Some(LIMITS.0), attributes: LIMITS.1, ..LimitsConfig::default() },
        ..AttributesConfig::default()
    }
}

/// One template.
pub(crate) fn route(method: Option<&str>, template: &str) -> Route {
    Route { method: method.map(str::to_owned), template: template.to_owned() }
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}
