//! Encrypted checks: who is trusted, who we are, and what is wrong when it fails.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, crypto::ring};

use super::servers::{self, Running};
use super::wire::{Asker, patient};
use super::{Bench, seen};
use crate::config::{BackendConfig, TlsMode};
use crate::health::address::Address;
use crate::health::outcome::{CheckResult, Class, Outcome};
use crate::health::probe::Spot;

/// Certificates in a folder: `ca.pem`, `server.pem` for `shop.example` and 127.0.0.1, `client.pem`, each with its key.
struct Pki {
    folder: TempDir,
}

impl Pki {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let pki = Self { folder };
        std::fs::write(pki.path("ca.pem"), ca.pem()).unwrap();
        for (name, subjects, usage) in [
            ("server", vec!["shop.example".to_owned(), "127.0.0.1".to_owned()], ExtendedKeyUsagePurpose::ServerAuth),
            ("client", vec!["client".to_owned()], ExtendedKeyUsagePurpose::ClientAuth),
        ] {
            let mut params = CertificateParams::new(subjects).unwrap();
            params.extended_key_usages = vec![usage];
            let key = KeyPair::generate().unwrap();
            std::fs::write(pki.path(&format!("{name}.pem")), params.signed_by(&key, &ca).unwrap().pem()).unwrap();
            std::fs::write(pki.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
        }
        pki
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn server(&self, asks_for_client: bool, alpn: &[u8]) -> TlsAcceptor {
        let certs = |name: &str| {
            CertificateDer::pem_file_iter(self.path(name)).unwrap().map(Result::unwrap).collect::<Vec<_>>()
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
        config.alpn_protocols = vec![alpn.to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }

    fn config(&self) -> BackendConfig {
        BackendConfig { tls: TlsMode::On, ca_file: vec![self.path("ca.pem")], ..patient() }
    }
}

/// A server that is SERVING, behind TLS.
async fn serving(acceptor: TlsAcceptor) -> Running {
    servers::behind(move |stream| {
        let acceptor = acceptor.clone();
        async move { acceptor.accept(stream).await.ok() }
    })
    .await
}

async fn ask(address: SocketAddr, config: &BackendConfig) -> CheckResult {
    let spot = Spot { address: Address::Tcp(address), tls: true, authority: None, name: None };
    Asker::of(spot, config).ask().await
}

#[tokio::test]
async fn a_trusted_certificate_passes_and_others_are_refused() {
    let (pki, other) = (Pki::new(), Pki::new());
    let server = serving(pki.server(false, b"h2")).await;
    assert_eq!(ask(server.address, &pki.config()).await.outcome, Outcome::Pass);
    let named = BackendConfig { server_name: Some("shop.example".to_owned()), ..pki.config() };
    assert_eq!(ask(server.address, &named).await.outcome, Outcome::Pass);
    let by_authority = BackendConfig { authority: Some("shop.example:1".to_owned()), ..pki.config() };
    assert_eq!(ask(server.address, &by_authority).await.outcome, Outcome::Pass);

    let wrong_name = BackendConfig { server_name: Some("other.example".to_owned()), ..pki.config() };
    for config in [other.config(), wrong_name] {
        let result = ask(server.address, &config).await;
        assert_eq!(result.outcome, Outcome::SoftFail(Class::Tls), "{result:?}");
        assert!(result.text.contains("certificate"), "{result:?}");
    }
    let anybody = BackendConfig { insecure_skip_verify: true, ..other.config() };
    assert_eq!(ask(server.address, &anybody).await.outcome, Outcome::Pass);
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_gets_ours() {
    let (pki, other) = (Pki::new(), Pki::new());
    let server = serving(pki.server(true, b"h2")).await;
    let with = |pki: &Pki| (Some(pki.path("client.pem")), Some(pki.path("client.key")));
    let (cert_file, key_file) = with(&pki);
    let config = BackendConfig { cert_file, key_file, ..pki.config() };
    assert_eq!(ask(server.address, &config).await.outcome, Outcome::Pass);
    let (cert_file, key_file) = with(&other);
    for config in [pki.config(), BackendConfig { cert_file, key_file, ..pki.config() }] {
        let result = ask(server.address, &config).await;
        assert_eq!(result.outcome, Outcome::SoftFail(Class::Tls), "{result:?}");
    }
}

#[tokio::test]
async fn http2_must_be_offered() {
    let pki = Pki::new();
    for alpn in [&b"http/1.1"[..], b"grpc-exp"] {
        let server = serving(pki.server(false, alpn)).await;
        assert_eq!(ask(server.address, &pki.config()).await.outcome, Outcome::SoftFail(Class::Tls));
    }
}

#[tokio::test]
async fn plaintext_and_silent_ports_are_told_apart() {
    let pki = Pki::new();
    let (_reporter, plain) = servers::health().await;
    let result = ask(plain.address, &pki.config()).await;
    assert_eq!(result.outcome, Outcome::SoftFail(Class::Tls), "{result:?}");
    let silent = servers::raw(|stream| async move { stream }).await;
    let config = BackendConfig { connect_timeout: Duration::from_millis(200), ..pki.config() };
    let result = ask(silent.address, &config).await;
    assert_eq!(result, CheckResult::soft(Class::Tls, "no TLS handshake within 200 ms"));
    // TLS is there, HTTP/2 is not.
    let acceptor = pki.server(false, b"h2");
    let stalled = servers::raw_tls(acceptor).await;
    let result = ask(stalled.address, &config).await;
    assert_eq!(result, CheckResult::soft(Class::Connect, "no HTTP/2 settings from the server within 200 ms"));
}

#[tokio::test]
async fn a_plaintext_check_of_a_tls_port_is_protocol_or_closed() {
    let pki = Pki::new();
    let server = serving(pki.server(false, b"h2")).await;
    let result = Asker::new(Address::Tcp(server.address), &patient()).ask().await;
    let class = result.class();
    assert!(class == Some(Class::Protocol) || class == Some(Class::Connect), "{result:?}");
}

#[tokio::test]
async fn changed_certificates_are_read_again_and_broken_ones_leave_the_old() {
    let pki = Pki::new();
    let server = serving(pki.server(false, b"h2")).await;
    let bench = Bench::with(Duration::from_millis(50), |config| {
        *config = BackendConfig { name: "b".to_owned(), reuse: false, interval: config.interval, ..pki.config() };
        config.fast_interval = config.interval;
        config.down_interval = config.interval;
    });
    bench.checker.sweep(&[seen(server.address, "DOWN")]);
    bench.until_described(" up ").await;
    std::fs::write(pki.path("ca.pem"), "nonsense").unwrap();
    bench.until_said("the new certificates are not used, the old ones stay: `ca_file`").await;
    bench.until_described(" up ").await;
    let other = Pki::new();
    std::fs::copy(other.path("ca.pem"), pki.path("ca.pem")).unwrap();
    bench.until_described("class=tls").await;
    bench.until_described(" down ").await;
    assert_eq!(bench.said("certificates read again"), 1);
    assert_eq!(bench.said("the new certificates are not used"), 1);
    assert!(bench.said("do `ca_file`, `server_name` and `cert_file` fit?") > 0);
}

#[tokio::test]
async fn tls_follows_haproxy_where_the_backend_says_auto() {
    let pki = Pki::new();
    let server = serving(pki.server(false, b"h2")).await;
    let bench = Bench::with(Duration::from_millis(50), |config| {
        config.tls = TlsMode::Auto;
        config.ca_file = vec![pki.path("ca.pem")];
    });
    let server = crate::health::ServerSeen { tls: Some(true), ..seen(server.address, "DOWN") };
    bench.checker.sweep(std::slice::from_ref(&server));
    bench.until_described(" up ").await;
    bench.checker.sweep(&[crate::health::ServerSeen { tls: None, ..server }]);
    bench.until_described(" down ").await;
}

#[test]
fn files_that_cannot_be_used_are_an_error_with_the_key() {
    let pki = Pki::new();
    let error = |change: &dyn Fn(&mut BackendConfig)| {
        let mut config = pki.config();
        change(&mut config);
        crate::health::profile::Profile::load(&config).unwrap_err().to_string()
    };
    let text = error(&|config| config.ca_file = vec!["/nowhere/ca.pem".into()]);
    assert!(text.starts_with("`ca_file`: cannot read /nowhere/ca.pem: "), "{text}");
    let text = error(&|config| {
        (config.cert_file, config.key_file) = (Some(pki.path("client.pem")), Some(pki.path("ca.pem")));
    });
    assert!(text.starts_with("`key_file`: expected a private key in PEM"), "{text}");
    let text = error(&|config| {
        (config.cert_file, config.key_file) = (Some(pki.path("client.pem")), Some(pki.path("server.key")));
    });
    assert!(text.starts_with("`cert_file`: "), "{text}");
}

#[test]
fn threads_that_hang_keep_no_server_from_being_checked() {
    let pki = Pki::new();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(1)
        .enable_all()
        .build()
        .unwrap();
    // As a resolver does that does not answer, or a disk.
    let (end, hangs) = std::sync::mpsc::channel::<()>();
    runtime.spawn_blocking(move || hangs.recv());
    runtime.block_on(async {
        let server = serving(pki.server(false, b"h2")).await;
        let config = BackendConfig {
            reuse: false,
            interval: Duration::ZERO,
            connect_timeout: Duration::from_secs(2),
            ..pki.config()
        };
        let spot = Spot { address: Address::Tcp(server.address), tls: true, authority: None, name: None };
        let mut asker = Asker::of(spot, &config);
        for _ in 0..3 {
            assert_eq!(asker.ask().await, CheckResult::new(Outcome::Pass, "SERVING").with_code(0));
        }
    });
    drop(end);
}
