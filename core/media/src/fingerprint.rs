//! The fingerprint of a certificate: what an operator pins, and is shown of a device.
//!
//! A camera's certificate is signed by nobody and dated by a clock that may be wrong, so it is known by its
//! SHA-256 and by nothing else.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

/// What stands before the digits.
const PREFIX: &str = "sha256:";

/// The SHA-256 of a certificate in DER.
///
/// Written as `sha256:` and 64 hexadecimal digits; read also in upper case and with the colons that browsers and
/// OpenSSL put between bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint with these bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn bytes(self) -> [u8; 32] {
        self.0
    }

    /// The fingerprint of a certificate in DER.
    pub fn of_certificate(der: &[u8]) -> Self {
        Self(Sha256::digest(der).into())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Why a text is not a fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a certificate is pinned as sha256: and 64 hexadecimal digits")]
pub struct FingerprintError;

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let text = text.trim();
        let (prefix, digits) = text.split_at_checked(PREFIX.len()).ok_or(FingerprintError)?;
        if !prefix.eq_ignore_ascii_case(PREFIX) {
            return Err(FingerprintError);
        }
        let mut nibbles = digits.chars().filter(|c| *c != ':');
        let mut nibble = || {
            let digit = nibbles.next().and_then(|c| c.to_digit(16)).ok_or(FingerprintError)?;
            u8::try_from(digit).map_err(|_| FingerprintError)
        };
        let mut bytes = [0; 32];
        for byte in &mut bytes {
            *byte = nibble()? << 4 | nibble()?;
        }
        if nibbles.next().is_some() { Err(FingerprintError) } else { Ok(Self(bytes)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_comes_back_from_every_usual_spelling() {
        let fingerprint = Fingerprint::of_certificate(b"abc");
        let text = fingerprint.to_string();
        assert_eq!(text, "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(text.parse(), Ok(fingerprint));
        let upper = text.to_uppercase();
        assert_eq!(upper.parse(), Ok(fingerprint));
        let pairs: Vec<_> =
            upper.as_bytes()[7..].chunks(2).map(|two| std::str::from_utf8(two).unwrap()).collect();
        assert_eq!(format!("sha256:{}", pairs.join(":")).parse(), Ok(fingerprint));
        for wrong in
            ["", "sha256:", &text[..70], &format!("{text}0"), &text[7..], "sha1:00", &text.replace('b', "g")]
        {
            assert_eq!(wrong.parse::<Fingerprint>(), Err(FingerprintError), "{wrong}");
        }
    }
}
