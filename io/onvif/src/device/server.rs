//! The HTTP server of a device: who may connect, how many, how large and how slow a request may be, and an orderly end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::{debug, info, warn};

use super::patient::{Patient, Peers};
use super::{Backend, Device, REQUEST_BYTES_MAX, Reached, plain};

/// Connections at a time: a client keeps one or two, and one more that waits at a pull point. More wait in the listen
/// queue.
const CONNECTIONS_MAX: usize = 128;

/// Connections of one client at a time: several clients may stand behind one address, and none may take them all.
const CONNECTIONS_OF_PEER_MAX: usize = 32;

/// Largest request line and headers together.
const HEADER_BYTES_MAX: usize = 16 * 1024;

/// Most header fields of a request.
const HEADERS_MAX: usize = 64;

/// How long a client may take for the headers or the body of a request, how long it may read nothing of an answer, and how
/// long a connection may idle.
const PATIENCE: Duration = Duration::from_secs(15);

/// How long running requests may go on when the device ends; those that wait at a pull point would take a minute.
const DRAIN_PATIENCE: Duration = Duration::from_secs(1);

/// Pause after a failed accept: it fails for lack of descriptors, and those come back only when connections end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often sessions are looked at whose clients are silent.
const EXPIRE_EVERY: Duration = Duration::from_secs(10);

/// Why a device cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is not free, or not this machine's.
    #[error("{address} cannot be listened on; choose a free address of this machine")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// A served device. Dropping it ends it as [`shutdown`](Self::shutdown) does, without waiting.
#[derive(Debug)]
pub struct DeviceServer {
    address: SocketAddr,
    device: Arc<Device>,
    stop: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
}

impl DeviceServer {
    /// Serves what `backend` says at `address`; port 0 takes a free one.
    pub async fn bind(address: SocketAddr, backend: Arc<dyn Backend>) -> Result<Self, ServeError> {
        let failed = |source| ServeError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let device = Arc::new(Device::new(backend));
        let stop = watch::Sender::new(false);
        info!(%address, "ONVIF device is served");
        let task = tokio::spawn(run(listener, Arc::clone(&device), stop.subscribe()));
        Ok(Self { address, device, stop, task: Some(task) })
    }

    /// Where it listens, with the port that was taken.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The device.
    pub fn device(&self) -> &Arc<Device> {
        &self.device
    }

    /// Takes no more connections, lets running requests finish for a second, and ends.
    pub async fn shutdown(mut self) {
        self.stop.send_replace(true);
        if let Some(Err(error)) = match self.task.take() {
            Some(task) => Some(task.await),
            None => None,
        } {
            warn!(%error, "the ONVIF server ended badly");
        }
    }
}

impl Drop for DeviceServer {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

async fn run(listener: TcpListener, device: Arc<Device>, mut stop: watch::Receiver<bool>) {
    let limit = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let peers = Peers::default();
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let mut expire = interval(EXPIRE_EVERY);
    expire.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &limit) => accepted,
            _ = expire.tick() => {
                device.expire();
                continue;
            }
            Some(_) = connections.join_next() => continue,
            // An error says that the server was dropped.
            _ = stop.changed() => break,
        };
        let (stream, peer, permit) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "an ONVIF connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(local) = stream.local_addr() else { continue };
        let Some(admitted) = peers.admit(peer.ip(), CONNECTIONS_OF_PEER_MAX) else {
            debug!(%peer, "an ONVIF client has too many connections; one is closed");
            continue;
        };
        // Small answers must not wait for the other side's acknowledgement; without the option they do.
        let _ = stream.set_nodelay(true);
        let device = Arc::clone(&device);
        let service = service_fn(move |request: Request<Incoming>| {
            let device = Arc::clone(&device);
            async move {
                let response = serve(&device, request, Reached { local, secure: false }).await;
                Ok::<_, std::convert::Infallible>(response.map(Full::new))
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(PATIENCE)
            .max_header_size(HEADER_BYTES_MAX)
            .max_headers(HEADERS_MAX)
            .serve_connection(TokioIo::new(Patient::new(stream, PATIENCE)), service);
        let connection = graceful.watch(connection);
        connections.spawn(async move {
            if let Err(error) = connection.await {
                debug!(%error, "an ONVIF connection ended early");
            }
            drop((permit, admitted));
        });
    }
    drop(listener);
    // Those that do not finish in time are cut off with the set.
    let _ = timeout(DRAIN_PATIENCE, graceful.shutdown()).await;
    connections.shutdown().await;
}

async fn accept(
    listener: &TcpListener,
    limit: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let permit = Arc::clone(limit).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, permit))
}

async fn serve(device: &Device, request: Request<Incoming>, reached: Reached) -> Response<Bytes> {
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, REQUEST_BYTES_MAX).collect();
    let body = match timeout(PATIENCE, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let text = format!("a request has {REQUEST_BYTES_MAX} bytes at most");
            return closing(plain(StatusCode::PAYLOAD_TOO_LARGE, &text));
        }
        Ok(Err(_)) => return closing(plain(StatusCode::BAD_REQUEST, "the body cannot be read")),
        Err(_) => return closing(plain(StatusCode::REQUEST_TIMEOUT, "the body took too long")),
    };
    device.handle(&Request::from_parts(parts, body), reached).await
}

/// The rest of the body is not read, so nothing can follow on this connection.
fn closing(mut response: Response<Bytes>) -> Response<Bytes> {
    let close = hyper::header::HeaderValue::from_static("close");
    response.headers_mut().insert(hyper::header::CONNECTION, close);
    response
}
