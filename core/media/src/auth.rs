//! Basic and Digest authentication (RFC 2617, RFC 7616) for both ends: answering a challenge, and setting one and
//! checking the answer.
//!
//! Digest with MD5 and SHA-256, with quality of protection `auth` or none; what else a server may offer is passed
//! over. Nonces are made by the caller: no chance is drawn here. Passwords never appear in a `Debug` text.

mod parameters;
#[cfg(test)]
mod tests;

use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use md5::Digest as _;

use parameters::{Parameters, quoted};

/// Longest header that is read, in bytes.
const HEADER_BYTES_MAX: usize = 4096;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why an `Authorization` header cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// Neither Basic nor a Digest that is known.
    #[error("authorization is of an unknown scheme or algorithm")]
    Scheme,
    /// A parameter is missing or malformed.
    #[error("authorization lacks a usable {0}")]
    Parameter(&'static str),
    /// It is longer than any sane one.
    #[error("authorization is longer than {HEADER_BYTES_MAX} bytes")]
    TooLong,
}

/// The hash of a Digest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    /// MD5, the one that is meant when none is named.
    #[default]
    Md5,
    /// SHA-256.
    Sha256,
}

impl Algorithm {
    fn from_name(name: &str) -> Option<Self> {
        [Self::Md5, Self::Sha256]
            .into_iter()
            .find(|algorithm| algorithm.as_str().eq_ignore_ascii_case(name.trim()))
    }

    /// The name in headers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha256 => "SHA-256",
        }
    }

    /// The hash of `parts` joined by colons, in hexadecimal.
    fn hash(self, parts: &[&str]) -> String {
        let text = parts.join(":");
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        match self {
            Self::Md5 => hex(&md5::Md5::digest(text)),
            Self::Sha256 => hex(&sha2::Sha256::digest(text)),
        }
    }
}

/// Who asks, and what proves it.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user.
    pub user: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// What a server asks for in a `WWW-Authenticate` header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// The password itself.
    Basic {
        /// Where it is valid.
        realm: String,
    },
    /// A hash over the password.
    Digest {
        /// Where it is valid.
        realm: String,
        /// The server's number, used once.
        nonce: String,
        /// To be sent back as it is.
        opaque: Option<String>,
        /// The hash; `None` when not named, which means MD5.
        algorithm: Option<Algorithm>,
        /// Whether the answer carries a client's number and a count.
        quality_auth: bool,
        /// Whether only the nonce was too old; the same credentials may be tried again.
        stale: bool,
    },
}

impl Challenge {
    /// Reads all challenges of one header that can be answered.
    pub fn parse_all(header: &str) -> Vec<Self> {
        if header.len() > HEADER_BYTES_MAX {
            return Vec::new();
        }
        parameters::split_schemes(header).iter().filter_map(Self::from_parameters).collect()
    }

    /// The challenge, of all headers, that betrays least: SHA-256 before MD5 before Basic.
    pub fn strongest<'a>(headers: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let strength = |challenge: &Self| match challenge {
            Self::Basic { .. } => 0,
            Self::Digest { algorithm, .. } => 1 + u8::from(*algorithm == Some(Algorithm::Sha256)),
        };
        let mut best: Option<Self> = None;
        for challenge in headers.into_iter().flat_map(Self::parse_all) {
            // The first of equals is the one the server prefers (RFC 7616 §3.7).
            if best.as_ref().is_none_or(|best| strength(best) < strength(&challenge)) {
                best = Some(challenge);
            }
        }
        best
    }

    fn from_parameters(parameters: &Parameters) -> Option<Self> {
        let realm = parameters.value("realm").unwrap_or_default().to_owned();
        if parameters.scheme.eq_ignore_ascii_case("Basic") {
            return Some(Self::Basic { realm });
        }
        if !parameters.scheme.eq_ignore_ascii_case("Digest") {
            return None;
        }
        let algorithm = match parameters.value("algorithm").filter(|name| !name.trim().is_empty()) {
            None => None,
            Some(name) => Some(Algorithm::from_name(name)?),
        };
        let mut qualities = parameters.value("qop").unwrap_or_default().split(',').map(str::trim).peekable();
        let none = qualities.peek().is_none_or(|first| first.is_empty());
        let quality_auth = qualities.any(|quality| quality.eq_ignore_ascii_case("auth"));
        if !none && !quality_auth {
            return None;
        }
        Some(Self::Digest {
            realm,
            nonce: parameters.value("nonce")?.to_owned(),
            opaque: parameters.value("opaque").map(str::to_owned),
            algorithm,
            quality_auth,
            stale: parameters.value("stale").is_some_and(|stale| stale.eq_ignore_ascii_case("true")),
        })
    }

    /// The `Authorization` header for one request.
    ///
    /// `uri` is the address in the request line. `client_nonce` is an unpredictable text and `count` how often the
    /// server's nonce was used, this time included; both matter only where the server asked for them.
    pub fn answer(
        &self,
        credentials: &Credentials,
        method: &str,
        uri: &str,
        client_nonce: &str,
        count: u32,
    ) -> String {
        let Credentials { user, password } = credentials;
        match self {
            Self::Basic { .. } => format!("Basic {}", BASE64.encode(format!("{user}:{password}"))),
            Self::Digest { realm, nonce, opaque, algorithm, quality_auth, stale: _ } => {
                let count = format!("{count:08x}");
                let quality = quality_auth.then(|| Quality {
                    client_nonce: client_nonce.to_owned(),
                    count,
                    name: "auth".to_owned(),
                });
                let response = digest(
                    algorithm.unwrap_or_default(),
                    [user, realm, password],
                    nonce,
                    quality.as_ref(),
                    [method, uri],
                );
                let mut header = format!(
                    "Digest username={}, realm={}, nonce={}, uri={}, response=\"{response}\"",
                    quoted(user),
                    quoted(realm),
                    quoted(nonce),
                    quoted(uri)
                );
                if let Some(algorithm) = algorithm {
                    header.push_str(&format!(", algorithm={}", algorithm.as_str()));
                }
                if let Some(opaque) = opaque {
                    header.push_str(&format!(", opaque={}", quoted(opaque)));
                }
                if let Some(Quality { client_nonce, count, name }) = quality {
                    header.push_str(&format!(", qop={name}, nc={count}, cnonce={}", quoted(&client_nonce)));
                }
                header
            }
        }
    }
}

/// The `WWW-Authenticate` headers of a server, the one it prefers first. `nonce` is unpredictable and belongs to one
/// connection.
pub fn challenges(realm: &str, nonce: &str, stale: bool) -> Vec<String> {
    let header = |algorithm: Algorithm| {
        let stale = if stale { ", stale=true" } else { "" };
        let (realm, nonce, algorithm) = (quoted(realm), quoted(nonce), algorithm.as_str());
        format!("Digest realm={realm}, nonce={nonce}, algorithm={algorithm}, qop=\"auth\"{stale}")
    };
    vec![header(Algorithm::Sha256), header(Algorithm::Md5)]
}

/// The `WWW-Authenticate` header of a server that takes the password itself, to stand behind the [`challenges`]; for
/// connections that nobody can listen to.
pub fn basic_challenge(realm: &str) -> String {
    format!("Basic realm={}", quoted(realm))
}

#[derive(Clone, PartialEq, Eq)]
struct Quality {
    client_nonce: String,
    count: String,
    name: String,
}

/// What a client answers in an `Authorization` header.
#[derive(Clone, PartialEq, Eq)]
pub struct Authorization(Answer);

#[derive(Clone, PartialEq, Eq)]
enum Answer {
    Basic(Credentials),
    Digest {
        user: String,
        realm: String,
        nonce: String,
        uri: String,
        response: String,
        algorithm: Algorithm,
        quality: Option<Quality>,
    },
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorization").field("user", &self.user()).finish_non_exhaustive()
    }
}

impl Authorization {
    /// Reads a header.
    pub fn parse(header: &str) -> Result<Self, AuthError> {
        if header.len() > HEADER_BYTES_MAX {
            return Err(AuthError::TooLong);
        }
        let (scheme, rest) = header.trim().split_once(char::is_whitespace).ok_or(AuthError::Scheme)?;
        if scheme.eq_ignore_ascii_case("Basic") {
            let decoded = BASE64.decode(rest.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let decoded = decoded.ok_or(AuthError::Parameter("credentials"))?;
            let (user, password) = decoded.split_once(':').ok_or(AuthError::Parameter("credentials"))?;
            return Ok(Self(Answer::Basic(Credentials {
                user: user.to_owned(),
                password: password.to_owned(),
            })));
        }
        let schemes = parameters::split_schemes(header);
        let parameters = schemes.first().filter(|first| first.scheme.eq_ignore_ascii_case("Digest"));
        let parameters = parameters.ok_or(AuthError::Scheme)?;
        let needed = |name| parameters.value(name).map(str::to_owned).ok_or(AuthError::Parameter(name));
        let algorithm = match parameters.value("algorithm") {
            None => Algorithm::Md5,
            Some(name) => Algorithm::from_name(name).ok_or(AuthError::Scheme)?,
        };
        let quality = match parameters.value("qop") {
            None => None,
            Some(name) if name.eq_ignore_ascii_case("auth") => {
                Some(Quality { client_nonce: needed("cnonce")?, count: needed("nc")?, name: name.to_owned() })
            }
            Some(_) => return Err(AuthError::Parameter("qop")),
        };
        Ok(Self(Answer::Digest {
            user: needed("username")?,
            realm: needed("realm")?,
            nonce: needed("nonce")?,
            uri: needed("uri")?,
            response: needed("response")?,
            algorithm,
            quality,
        }))
    }

    /// Who asks.
    pub fn user(&self) -> &str {
        match &self.0 {
            Answer::Basic(credentials) => &credentials.user,
            Answer::Digest { user, .. } => user,
        }
    }

    /// The address that a digest was made for, to be compared with the request line; `None` for Basic.
    pub fn uri(&self) -> Option<&str> {
        match &self.0 {
            Answer::Basic(_) => None,
            Answer::Digest { uri, .. } => Some(uri),
        }
    }

    /// The server's number that a digest was made with; `None` for Basic.
    pub fn nonce(&self) -> Option<&str> {
        match &self.0 {
            Answer::Basic(_) => None,
            Answer::Digest { nonce, .. } => Some(nonce),
        }
    }

    /// How often the client says that it has used the server's number, this time included; `None` for Basic, for a
    /// digest without quality of protection, and for what is no number.
    pub fn count(&self) -> Option<u32> {
        match &self.0 {
            Answer::Basic(_) => None,
            Answer::Digest { quality, .. } => {
                let count = &quality.as_ref()?.count;
                u32::from_str_radix(count, 16).ok().filter(|_| !count.starts_with('+'))
            }
        }
    }

    /// Whether the answer is that of a user with `password` to the [`challenges`] of `realm` and `nonce`.
    ///
    /// Basic was not among them and is refused; see [`verify_basic`](Self::verify_basic). The time taken does not depend on how much of the answer is right.
    pub fn verify(&self, password: &str, realm: &str, nonce: &str, method: &str) -> bool {
        match &self.0 {
            Answer::Basic(_) => false,
            Answer::Digest {
                user,
                realm: answered_realm,
                nonce: answered_nonce,
                uri,
                response,
                algorithm,
                quality,
            } => {
                let expected =
                    digest(*algorithm, [user, realm, password], nonce, quality.as_ref(), [method, uri]);
                let same = same_text(&expected, &response.to_ascii_lowercase());
                let nonce_same = same_text(nonce, answered_nonce);
                same & nonce_same & (answered_realm == realm)
            }
        }
    }

    /// Whether the answer is `password` itself. The time taken does not depend on how much of it is right.
    pub fn verify_basic(&self, password: &str) -> bool {
        match &self.0 {
            Answer::Basic(credentials) => same_text(&credentials.password, password),
            Answer::Digest { .. } => false,
        }
    }
}

fn digest(
    algorithm: Algorithm,
    user_realm_password: [&str; 3],
    nonce: &str,
    quality: Option<&Quality>,
    method_uri: [&str; 2],
) -> String {
    let secret = algorithm.hash(&user_realm_password);
    let request = algorithm.hash(&method_uri);
    match quality {
        None => algorithm.hash(&[&secret, nonce, &request]),
        Some(Quality { client_nonce, count, name }) => {
            algorithm.hash(&[&secret, nonce, count, client_nonce, name, &request])
        }
    }
}

/// Compares in a time that depends on the lengths only.
fn same_text(a: &str, b: &str) -> bool {
    let difference =
        a.bytes().zip(b.bytes()).fold(0, |difference, (a, b)| std::hint::black_box(difference | (a ^ b)));
    (a.len() == b.len()) & (difference == 0)
}
