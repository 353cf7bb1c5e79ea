//! What counts for each signal: its own settings and the general ones, brought together.
//!
//! A signal's own setting goes before the general one, unless the general one comes from a stronger source: what the file says for
//! all is not undone by a variable for one.

use super::endpoint::Meaning;
use super::env::Environment;
use super::error::ConfigError;
use super::load::Loaded;
use super::proxy;
use super::signal::Signal;
use super::tree::{ClientIdentity, Endpoint, Headers, Protocol, ProxyChoice, SignalExport};

/// Fills `export.resolved`.
pub(super) fn export(loaded: &mut Loaded, environment: &Environment) -> Result<(), ConfigError> {
    let mut unusable = 0;
    for signal in Signal::ALL {
        let (resolved, warnings) =
            Resolver { loaded, environment, signal, warnings: Vec::new(), unusable: &mut unusable }.run()?;
        *loaded.config.export.resolved.of_mut(signal) = resolved;
        for warning in warnings {
            // One bad general setting is said once, not once for each signal.
            if !loaded.warnings.contains(&warning) {
                loaded.warnings.push(warning);
            }
        }
    }
    if unusable == Signal::ALL.len() {
        loaded.config.export.endpoint = None;
        loaded.origins.remove("export.endpoint");
    }
    Ok(())
}

struct Resolver<'a> {
    loaded: &'a Loaded,
    environment: &'a Environment,
    signal: Signal,
    warnings: Vec<String>,
    /// For how many signals the general endpoint says nothing.
    unusable: &'a mut usize,
}

impl Resolver<'_> {
    fn run(mut self) -> Result<(SignalExport, Vec<String>), ConfigError> {
        let general = &self.loaded.config.export;
        let own = general.own.of(self.signal);
        let protocol = self.pick("protocol", own.protocol, general.protocol);
        let endpoint = self.endpoint(protocol)?;
        let resolved = SignalExport {
            protocol,
            headers: self.headers(protocol)?,
            timeout: self.pick("timeout", own.timeout, general.timeout),
            compression: self.pick("compression", own.compression, general.compression),
            certificate: self.pick("certificate", own.certificate.clone().map(Some), general.certificate.clone()),
            client: self.client()?,
            proxy: match &general.proxy {
                Some(ProxyChoice::Direct) => None,
                Some(ProxyChoice::Through(proxy)) => Some(proxy.clone()),
                None => proxy::from_environment(&endpoint, self.environment, &mut self.warnings),
            },
            endpoint,
        };
        Ok((resolved, self.warnings))
    }

    fn pick<T>(&self, key: &str, own: Option<T>, general: T) -> T {
        own.filter(|_| self.own_counts(key)).unwrap_or(general)
    }

    /// Whether the signal's own `key`, if it is set, goes before the general one.
    fn own_counts(&self, key: &str) -> bool {
        self.loaded.origins.strength(&self.own_key(key)) >= self.loaded.origins.strength(&general_key(key))
    }

    fn own_key(&self, key: &str) -> String {
        format!("export.{}.{key}", self.signal.word())
    }

    /// An `OTEL_*` variable that the protocol can make nothing of is a warning, and the next weaker endpoint counts.
    fn endpoint(&mut self, protocol: Protocol) -> Result<Endpoint, ConfigError> {
        let (signal, export) = (self.signal, &self.loaded.config.export);
        let own = export.own.of(signal);
        let own_url = own.endpoint.as_ref().filter(|_| self.own_counts("endpoint"));
        let candidates =
            [(self.own_key("endpoint"), own_url, true), (general_key("endpoint"), export.endpoint.as_ref(), false)];
        let insecure = self.pick("insecure", own.insecure, export.insecure);
        for (key, base, as_it_is) in candidates {
            let Some(base) = base else { continue };
            let origin = self.loaded.origins.of(&key);
            let meaning = Meaning { key: &key, origin: &origin, protocol, signal, insecure, as_it_is };
            match meaning.of(base) {
                Ok(endpoint) => return Ok(endpoint),
                Err(error) if origin.is_lenient() => {
                    *self.unusable += usize::from(!as_it_is);
                    self.warnings.push(format!("{error}; ignored"));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Endpoint::default_for(protocol, signal))
    }

    /// The signal's own headers replace the general ones whole.
    fn headers(&mut self, protocol: Protocol) -> Result<Headers, ConfigError> {
        let export = &self.loaded.config.export;
        let own = &export.own.of(self.signal).headers;
        let (key, headers) = if !own.is_empty() && self.own_counts("headers") {
            (self.own_key("headers"), own)
        } else {
            (general_key("headers"), &export.headers)
        };
        let mut kept = Headers::default();
        for (name, value) in &**headers {
            if protocol == Protocol::Grpc && name.ends_with("-bin") {
                let key = format!("{key}.{name}");
                let origin = self.loaded.origins.of(&key);
                let lenient = origin.is_lenient();
                let error = ConfigError::BinaryHeader { key, origin };
                if !lenient {
                    return Err(error);
                }
                self.warnings.push(format!("{error}; ignored"));
            } else {
                kept.push((name.clone(), value.clone()));
            }
        }
        Ok(kept)
    }

    fn client(&self) -> Result<Option<ClientIdentity>, ConfigError> {
        let export = &self.loaded.config.export;
        let own = export.own.of(self.signal);
        let certificate = self.pick(
            "client_certificate",
            own.client_certificate.clone().map(Some),
            export.client_certificate.clone(),
        );
        let key = self.pick("client_key", own.client_key.clone().map(Some), export.client_key.clone());
        let missing = |key: &str, other: &str, expected| {
            let origin = [self.own_key(other), general_key(other)].into_iter().map(|key| self.loaded.origins.of(&key));
            let origin = origin.max_by_key(super::origin::Origin::strength).unwrap_or(super::origin::Origin::Default);
            Err(ConfigError::Missing { key: general_key(key), origin, expected })
        };
        match (certificate, key) {
            (Some(certificate), Some(key)) => Ok(Some(ClientIdentity { certificate, key })),
            (None, None) => Ok(None),
            (Some(_), None) => missing("client_key", "client_certificate", "the file of the client certificate's key"),
            (None, Some(_)) => missing("client_certificate", "client_key", "the file of the key's certificate"),
        }
    }
}

fn general_key(key: &str) -> String {
    format!("export.{key}")
}
