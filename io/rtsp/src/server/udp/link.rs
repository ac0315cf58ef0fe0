//! The pair of ports of one track, and who may be heard on it.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::task::{Context, Poll};

use keepwatch_media::rtcp;
use socket2::{SockAddr, SockRef};
use tokio::io::ReadBuf;

use crate::server::books::LinkTicket;

/// How often a pair of neighbouring free ports is looked for.
const PAIR_TRIES: usize = 64;

/// Most datagrams looked at in one go, so that a flood does not keep the thread.
const HEARD_MAX: usize = 32;

/// Bytes of a datagram that are looked at.
const DATAGRAM_BYTES: usize = 1500;

/// The sockets of one track.
#[derive(Debug)]
pub(in super::super) struct Link {
    rtp: tokio::net::UdpSocket,
    rtcp: tokio::net::UdpSocket,
    client: IpAddr,
    client_rtp: SockAddr,
    client_rtcp: SockAddr,
    /// The server's ports of RTP and RTCP.
    pub(in super::super) server_port: (u16, u16),
    /// The client's.
    pub(in super::super) client_port: (u16, u16),
    /// Counts it.
    _ticket: LinkTicket,
}

impl Link {
    /// Opens an even port and the next at the address `local` of the RTSP connection, to send to the client's ports
    /// at the address `peer` of its other end.
    pub(in super::super) fn open(
        local: SocketAddr,
        peer: SocketAddr,
        client_port: (u16, u16),
        ticket: LinkTicket,
    ) -> io::Result<Self> {
        let (rtp, rtcp, server_port) = bind_pair(local)?;
        Ok(Self {
            rtp: tokio::net::UdpSocket::from_std(rtp)?,
            rtcp: tokio::net::UdpSocket::from_std(rtcp)?,
            client: peer.ip(),
            client_rtp: at(peer, client_port.0).into(),
            client_rtcp: at(peer, client_port.1).into(),
            server_port,
            client_port,
            _ticket: ticket,
        })
    }

    /// Sends a packet of RTP; `false` when the send buffer is full.
    pub(super) fn send_rtp(&self, packet: &[u8]) -> bool {
        send(&self.rtp, packet, &self.client_rtp)
    }

    /// Sends a compound of RTCP; `false` when the send buffer is full.
    pub(super) fn send_rtcp(&self, packet: &[u8]) -> bool {
        send(&self.rtcp, packet, &self.client_rtcp)
    }

    /// Ready when the client sent a report; from any of its ports, as some are behind a translator of addresses.
    pub(super) fn poll_heard(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut room = [0; DATAGRAM_BYTES];
        for (socket, reports) in [(&self.rtcp, true), (&self.rtp, false)] {
            let mut heard = 0;
            loop {
                let mut buffer = ReadBuf::new(&mut room);
                let from = match socket.poll_recv_from(context, &mut buffer) {
                    Poll::Pending => break,
                    // An error is the network's word about something that was sent before.
                    Poll::Ready(from) => from.ok(),
                };
                // What comes to the port of RTP opens a way through firewalls; it is taken off and ignored.
                let from_client = from.is_some_and(|from| from.ip() == self.client);
                if reports && from_client && matches!(rtcp::packets(buffer.filled()).next(), Some(Ok(_))) {
                    return Poll::Ready(());
                }
                heard += 1;
                if heard == HEARD_MAX {
                    context.waker().wake_by_ref();
                    break;
                }
            }
        }
        Poll::Pending
    }
}

/// Sends without asking the runtime whether it may, which would know only a turn after the socket was opened. What
/// the network refuses is lost; only a full buffer is worth another try.
fn send(socket: &tokio::net::UdpSocket, packet: &[u8], to: &SockAddr) -> bool {
    let sent = SockRef::from(socket).send_to(packet, to);
    !matches!(sent, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

/// An even port and the one above it.
fn bind_pair(local: SocketAddr) -> io::Result<(UdpSocket, UdpSocket, (u16, u16))> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..PAIR_TRIES {
        let any = bind(at(local, 0))?;
        let port = any.local_addr()?.port();
        // The system chose one of the two; an odd one's neighbour is below it.
        match bind(at(local, port ^ 1)) {
            Ok(other) if port % 2 == 0 => return Ok((any, other, (port, port | 1))),
            Ok(other) => return Ok((other, any, (port ^ 1, port))),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// A socket that does not wait.
fn bind(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(addr)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// The same address with another port.
fn at(mut addr: SocketAddr, port: u16) -> SocketAddr {
    addr.set_port(port);
    addr
}
