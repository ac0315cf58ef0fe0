//! SHA-256 (FIPS 180-4) as a value that is compared, kept and written in hexadecimal.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A SHA-256 hash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Hash256([u8; 32]);

impl Hash256 {
    /// What stands where there is nothing to hash.
    pub(crate) const ZERO: Self = Self([0; 32]);

    /// Of `bytes`.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Of the UTF-8 of `text`.
    pub(crate) fn of_text(text: &str) -> Self {
        Self::of(text.as_bytes())
    }

    /// A name for what was hashed that says nothing of it: the first 64 bits as 16 hexadecimal digits.
    pub(crate) fn id(&self) -> String {
        self.to_string().chars().take(16).collect()
    }
}

impl fmt::Display for Hash256 {
    /// 64 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash256({}..)", self.id())
    }
}

impl From<Hash256> for String {
    fn from(hash: Hash256) -> Self {
        hash.to_string()
    }
}

impl TryFrom<String> for Hash256 {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::try_from(text.as_str())
    }
}

impl TryFrom<&str> for Hash256 {
    type Error = &'static str;

    fn try_from(text: &str) -> Result<Self, Self::Error> {
        const WRONG: &str = "a hash has 64 hexadecimal digits in lower case";
        let digit = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f');
        if text.len() != 64 || !text.bytes().all(digit) {
            return Err(WRONG);
        }
        let mut bytes = [0; 32];
        for (place, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| WRONG)?;
            *place = u8::from_str_radix(pair, 16).map_err(|_| WRONG)?;
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_read_as_it_is_written_and_nothing_else_is() {
        // FIPS 180-4, the example of one block.
        let hash = Hash256::of_text("abc");
        let text = hash.to_string();
        assert_eq!(text, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(Hash256::try_from(text.as_str()), Ok(hash));
        assert_eq!(hash.id(), "ba7816bf8f01cfea");
        for wrong in ["", "12", &"g".repeat(64), &"é".repeat(32), &"0".repeat(63), &"A".repeat(64)] {
            assert!(Hash256::try_from(wrong).is_err(), "{wrong}");
        }
    }
}
