//! A server: where it listens, what it serves there, and its orderly end.

mod plain;
mod shell;
mod stall;
mod tally;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tracing::{info, warn};

use self::shell::Shell;
pub(crate) use self::tally::Share;
use self::tally::Tally;
use crate::auth::{self, Auth, Gate};
use crate::routes::{Access, Routes, Rule};
use crate::socket::{PATH_BYTES_MAX, Socket};
use crate::{Assets, assets, audit, layers};

/// Connections of the Unix socket, counted apart so that a full network does not lock out the operator.
const SOCKET_CONNECTIONS_MAX: usize = 64;

/// Handshakes of TLS at a time: each costs a millisecond of a core and some tens of KiB, and whoever begins one has not
/// yet shown who they are.
const HANDSHAKES_MAX: usize = 256;

/// Handshakes from one place.
const PLACE_HANDSHAKES_MAX: usize = 32;

/// How many and how long; a struct so that tests need not wait.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// TCP connections at a time; a console keeps a few each. More wait in the listen queue.
    connections_max: usize,
    /// Of them from one place other than this machine, where a proxy may speak for many: a console of many pictures keeps
    /// some thirty.
    place_connections_max: usize,
    /// How long a client may take for its first byte and for the handshake of TLS, each.
    handshake_patience: Duration,
    /// How long a client may take for the headers of a request, and how long a connection may idle between two.
    header_patience: Duration,
    /// How long a client may take nothing of what is sent to it.
    stall_patience: Duration,
    /// How long running requests may go on after the node was asked to stop.
    drain_patience: Duration,
}

impl Limits {
    const DEFAULT: Self = Self {
        connections_max: 1024,
        place_connections_max: 256,
        handshake_patience: Duration::from_secs(10),
        header_patience: Duration::from_secs(15),
        stall_patience: Duration::from_secs(60),
        drain_patience: Duration::from_secs(5),
    };
}

/// Where to listen.
#[derive(Clone, Debug, Default)]
pub struct WebConfig {
    /// TCP addresses; port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
    /// What is shown over TLS; without it, only clients on this machine are answered.
    pub tls: Option<Arc<ServerConfig>>,
    /// What is shown to other nodes ([`keepwatch_tls::peer`]), at the same addresses; without it, or without TLS, none is
    /// answered.
    pub nodes: Option<Arc<ServerConfig>>,
    /// Path of the Unix socket; `None` has none.
    pub socket: Option<PathBuf>,
}

impl WebConfig {
    /// Refuses what [`serve`] would refuse without trying it.
    pub fn check(&self) -> Result<(), WebError> {
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

/// What is served: the routes of a program and those of users, behind one gate; and the console, if there is one.
#[derive(Clone)]
pub struct Application {
    rules: Arc<[Rule]>,
    router: Router,
    nodes: Router,
}

impl fmt::Debug for Application {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Application").field("rules", &self.rules).finish_non_exhaustive()
    }
}

impl Application {
    /// The routes of `api`, whose paths begin with `/api/v1`, and those of this crate, behind the gate of `auth`.
    pub fn new(auth: &Auth, api: Routes, console: Option<Arc<dyn Assets>>) -> Self {
        let (rules, router) = api.merge(auth::routes(auth)).merge(audit::routes()).into_parts();
        let open = rules.iter().filter(|rule| rule.access == Access::Open);
        let gate = Gate {
            auth: auth.clone(),
            open: open.map(|rule| (rule.method.clone(), rule.path)).collect(),
            has_console: console.is_some(),
        };
        let router = match console {
            Some(assets) => router.merge(assets::routes(assets)),
            None => router,
        };
        // The last layer is the outermost.
        let router = router
            .fallback(no_route)
            .layer(from_fn(layers::limit_body))
            .layer(from_fn(layers::carry_out))
            .layer(from_fn_with_state(gate, auth::gate))
            .layer(from_fn(layers::problems))
            .layer(from_fn(layers::security_headers));
        Self { rules: rules.into(), router, nodes: Router::new() }.with_nodes(Router::new())
    }

    /// The same, and `routes` for other nodes. They have nothing to do with users and their roles: each request carries the
    /// [`Node`](crate::Node) that asks, and what that may do is for the handler to say.
    pub fn with_nodes(self, routes: Router) -> Self {
        let nodes = routes
            .fallback(no_route)
            .layer(from_fn(layers::limit_node_body))
            .layer(from_fn(layers::carry_out))
            .layer(from_fn(layers::problems))
            .layer(from_fn(layers::security_headers));
        Self { nodes, ..self }
    }

    /// The rules of all its routes.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// What answers requests, for tests that need no sockets: each request carries a [`Peer`](crate::Peer) and a
    /// [`Channel`](crate::Channel) as extensions.
    pub fn router(&self) -> Router {
        self.router.clone()
    }
}

async fn no_route() -> axum::http::StatusCode {
    axum::http::StatusCode::NOT_FOUND
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

    /// Takes no more connections, lets running requests finish for up to five seconds, also those whose client hung up,
    /// and ends.
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

/// Serves `application` at the places of `config`.
pub async fn serve(config: WebConfig, application: &Application) -> Result<Web, WebError> {
    serve_within(Limits::DEFAULT, config, application).await
}

async fn serve_within(limits: Limits, config: WebConfig, application: &Application) -> Result<Web, WebError> {
    config.check()?;
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
    let shell = |connections_max| Shell {
        people: application.router.clone(),
        nodes: application.nodes.clone(),
        limits,
        limit: Arc::new(Semaphore::new(connections_max)),
        tls: config.tls.clone(),
        node_tls: config.nodes.clone(),
        handshakes: Tally::new(HANDSHAKES_MAX, PLACE_HANDSHAKES_MAX),
        crowd: Tally::new(connections_max, limits.place_connections_max),
        stopped: stopped.clone(),
    };
    let mut listeners = Vec::new();
    if let Some(Socket { listener, file }) = socket {
        info!(path = %file.path().display(), "listening");
        listeners.push(tokio::spawn(shell(SOCKET_CONNECTIONS_MAX).run_unix(listener, file)));
    }
    // All addresses share one limit.
    let network = shell(limits.connections_max);
    let mut addresses = Vec::new();
    for (address, listener) in bound {
        info!(%address, "listening");
        addresses.push(address);
        listeners.push(tokio::spawn(network.clone().run_tcp(listener)));
    }
    Ok(Web { addresses, stop, listeners })
}

#[cfg(test)]
mod tests;
