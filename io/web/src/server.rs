//! Listeners and connections: who may connect, how many, how long they may dawdle, and an orderly end.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::middleware::{from_fn, from_fn_with_state};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tower::Service;
use tracing::{debug, info, warn};

use crate::auth::{self, Auth, Identity, Role, Via};
use crate::layers;
use crate::socket::{PATH_BYTES_MAX, Socket, SocketFile};

/// Connections of the Unix socket, counted apart so that a full network does not lock out the operator.
const SOCKET_CONNECTIONS_MAX: usize = 64;

/// Largest request line and headers together.
const HEADER_BYTES_MAX: usize = 32 * 1024;

/// Most header fields of a request.
const HEADERS_MAX: usize = 64;

/// How many and how long; a struct so that tests need not wait.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// TCP connections at a time; a console keeps a few each. More wait in the listen queue.
    connections_max: usize,
    /// How long a client may take for the headers of a request, and how long a connection may idle between two.
    header_patience: Duration,
    /// How long running requests may go on after the node was asked to stop.
    drain_patience: Duration,
}

impl Limits {
    const DEFAULT: Self = Self {
        connections_max: 1024,
        header_patience: Duration::from_secs(15),
        drain_patience: Duration::from_secs(5),
    };
}

/// Pause after a failed accept: it fails for lack of descriptors, and those come back only when connections end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where to listen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebConfig {
    /// TCP addresses, loopback only; port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
    /// Path of the Unix socket; `None` has none.
    pub socket: Option<PathBuf>,
}

impl WebConfig {
    /// Refuses what [`serve`] would refuse without trying it.
    pub fn check(&self) -> Result<(), WebError> {
        if let Some(address) = self.listen.iter().find(|address| !is_loopback(address.ip())) {
            return Err(WebError::NotLoopback { address: *address });
        }
        match &self.socket {
            Some(path) if path.as_os_str().len() > PATH_BYTES_MAX => {
                Err(WebError::SocketPathTooLong { path: path.clone(), length: path.as_os_str().len() })
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Why a node cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// A listen address that other machines can reach, without TLS.
    #[error(
        "{address} can be reached from other machines, and without TLS passwords would cross the network readable; \
         listen on 127.0.0.1 or [::1] and let a TLS proxy or an SSH tunnel face the network"
    )]
    NotLoopback {
        /// The address.
        address: SocketAddr,
    },
    /// A listen address is not free, or not this machine's.
    #[error("{address} cannot be listened on")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The path of the Unix socket is longer than the kernel takes.
    #[error(
        "the path of the socket has {length} bytes and the system takes {PATH_BYTES_MAX}: {}; choose a shorter data \
         directory",
        path.display()
    )]
    SocketPathTooLong {
        /// The path.
        path: PathBuf,
        /// Its length in bytes.
        length: usize,
    },
    /// Another file stands where the socket belongs.
    #[error("{} is in the way of the socket; move it elsewhere", path.display())]
    SocketTaken {
        /// The path.
        path: PathBuf,
    },
    /// Another node answers on the socket.
    #[error("a node is already running on this data directory: it answers on {}", path.display())]
    AlreadyRunning {
        /// The path.
        path: PathBuf,
    },
    /// The socket cannot be made.
    #[error("the socket {} cannot be made", path.display())]
    Socket {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Where a request comes from; present as a request extension on every route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// An address on the network.
    Network(SocketAddr),
    /// A process on this machine, named by the kernel.
    Process {
        /// Its user.
        uid: u32,
        /// Whether that is root or the node's own user.
        administrator: bool,
    },
}

impl Peer {
    /// Who a process is; an address is nobody.
    pub(crate) fn administrator(&self) -> Option<Identity> {
        match self {
            Self::Process { uid, administrator: true } => {
                Some(Identity { user: format!("uid:{uid}"), role: Role::Administrator, via: Via::Socket })
            }
            Self::Process { administrator: false, .. } | Self::Network(_) => None,
        }
    }

    /// What counts as one place when logins are slowed: an IPv4 address, an IPv6 /64 (a site has that many addresses
    /// to try from), a local user.
    pub(crate) fn brake_key(&self) -> String {
        match self {
            Self::Network(address) => match address.ip().to_canonical() {
                IpAddr::V4(address) => address.to_string(),
                IpAddr::V6(address) => {
                    let [a, b, c, d, ..] = address.segments();
                    format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
                }
            },
            Self::Process { uid, .. } => format!("uid:{uid}"),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(address) => write!(f, "{address}"),
            Self::Process { uid, .. } => write!(f, "uid:{uid}"),
        }
    }
}

/// A running server. Dropping it ends it as [`shutdown`](Self::shutdown) does, without waiting for it.
#[derive(Debug)]
pub struct Web {
    addresses: Vec<SocketAddr>,
    stop: watch::Sender<()>,
    listeners: Vec<JoinHandle<()>>,
}

impl Web {
    /// The TCP addresses in the order of the configuration, with the ports that were taken.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Takes no more connections, lets running requests finish for up to five seconds, and ends.
    pub async fn shutdown(self) {
        // Nobody listens any more when every listener task has failed.
        let _ = self.stop.send(());
        for listener in self.listeners {
            if let Err(error) = listener.await {
                warn!(%error, "a listener ended badly");
            }
        }
    }
}

/// Serves `api` behind the gate of `auth`. The routes of `api` begin with `/api/v1`, and it has no fallback of its own.
pub async fn serve(config: WebConfig, auth: Auth, api: Router) -> Result<Web, WebError> {
    serve_within(Limits::DEFAULT, config, auth, api).await
}

async fn serve_within(limits: Limits, config: WebConfig, auth: Auth, api: Router) -> Result<Web, WebError> {
    config.check()?;
    let app = application(auth, api);
    let socket = match &config.socket {
        Some(path) => Some(Socket::bind(path).await?),
        None => None,
    };
    let mut bound = Vec::new();
    for address in config.listen {
        let failed = |source| WebError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        bound.push((listener.local_addr().map_err(failed)?, listener));
    }
    let (stop, stopped) = watch::channel(());
    let mut listeners = Vec::new();
    if let Some(Socket { listener, file }) = socket {
        info!(path = %file.path().display(), "listening");
        let limit = Arc::new(Semaphore::new(SOCKET_CONNECTIONS_MAX));
        let shell = Shell { app: app.clone(), limits, limit, stopped: stopped.clone() };
        listeners.push(tokio::spawn(shell.run_unix(listener, file)));
    }
    let limit = Arc::new(Semaphore::new(limits.connections_max));
    let mut addresses = Vec::new();
    for (address, listener) in bound {
        info!(%address, "listening");
        addresses.push(address);
        let shell = Shell { app: app.clone(), limits, limit: Arc::clone(&limit), stopped: stopped.clone() };
        listeners.push(tokio::spawn(shell.run_tcp(listener)));
    }
    Ok(Web { addresses, stop, listeners })
}

fn application(auth: Auth, api: Router) -> Router {
    // The last layer is the outermost.
    api.merge(auth::routes(auth.clone()))
        .fallback(no_route)
        .layer(from_fn(layers::limit_body))
        .layer(from_fn_with_state(auth, auth::gate))
        .layer(from_fn(layers::problems))
        .layer(from_fn(layers::security_headers))
}

async fn no_route() -> axum::http::StatusCode {
    axum::http::StatusCode::NOT_FOUND
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// One listener and its connections.
struct Shell {
    app: Router,
    limits: Limits,
    limit: Arc<Semaphore>,
    stopped: watch::Receiver<()>,
}

impl Shell {
    async fn run_tcp(mut self, listener: TcpListener) {
        let mut connections = Connections::new(self.limits);
        while let Some(permit) = self.permit(&mut connections).await {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = self.stopped.changed() => break,
            };
            match accepted {
                Ok((stream, address)) => {
                    // Small answers must not wait for the other side's acknowledgement; without the option they do.
                    let _ = stream.set_nodelay(true);
                    connections.spawn(&self.app, stream, Peer::Network(address), permit);
                }
                Err(error) => pause(&error).await,
            }
        }
        drop(listener);
        connections.drain().await;
    }

    async fn run_unix(mut self, listener: UnixListener, file: SocketFile) {
        let mut connections = Connections::new(self.limits);
        while let Some(permit) = self.permit(&mut connections).await {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = self.stopped.changed() => break,
            };
            match accepted.and_then(|(stream, _)| stream.peer_cred().map(|peer| (stream, peer.uid()))) {
                Ok((stream, uid)) => {
                    let peer = Peer::Process { uid, administrator: uid == 0 || uid == file.owner };
                    connections.spawn(&self.app, stream, peer, permit);
                }
                Err(error) => pause(&error).await,
            }
        }
        drop(listener);
        connections.drain().await;
        drop(file);
    }

    /// Waits for a free place; `None` when the server is to stop.
    async fn permit(&mut self, connections: &mut Connections) -> Option<OwnedSemaphorePermit> {
        connections.reap();
        tokio::select! {
            permit = Arc::clone(&self.limit).acquire_owned() => permit.ok(),
            _ = self.stopped.changed() => None,
        }
    }
}

async fn pause(error: &io::Error) {
    warn!(%error, "a connection could not be accepted");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

struct Connections {
    limits: Limits,
    tasks: JoinSet<()>,
    /// Set when connections are to end after the request that runs.
    ending: watch::Sender<bool>,
}

impl Connections {
    fn new(limits: Limits) -> Self {
        Self { limits, tasks: JoinSet::new(), ending: watch::Sender::new(false) }
    }

    fn spawn<S>(&mut self, app: &Router, stream: S, peer: Peer, permit: OwnedSemaphorePermit)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let connection = run_connection(self.limits, app.clone(), stream, peer, self.ending.subscribe());
        self.tasks.spawn(async move {
            connection.await;
            drop(permit);
        });
    }

    /// Forgets the connections that ended; an ended task keeps its memory until then.
    fn reap(&mut self) {
        while self.tasks.try_join_next().is_some() {}
    }

    async fn drain(mut self) {
        self.ending.send_replace(true);
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        // Those that do not finish in time are cut off.
        let _ = tokio::time::timeout(self.limits.drain_patience, ended).await;
        self.tasks.shutdown().await;
    }
}

async fn run_connection<S>(
    limits: Limits,
    app: Router,
    stream: S,
    peer: Peer,
    mut ending: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let name = peer.to_string();
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer.clone());
        // A router is always ready.
        app.clone().call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_patience)
        .max_header_size(HEADER_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service)
        // A WebSocket leaves the server's care here (RFC 6455 §4.2.2): who takes it bounds and ends it.
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = told(&mut ending) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(peer = name, %error, "a connection ended early");
    }
}

/// Waits until connections are to end; also when nobody waits for them any more.
async fn told(ending: &mut watch::Receiver<bool>) {
    let _ = ending.wait_for(|ending| *ending).await;
}

#[cfg(test)]
mod tests;
