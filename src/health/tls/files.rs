//! PEM files, bounded.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::TlsError;

/// What changes when a file does: also when a link to it points elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp {
    inode: u64,
    length: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
}

impl Stamp {
    /// None where the file cannot be reached.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let found = fs::metadata(path).ok()?;
        Some(Self { inode: found.ino(), length: found.len(), modified: (found.mtime(), found.mtime_nsec()) })
    }
}

/// All certificates of a file, at least one.
pub(super) fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = read(key, path)?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().unwrap_or_default();
    if found.is_empty() {
        return Err(TlsError::Empty { key, path: path.to_owned(), expected: "certificates" });
    }
    Ok(found)
}

/// The first private key of a file.
pub(super) fn private_key(key: &'static str, path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let pem = read(key, path)?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|_| TlsError::Empty {
        key,
        path: path.to_owned(),
        expected: "a private key",
    })
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    bounded(path, MAX_BYTES).map_err(|source| TlsError::Unreadable { key, path: path.to_owned(), source })
}

/// A file of at most `limit` bytes.
pub(crate) fn bounded(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {limit} bytes")));
    }
    Ok(bytes)
}

/// Bytes of one file.
const MAX_BYTES: u64 = 4 * 1024 * 1024;
