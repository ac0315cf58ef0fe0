//! A certificate that a site makes for itself, as cameras come with one from the factory: nobody vouches for it, and a
//! client that wants to know the camera again compares its fingerprint.

use std::net::IpAddr;
use std::sync::Arc;

use keepwatch_media::fingerprint::Fingerprint;
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::LabError;

/// A certificate and what a server does with it.
pub(crate) struct Certificate {
    /// Of a server that shows it.
    pub(crate) config: Arc<ServerConfig>,
    /// By which clients know it.
    pub(crate) fingerprint: Fingerprint,
}

impl Certificate {
    /// Makes one for a server at `address`.
    pub(crate) fn make(address: IpAddr) -> Result<Self, LabError> {
        let names = vec![address.to_string(), "localhost".to_owned()];
        let made = rcgen::generate_simple_self_signed(names)?;
        let certificate = made.cert.der().clone();
        let fingerprint = Fingerprint::of_certificate(&certificate);
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)?;
        Ok(Self { config: Arc::new(config), fingerprint })
    }
}
