//! Options of every connection, on either side.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// Sends at once, and finds a peer that vanished within about `dead_peer_timeout`.
///
/// The receive buffer stays with the kernel: its autotuning gives a session that is read every 100 ms the window
/// it needs within the first second, and a fixed `SO_RCVBUF` would end it.
pub(crate) fn prepare(stream: &TcpStream, dead_peer_timeout: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    // Probes find a peer that vanished while nothing is sent, the user timeout one that takes nothing any more.
    let third = (dead_peer_timeout / 3).max(Duration::from_secs(1));
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(third).with_interval(third).with_retries(2))?;
    bound_unsent(stream, dead_peer_timeout)
}

/// Bounds how long the peer may leave unacknowledged what was sent, or take nothing at all: a peer that lives and
/// merely does not read counts as well (tcp(7), `TCP_USER_TIMEOUT`: data that wait for a window).
pub(crate) fn bound_unsent(stream: &TcpStream, longest: Duration) -> io::Result<()> {
    SockRef::from(stream).set_tcp_user_timeout(Some(longest))
}
