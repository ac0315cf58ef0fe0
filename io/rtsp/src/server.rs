//! The server: answers RTSP requests and sends media, interleaved in the connection.
//!
//! One task per connection. A [`Source`] gives whole access units, each is sent with one write. A client that
//! reads too slowly gets a bounded queue and then a gap up to the next key frame, visible to it in the RTP
//! sequence numbers; it never slows another client or the source.

mod address;
mod connection;
mod conversation;
mod fuzz;
mod login;
mod queue;
mod sender;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use keepwatch_model::{TrackConfig, WallTime};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tracing::{debug, warn};

#[doc(hidden)]
pub use fuzz::answer_requests;

/// Most connections at a time: several times what the largest site needs, and bounds what strangers can take.
const CONNECTIONS_MAX: usize = 4096;

/// After the system refused a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// One access unit of video, or one packet's worth of audio.
#[derive(Clone, Debug)]
pub struct Media {
    /// The position of its track in [`Source::tracks`].
    pub track: usize,
    /// Presentation time in ticks of the track's clock, wrapping; the server adds an offset per session.
    pub timestamp: u32,
    /// When it was captured; sender reports tie it to `timestamp`.
    pub capture: WallTime,
    /// Whether decoding can start here; `true` for all audio.
    pub key: bool,
    /// NAL units with 4-byte lengths (H.264), or samples of one byte (G.711).
    pub data: Bytes,
    /// NAL units with 4-byte lengths sent before `data` in the same access unit, such as an SEI unit of one of
    /// many cameras that share `data`; may be empty, and is ignored for audio.
    pub prefix: Bytes,
    /// RTP packets of the track that were lost before this one on the way to the server: sequence numbers are left
    /// out for them. 0 for what the server has whole.
    pub lost_packets: u16,
}

/// The future that [`Source::next`] returns.
pub type NextMedia<'a> = Pin<Box<dyn Future<Output = Option<Media>> + Send + 'a>>;

/// Gives the media of one path to one connection.
pub trait Source: Send {
    /// The tracks, in the order of the session description.
    fn tracks(&self) -> Vec<TrackConfig>;

    /// The next media in sending order; `None` when there will be no more.
    ///
    /// Called only while playing. The future may be dropped before it is ready without losing media.
    fn next(&mut self) -> NextMedia<'_>;
}

/// Answers for all paths of a server.
pub trait Service: Send + Sync + 'static {
    /// The password of `user`; `None` when there is no such user.
    fn password(&self, user: &str) -> Option<String>;

    /// Whether anything but `OPTIONS` needs a login.
    fn needs_login(&self) -> bool;

    /// Opens a source for the path of a request URL, with its leading `/` and without query and track;
    /// `None` when there is nothing under this path.
    fn open(&self, path: &str) -> Option<Box<dyn Source>>;
}

/// A listening server.
pub struct Server {
    listener: TcpListener,
    local_addr: SocketAddr,
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
        Ok(Self { listener, local_addr, service })
    }

    /// The address it listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Serves until dropped; dropping closes every connection.
    pub async fn run(self) {
        let Self { listener, service, .. } = self;
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
                    connections.spawn(connection::serve(stream, peer, Arc::clone(&service)));
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
