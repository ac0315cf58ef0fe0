//! What a server shows of itself: a certificate, and the key that proves it is the server's own.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use keepwatch_media::fingerprint::Fingerprint;
use keepwatch_model::{TICKS_PER_SECOND, WallTime};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use time::OffsetDateTime;

use crate::Names;

/// Days that a self-made certificate is valid: cameras and peers do not look, but Apple's browsers refuse one of more than
/// 825, also one that a user has added. Both of its ends count.
pub(crate) const VALID_DAYS: i64 = 824;
/// Days of them that lie behind: the clock of a client may be slow, or in another idea of UTC.
pub(crate) const BEHIND_DAYS: i64 = 1;

pub(crate) const TICKS_PER_DAY: i64 = 86_400 * TICKS_PER_SECOND;

/// The last second that a certificate can name, RFC 5280 §4.1.2.5: the end of the year 9999.
const UNIX_SECONDS_MAX: i64 = 253_402_300_799;

/// Where a certificate and its key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// PEM file of the certificate, and of those that vouch for it.
    pub certificate: PathBuf,
    /// PEM file of its private key.
    pub key: PathBuf,
}

/// A certificate and what a server does with it.
#[derive(Clone)]
pub struct Identity {
    certificate: CertificateDer<'static>,
    certified: Arc<CertifiedKey>,
    config: Arc<ServerConfig>,
}

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
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
    /// What the node kept as its key is none.
    #[error("{}: {source}; remove the file, and the node makes itself another key", path.display())]
    Key {
        /// The file of the key.
        path: PathBuf,
        /// Why.
        source: rcgen::Error,
    },
    /// What the node kept as the key that it signs with is none.
    #[error("{}: {source}; restore the file from a backup, or remove it: exports are then signed by another key", path.display())]
    NodeKey {
        /// The file of the key.
        path: PathBuf,
        /// Why.
        source: rcgen::Error,
    },
    /// None can be made.
    #[error("a certificate cannot be made: {0}")]
    Make(#[from] rcgen::Error),
    /// One that was made cannot be used.
    #[error("the certificate that was made cannot be used: {0}")]
    Made(#[from] rustls::Error),
    /// The system gives no random numbers.
    #[error("the system gives no random numbers: {0}")]
    Random(#[from] getrandom::Error),
    /// One that was made cannot be kept.
    #[error("{}: {source}", path.display())]
    Keep {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Identity {
    /// Reads an identity that somebody else made. Blocks.
    ///
    /// # Errors
    /// When a file cannot be read, or both do not belong together.
    pub fn load(files: &Files) -> Result<Self, IdentityError> {
        let read = |path: &Path| {
            let path = path.to_owned();
            move |source| IdentityError::Read { path, source }
        };
        let path = &files.certificate;
        let chain = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let chain = chain.map_err(read(path))?;
        let first = chain.first().cloned().ok_or_else(|| IdentityError::Empty(path.clone()))?;
        let key = PrivateKeyDer::from_pem_file(&files.key).map_err(read(&files.key))?;
        let unfit = |source| IdentityError::Unfit { path: path.clone(), source };
        Self::new(first, chain, key).map_err(unfit)
    }

    /// Makes one that lasts as long as the value, for a server that is known by `names`.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn make(names: &Names, now: WallTime) -> Result<Self, IdentityError> {
        let key = KeyPair::generate()?;
        let certificate = sign(&key, names, now)?.der().clone();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        Ok(Self::new(certificate.clone(), vec![certificate], key)?)
    }

    fn new(
        certificate: CertificateDer<'static>,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, rustls::Error> {
        let certified = Arc::new(CertifiedKey::from_der(chain, key, &crate::provider())?);
        let config = ServerConfig::builder_with_provider(crate::provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&certified))));
        Ok(Self { certificate, certified, config: Arc::new(config) })
    }

    /// Returns the certificates and the key as a handshake needs them.
    pub(crate) fn certified(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.certified)
    }

    /// Whether both show the same certificates.
    pub fn shows_the_same(&self, other: &Self) -> bool {
        self.certified.cert == other.certified.cert
    }

    /// Returns the configuration of a server that shows it, without a protocol above TLS (ALPN).
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// Returns the certificate in DER.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Returns the fingerprint by which clients know it.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of_certificate(&self.certificate)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.fingerprint())
    }
}

/// Makes a certificate of `key` for `names`, which is valid from a day before `now`.
pub(crate) fn sign(key: &KeyPair, names: &Names, now: WallTime) -> Result<rcgen::Certificate, IdentityError> {
    // RFC 5280 §4.1.2.2: positive, and another one each time: Firefox refuses two certificates of one issuer that have the
    // same number, and one made anew with the same key has the same issuer.
    let mut serial = [0; 16];
    getrandom::fill(&mut serial)?;
    serial[0] = serial[0] & 0x3f | 0x40;
    let mut parameters = CertificateParams::new(names.texts())?;
    let begin = now.plus(-BEHIND_DAYS.saturating_mul(TICKS_PER_DAY));
    parameters.not_before = date(begin);
    parameters.not_after = date(begin.plus(VALID_DAYS.saturating_mul(TICKS_PER_DAY)));
    parameters.serial_number = Some(rcgen::SerialNumber::from_slice(&serial));
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, names.common_name());
    // Not one that signs others: who adds it to a browser trusts this node, and not whoever gets hold of its key to speak
    // for the whole Web.
    parameters.is_ca = IsCa::ExplicitNoCa;
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(parameters.self_signed(key)?)
}

fn date(label: WallTime) -> OffsetDateTime {
    let seconds = label.ticks().div_euclid(TICKS_PER_SECOND).clamp(0, UNIX_SECONDS_MAX);
    OffsetDateTime::from_unix_timestamp(seconds).expect("between the years 1970 and 9999")
}
