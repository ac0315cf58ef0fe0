//! The verifier of both ends for others that are known by what they show: neither issuer, name nor date is looked at.

use std::fmt::Debug;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
};

/// Whom one end takes.
pub(crate) trait Accepts: Debug + Send + Sync + 'static {
    /// Refuses a certificate that is not of the one that is known.
    fn accept(&self, certificate: &CertificateDer<'_>) -> Result<(), Error>;

    /// Whether the other must prove that it has the certificate's key.
    fn wants_proof(&self) -> bool {
        true
    }
}

/// Takes whom `A` accepts.
#[derive(Debug)]
pub(crate) struct Known<A> {
    accepts: A,
    algorithms: WebPkiSupportedAlgorithms,
}

impl<A: Accepts> Known<A> {
    pub(crate) fn new(accepts: A, algorithms: WebPkiSupportedAlgorithms) -> Arc<Self> {
        Arc::new(Self { accepts, algorithms })
    }
}

/// The error of a handshake that `why` is behind; [`behind`] finds it again.
pub(crate) fn refused<E: std::error::Error + Send + Sync + 'static>(why: E) -> Error {
    CertificateError::Other(OtherError(Arc::new(why))).into()
}

/// What was [`refused`], when that is behind the error of a handshake.
pub(crate) fn behind<E: std::error::Error + Copy + 'static>(error: &std::io::Error) -> Option<E> {
    let error = error.get_ref()?.downcast_ref()?;
    if let Error::InvalidCertificate(CertificateError::Other(OtherError(cause))) = error {
        return cause.downcast_ref().copied();
    }
    None
}

impl<A: Accepts> Known<A> {
    fn prove_tls12(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if !self.accepts.wants_proof() {
            return Ok(HandshakeSignatureValid::assertion());
        }
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn prove_tls13(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if !self.accepts.wants_proof() {
            return Ok(HandshakeSignatureValid::assertion());
        }
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }
}

impl<A: Accepts> ServerCertVerifier for Known<A> {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.accepts.accept(end_entity).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.prove_tls12(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.prove_tls13(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl<A: Accepts> ClientCertVerifier for Known<A> {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.accepts.accept(end_entity).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.prove_tls12(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.prove_tls13(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
