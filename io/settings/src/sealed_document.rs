//! A document with passwords in it as it is kept: sealed whole, AES-256-GCM (NIST SP 800-38D) with a random nonce, bound to
//! what it is of.
//!
//! Key name, nonce, text and tag, in bytes. A single password is [`Sealed`](crate::Sealed), which is text.

use std::fmt;

use aws_lc_rs::aead::{Aad, NONCE_LEN, Nonce};
use aws_lc_rs::rand;

use crate::key::NAME_BYTES;
use crate::sealed::cipher;
use crate::{Key, SealError};

/// Longest document in bytes: the configuration of ten thousand cameras.
const DOCUMENT_BYTES_MAX: usize = 16 << 20;

/// A sealed document.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedDocument(Vec<u8>);

impl fmt::Debug for SealedDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedDocument({} bytes)", self.0.len())
    }
}

impl SealedDocument {
    /// Seals the document `text` of `object`, such as `backup:ROLE:7`.
    ///
    /// # Errors
    /// When it is too long, or the system gives no random numbers.
    pub fn seal(key: &Key, object: &str, text: &[u8]) -> Result<Self, SealError> {
        if text.len() > DOCUMENT_BYTES_MAX {
            return Err(SealError::DocumentTooLong);
        }
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).map_err(|_| SealError::Chance)?;
        let mut text = text.to_vec();
        cipher(key)?
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(object), &mut text)
            .map_err(|_| SealError::Broken)?;
        let mut bytes = key.name().to_vec();
        bytes.extend(nonce);
        bytes.append(&mut text);
        Ok(Self(bytes))
    }

    /// A sealed document as it was kept; whether it is one is found when it is opened.
    pub const fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// What is to be kept.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The document of `object`.
    ///
    /// # Errors
    /// When another key sealed it, it belongs to something else, or it is damaged.
    pub fn open(&self, key: &Key, object: &str) -> Result<Vec<u8>, SealError> {
        let (name, rest) = self.0.split_at_checked(NAME_BYTES).ok_or(SealError::Malformed)?;
        if name != key.name() {
            return Err(SealError::OtherKey);
        }
        let (nonce, text) = rest.split_at_checked(NONCE_LEN).ok_or(SealError::Malformed)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::Malformed)?;
        let mut text = text.to_vec();
        let length = cipher(key)?
            .open_in_place(nonce, Aad::from(object), &mut text)
            .map_err(|_| SealError::Broken)?
            .len();
        text.truncate(length);
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_opens_only_whole_with_its_key_and_for_its_object() {
        let (key, other) = (Key::new([1; 32]), Key::new([2; 32]));
        let text = b"a configuration with a password".repeat(100);
        let sealed = SealedDocument::seal(&key, "backup:a:1", &text).unwrap();
        assert_eq!(sealed.open(&key, "backup:a:1").unwrap(), text);
        assert_eq!(sealed.open(&other, "backup:a:1"), Err(SealError::OtherKey));
        assert_eq!(sealed.open(&key, "backup:a:2"), Err(SealError::Broken));
        assert!(!sealed.as_bytes().windows(8).any(|bytes| bytes == b"password"));
        for position in 0..sealed.as_bytes().len() {
            let mut bytes = sealed.as_bytes().to_vec();
            bytes[position] ^= 1;
            assert!(SealedDocument::from_bytes(bytes).open(&key, "backup:a:1").is_err(), "byte {position}");
        }
        for length in [0, 3, 4, 15, 16, sealed.as_bytes().len() - 1] {
            let cut = sealed.as_bytes()[..length].to_vec();
            assert!(SealedDocument::from_bytes(cut).open(&key, "backup:a:1").is_err(), "{length} bytes");
        }
    }
}
