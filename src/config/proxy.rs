//! Which HTTP proxy stands before a collector: `export.proxy`, else the environment as curl and Go read it.
//!
//! | variable | for |
//! |---|---|
//! | `http_proxy` | plain endpoints; in lower case only, because a CGI request could set the other |
//! | `https_proxy`, `HTTPS_PROXY` | endpoints with TLS |
//! | `all_proxy`, `ALL_PROXY` | both, where there is no other |
//! | `no_proxy`, `NO_PROXY` | hosts that no proxy is used for |
//!
//! Where both cases are set, the lower one counts. The loopback is never reached through a proxy that the environment names.

use std::net::IpAddr;

use ipnet::IpNet;

use super::endpoint::host_and_port;
use super::env::Environment;
use super::error::ConfigError;
use super::setting::Setting;
use super::tree::{Endpoint, Proxy, ProxyChoice};
use super::value::quoted;

/// `export.proxy`: `none`, or the URL of a proxy.
pub(super) fn read(setting: &Setting) -> Result<ProxyChoice, ConfigError> {
    let text = setting.text()?;
    if text == "none" {
        return Ok(ProxyChoice::Direct);
    }
    parse(text)
        .map(ProxyChoice::Through)
        .map_err(|_| setting.bad_secret("`none`, or a URL such as `http://proxy:3128`"))
}

/// The proxy that the environment names for `endpoint`. What it names and cannot be used is a warning.
pub(super) fn from_environment(
    endpoint: &Endpoint,
    environment: &Environment,
    warnings: &mut Vec<String>,
) -> Option<Proxy> {
    let own = if endpoint.tls { &["https_proxy", "HTTPS_PROXY"][..] } else { &["http_proxy"] };
    let names = own.iter().chain(&["all_proxy", "ALL_PROXY"]);
    let (name, text) = names.into_iter().find_map(|name| Some((name, environment.value(name)?)))?;
    if is_loopback(&endpoint.host) || is_exempt(endpoint, environment) {
        return None;
    }
    let proxy = parse(text);
    if let Err(why) = &proxy {
        let warning = format!("{name}: {why}; no proxy is used");
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }
    proxy.ok()
}

/// The variables that are read here.
pub(super) const VARIABLES: [&str; 7] =
    ["http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"];

/// `[http://][user:password@]host[:port][/]`; on failure, why not, without a secret.
fn parse(text: &str) -> Result<Proxy, String> {
    let rest = match text.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
        Some((scheme, _)) => return Err(format!("expected a proxy with the scheme `http`, found {}", quoted(scheme))),
        None => text,
    };
    let rest = rest.trim_end_matches('/');
    let (credentials, authority) = match rest.rsplit_once('@') {
        Some((credentials, authority)) => (Some(credentials), authority),
        None => (None, rest),
    };
    let no_url = || "expected a URL such as `http://proxy:3128`".to_owned();
    let (host, port) = host_and_port(authority, DEFAULT_PORT).map_err(|_| no_url())?;
    let credentials =
        credentials.map(|text| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned());
    Ok(Proxy { host, port, credentials })
}

/// What `no_proxy` lists: `*`, a host and everything below it (with a dot or `*.` before it or not), an address, a network,
/// each but `*` and a network with a port or without.
fn is_exempt(endpoint: &Endpoint, environment: &Environment) -> bool {
    let list = environment.value("no_proxy").or_else(|| environment.value("NO_PROXY")).unwrap_or_default();
    list.split([',', ' ']).map(str::trim).filter(|entry| !entry.is_empty()).any(|entry| matches(entry, endpoint))
}

fn matches(entry: &str, endpoint: &Endpoint) -> bool {
    if entry == "*" {
        return true;
    }
    let address = endpoint.host.parse::<IpAddr>().ok();
    if let Ok(network) = entry.parse::<IpNet>() {
        return address.is_some_and(|address| network.contains(&address));
    }
    let bare = entry.trim_start_matches('[').trim_end_matches(']');
    if let Ok(entry) = bare.parse::<IpAddr>() {
        return address == Some(entry);
    }
    let (host, port) = match entry.rsplit_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (entry, None),
    };
    if port.is_some_and(|port| port.parse() != Ok(endpoint.port)) {
        return false;
    }
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(entry) = host.parse::<IpAddr>() {
        return address == Some(entry);
    }
    is_below(
        &endpoint.host.to_lowercase(),
        host.trim_start_matches('*').trim_start_matches('.').to_lowercase().as_str(),
    )
}

/// `host` is `domain` or a name in it.
fn is_below(host: &str, domain: &str) -> bool {
    !domain.is_empty() && host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// As curl has it.
const DEFAULT_PORT: u16 = 1080;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn proxy_for(endpoint: &str, variables: &[(&str, &str)]) -> (Option<String>, Vec<String>) {
        let environment = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let (scheme, rest) = endpoint.split_once("://").unwrap();
        let (host, port) = host_and_port(rest, 443).unwrap();
        let endpoint = Endpoint { tls: scheme == "https", host, port, path: String::new() };
        let mut warnings = Vec::new();
        let proxy = from_environment(&endpoint, &environment, &mut warnings);
        (proxy.map(|proxy| format!("{}:{}", proxy.host, proxy.port)), warnings)
    }

    fn used(endpoint: &str, variables: &[(&str, &str)]) -> Option<String> {
        let (proxy, warnings) = proxy_for(endpoint, variables);
        assert_eq!(warnings, [""; 0]);
        proxy
    }

    #[test]
    fn each_scheme_has_its_variable() {
        let all = [("http_proxy", "http://plain:1"), ("https_proxy", "http://secure:2"), ("all_proxy", "http://all:3")];
        assert_eq!(used("http://c:1", &all).unwrap(), "plain:1");
        assert_eq!(used("https://c:1", &all).unwrap(), "secure:2");
        assert_eq!(used("http://c:1", &all[1..]).unwrap(), "all:3");
        assert_eq!(used("https://c:1", &all[..1]), None);
        assert_eq!(used("http://c:1", &[("HTTP_PROXY", "http://cgi:1")]), None);
        assert_eq!(used("https://c:1", &[("HTTPS_PROXY", "up"), ("https_proxy", "low")]).unwrap(), "low:1080");
    }

    #[test]
    fn no_proxy_lists_hosts_domains_addresses_and_networks() {
        let exempt =
            |list: &str, endpoint: &str| used(endpoint, &[("all_proxy", "http://p:1"), ("no_proxy", list)]).is_none();
        for (list, endpoint) in [
            ("*", "http://c:1"),
            ("a, c", "http://c:1"),
            ("example.org", "http://c.example.org:1"),
            (".example.org", "http://c.Example.org:1"),
            ("*.example.org", "http://c.example.org:1"),
            ("c:4318", "http://c:4318"),
            ("10.0.0.0/8", "http://10.1.2.3:1"),
            ("10.1.2.3", "http://10.1.2.3:1"),
            ("10.1.2.3:1", "http://10.1.2.3:1"),
            ("fd00::/8", "http://[fd00::1]:1"),
            ("fd00::1", "http://[fd00::1]:1"),
            ("[fd00::1]:1", "http://[fd00::1]:1"),
        ] {
            assert!(exempt(list, endpoint), "{list} {endpoint}");
        }
        for (list, endpoint) in [
            ("d", "http://c:1"),
            ("ample.org", "http://example.org:1"),
            ("c:4317", "http://c:4318"),
            ("10.0.0.0/8", "http://11.1.2.3:1"),
            ("10.1.2.3:2", "http://10.1.2.3:1"),
            (".", "http://c:1"),
        ] {
            assert!(!exempt(list, endpoint), "{list} {endpoint}");
        }
        assert_eq!(used("http://c:1", &[("all_proxy", "http://p:1"), ("NO_PROXY", "c")]), None);
    }

    #[test]
    fn the_loopback_needs_no_proxy() {
        for endpoint in ["http://localhost:4318", "http://127.0.0.9:1", "https://[::1]:1"] {
            assert_eq!(used(endpoint, &[("all_proxy", "http://p:1")]), None, "{endpoint}");
        }
    }

    #[test]
    fn another_scheme_is_a_warning_without_the_secret() {
        let (proxy, warnings) = proxy_for("http://c:1", &[("all_proxy", "socks5://user:word@p:1")]);
        assert_eq!(proxy, None);
        let expected = "all_proxy: expected a proxy with the scheme `http`, found `socks5`; no proxy is used";
        assert_eq!(warnings, [expected]);
    }

    #[test]
    fn credentials_are_decoded_and_never_shown() {
        let proxy = parse("http://us%40er:wo%3Ard@p:3128/").unwrap();
        assert_eq!(proxy.credentials.as_deref(), Some("us@er:wo:rd"));
        assert_eq!(format!("{proxy} {proxy:?}"), "http://(hidden)@p:3128 http://(hidden)@p:3128");
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(proxy in ".*", list in ".*", host in "[a-z.:0-9]{1,20}") {
            let environment = [("all_proxy", proxy), ("no_proxy", list)];
            let environment = environment.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            let endpoint = Endpoint { tls: false, host, port: 1, path: String::new() };
            let _ = from_environment(&endpoint, &environment, &mut Vec::new());
        }
    }
}
