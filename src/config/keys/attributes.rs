//! `[traces]`: what spans say.

use std::ops::RangeInclusive;

use ipnet::IpNet;

use super::{Key, Show, key, plain, text, word};
use crate::config::error::ConfigError;
use crate::config::setting::Setting;
use crate::config::tree::{AttributesConfig, Config, FixedValue, MAX_ROUTES, Route, ValueKind, VariableAttribute};
use crate::config::value::{Value, one_line};
use crate::config::words::Word;

pub(in crate::config) static KEYS: &[Key<Config>] = &[
    key!("traces.routes", attributes.routes, routes(), shown_routes),
    key!("traces.route_variable", attributes.route_variable, variable(), optional),
    key!("traces.span_name_variable", attributes.span_name_variable, variable(), optional),
    Key {
        name: "traces.known_methods",
        set: |tree, setting| {
            tree.attributes.known_methods =
                Some(setting.list(MAX_METHODS, "a list of HTTP methods", |method| is_token(method, MAX_METHOD))?);
            Ok(())
        },
        show: Show::One(|tree| or_conventions(tree.attributes.known_methods.as_ref())),
    },
    key!("traces.trusted_networks", attributes.trusted_networks, networks(), show_networks),
    key!("traces.forwarded", attributes.forwarded, word(), word),
    key!("traces.request_headers", attributes.request_headers, headers(), texts),
    key!("traces.response_headers", attributes.response_headers, headers(), texts),
    key!("traces.allow_credentials", attributes.allow_credentials, flag(), plain),
    key!("traces.query", attributes.query, word(), word),
    Key {
        name: "traces.redact_query",
        set: |tree, setting| {
            tree.attributes.redact_query = Some(setting.parameters()?);
            Ok(())
        },
        show: Show::One(|tree| or_conventions(tree.attributes.redact_query.as_ref())),
    },
    key!("traces.query_allowed", attributes.query_allowed, parameters(), texts),
    key!("traces.tls", attributes.tls, flag(), plain),
    key!("traces.tls_client_certificate", attributes.tls_client_certificate, flag(), plain),
    Key {
        name: "traces.attributes",
        set: |tree, setting| push_variable(&mut tree.attributes, setting),
        show: Show::Each(|tree| tree.attributes.variables.iter().map(shown_variable).collect()),
    },
    Key {
        name: "traces.static_attributes",
        set: |tree, setting| push_fixed(&mut tree.attributes, setting),
        show: Show::Each(|tree| {
            tree.attributes.fixed.iter().map(|(name, value)| (name.clone(), shown_fixed(value))).collect()
        }),
    },
    key!("traces.rpc", attributes.rpc, flag(), plain),
    key!("traces.rpc_old_names", attributes.rpc_old_names, flag(), plain),
    Key {
        name: "traces.rpc_methods",
        set: |tree, setting| {
            tree.attributes.rpc_methods = setting.list(MAX_ROUTES, RPC_METHODS, is_rpc_method)?;
            Ok(())
        },
        show: Show::One(|tree| texts(&tree.attributes.rpc_methods)),
    },
    key!("traces.events", attributes.events, flag(), plain),
    key!("traces.child_spans", attributes.child_spans, words(), shown_words),
    key!("traces.attribute_count_limit", attributes.limits.attributes, whole(LIMIT), plain),
    Key {
        name: "traces.attribute_value_length_limit",
        set: |tree, setting| {
            tree.attributes.limits.value_length = Some(setting.whole(LIMIT)?);
            Ok(())
        },
        show: Show::One(|tree| tree.attributes.limits.value_length.map_or("(none)".to_owned(), |limit| plain(&limit))),
    },
    key!("traces.event_count_limit", attributes.limits.events, whole(LIMIT), plain),
    key!("traces.link_count_limit", attributes.limits.links, whole(LIMIT), plain),
    key!("traces.event_attribute_count_limit", attributes.limits.event_attributes, whole(LIMIT), plain),
    key!("traces.link_attribute_count_limit", attributes.limits.link_attributes, whole(LIMIT), plain),
];

impl Setting {
    /// A list of at most `most` texts that `fits`.
    fn list(&self, most: usize, expected: &'static str, fits: fn(&str) -> bool) -> Result<Vec<String>, ConfigError> {
        let texts = self.texts()?;
        if texts.len() > most {
            return Err(self.bad_text("a shorter list: the bound is in docs/configuration.md"));
        }
        match texts.iter().find(|text| !fits(text)) {
            Some(text) => Err(Self { value: Value::Text(text.clone()), ..self.clone() }.bad_text(expected)),
            None => Ok(texts),
        }
    }

    pub(super) fn networks(&self) -> Result<Vec<IpNet>, ConfigError> {
        let networks = self.list(MAX_NETWORKS, NETWORKS, |text| network(text).is_some())?;
        Ok(networks.iter().filter_map(|text| network(text)).collect())
    }

    fn routes(&self) -> Result<Vec<Route>, ConfigError> {
        let texts = self.list(MAX_ROUTES, ROUTES, |text| route(text).is_some())?;
        Ok(texts.iter().filter_map(|text| route(text)).collect())
    }

    fn variable(&self) -> Result<Option<String>, ConfigError> {
        match self.text()? {
            "" => Ok(None),
            name if is_variable(name) => Ok(Some(name.to_owned())),
            _ => Err(self.bad_text(VARIABLE)),
        }
    }

    /// Names of headers, in lower case.
    fn headers(&self) -> Result<Vec<String>, ConfigError> {
        let mut names = self.list(MAX_HEADERS, "a list of headers' names", is_header)?;
        for name in &mut names {
            name.make_ascii_lowercase();
        }
        names.sort();
        names.dedup();
        Ok(names)
    }

    fn parameters(&self) -> Result<Vec<String>, ConfigError> {
        let fits = |text: &str| !text.is_empty() && text.len() <= MAX_NAME && !text.contains(['=', '&', '#']);
        self.list(MAX_PARAMETERS, "a list of a query's parameters", fits)
    }

    /// A name that none of this module's own attributes has.
    fn own_name(&self) -> Result<String, ConfigError> {
        let name = self.name();
        let fits = !name.is_empty() && name.len() <= MAX_NAME && name.bytes().all(|b| b.is_ascii_graphic());
        let taken = RESERVED.iter().any(|space| name.starts_with(space));
        if fits && !taken { Ok(name.to_owned()) } else { Err(self.bad_text(OWN_NAME)) }
    }
}

fn push_variable(tree: &mut AttributesConfig, setting: &Setting) -> Result<(), ConfigError> {
    let name = setting.own_name()?;
    let text = setting.text()?;
    let (variable, kind) = text.split_once(':').unwrap_or((text, "string"));
    let kind = ValueKind::WORDS.iter().find(|(word, _)| *word == kind).map(|(_, kind)| *kind);
    let Some(kind) = kind.filter(|_| is_variable(variable)) else { return Err(setting.bad_text(TYPED_VARIABLE)) };
    if tree.variables.len() >= MAX_VARIABLES {
        return Err(setting.bad_text("at most 32 attributes from variables"));
    }
    tree.variables.push(VariableAttribute { name, variable: variable.to_owned(), kind });
    Ok(())
}

fn push_fixed(tree: &mut AttributesConfig, setting: &Setting) -> Result<(), ConfigError> {
    let name = setting.own_name()?;
    let value = match &setting.value {
        Value::Text(text) if text.len() <= MAX_FIXED => FixedValue::Text(text.clone()),
        Value::Text(_) => return Err(setting.bad_text("at most 1024 bytes")),
        Value::Integer(number) => FixedValue::Integer(*number),
        Value::Float(number) => FixedValue::Double(*number),
        Value::Bool(flag) => FixedValue::Bool(*flag),
        Value::List(_) | Value::Table(_) => return Err(setting.wrong_type("text, a number or a boolean")),
    };
    if tree.fixed.len() >= MAX_VARIABLES {
        return Err(setting.bad_text("at most 32 attributes that every span has"));
    }
    tree.fixed.push((name, value));
    Ok(())
}

/// `/a/{b}/*`, or the same after a method and a space. A parameter is a whole segment; `*` is the last one.
fn route(text: &str) -> Option<Route> {
    let (method, template) = match text.split_once(' ') {
        Some((method, template)) => (Some(method.to_owned()), template),
        None => (None, text),
    };
    let segments: Vec<_> = template.strip_prefix('/')?.split('/').collect();
    let (last, before) = segments.split_last()?;
    let plain = |segment: &str| match segment.strip_prefix('{') {
        Some(name) => name.strip_suffix('}').is_some_and(|name| !name.is_empty() && !name.contains(['{', '}'])),
        None => !segment.contains(['{', '}', '*', '#', '?']),
    };
    let fits = before.iter().all(|segment| plain(segment)) && (*last == "*" || plain(last));
    let bounded = template.len() <= MAX_ROUTE && segments.len() <= MAX_SEGMENTS;
    let graphic = template.bytes().all(|b| b.is_ascii_graphic());
    let known = method.as_deref().is_none_or(|method| is_token(method, MAX_METHOD));
    (fits && bounded && graphic && known).then(|| Route { method, template: template.to_owned() })
}

/// A variable that still has its value when there is a response. Configuration manual, 2.8.
fn is_variable(name: &str) -> bool {
    let scope = ["proc.", "sess.", "txn.", "res."].iter().find_map(|scope| name.strip_prefix(scope));
    let word = |rest: &str| rest.bytes().all(|b| b.is_ascii_alphanumeric() || b"._".contains(&b));
    name.len() <= MAX_NAME && scope.is_some_and(|rest| !rest.is_empty() && word(rest))
}

/// The names that HAProxy's configuration takes without quotes, which is less than RFC 9110, section 5.1 allows.
fn is_header(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    !name.is_empty() && name.len() <= MAX_HEADER && name.bytes().all(fits)
}

/// RFC 9110, section 5.6.2.
fn is_token(text: &str, longest: usize) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text.len() <= longest && text.bytes().all(fits)
}

fn is_rpc_method(text: &str) -> bool {
    let word = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._".contains(&b));
    let halves = text.split_once('/');
    text.len() <= MAX_ROUTE && halves.is_some_and(|(service, method)| word(service) && (method == "*" || word(method)))
}

/// An address stands for itself alone.
fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<std::net::IpAddr>().ok().map(IpNet::from))
}

#[expect(clippy::ref_option, reason = "as the table of keys calls it")]
fn optional(value: &Option<String>) -> String {
    text(value.as_deref().unwrap_or_default())
}

fn or_conventions(value: Option<&Vec<String>>) -> String {
    value.map_or("(the conventions' list)".to_owned(), |list| texts(list))
}

fn texts(value: &[String]) -> String {
    list(value.iter())
}

fn list<T: ToString>(items: impl Iterator<Item = T>) -> String {
    let items: Vec<_> = items.map(|item| text(&item.to_string())).collect();
    one_line(&format!("[{}]", items.join(", ")))
}

pub(super) fn show_networks(networks: &[IpNet]) -> String {
    list(networks.iter())
}

fn shown_words<T: Word>(value: &[T]) -> String {
    list(value.iter().map(|value| value.word()))
}

fn shown_routes(routes: &[Route]) -> String {
    list(routes.iter().map(|route| match &route.method {
        Some(method) => format!("{method} {}", route.template),
        None => route.template.clone(),
    }))
}

fn shown_variable(attribute: &VariableAttribute) -> (String, String) {
    (attribute.name.clone(), text(&format!("{}:{}", attribute.variable, attribute.kind.word())))
}

fn shown_fixed(value: &FixedValue) -> String {
    match value {
        FixedValue::Text(value) => text(value),
        FixedValue::Integer(value) => value.to_string(),
        FixedValue::Double(value) => format!("{value:?}"),
        FixedValue::Bool(value) => value.to_string(),
    }
}

/// Name spaces of this module's own attributes.
const RESERVED: [&str; 12] = [
    "client.",
    "error.",
    "haproxy.",
    "http.",
    "network.",
    "otel.",
    "rpc.",
    "server.",
    "tls.",
    "url.",
    "user_agent.",
    "baggage.",
];

const LIMIT: RangeInclusive<usize> = 0..=0x7fff_ffff;
const MAX_METHODS: usize = 64;
/// Bytes of a method.
const MAX_METHOD: usize = 32;
const MAX_NETWORKS: usize = 256;
const MAX_HEADERS: usize = 16;
/// Bytes of a header's name.
const MAX_HEADER: usize = 64;
const MAX_PARAMETERS: usize = 256;
const MAX_VARIABLES: usize = 32;
/// Bytes of a name that the user gives.
const MAX_NAME: usize = 128;
/// Bytes of a value that every span has.
const MAX_FIXED: usize = 1024;
/// Bytes of a template.
const MAX_ROUTE: usize = 256;
const MAX_SEGMENTS: usize = 32;

const NETWORKS: &str = "a list of networks such as `10.0.0.0/8`, or addresses";
const ROUTES: &str = "a list of templates such as `/users/{id}`, `/static/*` or `GET /x`";
const RPC_METHODS: &str = "a list of methods such as `pkg.Service/Method` or `pkg.Service/*`";
const VARIABLE: &str = "a variable with its scope, `proc.`, `sess.`, `txn.` or `res.`";
const TYPED_VARIABLE: &str = "a variable such as `txn.user` or `txn.count:int`; types are string, int, bool, double";
const OWN_NAME: &str =
    "a name outside the spaces of the conventions and of this module (`http.`, `haproxy.` and so on)";
