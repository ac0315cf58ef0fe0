//! Reaching the host: every address it has, in turn.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::error::{ClientError, Step};
use crate::socket::prepare;

/// Connects to `host`, trying its addresses in the resolver's order until `deadline`.
pub(super) async fn dial(
    host: &str,
    port: u16,
    deadline: Instant,
    dead_peer_timeout: Duration,
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
        let attempt = timeout_at(Instant::now() + left / others, TcpStream::connect(address)).await;
        match attempt {
            Ok(Ok(stream)) => {
                prepare(&stream, dead_peer_timeout).map_err(ClientError::Unreachable)?;
                return Ok(stream);
            }
            Ok(Err(error)) => last = ClientError::Unreachable(error),
            Err(_) => last = ClientError::TimedOut(Step::Connect),
        }
    }
    Err(last)
}
