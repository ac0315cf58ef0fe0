//! What a request came over, and the cookie that belongs to it; and a connection's place, which outlives an upgrade.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::server::Share;

/// What a request came over; present as a request extension on every route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// TLS.
    Tls,
    /// Plain HTTP, both ends of which are on this machine.
    Plain,
    /// The Unix socket.
    Socket,
}

impl Channel {
    /// The name of the session cookie. Over TLS a browser takes one with this prefix only from this very host and over
    /// TLS (RFC 6265bis §4.1.3.2), so no neighbour can plant one; over plain HTTP there is no such prefix.
    pub(crate) const fn cookie_name(self) -> &'static str {
        match self {
            Self::Tls => "__Host-keepwatch_session",
            Self::Plain | Self::Socket => "keepwatch_session",
        }
    }

    /// The cookie of the session of `token`, as `Set-Cookie` has it.
    pub(crate) fn cookie(self, token: &str) -> String {
        let secure = match self {
            Self::Tls => "; Secure",
            Self::Plain | Self::Socket => "",
        };
        format!("{}={token}; Path=/; HttpOnly; SameSite=Strict{secure}", self.cookie_name())
    }

    /// What takes the cookie away again.
    pub(crate) const fn no_cookie(self) -> &'static str {
        match self {
            Self::Tls => "__Host-keepwatch_session=; Path=/; HttpOnly; SameSite=Strict; Secure; Max-Age=0",
            Self::Plain | Self::Socket => "keepwatch_session=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0",
        }
    }
}

/// The place of a connection among those that there may be; present as a request extension on every route. A handler
/// that upgrades the connection to a WebSocket holds on to it for as long as the socket is open: the server itself does
/// not see the connection any more.
#[derive(Clone, Debug)]
pub struct Place {
    _held: Arc<(OwnedSemaphorePermit, Option<Share>)>,
    stopped: watch::Receiver<()>,
}

impl Place {
    pub(crate) fn new(
        permit: OwnedSemaphorePermit,
        share: Option<Share>,
        stopped: watch::Receiver<()>,
    ) -> Self {
        Self { _held: Arc::new((permit, share)), stopped }
    }

    /// Waits until the server is asked to end; sockets are to close then.
    pub async fn ending(&self) {
        // An error means that it has ended already.
        let _ = self.stopped.clone().changed().await;
    }
}
