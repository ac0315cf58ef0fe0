//! What servers show at the moment: an identity that can be replaced while they run.
//!
//! TLS asks for a certificate once for each handshake, so connections that stand are not touched, and whoever comes later is
//! shown the one that is current then. When to replace it, and by what, is decided by those who hold it.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use keepwatch_media::fingerprint::Fingerprint;
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::Identity;

/// An identity that is shown until another takes its place; clones share it.
#[derive(Clone)]
pub struct CurrentIdentity {
    shown: Arc<Shown>,
    config: Arc<ServerConfig>,
}

/// What the next handshake is answered with.
struct Shown(RwLock<Identity>);

impl CurrentIdentity {
    /// Shows `identity` at first.
    pub fn new(identity: Identity) -> Self {
        let mut config = (*identity.config()).clone();
        let shown = Arc::new(Shown(RwLock::new(identity)));
        config.cert_resolver = Arc::clone(&shown) as _;
        Self { shown, config: Arc::new(config) }
    }

    /// Shows `identity` from the next handshake on, in every server that uses [`config`](Self::config).
    pub fn replace(&self, identity: Identity) {
        *self.shown.0.write().unwrap_or_else(PoisonError::into_inner) = identity;
    }

    /// Returns what is shown at the moment.
    pub fn identity(&self) -> Identity {
        self.shown.identity()
    }

    /// Returns the fingerprint of the certificate that is shown at the moment.
    pub fn fingerprint(&self) -> Fingerprint {
        self.identity().fingerprint()
    }

    /// Returns the configuration of a server that shows what is current, without a protocol above TLS (ALPN).
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }
}

impl Shown {
    fn identity(&self) -> Identity {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.identity().certified())
    }
}

impl fmt::Debug for CurrentIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CurrentIdentity({})", self.fingerprint())
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shown({})", self.identity().fingerprint())
    }
}
