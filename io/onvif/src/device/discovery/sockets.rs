//! The sockets of a device that is to be found: one hears probes, one for each interface speaks to all.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tracing::warn;

use super::{DiscoveryError, DiscoveryOptions};
use crate::discovery::interfaces::{self, Interface};
use crate::discovery::{GROUP_IPV4, GROUP_IPV6};

/// Hops of what is said to all: the group stays within an organisation.
const HOPS: u32 = 4;

/// One interface by which all are told something.
pub(super) struct Group {
    pub(super) socket: Arc<UdpSocket>,
    pub(super) group: SocketAddr,
    /// The device's own address there.
    pub(super) own: IpAddr,
}

/// All sockets.
pub(super) struct Network {
    /// Where IPv4 is heard, with the port that was taken.
    pub(super) address: SocketAddr,
    /// They hear.
    pub(super) sockets: Vec<Arc<UdpSocket>>,
    /// They speak.
    pub(super) groups: Vec<Group>,
}

impl Network {
    /// Opens all; an interface that cannot be used is named in the log and left out.
    pub(super) fn open(options: &DiscoveryOptions) -> Result<Self, DiscoveryError> {
        let failed = |source| DiscoveryError::Listen { address: options.listen, source };
        let chosen = chosen(options)?;
        let own = hearing(options.listen).map_err(failed)?;
        let address = own.local_addr().and_then(|address| address.as_socket().ok_or_else(no_address));
        let address = address.map_err(failed)?;
        let mut groups = Vec::new();
        for interface in chosen.iter().filter(|interface| !interface.ipv4.is_empty()) {
            if let Err(error) = interface.join_ipv4(&own) {
                warn!(interface = interface.name, %error, "not found by this interface");
                continue;
            }
            for (ipv4, _) in &interface.ipv4 {
                match speaking_ipv4(*ipv4, address.port()) {
                    Ok(group) => groups.push(group),
                    Err(error) => warn!(interface = interface.name, %error, "not found by this interface"),
                }
            }
        }
        let mut sockets = vec![ready(own).map_err(failed)?];
        if address.is_ipv4() && chosen.iter().any(|interface| interface.ipv6) {
            match ipv6(&chosen, address.port()) {
                Ok((socket, speaking)) => {
                    sockets.push(socket);
                    groups.extend(speaking);
                }
                Err(error) => warn!(%error, "not found by IPv6"),
            }
        }
        Ok(Self { address, sockets, groups })
    }
}

fn no_address() -> io::Error {
    io::Error::other("the socket has no address")
}

fn chosen(options: &DiscoveryOptions) -> Result<Vec<Interface>, DiscoveryError> {
    let Some(names) = &options.interfaces else { return Ok(Vec::new()) };
    let all = interfaces::all().map_err(DiscoveryError::Interfaces)?;
    if names.is_empty() {
        return Ok(all.into_iter().filter(|interface| !interface.loopback).collect());
    }
    let find = |name: &String| {
        let found = all.iter().find(|interface| interface.name == *name).cloned();
        found.ok_or_else(|| DiscoveryError::NoInterface {
            name: name.clone(),
            known: all.iter().map(|interface| interface.name.as_str()).collect::<Vec<_>>().join(", "),
        })
    };
    names.iter().map(find).collect()
}

/// A socket that hears. Several devices of one machine, and a program that scans, share the port.
fn hearing(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.port() != 0 {
        socket.set_reuse_address(true)?;
    }
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    } else {
        // Without this, groups that other programs joined by other interfaces are heard as well.
        socket.set_multicast_all_v4(false)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

fn speaking_ipv4(own: Ipv4Addr, port: u16) -> io::Result<Group> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_multicast_if_v4(&own)?;
    socket.set_multicast_ttl_v4(HOPS)?;
    socket.bind(&SocketAddr::from((own, 0)).into())?;
    Ok(Group { socket: ready(socket)?, group: (GROUP_IPV4, port).into(), own: own.into() })
}

fn ipv6(chosen: &[Interface], port: u16) -> io::Result<(Arc<UdpSocket>, Vec<Group>)> {
    let hearing = hearing((Ipv6Addr::UNSPECIFIED, port).into())?;
    let mut groups = Vec::new();
    for interface in chosen.iter().filter(|interface| interface.ipv6) {
        let joined = interface.join_ipv6(&hearing);
        match joined.and_then(|()| speaking_ipv6(interface.index, port)) {
            Ok(group) => groups.push(group),
            Err(error) => warn!(interface = interface.name, %error, "not found by IPv6 of this interface"),
        }
    }
    Ok((ready(hearing)?, groups))
}

fn speaking_ipv6(index: u32, port: u16) -> io::Result<Group> {
    let socket = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_only_v6(true)?;
    socket.set_multicast_if_v6(index)?;
    socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)).into())?;
    let group: SocketAddr = SocketAddrV6::new(GROUP_IPV6, port, 0, index).into();
    // The address that the machine would speak from.
    let own = own_address_towards(group)?;
    Ok(Group { socket: ready(socket)?, group, own })
}

fn ready(socket: Socket) -> io::Result<Arc<UdpSocket>> {
    socket.set_nonblocking(true)?;
    Ok(Arc::new(UdpSocket::from_std(socket.into())?))
}

/// The address of this machine that a client reaches it by: the one that the system would answer from.
pub(super) fn own_address_towards(client: SocketAddr) -> io::Result<IpAddr> {
    let any: IpAddr =
        if client.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    // Connecting a datagram socket sends nothing: it only looks up the route.
    let socket = std::net::UdpSocket::bind((any, 0))?;
    socket.connect(client)?;
    Ok(socket.local_addr()?.ip())
}
