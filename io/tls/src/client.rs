//! The client's end: a certificate is known by its fingerprint, or not at all.
//!
//! Cameras sign their own certificates and date them by clocks that may be wrong, so neither issuer, name nor date is
//! looked at. With a pinned fingerprint the peer must show that certificate and prove that it has its key; without one
//! any certificate is taken, and the fingerprint that was shown is for the operator to pin.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use keepwatch_media::fingerprint::Fingerprint;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error, OtherError,
    SignatureScheme,
};

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
        let error = error.get_ref()?.downcast_ref()?;
        if let Error::InvalidCertificate(CertificateError::Other(OtherError(cause))) = error {
            return cause.downcast_ref().copied();
        }
        None
    }
}

/// Returns the configuration of a client that takes the certificate with the fingerprint `pinned`; any when `None`.
pub fn config(pinned: Option<Fingerprint>) -> Arc<ClientConfig> {
    let provider = crate::provider();
    let verifier = Pinned { pinned, algorithms: provider.signature_verification_algorithms };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has cipher suites of TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
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
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let seen = Fingerprint::of_certificate(end_entity);
        match self.pinned {
            Some(pinned) if pinned != seen => {
                Err(CertificateError::Other(OtherError(Arc::new(OtherCertificate { seen }))).into())
            }
            Some(_) | None => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if self.pinned.is_none() {
            // Who takes any certificate learns nothing from a proof that it is the server's own; and cameras have
            // certificates, of version 1 say, that cannot be checked.
            return Ok(HandshakeSignatureValid::assertion());
        }
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if self.pinned.is_none() {
            return Ok(HandshakeSignatureValid::assertion());
        }
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
