//! TLS with one device. Which certificate is taken, and why, is in `io/tls`.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use keepwatch_media::fingerprint::Fingerprint;
use keepwatch_tls::client::{OtherCertificate, config, server_name, shown};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use url::Url;

use super::ClientError;

/// Makes TLS sessions with one device.
#[derive(Clone)]
pub(super) struct Tls {
    connector: TlsConnector,
    is_pinned: bool,
    seen: Arc<Mutex<Option<Fingerprint>>>,
}

impl Tls {
    /// Sessions in which the certificate with this fingerprint must be shown; any, when `None`.
    pub(super) fn new(pinned: Option<Fingerprint>) -> Self {
        let connector = TlsConnector::from(config(pinned));
        Self { connector, is_pinned: pinned.is_some(), seen: Arc::default() }
    }

    /// Whether only one certificate is taken.
    pub(super) const fn is_pinned(&self) -> bool {
        self.is_pinned
    }

    /// Fingerprint of the certificate that was taken last; `None` before the first session.
    pub(super) fn seen(&self) -> Option<Fingerprint> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a session on a connection to the host of `place`.
    pub(super) async fn connect(
        &self,
        place: &Url,
        tcp: TcpStream,
    ) -> Result<TlsStream<TcpStream>, ClientError> {
        let address = tcp.peer_addr().map_err(ClientError::Tls)?.ip();
        let name = server_name(place.host_str().unwrap_or_default(), address);
        let session = self.connector.connect(name, tcp).await.map_err(refused)?;
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = shown(session.get_ref().1);
        Ok(session)
    }
}

fn refused(error: io::Error) -> ClientError {
    match OtherCertificate::behind(&error) {
        Some(OtherCertificate { seen }) => ClientError::Certificate { seen },
        None => ClientError::Tls(error),
    }
}
