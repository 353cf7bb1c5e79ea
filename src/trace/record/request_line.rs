//! The request line as HAProxy logs it: method, target in one of its four forms, version. RFC 9112, 3.
//!
//! HAProxy keeps 1024 bytes of it, and writes a byte that is not printable ASCII, `"` and `#` as `#XX`: the parts
//! here are still written so, and [`push_unescaped`] undoes it.

use super::scan::{find, split_once};

/// A request line's parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RequestLine<'a> {
    /// Empty if there was no line.
    pub method: &'a [u8],
    /// The target's form and parts.
    pub target: Target<'a>,
    /// For example `1.1` or `2.0`; empty if it was cut off.
    pub version: &'a [u8],
}

/// A request's target. RFC 9112, 3.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Target<'a> {
    /// Of the absolute form and the authority form; otherwise empty.
    pub authority: &'a [u8],
    /// `*` in the asterisk form, `/` for the absolute form's empty path, empty in the authority form.
    pub path: &'a [u8],
    /// Without the `?`.
    pub query: Option<&'a [u8]>,
}

impl<'a> RequestLine<'a> {
    /// Reads a line. Total: what is not a request line gives empty parts.
    pub fn parse(line: &'a [u8]) -> Self {
        let Some((method, rest)) = split_once(line, b' ') else { return Self::default() };
        let (target, version) = split_version(rest);
        Self { method, target: Target::parse(method, target), version }
    }
}

impl<'a> Target<'a> {
    /// Reads the target of a request with this method. Total, as [`RequestLine::parse`] is.
    pub fn parse(method: &[u8], target: &'a [u8]) -> Self {
        if matches!(target, [b'/', ..] | b"*") {
            return Self::origin(b"", target);
        }
        match after_scheme(target) {
            Some(rest) => {
                let end = rest.iter().position(|b| matches!(b, b'/' | b'?')).unwrap_or(rest.len());
                let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, b""));
                let absolute = Self::origin(authority, path);
                Self { path: if absolute.path.is_empty() { b"/" } else { absolute.path }, ..absolute }
            }
            None if method == b"CONNECT" => Self { authority: target, path: b"", query: None },
            None => Self::origin(b"", target),
        }
    }

    fn origin(authority: &'a [u8], path: &'a [u8]) -> Self {
        match split_once(path, b'?') {
            Some((path, query)) => Self { authority, path, query: Some(query) },
            None => Self { authority, path, query: None },
        }
    }
}

/// Appends `text` with HAProxy's `#XX` turned back into bytes; a `#` without two hexadecimal digits stays.
pub fn push_unescaped(out: &mut Vec<u8>, text: &[u8]) {
    let mut rest = text;
    while let Some(at) = find(rest, b'#') {
        let (plain, escape) = rest.split_at_checked(at).unwrap_or((rest, b""));
        out.extend_from_slice(plain);
        let byte = match escape {
            [_, high, low, ..] => digit(*high).zip(digit(*low)).map(|(high, low)| high << 4 | low),
            _ => None,
        };
        out.push(byte.unwrap_or(b'#'));
        rest = escape.get(if byte.is_some() { 3 } else { 1 }..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
}

/// Target and version. A line that was cut has no version, or a piece of one.
fn split_version(rest: &[u8]) -> (&[u8], &[u8]) {
    let Some(space) = rest.iter().rposition(|&b| b == b' ') else { return (rest, b"") };
    let (target, last) = rest.split_at_checked(space).unwrap_or((rest, b""));
    match last.strip_prefix(b" ") {
        Some(last) if b"HTTP/".starts_with(last) => (target, b""),
        Some(last) => last.strip_prefix(b"HTTP/").map_or((rest, b""), |version| (target, version)),
        None => (rest, b""),
    }
}

/// What follows `scheme://`, if `target` begins with one.
fn after_scheme(target: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = split_once(target, b':')?;
    let named = !scheme.is_empty() && scheme.iter().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(b));
    rest.strip_prefix(b"//").filter(|_| named)
}

const fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts(line: &str) -> (&str, &str, &str, Option<&str>, &str) {
        let RequestLine { method, target, version } = RequestLine::parse(line.as_bytes());
        let text = |bytes| std::str::from_utf8(bytes).unwrap();
        (text(method), text(target.authority), text(target.path), target.query.map(text), text(version))
    }

    #[test]
    fn every_form_of_target_is_read() {
        assert_eq!(parts("GET / HTTP/1.0"), ("GET", "", "/", None, "1.0"));
        assert_eq!(parts("GET /a?b=c?d HTTP/1.1"), ("GET", "", "/a", Some("b=c?d"), "1.1"));
        assert_eq!(parts("GET /a? HTTP/1.1"), ("GET", "", "/a", Some(""), "1.1"));
        assert_eq!(parts("GET /r?u=http://x/ HTTP/1.1"), ("GET", "", "/r", Some("u=http://x/"), "1.1"));
        assert_eq!(parts("GET http://h:8080/p?q HTTP/1.1"), ("GET", "h:8080", "/p", Some("q"), "1.1"));
        assert_eq!(parts("GET https://h/p HTTP/2.0"), ("GET", "h", "/p", None, "2.0"));
        assert_eq!(parts("GET http://h HTTP/1.1"), ("GET", "h", "/", None, "1.1"));
        assert_eq!(parts("GET http://h?q=1 HTTP/1.1"), ("GET", "h", "/", Some("q=1"), "1.1"));
        assert_eq!(parts("OPTIONS * HTTP/1.1"), ("OPTIONS", "", "*", None, "1.1"));
        assert_eq!(parts("CONNECT h:443 HTTP/1.1"), ("CONNECT", "h:443", "", None, "1.1"));
        assert_eq!(parts("CONNECT [::1]:443 HTTP/2.0"), ("CONNECT", "[::1]:443", "", None, "2.0"));
    }

    #[test]
    fn a_cut_or_broken_line_gives_what_it_has() {
        assert_eq!(parts("GET /a/b"), ("GET", "", "/a/b", None, ""));
        assert_eq!(parts("GET /a/b "), ("GET", "", "/a/b", None, ""));
        assert_eq!(parts("GET /a HTT"), ("GET", "", "/a", None, ""));
        assert_eq!(parts("GET /a HTTP/"), ("GET", "", "/a", None, ""));
        assert_eq!(parts("GET /a b HTTP/1.1"), ("GET", "", "/a b", None, "1.1"));
        assert_eq!(parts("GET nowhere HTTP/1.1"), ("GET", "", "nowhere", None, "1.1"));
        assert_eq!(parts("<BADREQ>"), ("", "", "", None, ""));
        assert_eq!(parts(""), ("", "", "", None, ""));
    }

    #[test]
    fn a_hash_that_escapes_nothing_stays() {
        for text in ["#", "#4", "#zz", "a#", "##"] {
            let mut out = Vec::new();
            push_unescaped(&mut out, text.as_bytes());
            assert_eq!(out, text.as_bytes());
        }
    }

    proptest! {
        #[test]
        fn what_haproxy_escapes_comes_back(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let escaped: String = bytes
                .iter()
                .map(|&b| match b {
                    b'"' | b'#' | 0..=31 | 127.. => format!("#{b:02X}"),
                    b => char::from(b).to_string(),
                })
                .collect();
            let mut out = Vec::new();
            push_unescaped(&mut out, escaped.as_bytes());
            prop_assert_eq!(out, bytes);
        }
    }
}
