//! A backend's certificates: read before HAProxy's chroot, read again when the files change and can still be reached.

mod files;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::timeout;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{self, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::voice::Voice;
use crate::config::BackendConfig;
use crate::log::Level;
use files::Stamp;
pub(crate) use files::bounded;

/// How to encrypt connections to one backend's servers.
#[derive(Debug)]
pub(crate) struct Tls {
    files: Files,
    /// How often the files are looked at, at most.
    period: Duration,
    current: Mutex<Current>,
}

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// A file is missing, forbidden or too long.
    #[error("`{key}`: cannot read {path}: {source}")]
    Unreadable { key: &'static str, path: PathBuf, source: std::io::Error },
    /// A file without what it must hold.
    #[error("`{key}`: expected {expected} in PEM, found none in {path}")]
    Empty { key: &'static str, path: PathBuf, expected: &'static str },
    /// The system has no list of those who sign.
    #[error("`tls`: the system has no certificates of authorities: set `ca_file`")]
    NoRoots,
    /// rustls does not take them.
    #[error("`{key}`: {source}")]
    Refused { key: &'static str, source: rustls::Error },
}

/// Where certificates are.
#[derive(Debug, Clone)]
struct Files {
    ca: Vec<PathBuf>,
    /// Certificate and key.
    own: Option<(PathBuf, PathBuf)>,
    insecure: bool,
}

#[derive(Debug)]
struct Current {
    config: Arc<ClientConfig>,
    stamps: Vec<Option<Stamp>>,
    /// When the files were last looked at.
    looked: Instant,
    /// Somebody is looking at them, or waits for a thread to do so.
    busy: bool,
}

impl Tls {
    /// Reads the files. Blocks.
    pub(crate) fn load(config: &BackendConfig) -> Result<Self, TlsError> {
        let files = Files {
            ca: config.ca_file.clone(),
            own: config.cert_file.clone().zip(config.key_file.clone()),
            insecure: config.insecure_skip_verify,
        };
        let stamps = files.stamps();
        let current = Current { config: files.read()?, stamps, looked: Instant::now(), busy: false };
        Ok(Self { files, period: config.interval, current: Mutex::new(current) })
    }

    /// The configuration for a new connection. Looks whether the files have changed, when that was not done of late.
    pub(crate) async fn config(self: &Arc<Self>, backend: &str, voice: &Arc<Voice>) -> Arc<ClientConfig> {
        if let Some(look) = self.look() {
            let (voice, backend) = (Arc::clone(voice), backend.to_owned());
            let reading = tokio::task::spawn_blocking(move || look.0.read_again(&backend, &voice));
            // The disk may hang, and resolvers may hold all threads: what is known stays good until then. An error means a
            // panic, which leaves it too.
            let _ = timeout(READ_WAIT, reading).await;
        }
        Arc::clone(&self.current().config)
    }

    /// A look at the files, when one is due. One at a time.
    fn look(self: &Arc<Self>) -> Option<Look> {
        let mut current = self.current();
        let due = !current.busy && current.looked.elapsed() >= self.period && !self.files.is_empty();
        if !due {
            return None;
        }
        (current.looked, current.busy) = (Instant::now(), true);
        Some(Look(Arc::clone(self)))
    }

    fn read_again(&self, backend: &str, voice: &Voice) {
        let stamps = self.files.stamps();
        // In a chroot they are out of reach: what was read before it stays.
        if stamps.iter().any(Option::is_none) || stamps == self.current().stamps {
            return;
        }
        let read = self.files.read();
        let mut current = self.current();
        current.stamps = stamps;
        match read {
            Ok(config) => {
                current.config = config;
                voice.say(Level::Notice, format!("health.backend `{backend}`: certificates read again"));
            }
            Err(error) => voice.say(
                Level::Warning,
                format!("health.backend `{backend}`: the new certificates are not used, the old ones stay: {error}"),
            ),
        }
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A look at the files, from the wish to the end.
struct Look(Arc<Tls>);

impl Drop for Look {
    fn drop(&mut self) {
        self.0.current().busy = false;
    }
}

impl Files {
    fn is_empty(&self) -> bool {
        self.paths().next().is_none()
    }

    fn paths(&self) -> impl Iterator<Item = &Path> {
        let own = self.own.iter().flat_map(|(cert, key)| [cert.as_path(), key.as_path()]);
        self.ca.iter().map(PathBuf::as_path).filter(|path| *path != Path::new(SYSTEM)).chain(own)
    }

    fn stamps(&self) -> Vec<Option<Stamp>> {
        self.paths().map(Stamp::of).collect()
    }

    fn read(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|source| TlsError::Refused { key: "tls", source })?;
        let builder = if self.insecure {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        } else {
            builder.with_root_certificates(self.roots()?)
        };
        let mut config = match &self.own {
            None => builder.with_no_client_auth(),
            Some((cert, key)) => builder
                .with_client_auth_cert(files::certificates("cert_file", cert)?, files::private_key("key_file", key)?)
                .map_err(|source| TlsError::Refused { key: "cert_file", source })?,
        };
        config.alpn_protocols = vec![ALPN.to_vec()];
        // Each server is another one: sessions of many thousands would be kept for nothing.
        config.resumption = rustls::client::Resumption::disabled();
        Ok(Arc::new(config))
    }

    fn roots(&self) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        let system = [PathBuf::from(SYSTEM)];
        for path in if self.ca.is_empty() { &system[..] } else { &self.ca } {
            if path == Path::new(SYSTEM) {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                continue;
            }
            for certificate in files::certificates("ca_file", path)? {
                roots.add(certificate).map_err(|source| TlsError::Refused { key: "ca_file", source })?;
            }
        }
        if roots.is_empty() { Err(TlsError::NoRoots) } else { Ok(roots) }
    }
}

/// `insecure_skip_verify`: signatures are checked, names and authorities are not.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A new connection waits so long for a look at the files; then what is known counts.
const READ_WAIT: Duration = Duration::from_millis(100);

/// RFC 9113, section 3.2.
pub(crate) const ALPN: &[u8] = b"h2";

/// In `ca_file`: the system's certificates, as HAProxy's `ca-file` has it.
const SYSTEM: &str = "@system-ca";
