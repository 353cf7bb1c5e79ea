//! What metrics and log records say of a request: in the words of its spans.

use super::asked::value;
use super::{Authority, Extras, Interval, Phases, authority, is_known, outcome, protocol_version, upstream};
use std::net::IpAddr;

use crate::trace::outcome::Outcome;
use crate::trace::record::Record;
use crate::trace::wording::{Call, Wording};

/// One request's words.
pub(in crate::trace) struct Facts<'a> {
    /// The method, or `_OTHER`.
    pub(in crate::trace) method: &'a [u8],
    /// The method that was sent to the server, or `_OTHER`.
    pub(in crate::trace) sent_method: &'a [u8],
    /// `http.route`.
    pub(in crate::trace) route: Option<Vec<u8>>,
    /// `url.scheme`.
    pub(in crate::trace) scheme: &'static [u8],
    /// `client.address`.
    pub(in crate::trace) client_address: Option<IpAddr>,
    /// Whom the client asked for.
    pub(in crate::trace) host: &'a [u8],
    /// `network.protocol.version` of the client's connection; empty if unknown.
    pub(in crate::trace) version: &'static [u8],
    /// The request is gRPC's.
    pub(in crate::trace) call: Option<Call>,
    /// The SERVER span's end.
    pub(in crate::trace) server: Outcome,
    /// The CLIENT span's end.
    pub(in crate::trace) client: Outcome,
}

impl<'a> Facts<'a> {
    pub(in crate::trace) fn new(record: &Record<'a>, wording: &Wording) -> Self {
        let extras = if wording.asks { Some(Extras::new(record, wording)) } else { None };
        let (request, ending) = (&record.request, record.ending());
        let response = &record.response;
        let own: &[u8] = if response.tls_version.is_empty() { b"http" } else { b"https" };
        let Extras { values, call, origin } = extras.unwrap_or_default();
        let route = value(&values, wording.route_variable)
            .or_else(|| wording.routes.find(request.method, request.target.path).filter(|_| wording.asks));
        let refine = |outcome, of_server| match &call {
            Some(call) => call.refine(outcome, of_server),
            None => outcome,
        };
        let host = if origin.host.is_empty() { authority(record).host } else { Authority::parse(origin.host).host };
        let sent = response.sent.method;
        let known = |method: &'a [u8]| if is_known(method, wording) { method } else { b"_OTHER" };
        Self {
            method: known(request.method),
            sent_method: known(if sent.is_empty() { request.method } else { sent }),
            route: route.map(<[u8]>::to_vec),
            scheme: origin.scheme.unwrap_or(own),
            client_address: origin.client.or(response.client_ip),
            host,
            version: protocol_version(response.client_http_major, request.version),
            server: refine(outcome::server(&ending), true),
            client: refine(outcome::client(&ending), false),
            call,
        }
    }
}

/// The SERVER span's.
pub(in crate::trace) fn interval(record: &Record<'_>) -> Interval {
    let start = record.start_unix_nanos;
    Interval { start, end: record.end_unix_nanos.max(start) }
}

/// The CLIENT span's, with the server's name; `None` where there is no such span.
pub(in crate::trace) fn client_interval<'a>(record: &Record<'a>) -> Option<(Interval, &'a [u8])> {
    let name = upstream(record)?;
    let phases = Phases::new(record, interval(record));
    Some((Interval { start: phases.left_queue, end: phases.forwarded }, name))
}
