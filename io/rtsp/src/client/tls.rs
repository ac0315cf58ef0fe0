//! RTSP over TLS (`rtsps:`): a certificate is known by its fingerprint, or not at all.
//!
//! Cameras sign their own certificates and date them by clocks that may be wrong, so neither issuer, name nor date
//! is looked at. With a pinned fingerprint the peer must hold that certificate and prove it; without one any
//! certificate is accepted, and the fingerprint that was seen is for the operator to pin.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use keepwatch_media::fingerprint::Fingerprint;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};

/// The client's side of a handshake that has not begun.
pub(super) struct Handshake {
    /// The connection to drive.
    pub(super) connection: Box<ClientConnection>,
    verifier: Arc<Pinned>,
}

impl Handshake {
    /// A handshake with `host` at `address`, whose certificate must have the fingerprint `pinned`, if there is one.
    pub(super) fn new(host: &str, address: IpAddr, pinned: Option<Fingerprint>) -> Result<Self, Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = Arc::new(Pinned { pinned, seen: OnceLock::new(), provider: Arc::clone(&provider) });
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&verifier) as Arc<dyn ServerCertVerifier>)
            .with_no_client_auth();
        // A name that is none by RFC 1123, such as one with an underscore, is not told to the server.
        let name = ServerName::try_from(host.to_owned()).unwrap_or_else(|_| address.into());
        let connection = Box::new(ClientConnection::new(Arc::new(config), name)?);
        Ok(Self { connection, verifier })
    }

    /// The fingerprint of the certificate that the server showed.
    pub(super) fn seen(&self) -> Option<Fingerprint> {
        self.verifier.seen.get().copied()
    }

    /// Whether the server showed another certificate than the one that is pinned.
    pub(super) fn is_other(&self) -> bool {
        self.verifier.pinned.is_some_and(|pinned| self.seen().is_some_and(|seen| seen != pinned))
    }
}

/// Accepts one certificate, or any.
#[derive(Debug)]
struct Pinned {
    pinned: Option<Fingerprint>,
    seen: OnceLock<Fingerprint>,
    provider: Arc<CryptoProvider>,
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
        let _ = self.seen.set(seen);
        match self.pinned {
            Some(pinned) if pinned != seen => {
                Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
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
            // Who accepts any certificate learns nothing from a proof that it is the server's own; and cameras have
            // certificates, of version 1 say, that cannot be checked.
            return Ok(HandshakeSignatureValid::assertion());
        }
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
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
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
