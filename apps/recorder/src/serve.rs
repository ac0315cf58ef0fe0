//! The recorder as an RTSP server: what its cameras show, and what was recorded of them, to users who may see it.
//!
//! [`hub`] takes samples from the cameras to [`live`] viewers, [`recorded`] plays the store; both are sources of the one
//! server in `io/rtsp`. Recording waits for none of it: an address that is taken is tried again.

mod access;
mod history;
mod hub;
mod live;
mod path;
mod reader;
mod recorded;
mod service;
mod sets;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use keepwatch_media::fingerprint::Fingerprint;
use keepwatch_rtsp::server::{Server, Service};
use keepwatch_store::Store;
use keepwatch_tls::IdentityError;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

pub(crate) use self::access::Access;
pub(crate) use self::history::learn;
pub(crate) use self::hub::{Arrived, BEHIND_MAX, Hub, Seen, Shown, Tracks, Watching};
use self::recorded::Library;
use self::service::Shop;
use crate::camera::Registry;
use crate::certificate::Certificate;
use crate::clock::Clock;
use crate::config::RtspConfig;

/// Replays at a time: each keeps a few records in memory and reads as fast as its client does.
const REPLAYS_MAX: usize = 16;
/// Records that are read at a time for all who watch the past: between two of them a disk has time for what is recorded.
pub(crate) const READS_MAX: usize = 2;
/// Time between two tries to listen on an address that is taken.
const LISTEN_INTERVAL: Duration = Duration::from_secs(5);

/// Where the RTSP server can be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Serving {
    /// Addresses without encryption.
    pub listening: Vec<SocketAddr>,
    /// Addresses with TLS.
    pub listening_tls: Vec<SocketAddr>,
    /// Fingerprint of the certificate that is shown there; `None` while there is none.
    pub certificate: Option<Fingerprint>,
}

/// What the server needs of the node.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) cameras: Arc<Registry>,
    pub(crate) access: watch::Receiver<Arc<Access>>,
    pub(crate) certificate: Arc<Certificate>,
    /// Places among those that read a record; [`READS_MAX`] in all.
    pub(crate) reads: Arc<Semaphore>,
}

/// The running servers of a node; they end with it.
#[derive(Debug)]
pub(crate) struct Servers {
    state: Arc<Mutex<Serving>>,
    certificate: Arc<Certificate>,
    /// Held to be ended.
    _tasks: JoinSet<()>,
}

/// Why an address is not served.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error("the RTSP server cannot listen on {0}: {1}")]
    Listen(SocketAddr, std::io::Error),
    #[error("the RTSP server has no certificate to show: {0}")]
    Certificate(#[from] IdentityError),
}

impl Servers {
    /// Serves `config`'s addresses, each as soon as it is free.
    pub(crate) fn start(shared: &Shared, config: &RtspConfig) -> Self {
        let state = Arc::new(Mutex::default());
        let library = Library {
            store: shared.store.clone(),
            clock: shared.clock,
            places: Arc::new(Semaphore::new(REPLAYS_MAX)),
            reads: Arc::clone(&shared.reads),
        };
        let shop = Shop { cameras: Arc::clone(&shared.cameras), access: shared.access.clone(), library };
        let service: Arc<dyn Service> = Arc::new(shop);
        let mut tasks = JoinSet::new();
        for (addresses, tls) in [(&config.listen, false), (&config.listen_tls, true)] {
            for address in addresses {
                let address = Address {
                    address: *address,
                    tls: tls.then(|| Arc::clone(&shared.certificate)),
                    service: Arc::clone(&service),
                    state: Arc::clone(&state),
                };
                tasks.spawn(address.serve());
            }
        }
        Self { state, certificate: Arc::clone(&shared.certificate), _tasks: tasks }
    }

    /// Where they can be reached.
    pub(crate) fn serving(&self) -> Serving {
        let mut serving = lock(&self.state).clone();
        // It may be another one since.
        serving.certificate = self.certificate.fingerprint().filter(|_| !serving.listening_tls.is_empty());
        serving
    }
}

/// An address to serve.
struct Address {
    address: SocketAddr,
    /// What is shown; `None` without TLS.
    tls: Option<Arc<Certificate>>,
    service: Arc<dyn Service>,
    state: Arc<Mutex<Serving>>,
}

impl Address {
    async fn serve(self) {
        let mut told = false;
        loop {
            match self.listen().await {
                Ok(server) => return server.run().await,
                Err(error) => {
                    if !told {
                        tracing::error!("{error}; the cameras are recorded, and it is tried again every 5 s");
                        told = true;
                    }
                    tokio::time::sleep(LISTEN_INTERVAL).await;
                }
            }
        }
    }

    async fn listen(&self) -> Result<Server, ServeError> {
        let refused = |error| ServeError::Listen(self.address, error);
        let Some(certificate) = &self.tls else {
            let server = Server::bind(self.address, Arc::clone(&self.service)).await.map_err(refused)?;
            let address = server.local_addr();
            tracing::info!(%address, "RTSP is served");
            lock(&self.state).listening.push(address);
            return Ok(server);
        };
        let identity = certificate.open().await?;
        let fingerprint = identity.fingerprint();
        let service = Arc::clone(&self.service);
        let server = Server::bind_tls(self.address, identity.config(), service).await.map_err(refused)?;
        let address = server.local_addr();
        tracing::info!(%address, certificate = %fingerprint, "RTSP over TLS is served");
        lock(&self.state).listening_tls.push(address);
        Ok(server)
    }
}

fn lock(state: &Mutex<Serving>) -> MutexGuard<'_, Serving> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
