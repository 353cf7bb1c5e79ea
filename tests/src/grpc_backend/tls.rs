//! Certificates for gRPC backends, in files.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

/// An authority with a server's certificate for `shop.example` and 127.0.0.1, and a client's: `ca.pem`, `server.pem`,
/// `server.key`, `client.pem`, `client.key` in a folder of their own, which goes with this.
pub struct Pki(TempDir);

impl Default for Pki {
    fn default() -> Self {
        Self::new()
    }
}

impl Pki {
    /// A new authority.
    pub fn new() -> Self {
        let pki = Self(tempfile::tempdir().unwrap());
        // OpenSSL takes a certificate for self-signed that bears its authority's name.
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, format!("authority {}", pki.0.path().display()));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(pki.path("ca.pem"), ca.pem()).unwrap();
        for (name, subjects, usage) in [
            ("server", vec!["shop.example".to_owned(), "127.0.0.1".to_owned()], ExtendedKeyUsagePurpose::ServerAuth),
            ("client", vec!["client".to_owned()], ExtendedKeyUsagePurpose::ClientAuth),
        ] {
            let mut params = CertificateParams::new(subjects).unwrap();
            params.distinguished_name.push(DnType::CommonName, name);
            params.extended_key_usages = vec![usage];
            let key = KeyPair::generate().unwrap();
            std::fs::write(pki.path(&format!("{name}.pem")), params.signed_by(&key, &ca).unwrap().pem()).unwrap();
            std::fs::write(pki.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
        }
        pki
    }

    /// The path of one of the files.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// What a server with this certificate speaks; with `asks_for_client` only to those who bear a client's.
    pub(super) fn acceptor(&self, asks_for_client: bool) -> TlsAcceptor {
        let certs = |name: &str| -> Vec<_> {
            CertificateDer::pem_file_iter(self.path(name)).unwrap().map(Result::unwrap).collect()
        };
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
        let builder = if asks_for_client {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(certs("ca.pem"));
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.unwrap().with_client_cert_verifier(verifier)
        } else {
            builder.unwrap().with_no_client_auth()
        };
        let key = PrivateKeyDer::from_pem_file(self.path("server.key")).unwrap();
        let mut config = builder.with_single_cert(certs("server.pem"), key).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }
}
