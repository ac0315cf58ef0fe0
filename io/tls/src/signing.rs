//! The key with which a node signs what it gives away: Ed25519 (RFC 8032), made once, kept in the data directory.
//!
//! It is another one than that of TLS: a certificate that is replaced must not take the proof of old exports with it.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use keepwatch_media::fingerprint::Fingerprint;
use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData as _, SigningKey as _};
use rustls::SignatureScheme;
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject as _;

use crate::{IdentityError, kept};

/// The file of the key in the data directory.
const KEY_FILE: &str = "node.key";
/// Bytes of a signature (RFC 8032 §5.1.6).
pub const SIGNATURE_BYTES: usize = 64;
/// What stands before the 32 bytes of a public key in its DER form (RFC 8410 §4).
const PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// The key of a node.
pub struct NodeKey {
    pair: KeyPair,
}

/// The public half of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodePublicKey([u8; 32]);

impl NodeKey {
    /// Reads the key that is kept in `directory`, or makes one. The second value says whether it was made. Blocks.
    ///
    /// # Errors
    /// When the file cannot be read or written, or holds no such key.
    pub fn keep(directory: &Path) -> Result<(Self, bool), IdentityError> {
        let path = directory.join(KEY_FILE);
        match fs::read_to_string(&path) {
            Ok(text) => {
                let key = |source| IdentityError::NodeKey { path: path.clone(), source };
                Ok((
                    Self { pair: KeyPair::from_pem_and_sign_algo(&text, &PKCS_ED25519).map_err(key)? },
                    false,
                ))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let pair = KeyPair::generate_for(&PKCS_ED25519)?;
                kept::write(&path, &pair.serialize_pem(), 0o600)?;
                Ok((Self { pair }, true))
            }
            Err(source) => Err(IdentityError::Keep { path, source }),
        }
    }

    /// The signature of `message`.
    ///
    /// # Errors
    /// When the cryptography refuses.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, IdentityError> {
        Ok(self.pair.sign(message)?)
    }

    /// Its public half.
    ///
    /// # Errors
    /// When it is no key of Ed25519, which [`keep`](Self::keep) does not let pass.
    pub fn public(&self) -> Result<NodePublicKey, IdentityError> {
        let bytes = self.pair.der_bytes().try_into();
        Ok(NodePublicKey(
            bytes.map_err(|_| IdentityError::Make(rcgen::Error::UnsupportedSignatureAlgorithm))?,
        ))
    }

    /// Both halves, for certificates that carry the key.
    pub(crate) fn pair(&self) -> &KeyPair {
        &self.pair
    }

    /// Its public half as a PEM file (RFC 8410).
    pub fn public_pem(&self) -> String {
        self.pair.public_key_pem()
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeKey(..)")
    }
}

impl NodePublicKey {
    /// Reads a PEM file; `None` when it is no key of Ed25519.
    pub fn from_pem(pem: &[u8]) -> Option<Self> {
        Self::from_der(SubjectPublicKeyInfoDer::from_pem_slice(pem).ok()?.as_ref())
    }

    /// Reads its DER form (RFC 8410 §4); `None` when it is no key of Ed25519.
    pub fn from_der(der: &[u8]) -> Option<Self> {
        Some(Self(der.strip_prefix(&PREFIX)?.try_into().ok()?))
    }

    /// The key of these bytes (RFC 8032 §5.1.5).
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn bytes(self) -> [u8; 32] {
        self.0
    }

    /// Whether `signature` is that of `message`.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let provider = crate::provider();
        let known = provider.signature_verification_algorithms.mapping;
        let ed25519 = known.iter().find(|(scheme, _)| *scheme == SignatureScheme::ED25519);
        ed25519.is_some_and(|(_, algorithms)| {
            algorithms.iter().any(|algorithm| algorithm.verify_signature(&self.0, message, signature).is_ok())
        })
    }

    /// The SHA-256 of its DER form, by which people compare it.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of_certificate(&[PREFIX.as_slice(), &self.0].concat())
    }
}

impl fmt::Debug for NodePublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodePublicKey({})", self.fingerprint())
    }
}

/// Where the key is in `directory`.
pub fn node_key_file(directory: &Path) -> PathBuf {
    directory.join(KEY_FILE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_key_is_made_once_and_verifies_what_it_signed_and_nothing_else() {
        let directory = tempfile::TempDir::new().unwrap();
        let (key, made) = NodeKey::keep(directory.path()).unwrap();
        assert!(made);
        let mode = fs::metadata(node_key_file(directory.path())).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let (again, made) = NodeKey::keep(directory.path()).unwrap();
        assert!(!made);
        let public = NodePublicKey::from_pem(again.public_pem().as_bytes()).unwrap();
        assert_eq!(public, key.public().unwrap());
        let signature = key.sign(b"what was seen").unwrap();
        assert_eq!(signature.len(), SIGNATURE_BYTES);
        assert!(public.verifies(b"what was seen", &signature));
        assert!(!public.verifies(b"what was seem", &signature));
        let mut other = signature.clone();
        other[7] ^= 1;
        assert!(!public.verifies(b"what was seen", &other));
        assert!(!public.verifies(b"what was seen", &signature[..63]));
    }

    #[test]
    fn what_is_no_key_is_told_with_its_file_and_never_replaced() {
        let directory = tempfile::TempDir::new().unwrap();
        fs::write(node_key_file(directory.path()), "nothing").unwrap();
        let error = NodeKey::keep(directory.path()).unwrap_err().to_string();
        assert!(error.contains("node.key"), "{error}");
        assert_eq!(fs::read(node_key_file(directory.path())).unwrap(), b"nothing");
        assert_eq!(NodePublicKey::from_pem(b"nothing"), None);
    }
}
