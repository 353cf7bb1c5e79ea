//! `http.server.active_requests`: begun and not ended, by method and scheme.
//!
//! HAProxy's threads count both ends; what a request counts under is carried in one byte, so that its end counts under the same.

use crate::metrics::{Attributes, MeterSource, Metric, NumberPoint};
use crate::stats;
use crate::trace::incoming::Incoming;

/// Reads what HAProxy's threads count.
#[derive(Debug, Clone, Copy)]
pub struct Active;

/// What a request counts under, as a byte to carry. Where nothing is known of how it came, the scheme is taken as `http`.
pub fn class(request: &Incoming<'_>) -> u8 {
    let method = METHODS.iter().position(|method| method.as_bytes() == request.method).unwrap_or(METHODS.len() - 1);
    let scheme = if request.arrival.is_some_and(|arrival| arrival.tls) { METHODS.len() } else { 0 };
    FIRST.saturating_add(u8::try_from(scheme + method).unwrap_or_default())
}

/// Where the byte counts.
pub fn index(carried: &[u8]) -> Option<usize> {
    let [class] = carried else { return None };
    class.checked_sub(FIRST).map(usize::from).filter(|index| *index < stats::ACTIVE_CLASSES)
}

impl MeterSource for Active {
    fn collect(&self, out: &mut Vec<Metric>) {
        let threads = stats::threads();
        let points = (0..stats::ACTIVE_CLASSES).filter_map(|index| {
            // Ends first: nothing ends that has not begun.
            let ended: u64 = threads.iter().filter_map(|thread| Some(thread.active_ended.get(index)?.value())).sum();
            let begun: u64 = threads.iter().filter_map(|thread| Some(thread.active_begun.get(index)?.value())).sum();
            let scheme = if index < METHODS.len() { "http" } else { "https" };
            let method = METHODS.get(index % METHODS.len()).copied().unwrap_or("_OTHER");
            let attributes = Attributes::none().with("http.request.method", method).with("url.scheme", scheme);
            (begun > 0).then(|| NumberPoint::new(attributes, begun.saturating_sub(ended)))
        });
        let points: Vec<_> = points.collect();
        if !points.is_empty() {
            let description = "Number of active HTTP server requests.";
            out.push(Metric::level("http.server.active_requests", description, "{request}", points));
        }
    }
}

/// The known methods, and one for all others. HTTP semantic conventions, `http.request.method`.
const METHODS: [&str; stats::ACTIVE_CLASSES / 2] =
    ["GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE", "QUERY", "_OTHER"];

/// Carried bytes are letters: no NUL, nothing that a log would escape.
const FIRST: u8 = b'A';

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::incoming::Arrival;

    #[test]
    fn every_method_and_scheme_has_a_place_of_its_own() {
        let mut seen = std::collections::HashSet::new();
        for method in METHODS.iter().chain(&["_OTHER"]) {
            for tls in [false, true] {
                let arrival = Some(Arrival { tls, ..Arrival::default() });
                let class = class(&Incoming { method: method.as_bytes(), arrival, ..Incoming::default() });
                seen.insert(index(&[class]).unwrap());
            }
        }
        assert_eq!(seen.len(), stats::ACTIVE_CLASSES);
        assert_eq!((index(b""), index(b"\x01"), index(b"z"), index(b"AA")), (None, None, None, None));
    }
}
