//! A password as it is kept: AES-256-GCM (NIST SP 800-38D) with a random nonce, bound to the object it belongs to.
//!
//! Written as the name of the key, a full stop, and nonce, text and tag in base64. The object's id is authenticated with
//! it, so that a sealed password cannot be moved to another camera.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::Key;
use crate::key::NAME_BYTES;

/// Longest password in bytes; cameras take far shorter ones.
const PASSWORD_BYTES_MAX: usize = 1024;

/// Longest sealed text in bytes: a little more than the longest password makes.
const SEALED_BYTES_MAX: usize = 2048;

/// Why a password cannot be sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// It is longer than is kept.
    #[error("a password has at most {PASSWORD_BYTES_MAX} bytes")]
    TooLong,
    /// A document is longer than is kept.
    #[error("a document that is sealed has at most 16 MiB")]
    DocumentTooLong,
    /// The text is no sealed password.
    #[error("what is kept is not sealed")]
    Malformed,
    /// Another key sealed it.
    #[error(
        "it was sealed with another key; restore that key, or enter the password, or fetch the backup, again"
    )]
    OtherKey,
    /// It was changed, belongs to something else, or is damaged.
    #[error("it was changed or damaged; enter the password, or fetch the backup, again")]
    Broken,
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    Chance,
}

/// A sealed password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sealed(String);

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealed")
    }
}

impl TryFrom<String> for Sealed {
    type Error = SealError;

    fn try_from(text: String) -> Result<Self, SealError> {
        if text.len() > SEALED_BYTES_MAX || !text.is_ascii() {
            return Err(SealError::Malformed);
        }
        Ok(Self(text))
    }
}

impl From<Sealed> for String {
    fn from(sealed: Sealed) -> Self {
        sealed.0
    }
}

impl Sealed {
    /// Seals `password` of `object`, such as `camera:gate`.
    ///
    /// # Errors
    /// When it is too long, or the system gives no random numbers.
    pub fn seal(key: &Key, object: &str, password: &str) -> Result<Self, SealError> {
        if password.len() > PASSWORD_BYTES_MAX {
            return Err(SealError::TooLong);
        }
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).map_err(|_| SealError::Chance)?;
        let mut text = password.as_bytes().to_vec();
        // The length is far below the limit of the mode, so it does not fail.
        cipher(key)?
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(object), &mut text)
            .map_err(|_| SealError::Broken)?;
        let mut bytes = nonce.to_vec();
        bytes.append(&mut text);
        let name = STANDARD_NO_PAD.encode(key.name());
        Ok(Self(format!("{name}.{}", STANDARD_NO_PAD.encode(bytes))))
    }

    /// The password of `object`.
    ///
    /// # Errors
    /// When another key sealed it, it belongs to something else, or it is damaged.
    pub fn open(&self, key: &Key, object: &str) -> Result<String, SealError> {
        let (name, text) = self.0.split_once('.').ok_or(SealError::Malformed)?;
        let decode = |text: &str| STANDARD_NO_PAD.decode(text).map_err(|_| SealError::Malformed);
        let name: [u8; NAME_BYTES] = decode(name)?.try_into().map_err(|_| SealError::Malformed)?;
        if name != key.name() {
            return Err(SealError::OtherKey);
        }
        let mut bytes = decode(text)?;
        let (nonce, text) = bytes.split_at_mut_checked(NONCE_LEN).ok_or(SealError::Malformed)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::Malformed)?;
        let opened =
            cipher(key)?.open_in_place(nonce, Aad::from(object), text).map_err(|_| SealError::Broken)?;
        String::from_utf8(opened.to_vec()).map_err(|_| SealError::Broken)
    }
}

pub(crate) fn cipher(key: &Key) -> Result<LessSafeKey, SealError> {
    // The key has the length of the algorithm, so it does not fail.
    UnboundKey::new(&AES_256_GCM, key.bytes()).map(LessSafeKey::new).map_err(|_| SealError::Broken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_opens_only_with_its_key_and_for_its_object() {
        let (key, other) = (Key::new([1; 32]), Key::new([2; 32]));
        let sealed = Sealed::seal(&key, "camera:gate", "s3cret ä").unwrap();
        assert_eq!(sealed.open(&key, "camera:gate").unwrap(), "s3cret ä");
        assert_eq!(sealed.open(&other, "camera:gate"), Err(SealError::OtherKey));
        assert_eq!(sealed.open(&key, "camera:yard"), Err(SealError::Broken));
        assert!(!sealed.0.contains("s3cret") && format!("{sealed:?}") == "Sealed");
        let again = Sealed::seal(&key, "camera:gate", "s3cret ä").unwrap();
        assert_ne!(again, sealed, "the nonce is another one each time");
        assert_eq!(Sealed::seal(&key, "c", &"x".repeat(1025)), Err(SealError::TooLong));
        assert_eq!(Sealed::seal(&key, "c", "").unwrap().open(&key, "c").unwrap(), "");
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let key = Key::new([1; 32]);
        let sealed = Sealed::seal(&key, "c", "password").unwrap();
        for position in 0..sealed.0.len() {
            for letter in [b'A', b'B', b'.', b'!'] {
                let mut text = sealed.0.clone().into_bytes();
                if text[position] == letter {
                    continue;
                }
                text[position] = letter;
                let changed = Sealed(String::from_utf8(text).unwrap());
                assert!(changed.open(&key, "c").is_err(), "position {position}");
            }
        }
        for text in ["", ".", "AAAAAA.", "AAAAAA.AAAA", "é"] {
            assert!(Sealed(text.to_owned()).open(&key, "c").is_err());
        }
    }
}
