//! Where spans go: URLs, and what each source and protocol makes of them.
//!
//! OpenTelemetry protocol exporter, "Endpoint URLs for OTLP/HTTP" and "Configuration options".

use std::fmt;

use http::uri::{Authority, PathAndQuery};

use super::error::ConfigError;
use super::origin::Origin;
use super::setting::{HIDDEN, Setting};
use super::tree::{Endpoint, Protocol};

/// The endpoint that `setting` names when spans travel by `protocol`. HTTP: [`COMPLETE`] is taken as it is,
/// any other URL is a base that the path of traces is appended to.
pub(super) fn read(setting: &Setting, protocol: Protocol) -> Result<Endpoint, ConfigError> {
    let text = setting.text()?;
    let secure = protocol == Protocol::Grpc && setting.origin.is_lenient() && !text.contains("://");
    let url = if secure { parse(&format!("https://{text}")) } else { parse(text) };
    let endpoint = url.map_err(|expected| bad(setting, expected))?;
    let path = match protocol {
        Protocol::Grpc if setting.origin.is_lenient() || endpoint.path.trim_matches('/').is_empty() => String::new(),
        Protocol::Grpc => {
            return Err(ConfigError::PathWithGrpc { origin: setting.origin.clone(), found: setting.found() });
        }
        Protocol::HttpProtobuf if setting.origin == Origin::OpenTelemetry(COMPLETE) => complete(endpoint.path),
        Protocol::HttpProtobuf => format!("{}{TRACES_PATH}", endpoint.path.trim_end_matches('/')),
    };
    Ok(Endpoint { path, ..endpoint })
}

/// The endpoint when nobody names one.
pub(super) fn default_for(protocol: Protocol) -> Endpoint {
    let (port, path) = match protocol {
        Protocol::Grpc => (4317, ""),
        Protocol::HttpProtobuf => (4318, TRACES_PATH),
    };
    Endpoint { tls: false, host: "localhost".to_owned(), port, path: path.to_owned() }
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
fn host_and_port(text: &str, default_port: u16) -> Result<(String, u16), &'static str> {
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

fn complete(path: String) -> String {
    if path.is_empty() { "/".to_owned() } else { path }
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

/// The variable whose URL is taken as it is.
pub(super) const COMPLETE: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";

const TRACES_PATH: &str = "/v1/traces";
const URL: &str = "a URL such as `http://collector:4318`";
const PORT: &str = "a port from 1 to 65535";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::value::Value;
    use proptest::prelude::*;

    const BASE: Origin = Origin::OpenTelemetry("OTEL_EXPORTER_OTLP_ENDPOINT");

    fn read_from(text: &str, origin: Origin, protocol: Protocol) -> Result<String, String> {
        let setting = Setting::of("export.endpoint", Value::Text(text.to_owned()), origin);
        read(&setting, protocol).map(|endpoint| endpoint.to_string()).map_err(|error| error.to_string())
    }

    fn http(text: &str) -> Result<String, String> {
        read_from(text, Origin::Option, Protocol::HttpProtobuf)
    }

    #[test]
    fn the_path_of_traces_is_appended_to_a_base() {
        assert_eq!(http("http://c:4318").unwrap(), "http://c:4318/v1/traces");
        assert_eq!(http("http://c:4318/").unwrap(), "http://c:4318/v1/traces");
        assert_eq!(http("HTTP://c/otlp").unwrap(), "http://c:80/otlp/v1/traces");
        assert_eq!(http("http://c/otlp/").unwrap(), "http://c:80/otlp/v1/traces");
        assert_eq!(read_from("http://c/a", BASE, Protocol::HttpProtobuf).unwrap(), "http://c:80/a/v1/traces");
    }

    #[test]
    fn the_endpoint_for_traces_is_taken_as_it_is() {
        let traces = |text| read_from(text, Origin::OpenTelemetry(COMPLETE), Protocol::HttpProtobuf).unwrap();
        assert_eq!(traces("http://c:4318"), "http://c:4318/");
        assert_eq!(traces("http://c:4318/in"), "http://c:4318/in");
    }

    #[test]
    fn an_ipv6_address_has_brackets_in_text_only() {
        let setting = Setting::of("export.endpoint", Value::Text("http://[::1]:4318".to_owned()), Origin::Option);
        assert_eq!(read(&setting, Protocol::HttpProtobuf).unwrap().host, "::1");
        assert_eq!(http("http://[::1]").unwrap(), "http://[::1]:80/v1/traces");
    }

    #[test]
    fn grpc_takes_scheme_host_and_port() {
        let grpc = |text| read_from(text, BASE, Protocol::Grpc).unwrap();
        assert_eq!(grpc("http://c:4317"), "http://c:4317");
        assert_eq!(grpc("http://c:4317/v1/traces"), "http://c:4317");
        assert_eq!(read_from("http://c:4317/", Origin::Option, Protocol::Grpc).unwrap(), "http://c:4317");
    }

    #[test]
    fn grpc_without_a_scheme_is_tls() {
        assert_eq!(read_from("c:4317", BASE, Protocol::Grpc).unwrap(), "https://c:4317");
    }

    #[test]
    fn grpc_with_a_path_is_refused() {
        let message = "`export.endpoint` (option in Lua): expected no path, because `export.protocol` is grpc, \
                       found `http://c:4317/v1/traces`";
        assert_eq!(read_from("http://c:4317/v1/traces", Origin::Option, Protocol::Grpc).unwrap_err(), message);
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
            for origin in [Origin::Option, BASE] {
                let _ = read_from(&text, origin.clone(), Protocol::Grpc);
                let _ = read_from(&text, origin, Protocol::HttpProtobuf);
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
