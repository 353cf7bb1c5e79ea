//! Why the settings cannot be used. Each message is one line: the key, its origin, what was expected, what was found.

use std::fmt;
use std::io;

use super::origin::Origin;

/// Why [`load`](super::load) refused the settings. HAProxy prints it and does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "a variant's message says what its fields are")]
pub enum ConfigError {
    /// Most often a typing error, so it is not ignored.
    #[error("unknown key `{key}` ({origin}){hint}")]
    UnknownKey { key: String, origin: Origin, hint: Hint },
    /// A `HAPROXY_VITALS_*` variable that no key has.
    #[error("unknown environment variable `{name}`{hint}")]
    UnknownVariable { name: String, hint: Hint },
    /// A number where text belongs, a table where a number belongs, and so on.
    #[error("`{key}` ({origin}): expected {expected}, found {found}")]
    WrongType { key: String, origin: Origin, expected: &'static str, found: String },
    /// The type is right, the size is not.
    #[error("`{key}` ({origin}): expected {allowed}, found {found}")]
    OutOfRange { key: String, origin: Origin, allowed: String, found: String },
    /// Not one of the words that the key knows.
    #[error("`{key}` ({origin}): expected {allowed}, found {found}{hint}")]
    BadChoice { key: String, origin: Origin, allowed: String, found: String, hint: Hint },
    /// Not a number with a unit.
    #[error("`{key}` ({origin}): expected {expected}, found {found}")]
    BadDuration { key: String, origin: Origin, expected: &'static str, found: String },
    /// Not a URL that spans can be sent to.
    #[error("`{key}` ({origin}): expected {expected}, found {found}")]
    BadEndpoint { key: String, origin: Origin, expected: &'static str, found: String },
    /// Text that the key cannot take: an empty name, a header with a line break.
    #[error("`{key}` ({origin}): expected {expected}, found {found}")]
    BadText { key: String, origin: Origin, expected: &'static str, found: String },
    /// A key that must be there.
    #[error("`{key}` ({origin}): expected {expected}, found nothing")]
    Missing { key: String, origin: Origin, expected: &'static str },
    /// One source sets a key twice.
    #[error("`{key}` ({origin}): expected once, found twice (first: {first})")]
    Repeated { key: String, origin: Origin, first: Origin },
    /// An argument after the file name in `lua-load` that is not `key=value`.
    #[error("lua-load argument: expected `key=value`, found {found}")]
    BadArgument { found: String },
    /// gRPC has one path, given by the service.
    #[error("`{key}` ({origin}): expected no path, because the protocol is grpc, found {found}")]
    PathWithGrpc { key: String, origin: Origin, found: String },
    /// Metadata that gRPC wants in another form.
    #[error("`{key}` ({origin}): expected a header's name without `-bin`, which is binary in gRPC")]
    BinaryHeader { key: String, origin: Origin },
    /// A batch that the queue can never fill.
    #[error(
        "`export.max_export_batch_size` ({origin}): expected at most `export.max_queue_size`, \
         {queue} ({queue_origin}), found `{batch}`"
    )]
    BatchOverQueue { origin: Origin, batch: usize, queue_origin: Origin, queue: usize },
    /// A check could still run when the next one starts.
    #[error("`{key}` ({origin}): expected at least `connect_timeout` + `rpc_timeout`, {timeouts}, found {found}")]
    TimeoutsOverInterval { key: String, origin: Origin, timeouts: String, found: String },
    /// A rule that does nothing, or several things.
    #[error("`{key}` ({origin}): expected one of `drop`, `always`, `ratio` and `rate`, found {found}")]
    RuleActions { key: String, origin: Origin, found: String },
    /// Certificates for connections that are not encrypted.
    #[error("`{key}` ({origin}): expected `tls` to be `on` or `auto` beside it, found `off`")]
    NeedsTls { key: String, origin: Origin },
    /// A backend whose servers' states would reach nobody.
    #[error("`{key}` ({origin}): expected an address, because `{way_key}` ({way_origin}) is {way}")]
    NeedsListener { key: &'static str, origin: Origin, way_key: String, way_origin: Origin, way: &'static str },
    /// A key of the module's that a program without HAProxy has no use for.
    #[error("`{key}` ({origin}): of no meaning here, because there is no HAProxy around it{hint}")]
    NotHere { key: String, origin: Origin, hint: Hint },
    /// Two names of one setting, or a name twice, that say different things.
    #[error("`{key}` ({origin}): expected {first}, found `{found}`")]
    Contradiction { key: String, origin: Origin, found: String, first: Box<str> },
    /// Two tables about one backend.
    #[error(
        "`health.backend` ({origin}): expected one table for each backend, found a second `{name}` (first: {first})"
    )]
    BackendTwice { name: String, origin: Origin, first: Origin },
    /// The file is missing, forbidden or too long.
    #[error("`config` ({origin}): expected a file that can be read, found {path}: {source}")]
    Unreadable { path: String, origin: Origin, source: io::Error },
    /// The file is not TOML.
    #[error("{path}:{line}:{column}: expected TOML, found an error: {message}")]
    Syntax { path: String, line: usize, column: usize, message: String },
}

/// The end of a message: what may have been meant. Empty, or it starts with its own separator.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hint(Box<str>);

impl Hint {
    /// The known word that is nearest to `word`, or what others call so; if none is, nothing.
    pub(super) fn near(word: &str, known: &[&str]) -> Self {
        let elsewhere = ELSEWHERE.iter().find(|(other, here)| other.eq_ignore_ascii_case(word) && known.contains(here));
        let near = elsewhere.map(|(_, here)| *here).or_else(|| nearest(word, known));
        near.map_or_else(Self::default, Self::is)
    }

    /// This is what is meant.
    pub(super) fn is(meant: &str) -> Self {
        Self(format!("; did you mean `{meant}`?").into())
    }

    /// The known key that is nearest to `key`; if none is near, those `beside` it.
    pub(super) fn key<'a>(key: &'a str, known: &[&'a str], beside: &[&str]) -> Self {
        let last = |key: &'a str| key.rsplit('.').next().unwrap_or_default();
        let lasts: Vec<_> = known.iter().map(|known| last(known)).collect();
        let elsewhere = || {
            let near = nearest(last(key), &lasts)?;
            known.iter().find(|known| last(known) == near).copied()
        };
        match nearest(key, known).or_else(elsewhere) {
            Some(near) => Self(format!("; did you mean `{near}`?").into()),
            None => Self(format!("; known: {}", beside.join(", ")).into()),
        }
    }
}

impl Hint {
    /// What to do instead.
    pub(super) fn instead(text: &str) -> Self {
        Self(format!("; {text}").into())
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The word that takes the fewest changes to reach; one change in three letters is still near.
fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    // A longer word is near to nothing, and measuring it costs the product of both lengths.
    if word.len() > 2 * MAX_KNOWN {
        return None;
    }
    let distance = |known: &str| strsim::damerau_levenshtein(&word.to_lowercase(), &known.to_lowercase());
    let (steps, near) = known.iter().map(|known| (distance(known), *known)).min_by_key(|(steps, _)| *steps)?;
    (steps <= (near.len() / 3).clamp(1, 4)).then_some(near)
}

/// Words of haproxy-otel and its fork, and what they are here. docs/migrating.md has the same.
const ELSEWHERE: [(&str, &str); 5] = [
    ("parentbased", "parentbased_always_on"),
    ("w3c", "tracecontext"),
    ("zipkin", "b3multi"),
    ("json", "http/json"),
    ("binary", "http/protobuf"),
];

/// Letters of the longest known key or variable, generously.
const MAX_KNOWN: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[&str] = &["traces.sampler", "traces.ratio", "runtime.workers"];

    #[test]
    fn a_typing_error_is_told_the_key_that_was_meant() {
        assert_eq!(Hint::key("traces.smapler", KNOWN, &[]).to_string(), "; did you mean `traces.sampler`?");
    }

    #[test]
    fn a_key_in_the_wrong_section_is_told_the_right_one() {
        assert_eq!(Hint::key("workers", KNOWN, &[]).to_string(), "; did you mean `runtime.workers`?");
    }

    #[test]
    fn a_key_near_to_none_is_told_those_beside_it() {
        assert_eq!(Hint::key("colour", KNOWN, &["traces", "runtime"]).to_string(), "; known: traces, runtime");
    }

    #[test]
    fn a_word_near_to_none_is_told_nothing() {
        assert_eq!(Hint::near("jaeger_remote", &["always_on", "always_off"]).to_string(), "");
    }

    #[test]
    fn a_very_long_word_is_not_measured() {
        assert_eq!(Hint::near(&"always_on".repeat(1000), &["always_on"]).to_string(), "");
    }
}
