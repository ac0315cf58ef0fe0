//! The server: answers RTSP requests and sends media, live or recorded, over the connection or in datagrams.
//!
//! One task per connection. A [`Source`] gives whole access units, each is sent with one write. A client that
//! reads live media too slowly gets a bounded queue and then a gap up to the next key frame, visible to it in the RTP
//! sequence numbers; recorded media wait for it. It never slows another client or the source.

mod address;
mod books;
mod connection;
mod conversation;
mod fuzz;
mod login;
mod pace;
mod queue;
mod quirks;
mod sender;
mod service;
mod session;
mod source;
mod stream;
mod tally;
mod udp;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tracing::{debug, warn};

use books::Books;

#[doc(hidden)]
pub use fuzz::answer_requests;
pub use quirks::{Keepalives, Quirks, Transports};
pub use service::{OpenRequest, Refusal, Service};
pub use source::{Delivery, Media, NextMedia, PlayAnswer, PlayError, Preparing, Source};

/// Most connections at a time: several times what the largest site needs, and bounds what strangers can take.
const CONNECTIONS_MAX: usize = 4096;

/// After the system refused a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A listening server.
pub struct Server {
    listener: TcpListener,
    local_addr: SocketAddr,
    config: Option<Arc<ServerConfig>>,
    service: Arc<dyn Service>,
}

impl Server {
    /// Listens on `addr`; port 0 lets the system choose. An IPv6 wildcard serves IPv4 too.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn bind(addr: SocketAddr, service: Arc<dyn Service>) -> io::Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        let local_addr = listener.local_addr()?;
        Ok(Self { listener, local_addr, config: None, service })
    }

    /// As [`bind`](Self::bind), for connections that are encrypted from their first byte (`rtsps`), with the
    /// certificate of `config`. Media go over the connection only: UDP would send them in the clear.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn bind_tls(
        addr: SocketAddr,
        config: Arc<ServerConfig>,
        service: Arc<dyn Service>,
    ) -> io::Result<Self> {
        Ok(Self { config: Some(config), ..Self::bind(addr, service).await? })
    }

    /// The address it listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Serves until dropped; dropping closes every connection.
    pub async fn run(self) {
        let Self { listener, config, service, .. } = self;
        let books = Books::default();
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                Some(ended) = connections.join_next() => {
                    if let Err(error) = ended {
                        warn!(%error, "a connection's task ended abnormally");
                    }
                    continue;
                }
            };
            match accepted {
                Ok((_, peer)) if connections.len() >= CONNECTIONS_MAX => {
                    debug!(%peer, "refused: too many connections");
                }
                Ok((stream, peer)) => {
                    // Where no login is needed, all are clients.
                    let stranger = service.needs_login().then(|| books.admit(peer.ip()));
                    if let Some(None) = stranger {
                        debug!(%peer, "refused: too many connections without login");
                        continue;
                    }
                    let (config, service, books) = (config.clone(), Arc::clone(&service), books.clone());
                    let serve = connection::serve(stream, peer, config, service, books, stranger.flatten());
                    connections.spawn(serve);
                }
                Err(error) => {
                    // Mostly for want of file descriptors, which does not pass at once.
                    warn!(%error, "cannot accept connections");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}
