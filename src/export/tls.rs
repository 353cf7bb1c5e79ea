//! TLS to the collector. Every file is read when the sender is made, before HAProxy's chroot hides it, and never again.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{AlertDescription, CertificateError, ClientConfig, Error, InconsistentKeys, RootCertStore};

use super::error::SetupError;
use crate::config::{ClientIdentity, Protocol, SignalExport};

/// The client's side of TLS: whom it trusts, whom it wants, what it shows.
#[derive(Clone)]
pub(super) struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
    /// gRPC speaks HTTP/2 and nothing else.
    http2: bool,
}

impl Tls {
    /// Reads the files that `config` names; without `export.certificate` the system's authorities.
    pub(super) fn new(config: &SignalExport) -> Result<Self, SetupError> {
        let host = &config.endpoint.host;
        let name = ServerName::try_from(host.clone()).map_err(|_| SetupError::ServerName { host: host.clone() })?;
        let roots = match &config.certificate {
            Some(path) => roots_in(path)?,
            None => system_roots()?,
        };
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| SetupError::Tls { reason: error.to_string() })?
            .with_root_certificates(roots);
        let mut client = match &config.client {
            Some(identity) => {
                let (chain, key) = read_identity(identity)?;
                builder.with_client_auth_cert(chain, key).map_err(|error| mismatch(identity, &error))?
            }
            None => builder.with_no_client_auth(),
        };
        let http2 = config.protocol == Protocol::Grpc;
        client.alpn_protocols = vec![if http2 { H2.to_vec() } else { b"http/1.1".to_vec() }];
        Ok(Self { connector: TlsConnector::from(Arc::new(client)), name, http2 })
    }

    /// On failure the reason, in an operator's words.
    pub(super) async fn handshake<S>(&self, stream: S) -> Result<TlsStream<S>, String>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let shaken = self.connector.connect(self.name.clone(), stream).await;
        let stream = shaken.map_err(|error| io_reason(&error))?;
        if self.http2 && stream.get_ref().1.alpn_protocol() != Some(H2) {
            return Err("the collector does not offer HTTP/2 (ALPN), which gRPC needs".to_owned());
        }
        Ok(stream)
    }
}

/// What an error of a connection with TLS means, if it is one of TLS's.
pub(super) fn reason_within(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    if let Some(error) = error.downcast_ref::<Error>() {
        return Some(reason(error));
    }
    let inner = error.downcast_ref::<io::Error>()?.get_ref()?;
    inner.downcast_ref::<Error>().map(reason)
}

fn io_reason(error: &io::Error) -> String {
    match reason_within(error) {
        Some(reason) => reason,
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            "the connection was closed during the handshake: the port may not speak TLS".to_owned()
        }
        None => error.to_string(),
    }
}

fn reason(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(error) => format!("the collector's certificate {}", certificate_reason(error)),
        Error::InvalidMessage(_) => "the port does not speak TLS".to_owned(),
        Error::AlertReceived(alert) => match alert {
            AlertDescription::CertificateRequired => "the collector asks for a client certificate".to_owned(),
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError => format!("the collector refused the client certificate ({alert:?})"),
            AlertDescription::NoApplicationProtocol => "the collector does not offer the protocol (ALPN)".to_owned(),
            other => format!("the collector refused the handshake ({other:?})"),
        },
        other => other.to_string(),
    }
}

fn certificate_reason(error: &CertificateError) -> String {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired".to_owned(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "is not valid yet".to_owned(),
        CertificateError::UnknownIssuer => "has an unknown issuer".to_owned(),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "is for another name".to_owned()
        }
        CertificateError::BadSignature => "is signed by another authority of the trusted one's name".to_owned(),
        CertificateError::Revoked => "is revoked".to_owned(),
        other => format!("is not valid: {other}"),
    }
}

fn system_roots() -> Result<RootCertStore, SetupError> {
    let mut roots = RootCertStore::empty();
    // One that is broken does not spoil the others.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() { Err(SetupError::NoAuthorities) } else { Ok(roots) }
}

fn roots_in(path: &str) -> Result<RootCertStore, SetupError> {
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates("certificate", path)? {
        roots.add(certificate).map_err(|error| bad_file("certificate", path, error.to_string()))?;
    }
    Ok(roots)
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn read_identity(identity: &ClientIdentity) -> Result<Identity, SetupError> {
    let chain = read_certificates("client_certificate", &identity.certificate)?;
    let pem = read_file("client_key", &identity.key)?;
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
        bad_file("client_key", &identity.key, "no private key in PEM form without a password".to_owned())
    })?;
    Ok((chain, key))
}

/// At least one.
fn read_certificates(key: &'static str, path: &str) -> Result<Vec<CertificateDer<'static>>, SetupError> {
    let pem = read_file(key, path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => {
            Err(bad_file(key, path, "no certificate in PEM form".to_owned()))
        }
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(bad_file(key, path, error.to_string())),
    }
}

fn read_file(key: &'static str, path: &str) -> Result<Vec<u8>, SetupError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes));
    read.map_err(|error| bad_file(key, path, error.to_string()))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(bad_file(key, path, "longer than 1 MiB".to_owned()));
    }
    Ok(bytes)
}

fn bad_file(key: &'static str, path: &str, reason: String) -> SetupError {
    SetupError::File { key, path: path.to_owned(), reason }
}

fn mismatch(identity: &ClientIdentity, error: &Error) -> SetupError {
    let reason = match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            format!("not the key of the certificate in {}", identity.certificate)
        }
        other => other.to_string(),
    };
    bad_file("client_key", &identity.key, reason)
}

/// ALPN's name for HTTP/2. RFC 9113, section 3.2.
const H2: &[u8] = b"h2";
/// Bytes of one PEM file: a bundle of every public authority has a quarter of it.
const MAX_FILE: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Signal;
    use rcgen::{CertifiedKey, generate_simple_self_signed};
    use tempfile::TempDir;

    struct Files {
        dir: TempDir,
    }

    impl Files {
        fn new() -> Self {
            let files = Self { dir: TempDir::new().unwrap() };
            for name in ["a", "b"] {
                let CertifiedKey { cert, signing_key } = generate_simple_self_signed(vec!["c".to_owned()]).unwrap();
                files.write(&format!("{name}.pem"), &cert.pem());
                files.write(&format!("{name}.key"), &signing_key.serialize_pem());
            }
            files
        }

        fn write(&self, name: &str, content: &str) -> String {
            std::fs::write(self.dir.path().join(name), content).unwrap();
            self.path(name)
        }

        fn path(&self, name: &str) -> String {
            self.dir.path().join(name).display().to_string()
        }

        /// What is said of these files, without the folder's name.
        fn said_of(&self, certificate: &str, client: Option<(&str, &str)>) -> Option<String> {
            let config = SignalExport {
                certificate: Some(self.path(certificate)),
                client: client.map(|(certificate, key)| ClientIdentity {
                    certificate: self.path(certificate),
                    key: self.path(key),
                }),
                ..SignalExport::default_for(Signal::Traces)
            };
            let error = Tls::new(&config).err()?;
            Some(error.to_string().replace(&format!("{}/", self.dir.path().display()), ""))
        }
    }

    #[test]
    fn files_that_are_right_are_taken() {
        let files = Files::new();
        assert_eq!(files.said_of("a.pem", None), None);
        assert_eq!(files.said_of("a.pem", Some(("b.pem", "b.key"))), None);
    }

    #[test]
    fn files_that_are_wrong_are_named_with_their_key() {
        let files = Files::new();
        files.write("empty.pem", "");
        files.write("broken.pem", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n");
        files.write("long.pem", &"\n".repeat(1024 * 1024 + 1));
        let said = |certificate, client| files.said_of(certificate, client).unwrap();
        assert_eq!(said("none.pem", None), "`export.certificate`: none.pem: No such file or directory (os error 2)");
        assert_eq!(said("empty.pem", None), "`export.certificate`: empty.pem: no certificate in PEM form");
        assert!(said("broken.pem", None).starts_with("`export.certificate`: broken.pem: "));
        assert_eq!(said("long.pem", None), "`export.certificate`: long.pem: longer than 1 MiB");
        assert_eq!(
            said("a.pem", Some(("a.pem", "a.pem"))),
            "`export.client_key`: a.pem: no private key in PEM form without a password"
        );
        assert_eq!(
            said("a.pem", Some(("a.key", "a.key"))),
            "`export.client_certificate`: a.key: no certificate in PEM form"
        );
        let mismatch = said("a.pem", Some(("a.pem", "b.key")));
        assert!(mismatch.starts_with("`export.client_key`: b.key: not the key of the certificate in "), "{mismatch}");
    }
}
