//! What is taken of each request: found out once, from the settings and from what this HAProxy has.

use std::fmt::Write as _;

use once_cell::sync::OnceCell;

use super::super::settings;
use super::fetch::{Expression, Fetch, Value};
use super::stream::Stream;
use crate::config::MetricAttribute;
use crate::trace::plan::{Gather, Plan};
use crate::trace::record::Writer;

/// What is taken of each request.
pub(super) struct Capture {
    pub(super) plan: Plan,
    pub(super) fetches: Fetches,
    /// Values that are taken at the end, with their places among those that the settings ask for.
    pub(super) values: Vec<(u8, Source)>,
    /// Response headers, by lower-case name, with their places.
    pub(super) response_headers: Vec<(u8, String)>,
    /// Bytes that are taken of each value.
    pub(super) value_bytes: usize,
    /// gRPC requests are told apart.
    pub(super) rpc: bool,
    /// Addresses and ports are for spans alone: metrics do without.
    pub(super) addresses_for_spans: bool,
}

/// Where a value comes from.
pub(super) enum Source {
    Fetch(Fetch),
    Expression(Expression),
}

/// HAProxy's fetches that every request is asked for. Absent where this HAProxy has none of the name.
pub(super) struct Fetches {
    pub(super) state: Option<Fetch>,
    pub(super) status: Option<Fetch>,
    pub(super) server_status: Option<Fetch>,
    pub(super) frontend: Option<Fetch>,
    pub(super) backend: Option<Fetch>,
    pub(super) server: Option<Fetch>,
    pub(super) server_ip: Option<Fetch>,
    pub(super) server_port: Option<Fetch>,
    pub(super) server_tls: Option<Fetch>,
    pub(super) client_ip: Option<Fetch>,
    pub(super) client_port: Option<Fetch>,
    pub(super) local_ip: Option<Fetch>,
    pub(super) local_port: Option<Fetch>,
    pub(super) tls: Option<Fetch>,
    pub(super) tls_version: Option<Fetch>,
    pub(super) cipher: Option<Fetch>,
    pub(super) server_name: Option<Fetch>,
    pub(super) next_protocol: Option<Fetch>,
    /// Handshakes, idle, request headers, queue, connection, response headers.
    pub(super) timers: [Option<Fetch>; 6],
    pub(super) retries: Option<Fetch>,
    pub(super) redispatched: Option<Fetch>,
    pub(super) client_http: Option<Fetch>,
    pub(super) server_http: Option<Fetch>,
    pub(super) reused: Option<Fetch>,
    pub(super) bytes_in: Option<Fetch>,
    pub(super) bytes_out: Option<Fetch>,
    /// Microseconds since 1970.
    /// When the request's first byte came. Unix time, microseconds, of which it knows the milliseconds.
    pub(super) first_byte: Option<Expression>,
    pub(super) accepted: Option<Expression>,
}

impl Capture {
    /// By the settings. While HAProxy reads its configuration: expressions are parsed.
    pub(super) fn prepare() {
        let _ = CAPTURE.get_or_init(Self::new);
    }

    /// What was found out. `None`: HAProxy has not read its configuration.
    pub(super) fn get() -> Option<&'static Self> {
        CAPTURE.get()
    }

    fn new() -> Self {
        let config = settings::loaded().map(|loaded| &loaded.config);
        let plan = config.map(Plan::new).unwrap_or_default();
        let (mut values, mut response_headers) = (Vec::new(), Vec::new());
        for (place, gather) in (0_u8..).zip(&plan.gathered) {
            match gather {
                Gather::ResponseHeader(name) => response_headers.push((place, name.clone())),
                Gather::Fetch(name) => values.extend(Fetch::named(name).map(|fetch| (place, Source::Fetch(fetch)))),
                Gather::Variable(_) => {
                    let parsed = Expression::parse(&gather.expression()).ok();
                    values.extend(parsed.map(|expression| (place, Source::Expression(expression))));
                }
            }
        }
        Self {
            value_bytes: plan.value_bytes(),
            plan,
            fetches: Fetches::find(),
            values,
            response_headers,
            rpc: config.is_some_and(|config| config.attributes.rpc),
            addresses_for_spans: config.is_some_and(|config| {
                let by_address = config.metrics.attributes.contains(&MetricAttribute::ServerAddress);
                !config.logs.enabled && config.traces.recent == 0 && !by_address
            }),
        }
    }

    /// Whether something is to be done with every response, HAProxy's own too: a rule has to do it.
    pub(super) fn wants_responses(&self) -> bool {
        !self.response_headers.is_empty() || self.plan.headers.response_name().is_some()
    }
}

impl Fetches {
    fn find() -> Self {
        let find = Fetch::named;
        Self {
            state: find("txn.sess_term_state"),
            status: find("txn.status"),
            server_status: find("server_status"),
            frontend: find("fe_name"),
            backend: find("be_name"),
            server: find("srv_name"),
            server_ip: find("bc_dst"),
            server_port: find("bc_dst_port"),
            server_tls: find("ssl_bc"),
            client_ip: find("src"),
            client_port: find("src_port"),
            local_ip: find("dst"),
            local_port: find("dst_port"),
            tls: find("ssl_fc"),
            tls_version: find("ssl_fc_protocol"),
            cipher: find("ssl_fc_cipher"),
            server_name: find("ssl_fc_sni"),
            next_protocol: find("ssl_fc_alpn"),
            timers: [
                find("fc.timer.handshake"),
                find("req.timer.idle"),
                find("req.timer.hdr"),
                find("req.timer.queue"),
                find("bc.timer.connect"),
                find("res.timer.hdr"),
            ],
            retries: find("txn.conn_retries"),
            redispatched: find("txn.redispatched"),
            client_http: find("fc_http_major"),
            server_http: find("bc_http_major"),
            reused: find("bc_reused"),
            bytes_in: find("bytes_in"),
            bytes_out: find("bytes_out"),
            first_byte: Expression::parse("request_date(us)").ok(),
            accepted: Expression::parse("accept_date(us)").ok(),
        }
    }
}

impl Source {
    pub(super) fn value<'s>(&self, stream: &'s mut Stream<'_>) -> Option<Value<'s>> {
        match self {
            Self::Fetch(fetch) => stream.value(fetch),
            Self::Expression(expression) => stream.evaluate(*expression),
        }
    }
}

/// Appends a value that the settings ask for.
pub(super) fn gather(record: &mut Writer, place: u8, value: Value<'_>, most: usize) {
    let mut text = String::new();
    let bytes = match value {
        Value::Text(bytes) | Value::Bin(bytes) => bytes,
        Value::Bool(flag) => {
            if flag {
                b"1"
            } else {
                b"0"
            }
        }
        Value::Int(number) => {
            let _ = write!(text, "{number}");
            text.as_bytes()
        }
        Value::V4(address) => {
            let _ = write!(text, "{}", std::net::Ipv4Addr::from(address));
            text.as_bytes()
        }
        Value::V6(address) => {
            let _ = write!(text, "{}", std::net::Ipv6Addr::from(address));
            text.as_bytes()
        }
    };
    record.gathered(place, bytes, most);
}

static CAPTURE: OnceCell<Capture> = OnceCell::new();
