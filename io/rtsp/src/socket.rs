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
    socket.set_tcp_user_timeout(Some(dead_peer_timeout))
}
