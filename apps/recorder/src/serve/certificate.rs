//! The certificate of the RTSP server over TLS: the operator's, or one that the node makes for itself once and keeps.
//!
//! Nobody vouches for one that is self-made: a client knows it again by its fingerprint, which `status` shows.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use keepwatch_media::fingerprint::Fingerprint;
use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::TlsFiles;

/// Its certificate in the data directory.
const CERTIFICATE_FILE: &str = "rtsps-certificate.pem";
/// The key of it.
const KEY_FILE: &str = "rtsps-key.pem";

/// A certificate and what a server does with it.
#[derive(Clone, Debug)]
pub(super) struct Certificate {
    /// Of a server that shows it.
    pub(super) config: Arc<ServerConfig>,
    /// By which clients know it.
    pub(super) fingerprint: Fingerprint,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(super) enum CertificateError {
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// There is no certificate in the file.
    #[error("{}: there is no certificate in it; it should be a PEM file", .0.display())]
    Empty(PathBuf),
    /// Both do not belong together, or cannot be used.
    #[error("{}: {source}", path.display())]
    Unfit {
        /// The file of the certificate.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// None can be made.
    #[error("a certificate cannot be made: {0}")]
    Make(#[from] rcgen::Error),
    /// The one that was made cannot be kept.
    #[error("{}: {source}", path.display())]
    Keep {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Certificate {
    /// The certificate of `files`, else the node's own in `data`, which is made where there is none. Blocks.
    pub(super) fn open(files: Option<&TlsFiles>, data: &Path) -> Result<Self, CertificateError> {
        if let Some(files) = files {
            return Self::load(files);
        }
        let own = TlsFiles { certificate: data.join(CERTIFICATE_FILE), key: data.join(KEY_FILE) };
        if !own.certificate.exists() || !own.key.exists() {
            make(&own)?;
        }
        Self::load(&own)
    }

    fn load(files: &TlsFiles) -> Result<Self, CertificateError> {
        let read = |path: &Path| {
            let path = path.to_owned();
            move |source| CertificateError::Read { path, source }
        };
        let path = &files.certificate;
        let chain = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let chain = chain.map_err(read(path))?;
        let fingerprint = chain.first().map(|first| Fingerprint::of_certificate(first));
        let fingerprint = fingerprint.ok_or_else(|| CertificateError::Empty(path.clone()))?;
        let key = PrivateKeyDer::from_pem_file(&files.key).map_err(read(&files.key))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key));
        let unfit = |source| CertificateError::Unfit { path: path.clone(), source };
        Ok(Self { config: Arc::new(config.map_err(unfit)?), fingerprint })
    }
}

/// Makes a certificate and keeps it in `files`, the key for nobody else to read.
fn make(files: &TlsFiles) -> Result<(), CertificateError> {
    let made = rcgen::generate_simple_self_signed(vec!["keepwatch".to_owned(), "localhost".to_owned()])?;
    keep(&files.key, &made.signing_key.serialize_pem(), 0o600)?;
    keep(&files.certificate, &made.cert.pem(), 0o644)
}

/// Writes a file that appears when it is complete.
fn keep(path: &Path, text: &str, mode: u32) -> Result<(), CertificateError> {
    let unfinished = path.with_extension("part");
    let write = || {
        // What an interrupted start left behind may be readable by others.
        match fs::remove_file(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&unfinished)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&unfinished, path)
    };
    write().map_err(|source| CertificateError::Keep { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_self_made_certificate_is_kept_and_its_key_is_private() {
        let data = tempfile::tempdir().unwrap();
        let first = Certificate::open(None, data.path()).unwrap();
        let again = Certificate::open(None, data.path()).unwrap();
        assert_eq!(first.fingerprint, again.fingerprint);
        let key = fs::metadata(data.path().join(KEY_FILE)).unwrap();
        assert_eq!(key.permissions().mode() & 0o777, 0o600);
        fs::remove_file(data.path().join(CERTIFICATE_FILE)).unwrap();
        assert_ne!(Certificate::open(None, data.path()).unwrap().fingerprint, first.fingerprint);
    }

    #[test]
    fn what_is_wrong_with_the_files_is_said_with_their_names() {
        let data = tempfile::tempdir().unwrap();
        let files = TlsFiles { certificate: data.path().join("c.pem"), key: data.path().join("k.pem") };
        let told = || Certificate::open(Some(&files), data.path()).unwrap_err().to_string();
        assert!(told().contains("c.pem"), "{}", told());
        fs::write(&files.certificate, "nothing").unwrap();
        assert!(told().contains("there is no certificate in it"), "{}", told());
        make(&files).unwrap();
        fs::write(&files.key, "nothing").unwrap();
        assert!(told().contains("k.pem"), "{}", told());
        let other = TlsFiles { key: data.path().join("other.pem"), ..files.clone() };
        make(&TlsFiles { certificate: data.path().join("other"), key: other.key.clone() }).unwrap();
        assert!(Certificate::open(Some(&other), data.path()).is_err(), "the key of another");
    }
}
