//! TLS with cameras: their certificates are self-signed and outdated, so one is pinned by its SHA-256, or any is taken and
//! reported. Signatures are verified in both cases: whoever shows a certificate must have its key.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use url::{Host, Url};

use super::ClientError;

/// Makes TLS sessions with one device.
#[derive(Clone)]
pub(super) struct Tls {
    connector: TlsConnector,
    verifier: Arc<Pinned>,
}

impl Tls {
    /// Sessions in which the certificate with this SHA-256 must be shown; any, when `None`.
    pub(super) fn new(pinned: Option<[u8; 32]>) -> Self {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = Arc::new(Pinned { pinned, seen: Mutex::new(None), provider: Arc::clone(&provider) });
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has cipher suites of all default versions")
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&verifier) as Arc<dyn ServerCertVerifier>)
            .with_no_client_auth();
        Self { connector: TlsConnector::from(Arc::new(config)), verifier }
    }

    /// Whether only one certificate is taken.
    pub(super) fn is_pinned(&self) -> bool {
        self.verifier.pinned.is_some()
    }

    /// SHA-256 of the certificate that was shown last; `None` before the first session.
    pub(super) fn seen(&self) -> Option<[u8; 32]> {
        *self.verifier.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a session on a connection to the host of `place`.
    pub(super) async fn connect(
        &self,
        place: &Url,
        tcp: TcpStream,
    ) -> Result<TlsStream<TcpStream>, ClientError> {
        let name = match place.host() {
            Some(Host::Ipv4(address)) => ServerName::IpAddress(address.into()),
            Some(Host::Ipv6(address)) => ServerName::IpAddress(address.into()),
            Some(Host::Domain(name)) => ServerName::try_from(name.to_owned())
                .map_err(|error| ClientError::Tls(io::Error::new(io::ErrorKind::InvalidInput, error)))?,
            None => return Err(ClientError::Address(place.to_string())),
        };
        match self.connector.connect(name, tcp).await {
            Ok(session) => Ok(session),
            Err(error) => Err(match self.seen() {
                Some(seen) if self.verifier.pinned.is_some_and(|pinned| pinned != seen) => {
                    ClientError::Certificate { seen }
                }
                _ => ClientError::Tls(error),
            }),
        }
    }
}

/// Takes the pinned certificate, or any, whatever its dates and names.
#[derive(Debug)]
struct Pinned {
    pinned: Option<[u8; 32]>,
    seen: Mutex<Option<[u8; 32]>>,
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
    ) -> Result<ServerCertVerified, rustls::Error> {
        let seen: [u8; 32] = Sha256::digest(end_entity).into();
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
        match self.pinned {
            Some(pinned) if pinned != seen => Err(CertificateError::ApplicationVerificationFailure.into()),
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
