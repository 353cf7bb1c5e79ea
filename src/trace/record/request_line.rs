//! What a request asked for: method, target in one of its four forms, version. RFC 9112, 3.

use super::scan::split_once;

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
    /// From its parts; `version` with or without `HTTP/`.
    #[inline]
    pub fn new(method: &'a [u8], target: &'a [u8], version: &'a [u8]) -> Self {
        Self { method, target: Target::parse(method, target), version }
    }
}

impl<'a> Target<'a> {
    /// Reads the target of a request with this method. Total.
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

/// What follows `scheme://`, if `target` begins with one.
fn after_scheme(target: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = split_once(target, b':')?;
    let named = !scheme.is_empty() && scheme.iter().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(b));
    rest.strip_prefix(b"//").filter(|_| named)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts<'a>(method: &str, target: &'a str) -> (&'a str, &'a str, Option<&'a str>) {
        let Target { authority, path, query } = Target::parse(method.as_bytes(), target.as_bytes());
        let text = |bytes| std::str::from_utf8(bytes).unwrap();
        (text(authority), text(path), query.map(text))
    }

    #[test]
    fn every_form_of_target_is_read() {
        for (target, expected) in [
            ("/", ("", "/", None)),
            ("/a?b=c?d", ("", "/a", Some("b=c?d"))),
            ("/a?", ("", "/a", Some(""))),
            ("/r?u=http://x/", ("", "/r", Some("u=http://x/"))),
            ("http://h:8080/p?q", ("h:8080", "/p", Some("q"))),
            ("https://h/p", ("h", "/p", None)),
            ("http://h", ("h", "/", None)),
            ("http://h?q=1", ("h", "/", Some("q=1"))),
            ("*", ("", "*", None)),
            ("", ("", "", None)),
            ("nowhere", ("", "nowhere", None)),
        ] {
            assert_eq!(parts("GET", target), expected, "{target}");
        }
        assert_eq!(parts("CONNECT", "h:443"), ("h:443", "", None));
        assert_eq!(parts("CONNECT", "[::1]:443"), ("[::1]:443", "", None));
    }

    proptest! {
        #[test]
        fn any_target_is_read_without_a_panic(target in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = RequestLine::new(b"GET", &target, b"1.1");
        }
    }
}
