//! Templates of paths, matched in order. No regular expression: one pass over the path for each template at most.

use crate::config::Route;

/// The templates of `traces.routes`.
#[derive(Debug, Clone, Default)]
pub(in crate::trace) struct Routes(Vec<Compiled>);

#[derive(Debug, Clone)]
struct Compiled {
    method: Option<Vec<u8>>,
    template: Vec<u8>,
    segments: Vec<Segment>,
    /// The last segment is `*`: whatever follows.
    open: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Literal(Vec<u8>),
    /// `{name}`: any segment that is not empty.
    Any,
}

impl Routes {
    pub(super) fn new(routes: &[Route]) -> Self {
        Self(routes.iter().map(Compiled::new).collect())
    }

    /// The first template that fits. `path` as HAProxy's log has it.
    pub(in crate::trace) fn find(&self, method: &[u8], path: &[u8]) -> Option<&[u8]> {
        self.0.iter().find(|route| route.fits(method, path)).map(|route| route.template.as_slice())
    }
}

impl Compiled {
    fn new(route: &Route) -> Self {
        let open = route.template.ends_with("/*");
        let closed = if open { route.template.strip_suffix("/*").unwrap_or_default() } else { &route.template };
        let segment = |text: &str| {
            if text.starts_with('{') { Segment::Any } else { Segment::Literal(text.as_bytes().to_vec()) }
        };
        Self {
            method: route.method.as_ref().map(|method| method.clone().into_bytes()),
            template: route.template.clone().into_bytes(),
            segments: closed.split('/').skip(1).map(segment).collect(),
            open,
        }
    }

    fn fits(&self, method: &[u8], path: &[u8]) -> bool {
        if self.method.as_ref().is_some_and(|wanted| wanted != method) {
            return false;
        }
        let mut parts = path.split(|&b| b == b'/');
        // What is before the first slash: nothing, or this is no path.
        if parts.next().is_none_or(|first| !first.is_empty()) {
            return false;
        }
        let fit = self.segments.iter().all(|segment| match (segment, parts.next()) {
            (Segment::Any, Some(part)) => !part.is_empty(),
            (Segment::Literal(text), Some(part)) => text == part,
            (_, None) => false,
        });
        fit && parts.next().is_some() == self.open
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn routes(templates: &[&str]) -> Routes {
        let route = |text: &&str| match text.split_once(' ') {
            Some((method, template)) => Route { method: Some(method.to_owned()), template: template.to_owned() },
            None => Route { method: None, template: (*text).to_owned() },
        };
        Routes::new(&templates.iter().map(route).collect::<Vec<_>>())
    }

    #[test]
    fn the_first_template_that_fits_counts() {
        let routes =
            routes(&["GET /x", "/x", "/users/me", "/users/{id}", "/users/{id}/a/{b}", "/static/*", "/", "/t/"]);
        let cases = [
            ("GET", "/x", Some("/x")),
            ("PUT", "/x", Some("/x")),
            ("GET", "/users/me", Some("/users/me")),
            ("GET", "/users/7", Some("/users/{id}")),
            ("GET", "/users/", None),
            ("GET", "/users", None),
            ("GET", "/users/7/", None),
            ("GET", "/users/7/a/b", Some("/users/{id}/a/{b}")),
            ("GET", "/static/", Some("/static/*")),
            ("GET", "/static/a/b/c", Some("/static/*")),
            ("GET", "/static", None),
            ("GET", "/", Some("/")),
            ("GET", "/t/", Some("/t/")),
            ("GET", "/t", None),
            ("OPTIONS", "*", None),
            ("CONNECT", "", None),
        ];
        for (method, path, expected) in cases {
            assert_eq!(routes.find(method.as_bytes(), path.as_bytes()), expected.map(str::as_bytes), "{method} {path}");
        }
    }

    #[test]
    fn a_star_alone_takes_every_path() {
        let routes = routes(&["/*"]);
        for path in ["/", "/a", "/a/b/"] {
            assert_eq!(routes.find(b"GET", path.as_bytes()), Some(&b"/*"[..]), "{path}");
        }
        assert_eq!(routes.find(b"GET", b"*"), None);
    }

    proptest! {
        #[test]
        fn any_path_gets_an_answer(path in proptest::collection::vec(any::<u8>(), 0..300)) {
            let routes = routes(&["/a/{b}", "/{a}/{b}/*", "POST /x"]);
            let _ = routes.find(b"GET", &path);
        }
    }
}
