//! The client's end: a certificate is known by its fingerprint, or not at all.
//!
//! Cameras sign their own certificates and date them by clocks that may be wrong, so neither issuer, name nor date is
//! looked at. With a pinned fingerprint the peer must show that certificate and prove that it has its key; without one
//! any certificate is taken, and the fingerprint that was shown is for the operator to pin.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use keepwatch_media::fingerprint::Fingerprint;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, Error};

use crate::known::{self, Accepts, Known};

/// Another certificate was shown than the one that is pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the certificate {seen} was shown, not the one that is pinned")]
pub struct OtherCertificate {
    /// The one that was shown.
    pub seen: Fingerprint,
}

impl OtherCertificate {
    /// Returns what is behind the error of a handshake, when it is this.
    pub fn behind(error: &io::Error) -> Option<Self> {
        known::behind(error)
    }
}

/// Returns the configuration of a client that takes the certificate with the fingerprint `pinned`; any when `None`.
pub fn config(pinned: Option<Fingerprint>) -> Arc<ClientConfig> {
    let provider = crate::provider();
    let verifier = Known::new(Pinned { pinned }, provider.signature_verification_algorithms);
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has cipher suites of TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Arc::new(config)
}

/// Returns the name under which a server at `address` is asked for, given how the operator wrote its host.
///
/// What is no name of DNS, such as an address in brackets, is not told to the server (RFC 6066 §3).
pub fn server_name(host: &str, address: IpAddr) -> ServerName<'static> {
    ServerName::try_from(host.to_owned()).unwrap_or_else(|_| address.into())
}

/// Returns the fingerprint of the certificate that the server has shown; `None` until it has.
pub fn shown(connection: &ClientConnection) -> Option<Fingerprint> {
    let first = connection.peer_certificates()?.first()?;
    Some(Fingerprint::of_certificate(first))
}

/// Takes one certificate, or any.
#[derive(Debug)]
struct Pinned {
    pinned: Option<Fingerprint>,
}

impl Accepts for Pinned {
    fn accept(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        let seen = Fingerprint::of_certificate(certificate);
        match self.pinned {
            Some(pinned) if pinned != seen => Err(known::refused(OtherCertificate { seen })),
            Some(_) | None => Ok(()),
        }
    }

    /// Who takes any certificate learns nothing from a proof that it is the server's own; and cameras have certificates,
    /// of version 1 say, that cannot be checked.
    fn wants_proof(&self) -> bool {
        self.pinned.is_some()
    }
}

#[cfg(test)]
mod tests;
