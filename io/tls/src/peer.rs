//! TLS between nodes: each shows a certificate of its node key, and each knows the other by that key.
//!
//! A connection between nodes asks for a protocol of its own ([`ALPN`], RFC 7301), so that one port serves people and nodes
//! and no browser is ever asked for a certificate. Issuers, names and dates are not looked at: the key is what was
//! pinned, and clocks may be wrong on the day that matters. TLS 1.3 only: both ends are of the same making.

use std::sync::Arc;

use rcgen::CertificateParams;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::ParsedCertificate;
use rustls::version::TLS13;
use rustls::{CertificateError, ClientConfig, Error, ServerConfig};

use crate::known::{self, Accepts, Known};
use crate::{IdentityError, NodeKey, NodePublicKey};

/// What nodes speak to each other, as a protocol name in the handshake.
pub const ALPN: &[u8] = b"keepwatch-peer/1";

/// Another node answered than the one that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node key {} was shown, not the one that is pinned", seen.fingerprint())]
pub struct OtherNode {
    /// The key that was shown.
    pub seen: NodePublicKey,
}

impl OtherNode {
    /// Returns what is behind the error of a handshake, when it is this.
    pub fn behind(error: &std::io::Error) -> Option<Self> {
        known::behind(error)
    }
}

/// Returns the configuration with which a node of `key` answers other nodes. Every node may connect; which key it has
/// shown, and what that may do, is asked of the connection ([`shown`]).
///
/// # Errors
/// When the cryptography refuses the key.
pub fn server_config(key: &NodeKey) -> Result<Arc<ServerConfig>, IdentityError> {
    let (certificate, private) = certificate(key)?;
    let provider = crate::provider();
    let verifier = Known::new(Keyed { pinned: None }, provider.signature_verification_algorithms);
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .expect("the provider has cipher suites of TLS 1.3")
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![certificate], private)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Arc::new(config))
}

/// Returns the configuration with which a node of `key` calls the node that has the key `pinned`; any node when `None`,
/// which is for making its acquaintance.
///
/// # Errors
/// When the cryptography refuses the key.
pub fn client_config(
    key: &NodeKey,
    pinned: Option<NodePublicKey>,
) -> Result<Arc<ClientConfig>, IdentityError> {
    let (certificate, private) = certificate(key)?;
    let provider = crate::provider();
    let verifier = Known::new(Keyed { pinned }, provider.signature_verification_algorithms);
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .expect("the provider has cipher suites of TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_auth_cert(vec![certificate], private)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    // A session that is resumed shows no certificate.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

/// Returns the key of the certificates that the other end has shown; `None` when it has shown none of a node.
pub fn shown(certificates: Option<&[CertificateDer<'_>]>) -> Option<NodePublicKey> {
    key_of(certificates?.first()?)
}

/// A certificate that carries the key and says nothing else.
fn certificate(key: &NodeKey) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), IdentityError> {
    let parameters = CertificateParams::new(Vec::new())?;
    let certificate = parameters.self_signed(key.pair())?;
    let private = PrivatePkcs8KeyDer::from(key.pair().serialize_der());
    Ok((certificate.der().clone(), private.into()))
}

fn key_of(certificate: &CertificateDer<'_>) -> Option<NodePublicKey> {
    let parsed = ParsedCertificate::try_from(certificate).ok()?;
    NodePublicKey::from_der(parsed.subject_public_key_info().as_ref())
}

/// Takes the certificate of one key, or of any node.
#[derive(Debug)]
struct Keyed {
    pinned: Option<NodePublicKey>,
}

impl Accepts for Keyed {
    fn accept(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        let seen = key_of(certificate).ok_or(CertificateError::BadEncoding)?;
        match self.pinned {
            Some(pinned) if pinned != seen => Err(known::refused(OtherNode { seen })),
            Some(_) | None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
