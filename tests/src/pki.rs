//! Certificates for a test, as files: an authority, servers good and bad, a client.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use tempfile::TempDir;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

/// One authority and what it has signed. The files go with it.
pub struct Pki {
    dir: TempDir,
}

/// How a server speaks TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// A good certificate for `localhost`, `127.0.0.1` and `collector.test`.
    Server,
    /// The same, and clients must show a certificate of this authority's.
    Mutual,
    /// A certificate that has expired.
    Expired,
    /// A certificate for another name.
    OtherName,
}

impl Pki {
    /// Makes the authority and every certificate.
    pub fn new() -> Self {
        let pki = Self { dir: TempDir::new().unwrap() };
        // Authorities of one name are told apart by their signatures only.
        let name = format!("authority {}", pki.dir().display());
        let authority = KeyPair::generate().unwrap();
        let mut params = named(&name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        pki.write("ca.pem", &params.self_signed(&authority).unwrap().pem());
        let issuer = Issuer::new(params, authority);

        let local = &["localhost", "127.0.0.1", "collector.test"];
        pki.issue("server", &server(named("server", local)), &issuer);
        pki.issue("other", &server(named("other", &["elsewhere.test"])), &issuer);
        let mut expired = server(named("expired", local));
        (expired.not_before, expired.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
        pki.issue("expired", &expired, &issuer);
        let mut client = named("client", &[]);
        client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        pki.issue("client", &client, &issuer);
        pki
    }

    /// A file of this authority's: `ca.pem`, and `NAME.pem` with `NAME.key` for `server`, `other`, `expired` and `client`.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file beside the others and tells where.
    pub fn write(&self, name: &str, content: &str) -> PathBuf {
        std::fs::write(self.path(name), content).unwrap();
        self.path(name)
    }

    /// A server's side, with the protocols of ALPN that it offers.
    pub fn server(&self, tls: Tls, alpn: &[&str]) -> Arc<ServerConfig> {
        let name = match tls {
            Tls::Server | Tls::Mutual => "server",
            Tls::Expired => "expired",
            Tls::OtherName => "other",
        };
        let chain = vec![CertificateDer::from_pem_file(self.path(&format!("{name}.pem"))).unwrap()];
        let key = PrivateKeyDer::from_pem_file(self.path(&format!("{name}.key"))).unwrap();
        let provider = Arc::new(ring::default_provider());
        let builder =
            ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
        let builder = if tls == Tls::Mutual {
            let roots = Arc::new(self.roots());
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let mut config = builder.with_single_cert(chain, key).unwrap();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Arc::new(config)
    }

    /// This authority alone.
    pub fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.path("ca.pem")).unwrap()).unwrap();
        roots
    }

    fn issue(&self, name: &str, params: &CertificateParams, issuer: &Issuer<'_, KeyPair>) {
        let key = KeyPair::generate().unwrap();
        self.write(&format!("{name}.pem"), &params.signed_by(&key, issuer).unwrap().pem());
        self.write(&format!("{name}.key"), &key.serialize_pem());
    }

    /// The folder of the files.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

impl Default for Pki {
    fn default() -> Self {
        Self::new()
    }
}

fn named(name: &str, hosts: &[&str]) -> CertificateParams {
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut params = CertificateParams::new(hosts).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn server(mut params: CertificateParams) -> CertificateParams {
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}
