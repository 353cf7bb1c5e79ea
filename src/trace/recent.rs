//! The last requests, for an operator without a backend: `show vitals traces last`.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};

use super::outcome::{self, ErrorType, Outcome};
use super::record::{Record, Response, Server};
use super::spans::{self, Interval};

/// Remembers finished requests as HAProxy handed them over: reading them is for the one who asks.
///
/// Bounded by requests and by `MAX_BYTES`; the oldest goes.
#[derive(Debug)]
pub struct Recent {
    limit: usize,
    requests: Mutex<Requests>,
}

#[derive(Debug, Default)]
struct Requests {
    /// When each ended, Unix time in nanoseconds, and its bytes. In that order.
    all: VecDeque<(u64, Box<[u8]>)>,
    bytes: usize,
}

/// Which requests are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// At most so many, the newest.
    pub last: usize,
    /// Only those whose SERVER span has an `error.type`.
    pub errors: bool,
    /// Only those that took so many milliseconds at least.
    pub slow_millis: u64,
    /// Only those of this trace: 32 hexadecimal digits, or the first of them.
    pub trace: String,
}

impl Default for Query {
    fn default() -> Self {
        Self { last: 10, errors: false, slow_millis: 0, trace: String::new() }
    }
}

/// The words of a query that are not understood.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not understood: last [N] [error] [slow MS] [trace ID]")]
pub struct QueryError(String);

impl Query {
    /// Reads `[N] [error] [slow MS] [trace ID]`.
    pub fn parse<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self, QueryError> {
        let mut query = Self::default();
        let mut words = words.into_iter();
        let unknown = |word: &str| QueryError(word.chars().filter(|c| !c.is_control()).take(MAX_WORD).collect());
        while let Some(word) = words.next() {
            match word {
                "error" => query.errors = true,
                "slow" => {
                    let millis = words.next().unwrap_or_default();
                    query.slow_millis = millis.parse().map_err(|_| unknown(&format!("slow {millis}")))?;
                }
                "trace" => {
                    let id = words.next().unwrap_or_default().to_ascii_lowercase();
                    let valid = (1..=32).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_hexdigit());
                    query.trace = if valid { id } else { return Err(unknown(&format!("trace {id}"))) };
                }
                number => query.last = number.parse().map_err(|_| unknown(word))?,
            }
        }
        Ok(query)
    }
}

impl Recent {
    /// Remembers `limit` requests.
    pub fn new(limit: usize) -> Self {
        Self { limit, requests: Mutex::default() }
    }

    /// Remembers one. A copy under a lock that is held for no longer than that.
    pub fn keep(&self, end_unix_nanos: u64, payload: &[u8]) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.bytes += payload.len();
        // Threads are read one after the other: an earlier end may come later.
        let later = requests.all.iter().rev().take_while(|(end, _)| *end > end_unix_nanos).count();
        let place = requests.all.len() - later;
        requests.all.insert(place, (end_unix_nanos, payload.into()));
        while requests.all.len() > self.limit || requests.bytes > MAX_BYTES {
            let Some((_, oldest)) = requests.all.pop_front() else { break };
            requests.bytes -= oldest.len();
        }
    }

    /// The requests that `query` asks for as trees, newest first: a SERVER span, its CLIENT span, and below that the requests
    /// that came back to this proxy from there. At most `MAX_TEXT` bytes.
    pub fn show(&self, query: &Query) -> String {
        // Copied, so that nobody waits while text is made.
        let copies: Vec<(u64, Box<[u8]>)> = {
            let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
            requests.all.iter().rev().cloned().collect()
        };
        let records: Vec<Record<'_>> =
            copies.iter().filter_map(|(end, payload)| Record::parse(payload, *end).ok()).collect();
        let chosen: Vec<&Record<'_>> = records.iter().filter(|r| matches(r, query)).take(query.last).collect();
        let family = Family::of(&chosen);
        let mut out = format!("{} of {} remembered requests\n", chosen.len(), records.len());
        for root in chosen.iter().filter(|record| !family.has_parent(record)) {
            if out.len() < MAX_TEXT {
                let _ = writeln!(out, "\ntrace {}", hex(&root.trace_id));
                tree(&mut out, root, &family, 1);
            }
        }
        if out.len() >= MAX_TEXT {
            out.push_str("... ask for fewer\n");
        }
        out
    }
}

fn matches(record: &Record<'_>, query: &Query) -> bool {
    let interval = spans::interval(record);
    (!query.errors || outcome::server(&record.ending()).error.is_some())
        && millis(interval) >= query.slow_millis as f64
        && hex(&record.trace_id).starts_with(&query.trace)
}

/// Who came from whom: requests that this proxy sent on, and that came back to it.
struct Family<'c, 'r> {
    /// Trace and CLIENT span of every request with one.
    parents: HashSet<([u8; 16], [u8; 8])>,
    /// By trace and caller.
    children: HashMap<([u8; 16], [u8; 8]), Vec<&'c Record<'r>>>,
}

impl<'c, 'r> Family<'c, 'r> {
    fn of(records: &[&'c Record<'r>]) -> Self {
        let with_client = records.iter().filter(|record| spans::client_interval(record).is_some());
        let parents = with_client.map(|record| (record.trace_id, record.client_span)).collect();
        let mut children: HashMap<_, Vec<_>> = HashMap::new();
        for record in records {
            if let Some(parent) = record.parent {
                children.entry((record.trace_id, parent)).or_default().push(*record);
            }
        }
        Self { parents, children }
    }

    fn has_parent(&self, record: &Record<'_>) -> bool {
        record.parent.is_some_and(|parent| self.parents.contains(&(record.trace_id, parent)))
    }

    fn children(&self, record: &Record<'_>) -> &[&'c Record<'r>] {
        self.children.get(&(record.trace_id, record.client_span)).map(Vec::as_slice).unwrap_or_default()
    }
}

fn tree(out: &mut String, record: &Record<'_>, family: &Family<'_, '_>, depth: usize) {
    if out.len() >= MAX_TEXT || depth > MAX_DEPTH {
        return;
    }
    server(out, record, depth);
    let Some((interval, name)) = spans::client_interval(record) else { return };
    client(out, record, interval, name, depth + 1);
    for child in family.children(record) {
        tree(out, child, family, depth + 2);
    }
}

fn server(out: &mut String, record: &Record<'_>, depth: usize) {
    let interval = spans::interval(record);
    let request = &record.request;
    let method = if request.method.is_empty() { "-".to_owned() } else { text(request.method) };
    let frontend = text(record.response.frontend);
    let _ = write!(out, "{:indent$}SERVER {method} {} {frontend}", "", text(request.target.path), indent = 2 * depth);
    ending(out, outcome::server(&record.ending()), interval);
    let _ = write!(out, " at {}", clock(interval.start));
    let _ = write!(out, " state={} span={}", text(&record.state().0), hex(&record.server_span));
    if let Some(parent) = &record.parent {
        let _ = write!(out, " parent={}", hex(parent));
    }
    out.push_str(if record.sampled { "\n" } else { " unsampled\n" });
}

fn client(out: &mut String, record: &Record<'_>, interval: Interval, name: &[u8], depth: usize) {
    let response = &record.response;
    let _ = write!(out, "{:indent$}CLIENT {}/{}", "", text(response.backend), text(name), indent = 2 * depth);
    if let Some(address) = response.server_ip {
        let port = response.server_port.map(|port| format!(":{port}")).unwrap_or_default();
        let _ = write!(out, " {address}{port}");
    }
    ending(out, outcome::client(&record.ending()), interval);
    timers(out, response);
    let _ = writeln!(out, " span={}", hex(&record.client_span));
}

fn ending(out: &mut String, outcome: Outcome, interval: Interval) {
    match outcome.status {
        Some(status) => _ = write!(out, " {status}"),
        None => out.push_str(" -"),
    }
    let _ = write!(out, " {:.1}ms", millis(interval));
    match outcome.error {
        Some(ErrorType::Status(code)) => _ = write!(out, " error.type={code}"),
        Some(ErrorType::Word(word)) => _ = write!(out, " error.type={}", word.as_str()),
        Some(ErrorType::Rpc(name)) => _ = write!(out, " error.type={name}"),
        None => {}
    }
}

fn timers(out: &mut String, response: &Response<'_>) {
    let timers = response.timers;
    let named = [
        ("queue", timers.queue),
        ("connect", timers.connect),
        ("response", timers.response_headers),
        ("retries", Some(response.retries.count).filter(|count| *count > 0)),
    ];
    for (name, value) in named {
        if let Some(value) = value {
            let unit = if name == "retries" { "" } else { "ms" };
            let _ = write!(out, " {name}={value}{unit}");
        }
    }
    if matches!(response.server, Server::Applet(_)) {
        out.push_str(" applet");
    }
}

/// Text of a client's or HAProxy's, safe for a terminal: no control characters, at most [`MAX_WORD`] characters.
fn text(bytes: &[u8]) -> String {
    let lossy = String::from_utf8_lossy(bytes);
    let mut text: String = lossy.chars().take(MAX_WORD).map(|c| if c.is_control() { '.' } else { c }).collect();
    if lossy.chars().nth(MAX_WORD).is_some() {
        text.push_str("...");
    }
    text
}

fn millis(interval: Interval) -> f64 {
    interval.seconds() * 1000.0
}

/// The time of day in UTC, of Unix time in nanoseconds.
fn clock(nanos: u64) -> String {
    let (seconds, millis) = (nanos / 1_000_000_000, nanos / 1_000_000 % 1000);
    let (hours, minutes) = (seconds / 3600 % 24, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02}.{millis:03}Z", seconds % 60)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Bytes of all remembered requests.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// Bytes of one answer, about.
const MAX_TEXT: usize = 1024 * 1024;

/// Characters of one name or path.
const MAX_WORD: usize = 120;

/// Requests within requests.
const MAX_DEPTH: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::record::Field;
    use crate::trace::record::sample::Sample;
    use proptest::prelude::*;

    const END: u64 = 1_700_000_000_250_000_000;

    fn all() -> Query {
        Query { last: usize::MAX, ..Query::default() }
    }

    #[test]
    fn a_request_is_a_tree_of_its_spans() {
        let recent = Recent::new(10);
        recent.keep(END, &Sample::default().payload());
        let expected = "1 of 1 remembered requests\n\n\
            trace 0123456789abcdef0123456789abcdef\n  \
            SERVER GET /cart/items www 200 250.0ms at 22:13:20.000Z state=-- span=1111111111111111 parent=2222222222222222\n    \
            CLIENT api/api1 10.0.0.7:8080 200 247.0ms queue=2ms connect=3ms response=25ms span=0123456789abcdef\n";
        assert_eq!(recent.show(&all()), expected);
    }

    #[test]
    fn a_request_that_came_back_stands_below_the_client_span() {
        let recent = Recent::new(10);
        recent.keep(END, &Sample::default().payload());
        let mut inner = Sample::default();
        inner.head.parent = inner.head.client_span;
        (inner.head.client_span, inner.head.server_span) = ([0x33; 8], [0x44; 8]);
        recent.keep(END, &inner.payload());
        let shown = recent.show(&all());
        assert_eq!(shown.matches("\ntrace ").count(), 1, "{shown}");
        assert!(shown.contains("\n      SERVER GET"), "{shown}");
    }

    #[test]
    fn filters_choose_and_the_newest_come_first() {
        let recent = Recent::new(10);
        for (end, status) in [(END, 200), (END + 9_000_000_000, 503), (END + 1, 404)] {
            recent.keep(end, &Sample::default().status(status).payload());
        }
        // By their ends, not as they came.
        let shown = |words: &str| recent.show(&Query::parse(words.split_whitespace()).unwrap());
        assert!(shown("1").contains(" 503 ") && !shown("1").contains(" 404 "));
        assert!(shown("error").starts_with("1 of 3") && shown("error").contains("error.type=503"));
        assert!(shown("slow 1000").starts_with("1 of 3"));
        assert!(shown("trace 0123").starts_with("3 of 3") && shown("trace ffff").starts_with("0 of 3"));
        for wrong in ["five", "slow", "slow x", "trace", "trace xyz", "-1"] {
            assert!(Query::parse(wrong.split_whitespace()).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_more_is_remembered_than_allowed_and_nothing_panics(
            limit in 0_usize..20, payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..60),
        ) {
            let recent = Recent::new(limit);
            for payload in &payloads {
                recent.keep(END, payload);
            }
            let requests = recent.requests.lock().unwrap();
            prop_assert!(requests.all.len() <= limit);
            prop_assert_eq!(requests.bytes, requests.all.iter().map(|(_, bytes)| bytes.len()).sum::<usize>());
            drop(requests);
            recent.show(&all());
        }

        #[test]
        fn what_a_client_sends_cannot_reach_the_terminal(path in proptest::collection::vec(any::<u8>(), 0..300)) {
            let recent = Recent::new(1);
            recent.keep(END, &Sample::default().with(Field::Target, &[b"/", &path[..]].concat()).payload());
            let shown = recent.show(&all());
            prop_assert!(shown.chars().all(|c| c == '\n' || !c.is_control()), "{:?}", shown);
        }
    }
}
