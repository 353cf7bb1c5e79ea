//! Where signals go: URLs, and what each protocol makes of them.
//!
//! OpenTelemetry protocol exporter, "Endpoint URLs for OTLP/HTTP" and "Configuration options".

use std::fmt;

use http::uri::{Authority, PathAndQuery};

use super::error::ConfigError;
use super::origin::Origin;
use super::setting::{HIDDEN, Setting};
use super::signal::Signal;
use super::tree::{Base, Endpoint, Protocol};

/// The endpoint that `setting` names, before the protocol is known. Without a scheme it is what gRPC calls a target.
pub(super) fn read(setting: &Setting) -> Result<Base, ConfigError> {
    let text = setting.text()?;
    let without_scheme = !text.contains("://");
    let url = if without_scheme { parse(&format!("https://{text}")) } else { parse(text) };
    // What a target needs is said when it is known to be none.
    let url = url.map_err(|expected| bad(setting, if without_scheme { URL } else { expected }))?;
    if without_scheme && !has_port(text) {
        return Err(bad(setting, URL));
    }
    Ok(Base { url, without_scheme })
}

/// What `base` means to a protocol.
pub(super) struct Meaning<'a> {
    pub(super) key: &'a str,
    pub(super) origin: &'a Origin,
    pub(super) protocol: Protocol,
    pub(super) signal: Signal,
    /// A target without a scheme is plain.
    pub(super) insecure: bool,
    /// Nothing is appended to it.
    pub(super) as_it_is: bool,
}

impl Meaning<'_> {
    pub(super) fn of(&self, base: &Base) -> Result<Endpoint, ConfigError> {
        let url = base.url.clone();
        match self.protocol {
            Protocol::Grpc => {
                if !self.origin.is_lenient() && !url.path.trim_matches('/').is_empty() {
                    return Err(self.error(|key, origin, found| ConfigError::PathWithGrpc { key, origin, found }, base));
                }
                Ok(Endpoint { path: String::new(), tls: url.tls && !(base.without_scheme && self.insecure), ..url })
            }
            Protocol::HttpProtobuf | Protocol::HttpJson => {
                if base.without_scheme {
                    let bad = |key, origin, found| ConfigError::BadEndpoint { key, origin, expected: URL, found };
                    return Err(self.error(bad, base));
                }
                Ok(Endpoint { path: self.path(&url.path), ..url })
            }
        }
    }

    fn path(&self, path: &str) -> String {
        match (self.as_it_is, path) {
            (true, "") => "/".to_owned(),
            (true, path) => path.to_owned(),
            (false, path) => format!("{}{}", path.trim_end_matches('/'), self.signal.http_path()),
        }
    }

    fn error(&self, kind: impl FnOnce(String, Origin, String) -> ConfigError, base: &Base) -> ConfigError {
        kind(self.key.to_owned(), self.origin.clone(), super::value::quoted(&base.to_string()))
    }
}

impl Endpoint {
    /// The endpoint when nobody names one.
    pub(super) fn default_for(protocol: Protocol, signal: Signal) -> Self {
        let (port, path) = match protocol {
            Protocol::Grpc => (4317, ""),
            Protocol::HttpProtobuf | Protocol::HttpJson => (4318, signal.http_path()),
        };
        Self { tls: false, host: "localhost".to_owned(), port, path: path.to_owned() }
    }
}

/// `scheme://host[:port][/path]`; on failure, what was expected.
fn parse(text: &str) -> Result<Endpoint, &'static str> {
    let (scheme, rest) = text.split_once("://").ok_or(URL)?;
    let tls = match scheme.to_ascii_lowercase().as_str() {
        "http" => false,
        "https" => true,
        _ => return Err(URL),
    };
    if rest.contains(['?', '#', '@']) {
        return Err("a URL without user name, query and fragment");
    }
    let (authority, path) = rest.split_at_checked(rest.find('/').unwrap_or(rest.len())).ok_or(URL)?;
    let (host, port) = host_and_port(authority, if tls { 443 } else { 80 })?;
    if !path.is_empty() && path.parse::<PathAndQuery>().is_err() {
        return Err("a path that a request can carry");
    }
    Ok(Endpoint { tls, host, port, path: path.to_owned() })
}

/// RFC 3986, section 3.2; an IPv6 address loses its brackets.
pub(super) fn host_and_port(text: &str, default_port: u16) -> Result<(String, u16), &'static str> {
    let authority: Authority = text.parse().map_err(|_| URL)?;
    let host = authority.host();
    let port = match text.strip_prefix(host).ok_or(URL)? {
        "" => default_port,
        port => port.strip_prefix(':').and_then(|port| port.parse().ok()).filter(|port| *port != 0).ok_or(PORT)?,
    };
    let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().map(|_| address).map_err(|_| URL)?,
        None => host,
    };
    if host.is_empty() { Err(URL) } else { Ok((host.to_owned(), port)) }
}

/// Whether a target ends in a port: a bare word is more likely a mistake.
fn has_port(target: &str) -> bool {
    let authority = target.split('/').next().unwrap_or_default();
    authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok())
}

/// User names and queries carry passwords and keys, so a URL that has one is not repeated.
fn bad(setting: &Setting, expected: &'static str) -> ConfigError {
    let secret = setting.text().is_ok_and(|text| text.contains(['?', '#', '@']));
    let found = if secret { HIDDEN.to_owned() } else { setting.found() };
    ConfigError::BadEndpoint { key: setting.path.clone(), origin: setting.origin.clone(), expected, found }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tls, host, port, path } = self;
        let scheme = if *tls { "https" } else { "http" };
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}{path}")
        } else {
            write!(f, "{scheme}://{host}:{port}{path}")
        }
    }
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.url.to_string();
        f.write_str(if self.without_scheme { text.trim_start_matches("https://") } else { &text })
    }
}

const URL: &str = "a URL such as `http://collector:4318`";
const PORT: &str = "a port from 1 to 65535";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::value::Value;
    use proptest::prelude::*;

    const GENERAL: Origin = Origin::OpenTelemetry("OTEL_EXPORTER_OTLP_ENDPOINT");

    /// The endpoint of traces.
    fn read_as(text: &str, origin: &Origin, protocol: Protocol, as_it_is: bool) -> Result<String, String> {
        let setting = Setting::of("export.endpoint", Value::Text(text.to_owned()), origin.clone());
        let (key, signal) = ("export.endpoint", Signal::Traces);
        let meaning = Meaning { key, origin, protocol, signal, insecure: false, as_it_is };
        let base = read(&setting).map_err(|error| error.to_string())?;
        meaning.of(&base).map(|endpoint| endpoint.to_string()).map_err(|error| error.to_string())
    }

    fn http(text: &str) -> Result<String, String> {
        read_as(text, &Origin::Option, Protocol::HttpProtobuf, false)
    }

    #[test]
    fn the_path_of_traces_is_appended_to_a_base() {
        assert_eq!(http("http://c:4318").unwrap(), "http://c:4318/v1/traces");
        assert_eq!(http("http://c:4318/").unwrap(), "http://c:4318/v1/traces");
        assert_eq!(http("HTTP://c/otlp").unwrap(), "http://c:80/otlp/v1/traces");
        assert_eq!(http("https://c/otlp/").unwrap(), "https://c:443/otlp/v1/traces");
        assert_eq!(read_as("http://c/a", &GENERAL, Protocol::HttpJson, false).unwrap(), "http://c:80/a/v1/traces");
    }

    #[test]
    fn the_endpoint_of_one_signal_is_taken_as_it_is() {
        let traces = |text| read_as(text, &Origin::Option, Protocol::HttpProtobuf, true).unwrap();
        assert_eq!(traces("http://c:4318"), "http://c:4318/");
        assert_eq!(traces("http://c:4318/in/"), "http://c:4318/in/");
    }

    #[test]
    fn an_ipv6_address_has_brackets_in_text_only() {
        let setting = Setting::of("export.endpoint", Value::Text("http://[::1]:4318".to_owned()), Origin::Option);
        assert_eq!(read(&setting).unwrap().url.host, "::1");
        assert_eq!(http("http://[::1]").unwrap(), "http://[::1]:80/v1/traces");
    }

    #[test]
    fn grpc_takes_scheme_host_and_port() {
        let grpc = |text| read_as(text, &GENERAL, Protocol::Grpc, false).unwrap();
        assert_eq!(grpc("http://c:4317"), "http://c:4317");
        assert_eq!(grpc("http://c:4317/v1/traces"), "http://c:4317");
        assert_eq!(read_as("http://c:4317/", &Origin::Option, Protocol::Grpc, false).unwrap(), "http://c:4317");
    }

    #[test]
    fn grpc_without_a_scheme_is_tls() {
        assert_eq!(read_as("c:4317", &GENERAL, Protocol::Grpc, false).unwrap(), "https://c:4317");
    }

    #[test]
    fn grpc_with_a_path_is_refused() {
        let message = "`export.endpoint` (option in Lua): expected no path, because the protocol is grpc, \
                       found `http://c:4317/v1/traces`";
        let found = read_as("http://c:4317/v1/traces", &Origin::Option, Protocol::Grpc, false);
        assert_eq!(found.unwrap_err(), message);
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for text in ["", "c", "c:4318", "ftp://c", "http://", "http:///p", "http://:80", "http://a b", "http://[x]"] {
            let message = format!(
                "`export.endpoint` (option in Lua): expected a URL such as `http://collector:4318`, found `{text}`"
            );
            assert_eq!(http(text).unwrap_err(), message);
        }
    }

    #[test]
    fn a_port_is_1_to_65535() {
        for text in ["http://c:0", "http://c:65536", "http://c:"] {
            let message = format!("`export.endpoint` (option in Lua): expected a port from 1 to 65535, found `{text}`");
            assert_eq!(http(text).unwrap_err(), message);
        }
    }

    #[test]
    fn a_url_with_a_password_is_not_repeated() {
        let message = "`export.endpoint` (option in Lua): expected a URL without user name, query and fragment, \
                       found (hidden)";
        assert_eq!(http("http://user:word@c").unwrap_err(), message);
        assert_eq!(http("http://c/?key=word").unwrap_err(), message);
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "(https?://)?.*") {
            for (origin, as_it_is) in [(Origin::Option, false), (GENERAL, true)] {
                let _ = read_as(&text, &origin, Protocol::Grpc, as_it_is);
                let _ = read_as(&text, &origin, Protocol::HttpProtobuf, as_it_is);
            }
        }

        #[test]
        fn what_is_shown_is_read_back(host in "[a-z]{1,8}", port in 1..=u16::MAX, path in "(/[a-z]{1,4}){0,3}") {
            let shown = format!("http://{host}:{port}{path}/v1/traces");
            let url = format!("http://{host}:{port}{path}");
            prop_assert_eq!(http(&url).unwrap(), shown);
        }
    }
}
