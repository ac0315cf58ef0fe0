//! Reaching the host: every address it has, in turn.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout_at};

use super::config::ClientConfig;
use super::error::{ClientError, Step};
use crate::socket::prepare;

/// Connects to `host`, trying its addresses in the resolver's order until `deadline`.
pub(super) async fn dial(
    host: &str,
    port: u16,
    deadline: Instant,
    config: &ClientConfig,
) -> Result<TcpStream, ClientError> {
    let resolved = timeout_at(deadline, tokio::net::lookup_host((host, port))).await;
    let addresses: Vec<_> = resolved
        .map_err(|_| ClientError::TimedOut(Step::Connect))?
        .map_err(ClientError::Unreachable)?
        .collect();
    let mut last =
        ClientError::Unreachable(io::Error::new(io::ErrorKind::NotFound, "the host has no address"));
    for (position, address) in addresses.iter().enumerate() {
        // An address that does not answer leaves the others their share of the time.
        let left = deadline.saturating_duration_since(Instant::now());
        let others = u32::try_from(addresses.len().saturating_sub(position)).unwrap_or(u32::MAX).max(1);
        let attempt = timeout_at(Instant::now() + left / others, reach(*address, config)).await;
        match attempt {
            Ok(Ok(stream)) => {
                prepare(&stream, config.dead_peer_timeout).map_err(ClientError::Unreachable)?;
                return Ok(stream);
            }
            Ok(Err(error)) => last = ClientError::Unreachable(error),
            Err(_) => last = ClientError::TimedOut(Step::Connect),
        }
    }
    Err(last)
}

/// Connects to one address.
async fn reach(address: SocketAddr, config: &ClientConfig) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(bytes) = config.receive_buffer_bytes {
        // Only a size set before the connection bounds the window from its beginning.
        socket.set_recv_buffer_size(bytes)?;
    }
    socket.connect(address).await
}
