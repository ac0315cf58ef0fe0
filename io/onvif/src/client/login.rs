//! Which login a device wants: a UsernameToken in the envelope, HTTP digest, or both at once. The password itself is the
//! last resort, for a device whose certificate was configured.
//!
//! Profile S devices know the first, Profile T devices the second, and some insist on both. What worked is remembered,
//! with the challenge, so that a call costs one request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use keepwatch_media::auth::{Challenge, Credentials};
use url::Url;

use super::http;

/// How a call carries the login.
#[derive(Clone, Debug)]
pub(super) enum Manner {
    /// Not at all: there is none, or the call needs none.
    Open,
    /// In the envelope.
    Token,
    /// In the HTTP header.
    Digest {
        /// What the device asked.
        challenge: Challenge,
        /// How often its nonce was used, by all calls that go on at once.
        count: Arc<AtomicU32>,
        /// Whether the envelope carries a token besides.
        token: bool,
    },
    /// The password itself in the HTTP header, which goes nowhere but over TLS.
    Basic(Challenge),
}

impl Manner {
    /// Whether the envelope carries a token.
    pub(super) const fn has_token(&self) -> bool {
        matches!(self, Self::Token | Self::Digest { token: true, .. })
    }

    /// Whether the HTTP header carries a digest.
    pub(super) const fn is_digest(&self) -> bool {
        matches!(self, Self::Digest { .. })
    }

    /// The header for one request to `place`; `None` when the login is not in the header.
    pub(super) fn authorization(
        &self,
        credentials: &Credentials,
        method: &str,
        place: &Url,
        client_nonce: &str,
    ) -> Option<String> {
        let (challenge, count) = match self {
            Self::Open | Self::Token => return None,
            // A device with TLS may name a service without.
            Self::Basic(_) if place.scheme() != "https" => return None,
            Self::Basic(challenge) => (challenge, 0),
            // A device that counts sees each number once. It wraps after four thousand million calls on one nonce.
            Self::Digest { challenge, count, .. } => {
                (challenge, count.fetch_add(1, Ordering::Relaxed).wrapping_add(1))
            }
        };
        Some(challenge.answer(credentials, method, &http::target(place), client_nonce, count))
    }

    /// What to try after the device answered with this HTTP challenge; `None` when all was tried. `worked_before` tells
    /// a challenge that was answered well in an earlier call from one that came in this call.
    pub(super) fn challenged(&self, challenge: Challenge, worked_before: bool) -> Option<Self> {
        let fresh = match &challenge {
            Challenge::Basic { .. } if matches!(self, Self::Basic(_)) => return None,
            Challenge::Basic { .. } => return Some(Self::Basic(challenge)),
            Challenge::Digest { stale, .. } => *stale,
        };
        let unused = Arc::new(AtomicU32::new(0));
        match self {
            Self::Open | Self::Token | Self::Basic(_) => {
                Some(Self::Digest { challenge, count: unused, token: false })
            }
            // An old nonce is no wrong password; and a device that forgets nonces does not always say that it was old.
            Self::Digest { token, .. } if fresh || worked_before => {
                Some(Self::Digest { challenge, count: unused, token: *token })
            }
            Self::Digest { .. } => None,
        }
    }

    /// What to try after the device answered with a SOAP fault that asks for a login; `None` when all was tried.
    pub(super) fn faulted(&self) -> Option<Self> {
        match self {
            Self::Open => Some(Self::Token),
            Self::Digest { challenge, count, token: false } => {
                Some(Self::Digest { challenge: challenge.clone(), count: Arc::clone(count), token: true })
            }
            Self::Token | Self::Digest { token: true, .. } | Self::Basic(_) => None,
        }
    }
}
