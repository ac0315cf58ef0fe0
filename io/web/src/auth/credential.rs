//! Secrets that are shown once and kept as SHA-256 only: tokens of sessions, tokens of the API, the code of the setup.
//!
//! The hash of 80 random bits and more cannot be searched, so it needs no salt, and the lookup by hash compares nothing
//! that an attacker could approach byte by byte.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::hash::Hash256;

/// Random bytes in a token.
const TOKEN_BYTES: usize = 32;

/// Characters of a token in base64url.
pub(super) const TOKEN_CHARS: usize = 43;

/// Longest text that is looked at as a token.
pub(super) const TOKEN_TEXT_BYTES_MAX: usize = 64;

/// Characters of secrets that people type: no two that look alike.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// Groups of four characters in a secret that people type: 80 bits.
const GROUPS: usize = 4;

/// The system gave no random numbers.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the system gave no random numbers")]
pub(crate) struct NoChance;

/// What an identity rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Credential {
    /// A session, by the hash of its token.
    Session(Hash256),
    /// An API token, by its hash.
    Token(Hash256),
    /// The kernel's word on who is at the other end of the Unix socket.
    Kernel,
}

/// A new token: 43 characters of base64url.
pub(super) fn invent_token() -> Result<String, NoChance> {
    let mut random = [0; TOKEN_BYTES];
    getrandom::fill(&mut random).map_err(|_| NoChance)?;
    Ok(URL_SAFE_NO_PAD.encode(random))
}

/// A secret that can be typed: four groups of four characters, 80 bits.
pub(super) fn invent_code() -> Result<String, NoChance> {
    let mut random = [0_u8; GROUPS * 4];
    getrandom::fill(&mut random).map_err(|_| NoChance)?;
    let mut code = String::with_capacity(GROUPS * 5);
    for (position, byte) in random.iter().enumerate() {
        if position > 0 && position % 4 == 0 {
            code.push('-');
        }
        // 256 is a multiple of 32: no character is likelier than another.
        code.push(char::from(ALPHABET[usize::from(byte % 32)]));
    }
    Ok(code)
}

/// A code as people type it, reduced to what counts: hyphens, spaces and capitals do not.
pub(super) fn plain_code(typed: &str) -> String {
    typed.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_have_their_form_and_differ() {
        let (first, second) = (invent_token().unwrap(), invent_token().unwrap());
        assert_eq!(first.len(), 43);
        assert_ne!(first, second);
        let code = invent_code().unwrap();
        assert_eq!((code.len(), plain_code(&code).len()), (19, 16));
        assert_eq!(plain_code(&code.to_uppercase().replace('-', " ")), plain_code(&code));
    }
}
