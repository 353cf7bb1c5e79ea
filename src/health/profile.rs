//! What all checks of one backend share, made ready before HAProxy's chroot.

use std::sync::Arc;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::uri::Authority;
use ipnet::IpNet;
use tokio_rustls::rustls::pki_types::ServerName;

use super::policy::Policy;
use super::tls::{Tls, TlsError, bounded};
use crate::config::{BackendConfig, Environment, HealthConfig, MetadataValue, TlsMode, Way};

/// One backend's settings with what they name: files, variables.
#[derive(Debug, Clone)]
pub(crate) struct Profile {
    /// The settings.
    pub(crate) config: BackendConfig,
    /// What answers mean.
    pub(crate) policy: Policy,
    /// Sent with each request: metadata and `user-agent`.
    pub(crate) headers: HeaderMap,
    /// Absent where no connection is encrypted.
    pub(crate) tls: Option<Arc<Tls>>,
    /// Where connections may lead; empty means anywhere.
    pub(crate) networks: Arc<[IpNet]>,
}

/// Why the settings of health checks cannot be used: a file or a variable that they name.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {reason}")]
pub struct HealthError {
    /// Where the settings stand: a backend's table, or `agent`.
    pub place: String,
    /// What was expected and found.
    pub reason: String,
}

/// Why a backend's settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProfileError {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("`metadata.{name}`: cannot read {path}: {source}")]
    Unreadable { name: String, path: String, source: std::io::Error },
    #[error("`metadata.{name}`: the environment has no {variable}")]
    Unset { name: String, variable: String },
    #[error("`server_name`: expected a name or an address that a certificate can bear, found `{0}`")]
    ServerName(String),
    #[error("`authority`: expected a name or an address that a certificate can bear, found `{0}`: set `server_name`")]
    Authority(String),
    #[error("`metadata.{name}`: expected text of up to {MAX_VALUE_BYTES} bytes that a header can carry, found other")]
    Refused { name: String },
}

impl Profile {
    /// Reads what the settings name. Blocks.
    pub(crate) fn load(config: &BackendConfig) -> Result<Self, ProfileError> {
        names(config)?;
        let tls = match config.tls {
            TlsMode::Off => None,
            TlsMode::On | TlsMode::Auto => Some(Arc::new(Tls::load(config)?)),
        };
        Ok(Self {
            policy: Policy::new(config),
            headers: headers(config)?,
            tls,
            networks: Arc::default(),
            config: config.clone(),
        })
    }

    /// The same, for another service.
    pub(crate) fn for_service(&self, service: &str) -> Self {
        let config = BackendConfig { services: vec![service.to_owned()], ..self.config.clone() };
        Self { config, ..self.clone() }
    }

    /// The same, for connections into these networks alone.
    pub(crate) fn confined(&self, networks: &[IpNet]) -> Self {
        Self { networks: networks.into(), ..self.clone() }
    }

    /// Whether states are forced through Lua. Else HAProxy asks for them.
    pub(crate) fn is_forced(&self) -> bool {
        self.config.way == Way::Lua
    }

    /// Whether to encrypt, when HAProxy's own connections to the server are encrypted so.
    pub(crate) fn encrypts(&self, haproxy_does: Option<bool>) -> bool {
        match self.config.tls {
            TlsMode::Off => false,
            TlsMode::On => true,
            TlsMode::Auto => haproxy_does.unwrap_or(false),
        }
    }
}

/// Of all configured backends, in order.
pub(crate) fn profiles(config: &HealthConfig) -> Result<Vec<Arc<Profile>>, HealthError> {
    let load = |backend: &BackendConfig| match Profile::load(backend) {
        Ok(profile) => Ok(Arc::new(profile)),
        Err(error) => {
            Err(HealthError { place: format!("health.backend `{}`", backend.name), reason: error.to_string() })
        }
    };
    config.backends.iter().map(load).collect()
}

/// For targets without a backend. A system without certificates of authorities has no TLS for them, unless the settings name
/// files.
pub(crate) fn default_profile(config: &HealthConfig) -> Result<Arc<Profile>, HealthError> {
    let asked = &config.single.profile;
    let error = match Profile::load(asked) {
        Ok(profile) => return Ok(Arc::new(profile)),
        Err(error) => error,
    };
    let plain = BackendConfig { tls: TlsMode::Off, ..asked.clone() };
    match Profile::load(&plain) {
        // Who asks for TLS all the same is told that there is none.
        Ok(profile) if asked.ca_file.is_empty() && asked.cert_file.is_none() => {
            Ok(Arc::new(Profile { config: asked.clone(), ..profile }))
        }
        _ => Err(HealthError { place: "agent".to_owned(), reason: error.to_string() }),
    }
}

/// With TLS, what stands for the server's name can be in a certificate.
fn names(config: &BackendConfig) -> Result<(), ProfileError> {
    let is_refused = |name: &&str| config.tls != TlsMode::Off && ServerName::try_from(*name).is_err();
    if let Some(name) = &config.server_name {
        let refused = Some(name.as_str()).filter(is_refused);
        return refused.map_or(Ok(()), |name| Err(ProfileError::ServerName(name.to_owned())));
    }
    let authority = config.authority.as_ref().and_then(|authority| authority.parse::<Authority>().ok());
    let refused = authority.filter(|authority| is_refused(&bare(authority.host())));
    refused.map_or(Ok(()), |authority| Err(ProfileError::Authority(authority.to_string())))
}

/// A host of an authority without the brackets of an IPv6 address.
pub(crate) fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

fn headers(config: &BackendConfig) -> Result<HeaderMap, ProfileError> {
    let mut headers = HeaderMap::with_capacity(config.metadata.len() + 1);
    for (name, source) in &config.metadata {
        let refused = || ProfileError::Refused { name: name.clone() };
        let text = value(name, source)?;
        // A file most often ends in a line break, which is no part of the secret.
        let text = text.trim_end_matches(['\r', '\n']);
        if text.len() > MAX_VALUE_BYTES {
            return Err(refused());
        }
        let mut value = HeaderValue::from_str(text).map_err(|_| refused())?;
        value.set_sensitive(true);
        headers.append(name.parse::<HeaderName>().map_err(|_| refused())?, value);
    }
    let agent = config.user_agent.as_deref().and_then(|agent| HeaderValue::from_str(agent).ok());
    headers.insert(http::header::USER_AGENT, agent.unwrap_or(HeaderValue::from_static(AGENT)));
    Ok(headers)
}

fn value(name: &str, source: &MetadataValue) -> Result<String, ProfileError> {
    let refused = || ProfileError::Refused { name: name.to_owned() };
    match source {
        MetadataValue::Text(text) => Ok(text.clone()),
        MetadataValue::Env(variable) => Environment::named(variable)
            .ok_or_else(|| ProfileError::Unset { name: name.to_owned(), variable: variable.clone() }),
        MetadataValue::File(path) => {
            let bytes = bounded(path, MAX_VALUE_BYTES as u64 + 2).map_err(|source| ProfileError::Unreadable {
                name: name.to_owned(),
                path: path.display().to_string(),
                source,
            })?;
            String::from_utf8(bytes).map_err(|_| refused())
        }
    }
}

/// `user-agent`, told apart from the exporters' and from other gRPC clients'.
const AGENT: &str = concat!("haproxy-vitals/", env!("CARGO_PKG_VERSION"));

/// Bytes of one value of metadata.
const MAX_VALUE_BYTES: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn with(value: MetadataValue) -> Result<HeaderMap, String> {
        let config = BackendConfig { metadata: vec![("x-key".to_owned(), value)], ..BackendConfig::named("b") };
        Profile::load(&config).map(|profile| profile.headers).map_err(|error| error.to_string())
    }

    #[test]
    fn a_name_that_no_certificate_can_bear_is_refused_at_once() {
        let load = |server_name: Option<&str>, authority: Option<&str>, tls| {
            let own = |text: Option<&str>| text.map(str::to_owned);
            let (server_name, authority) = (own(server_name), own(authority));
            let config = BackendConfig { authority, tls, server_name, ..BackendConfig::named("b") };
            let config = BackendConfig { insecure_skip_verify: true, ..config };
            Profile::load(&config).map(drop).map_err(|error| error.to_string())
        };
        for wrong in [".", "-", "a..b"] {
            let message = load(Some(wrong), None, TlsMode::On).unwrap_err();
            assert!(message.starts_with("`server_name`: expected a name"), "{message}");
        }
        let message = load(None, Some("-:443"), TlsMode::Auto).unwrap_err();
        assert!(
            message.starts_with("`authority`: ") && message.ends_with("found `-:443`: set `server_name`"),
            "{message}"
        );
        for (name, authority, tls) in [
            (Some("shop.example"), Some("-"), TlsMode::On),
            (Some("10.0.0.1"), None, TlsMode::On),
            (None, Some("[::1]:443"), TlsMode::On),
            (None, Some("-"), TlsMode::Off),
            (None, None, TlsMode::On),
        ] {
            assert_eq!(load(name, authority, tls), Ok(()));
        }
    }

    #[test]
    fn secrets_come_from_files_and_variables_and_are_marked() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "word\r\n").unwrap();
        let headers = with(MetadataValue::File(file.path().to_owned())).unwrap();
        assert_eq!(headers["x-key"], "word");
        assert!(headers["x-key"].is_sensitive());
        assert!(!with(MetadataValue::Env("PATH".to_owned())).unwrap()["x-key"].is_empty());
    }

    #[test]
    fn secrets_that_cannot_be_had_are_an_error_without_the_secret() {
        let error = with(MetadataValue::File("/nowhere/at-all".into())).unwrap_err();
        assert!(error.starts_with("`metadata.x-key`: cannot read /nowhere/at-all: "), "{error}");
        let error = with(MetadataValue::Env("HAPROXY_VITALS_TEST_UNSET".to_owned())).unwrap_err();
        assert_eq!(error, "`metadata.x-key`: the environment has no HAPROXY_VITALS_TEST_UNSET");
        let file = tempfile::NamedTempFile::new().unwrap();
        for content in ["wo\nrd".to_owned(), "\u{1}word".to_owned(), "word".repeat(2049)] {
            std::fs::write(file.path(), content).unwrap();
            let error = with(MetadataValue::File(file.path().to_owned())).unwrap_err();
            assert!(error.starts_with("`metadata.x-key`: ") && !error.contains("word"), "{error}");
        }
    }
}
