//! The fingerprint of a certificate as it is written in a configuration: `sha256:` and 64 hexadecimal digits.
//!
//! Read leniently, with colons between the bytes and in either case, as other programs show it; written strictly.

use std::fmt;
use std::str::FromStr;

/// SHA-256 of a certificate in DER.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

/// Why a text is no fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FingerprintError {
    /// It names no digest, or another one.
    #[error("it does not begin with sha256:")]
    Digest,
    /// It has another length, or something that is no digit.
    #[error("a SHA-256 has 64 hexadecimal digits")]
    Digits,
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let (digest, digits) = text.trim().split_once(':').ok_or(FingerprintError::Digest)?;
        if !digest.eq_ignore_ascii_case("sha256") {
            return Err(FingerprintError::Digest);
        }
        let mut bytes = [0; 32];
        let mut digits = digits.chars().filter(|letter| *letter != ':');
        let mut digit = || digits.next().and_then(|digit| digit.to_digit(16)).ok_or(FingerprintError::Digits);
        for byte in &mut bytes {
            let value = digit()? * 16 + digit()?;
            *byte = u8::try_from(value).map_err(|_| FingerprintError::Digits)?;
        }
        if digits.next().is_some() {
            return Err(FingerprintError::Digits);
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_as_other_programs_write_it() {
        let plain = format!("sha256:{}", "0aff".repeat(16));
        let parsed: Fingerprint = plain.parse().unwrap();
        assert_eq!(parsed.to_string(), plain);
        let colons = format!("SHA256:{}", ["0A:FF"; 16].join(":"));
        assert_eq!(colons.parse(), Ok(parsed));
        for (bad, why) in [
            ("0aff", FingerprintError::Digest),
            ("sha1:0aff", FingerprintError::Digest),
            ("sha256:0aff", FingerprintError::Digits),
            (&format!("{plain}0"), FingerprintError::Digits),
            (&plain.replace('f', "g"), FingerprintError::Digits),
        ] {
            assert_eq!(bad.parse::<Fingerprint>(), Err(why), "{bad}");
        }
    }
}
