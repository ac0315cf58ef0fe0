//! Connections: who may connect, how many, how long they may dawdle; TLS where it is spoken, plain HTTP only within this
//! machine.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use keepwatch_tls::peer;
use rustls::ServerConfig;
use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;
use tower::Service;
use tracing::{debug, warn};

use super::stall::Unstalled;
use super::tally::Tally;
use super::{Limits, plain};
use crate::layers::UnderWay;
use crate::socket::SocketFile;
use crate::{Channel, Node, Peer, Place};

/// Largest request line and headers together.
const HEADER_BYTES_MAX: usize = 32 * 1024;

/// Most header fields of a request.
const HEADERS_MAX: usize = 64;

/// Pause after a failed accept: it fails for lack of descriptors, and those come back only when connections end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The first byte of TLS: a record of the handshake (RFC 8446 §5.1). No method of HTTP begins with it.
const TLS_HANDSHAKE: u8 = 0x16;

/// One listener and its connections.
#[derive(Clone)]
pub(super) struct Shell {
    pub(super) people: Router,
    pub(super) nodes: Router,
    pub(super) limits: Limits,
    pub(super) limit: Arc<Semaphore>,
    pub(super) tls: Option<Arc<ServerConfig>>,
    pub(super) node_tls: Option<Arc<ServerConfig>>,
    pub(super) handshakes: Tally,
    pub(super) crowd: Tally,
    pub(super) stopped: watch::Receiver<()>,
}

impl Shell {
    pub(super) async fn run_tcp(mut self, listener: TcpListener) {
        let mut connections = Connections::default();
        while let Some(permit) = self.permit(&mut connections).await {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = self.stopped.changed() => break,
            };
            match accepted {
                Ok((stream, address)) => {
                    // Small answers must not wait for the other side's acknowledgement; without the option they do.
                    let _ = stream.set_nodelay(true);
                    connections.0.spawn(self.clone().connected(stream, address, permit));
                }
                Err(error) => pause(&error).await,
            }
        }
        drop(listener);
        connections.drain(self.limits.drain_patience).await;
    }

    pub(super) async fn run_unix(mut self, listener: UnixListener, file: SocketFile) {
        let mut connections = Connections::default();
        while let Some(permit) = self.permit(&mut connections).await {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = self.stopped.changed() => break,
            };
            match accepted.and_then(|(stream, _)| stream.peer_cred().map(|peer| (stream, peer.uid()))) {
                Ok((stream, uid)) => {
                    let peer = Peer::Process { uid, administrator: uid == 0 || uid == file.owner };
                    connections.0.spawn(self.clone().serve(
                        stream,
                        peer,
                        Channel::Socket,
                        Place::new(permit, None, self.stopped.clone()),
                        None,
                    ));
                }
                Err(error) => pause(&error).await,
            }
        }
        drop(listener);
        connections.drain(self.limits.drain_patience).await;
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

    /// Looks what a client speaks, and serves it accordingly.
    async fn connected(mut self, stream: TcpStream, address: SocketAddr, permit: OwnedSemaphorePermit) {
        let peer = Peer::Network(address);
        let share = self.crowd.begin(&peer);
        if share.is_none() && !is_loopback(address.ip()) {
            return debug!(%peer, "too many connections from one place");
        }
        let place = Place::new(permit, share, self.stopped.clone());
        let mut stopped = self.stopped.clone();
        let begun = tokio::select! {
            begun = self.begin(stream, address, &peer) => begun,
            _ = stopped.changed() => None,
        };
        match begun {
            Some(Begun::Tls(stream)) => {
                // Only the configuration for nodes asks for a certificate.
                let node = peer::shown(stream.get_ref().1.peer_certificates()).map(Node);
                self.serve(*stream, peer, Channel::Tls, place, node).await;
            }
            Some(Begun::Plain(stream)) => self.serve(stream, peer, Channel::Plain, place, None).await,
            None => {}
        }
    }

    /// Whatever comes before the first request; `None` when there is to be none.
    async fn begin(&mut self, stream: TcpStream, address: SocketAddr, peer: &Peer) -> Option<Begun> {
        let patience = self.limits.handshake_patience;
        let mut first = [0; 1];
        // Nothing at all, or an end: there is nobody to serve.
        let Ok(Ok(1)) = timeout(patience, stream.peek(&mut first)).await else { return None };
        let local = stream.local_addr().ok()?;
        match &self.tls {
            Some(tls) if first == [TLS_HANDSHAKE] => {
                let Some(_handshake) = self.handshakes.begin(peer) else {
                    debug!(%peer, "too many handshakes at a time");
                    return None;
                };
                match timeout(patience, secure(stream, tls, self.node_tls.as_ref())).await {
                    Ok(Ok(stream)) => return Some(Begun::Tls(Box::new(stream))),
                    Ok(Err(error)) => debug!(%peer, %error, "the handshake of TLS came to nothing"),
                    Err(_) => debug!(%peer, "the handshake of TLS took too long"),
                }
                None
            }
            Some(_) | None if may_speak_plain(local.ip(), address.ip()) => Some(Begun::Plain(stream)),
            Some(_) | None => {
                plain::refuse(stream, local, patience).await;
                None
            }
        }
    }

    /// Answers requests: those of a node by the routes of nodes, all others by those of people.
    async fn serve<S>(mut self, stream: S, peer: Peer, channel: Channel, place: Place, node: Option<Node>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let name = peer.to_string();
        let app = if node.is_some() { self.nodes } else { self.people };
        let (under_way, mut over) = UnderWay::new();
        let held = place.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let mut request = request.map(Body::new);
            let extensions = request.extensions_mut();
            extensions.insert(peer.clone());
            extensions.insert(channel);
            extensions.insert(place.clone());
            extensions.insert(under_way.clone());
            if let Some(node) = node {
                extensions.insert(node);
            }
            // A router is always ready.
            app.clone().call(request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.header_patience)
            .max_header_size(HEADER_BYTES_MAX)
            .max_headers(HEADERS_MAX)
            .serve_connection(TokioIo::new(Unstalled::new(stream, self.limits.stall_patience)), service)
            // A WebSocket leaves the server's care here (RFC 6455 §4.2.2): who takes it holds on to its `Place`, and ends it.
            .with_upgrades();
        let ended = {
            let mut connection = std::pin::pin!(connection);
            tokio::select! {
                ended = connection.as_mut() => ended,
                _ = self.stopped.changed() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            }
        };
        if let Err(error) = ended {
            debug!(peer = name, %error, "a connection ended early");
        }
        // What a client began goes on without it. Until it is over its place is taken: who hangs up begins no more than
        // who waits.
        let _ = over.recv().await;
        drop(held);
    }
}

/// Shakes hands, as a node with who asks for what nodes speak, else as the server of people.
async fn secure(
    stream: TcpStream,
    people: &Arc<ServerConfig>,
    nodes: Option<&Arc<ServerConfig>>,
) -> io::Result<TlsStream<TcpStream>> {
    let begun = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let asks = begun.client_hello().alpn().is_some_and(|mut names| names.any(|name| name == peer::ALPN));
    let config = nodes.filter(|_| asks).unwrap_or(people);
    begun.into_stream(Arc::clone(config)).await
}

/// A connection that can carry requests.
enum Begun {
    Tls(Box<TlsStream<TcpStream>>),
    Plain(TcpStream),
}

/// Whether what is said between the two stays within this machine.
pub(super) fn may_speak_plain(local: IpAddr, peer: IpAddr) -> bool {
    is_loopback(local) && is_loopback(peer)
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

async fn pause(error: &io::Error) {
    warn!(%error, "a connection could not be accepted");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

/// The connections of a listener.
#[derive(Default)]
struct Connections(JoinSet<()>);

impl Connections {
    /// Forgets those that ended; an ended task keeps its memory until then.
    fn reap(&mut self) {
        while self.0.try_join_next().is_some() {}
    }

    async fn drain(mut self, patience: Duration) {
        let all_ended = async { while self.0.join_next().await.is_some() {} };
        // Those that do not finish in time are cut off.
        let _ = timeout(patience, all_ended).await;
        self.0.shutdown().await;
    }
}
