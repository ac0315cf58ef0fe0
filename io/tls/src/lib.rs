//! TLS of both ends: [`client`] knows a certificate by its fingerprint, or takes any; [`Identity`] is what a server
//! shows, the operator's or one that the node makes for itself and keeps; [`CurrentIdentity`] can be replaced while it runs.
//!
//! [`NodeKey`] signs what a node gives away, and is what nodes know each other by ([`peer`]).
//!
//! Nobody vouches for a camera's certificate or for one that is self-made, so no issuer is ever asked: who wants to know
//! the other end again compares the SHA-256 of its certificate. Connections, their sockets and their time limits are of
//! those who use this.

pub mod client;
mod current;
mod identity;
mod kept;
mod known;
mod names;
pub mod peer;
mod signing;

use std::sync::{Arc, LazyLock};

use rustls::crypto::{CryptoProvider, aws_lc_rs};

pub use current::CurrentIdentity;
pub use identity::{Files, Identity, IdentityError};
pub use kept::Making;
pub use names::Names;
pub use signing::{NodeKey, NodePublicKey, SIGNATURE_BYTES, node_key_file};

/// Returns the cryptography of all TLS in this program.
///
/// It is named wherever a configuration is made, and never installed for the whole process: a crate that brings another
/// one along must not decide.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));
    Arc::clone(&PROVIDER)
}
