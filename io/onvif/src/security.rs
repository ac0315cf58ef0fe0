//! WS-Security UsernameToken (OASIS Username Token Profile 1.0): made by a client, verified by a device.
//!
//! The digest is Base64(SHA-1(nonce + created + password)). SHA-1 is what the profile knows. Nonces are made by the
//! caller: no chance is drawn here. Passwords never appear in a `Debug` text.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use keepwatch_media::auth::Credentials;
use keepwatch_model::{WallTime, ticks_from_duration};
use sha1::{Digest as _, Sha1};

use crate::lexical;
use crate::namespace;
use crate::xml::{Element, Writer};

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

const PASSWORD_DIGEST: &str =
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-username-token-profile-1.0#PasswordDigest";
const NONCE_ENCODING: &str =
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-soap-message-security-1.0#Base64Binary";

/// Longest nonce that is accepted, in bytes; clients use 16 to 24.
const NONCE_BYTES_MAX: usize = 128;

/// Nonces that are remembered at most: more than a device is asked in a minute.
const NONCES_MAX: usize = 4096;

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is malformed, or its password is not a digest.
    #[error("the login is no UsernameToken with a password digest")]
    Malformed,
    /// The digest is not that of the password.
    #[error("user or password is wrong")]
    Wrong,
    /// It was made too long ago, or is to be made yet: one of the two clocks is wrong.
    #[error("the login was made {off_seconds} s away from this clock; set the clocks")]
    Outdated {
        /// How far, in seconds; negative when it is in the future.
        off_seconds: i64,
    },
    /// It was used before.
    #[error("the login was used before")]
    Replayed,
}

/// A login in a SOAP header.
#[derive(Clone, PartialEq, Eq)]
pub struct UsernameToken {
    user: String,
    digest: String,
    nonce: Vec<u8>,
    /// As it is written, for the digest is made over the text.
    created: String,
}

impl fmt::Debug for UsernameToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UsernameToken").field("user", &self.user).finish_non_exhaustive()
    }
}

impl UsernameToken {
    /// Makes a token. `nonce` is unpredictable and used once; `created` is the time by the clock of the device.
    pub fn new(credentials: &Credentials, nonce: [u8; 16], created: WallTime) -> Self {
        let created = lexical::date_time_seconds(created);
        Self {
            user: credentials.user.clone(),
            digest: digest(&nonce, &created, &credentials.password),
            nonce: nonce.to_vec(),
            created,
        }
    }

    /// Reads the token of a `wsse:Security` header; `None` when there is none in it.
    pub fn read(security: &Element) -> Option<Result<Self, TokenError>> {
        let token = security.child("UsernameToken")?;
        let read = || {
            let password = token.child("Password")?;
            // A password in the clear is not accepted: whoever listens would have it.
            let digest = password.attribute("Type").is_some_and(|kind| kind.ends_with("#PasswordDigest"));
            let nonce = BASE64.decode(token.text_at(&["Nonce"])?).ok()?;
            (digest && !nonce.is_empty() && nonce.len() <= NONCE_BYTES_MAX).then_some(())?;
            Some(Self {
                user: token.text_at(&["Username"])?.to_owned(),
                digest: password.text.clone(),
                nonce,
                created: token.text_at(&["Created"])?.to_owned(),
            })
        };
        Some(read().ok_or(TokenError::Malformed))
    }

    /// Writes the `wsse:Security` header.
    pub fn write(&self, writer: &mut Writer) {
        let namespaces = [("xmlns:wsse", namespace::SECURITY), ("xmlns:wsu", namespace::SECURITY_UTILITY)];
        writer.element("wsse:Security", &namespaces, |writer| {
            writer.within("wsse:UsernameToken", |writer| {
                writer.leaf("wsse:Username", &self.user);
                writer.leaf_with("wsse:Password", &[("Type", PASSWORD_DIGEST)], &self.digest);
                let nonce = BASE64.encode(&self.nonce);
                writer.leaf_with("wsse:Nonce", &[("EncodingType", NONCE_ENCODING)], &nonce);
                writer.leaf("wsu:Created", &self.created);
            });
        });
    }

    /// Who asks.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Whether it is that of a user with `password`, made within `window` of `now` and not used before.
    ///
    /// A device that knows no such user verifies against some password nobody has, so that the time taken is the same.
    pub fn verify(
        &self,
        password: &str,
        now: WallTime,
        window: Duration,
        nonces: &mut Nonces,
    ) -> Result<(), TokenError> {
        // The password first: an answer about the clock is for those who know it.
        if !same_text(&digest(&self.nonce, &self.created, password), &self.digest) {
            return Err(TokenError::Wrong);
        }
        let created = lexical::parse_date_time(&self.created).ok_or(TokenError::Malformed)?;
        let off_ticks = now.ticks_since(created);
        if off_ticks.unsigned_abs() > ticks_from_duration(window).unsigned_abs() {
            return Err(TokenError::Outdated { off_seconds: off_ticks / keepwatch_model::TICKS_PER_SECOND });
        }
        nonces.take(&self.nonce, created, now, window)
    }
}

/// The nonces of tokens that were accepted and would be accepted again.
#[derive(Clone, Debug, Default)]
pub struct Nonces {
    used: BTreeMap<Vec<u8>, WallTime>,
}

impl Nonces {
    /// None was used yet.
    pub const fn new() -> Self {
        Self { used: BTreeMap::new() }
    }

    fn take(
        &mut self,
        nonce: &[u8],
        created: WallTime,
        now: WallTime,
        window: Duration,
    ) -> Result<(), TokenError> {
        if self.used.contains_key(nonce) {
            return Err(TokenError::Replayed);
        }
        if self.used.len() >= NONCES_MAX {
            let window = ticks_from_duration(window).unsigned_abs();
            self.used.retain(|_, created| now.ticks_since(*created).unsigned_abs() <= window);
        }
        // Forgetting one that is still good would let it be used again. Refusing costs a flooded device some logins.
        if self.used.len() >= NONCES_MAX {
            return Err(TokenError::Replayed);
        }
        self.used.insert(nonce.to_vec(), created);
        Ok(())
    }
}

fn digest(nonce: &[u8], created: &str, password: &str) -> String {
    let mut hash = Sha1::new();
    hash.update(nonce);
    hash.update(created.as_bytes());
    hash.update(password.as_bytes());
    BASE64.encode(hash.finalize())
}

/// Compares in a time that depends on the lengths only.
fn same_text(a: &str, b: &str) -> bool {
    let difference =
        a.bytes().zip(b.bytes()).fold(0, |difference, (a, b)| std::hint::black_box(difference | (a ^ b)));
    (a.len() == b.len()) & (difference == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(10);

    fn credentials() -> Credentials {
        Credentials { user: "viewer".to_owned(), password: "correct horse".to_owned() }
    }

    fn at(seconds: i64) -> WallTime {
        WallTime::from_ticks(1_800_000_000 * 90_000).plus(seconds * 90_000)
    }

    fn sent(token: &UsernameToken) -> UsernameToken {
        let mut writer = Writer::new();
        token.write(&mut writer);
        let security = Element::parse(writer.as_str().as_bytes()).unwrap();
        UsernameToken::read(&security).unwrap().unwrap()
    }

    /// ONVIF Application Programmer's Guide §6.1.1.3 has this example.
    #[test]
    fn the_digest_is_that_of_the_programmers_guide() {
        let nonce = BASE64.decode("LKqI6G/AikKCQrN0zqZFlg==").unwrap();
        let made = digest(&nonce, "2010-09-16T07:50:45Z", "userpassword");
        assert_eq!(made, "tuOSpGlFlIXsozq4HFNeeGeFLEI=");
    }

    #[test]
    fn a_token_is_accepted_once_and_only_with_the_password() {
        let token = sent(&UsernameToken::new(&credentials(), [7; 16], at(0)));
        let mut nonces = Nonces::new();
        assert_eq!(token.user(), "viewer");
        assert_eq!(token.verify("wrong", at(0), WINDOW, &mut nonces), Err(TokenError::Wrong));
        assert_eq!(token.verify("correct horse", at(1), WINDOW, &mut nonces), Ok(()));
        assert_eq!(token.verify("correct horse", at(2), WINDOW, &mut nonces), Err(TokenError::Replayed));
    }

    #[test]
    fn a_token_of_another_time_says_how_far_the_clocks_are_apart() {
        let token = UsernameToken::new(&credentials(), [7; 16], at(0));
        for off_seconds in [3600, -3600] {
            let verified = token.verify("correct horse", at(off_seconds), WINDOW, &mut Nonces::new());
            assert_eq!(verified, Err(TokenError::Outdated { off_seconds }));
        }
    }

    #[test]
    fn a_flood_of_tokens_is_refused_rather_than_forgotten() {
        let mut nonces = Nonces::new();
        let token = |number: usize| {
            let mut nonce = [0; 16];
            nonce[..8].copy_from_slice(&number.to_be_bytes());
            UsernameToken::new(&credentials(), nonce, at(0))
        };
        for number in 0..NONCES_MAX {
            assert_eq!(token(number).verify("correct horse", at(0), WINDOW, &mut nonces), Ok(()));
        }
        let late = token(NONCES_MAX).verify("correct horse", at(0), WINDOW, &mut nonces);
        assert_eq!(late, Err(TokenError::Replayed));
        let later = UsernameToken::new(&credentials(), [9; 16], at(60));
        assert_eq!(later.verify("correct horse", at(60), WINDOW, &mut nonces), Ok(()));
    }

    #[test]
    fn a_password_in_the_clear_is_refused() {
        let text = "<s><UsernameToken><Username>a</Username><Password Type='x#PasswordText'>b</Password>\
                    <Nonce>AAAA</Nonce><Created>2026-11-22T00:00:00Z</Created></UsernameToken></s>";
        let security = Element::parse(text.as_bytes()).unwrap();
        assert_eq!(UsernameToken::read(&security), Some(Err(TokenError::Malformed)));
        assert!(!format!("{:?}", UsernameToken::new(&credentials(), [7; 16], at(0))).contains("correct"));
    }
}
