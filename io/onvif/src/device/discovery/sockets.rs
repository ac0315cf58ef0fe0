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
        if address.is_ipv4() && chosen.iter().any(|interface| !interface.ipv6.is_empty()) {
            match ipv6(&chosen, address.port(), options.service.ip()) {
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

fn ipv6(chosen: &[Interface], port: u16, service: IpAddr) -> io::Result<(Arc<UdpSocket>, Vec<Group>)> {
    let hearing = hearing((Ipv6Addr::UNSPECIFIED, port).into())?;
    let mut groups = Vec::new();
    for interface in chosen.iter().filter(|interface| !interface.ipv6.is_empty()) {
        let joined = interface.join_ipv6(&hearing);
        match joined.and_then(|()| speaking_ipv6(interface, port, service)) {
            Ok(group) => groups.push(group),
            Err(error) => warn!(interface = interface.name, %error, "not found by IPv6 of this interface"),
        }
    }
    Ok((ready(hearing)?, groups))
}

fn speaking_ipv6(interface: &Interface, port: u16, service: IpAddr) -> io::Result<Group> {
    let index = interface.index;
    let socket = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_only_v6(true)?;
    socket.set_multicast_if_v6(index)?;
    socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)).into())?;
    let group: SocketAddr = SocketAddrV6::new(GROUP_IPV6, port, 0, index).into();
    // The address that the machine would speak from is the link's own.
    let own = told_address(own_address_towards(group)?, service, interface);
    Ok(Group { socket: ready(socket)?, group, own })
}

fn ready(socket: Socket) -> io::Result<Arc<UdpSocket>> {
    socket.set_nonblocking(true)?;
    Ok(Arc::new(UdpSocket::from_std(socket.into())?))
}

/// The address of this machine at which `client` is told to find what is served at `service`, which is no single address.
pub(super) fn own_address_for(service: IpAddr, client: SocketAddr) -> io::Result<IpAddr> {
    let own = own_address_towards(client)?.to_canonical();
    let SocketAddr::V6(client) = client else { return Ok(own) };
    let all = interfaces::all()?;
    let by_link = |interface: &&Interface| interface.index == client.scope_id();
    let by_address = |interface: &&Interface| match own {
        IpAddr::V4(own) => interface.ipv4.iter().any(|(address, _)| *address == own),
        IpAddr::V6(own) => interface.ipv6.contains(&own),
    };
    let interface = all.iter().find(by_link).or_else(|| all.iter().find(by_address));
    Ok(interface.map_or(own, |interface| told_address(own, service, interface)))
}

/// What is told instead of `own`: the address of a link cannot be written down with its link, and what is served over IPv4
/// only is not found by IPv6.
fn told_address(own: IpAddr, service: IpAddr, interface: &Interface) -> IpAddr {
    let is_served = |address: &IpAddr| service.is_ipv6() || address.is_ipv4();
    let is_of_link = |address: &Ipv6Addr| address.is_unicast_link_local();
    let plain = match own {
        IpAddr::V4(_) => true,
        IpAddr::V6(own) => !is_of_link(&own),
    };
    if plain && is_served(&own) {
        return own;
    }
    let ipv6 = interface.ipv6.iter().filter(|address| !is_of_link(address)).copied().map(IpAddr::V6);
    let ipv4 = interface.ipv4.iter().map(|(address, _)| IpAddr::V4(*address));
    ipv6.chain(ipv4).find(is_served).unwrap_or(own)
}

/// The address of this machine that the system would answer a client from.
fn own_address_towards(client: SocketAddr) -> io::Result<IpAddr> {
    let any: IpAddr =
        if client.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    // Connecting a datagram socket sends nothing: it only looks up the route.
    let socket = std::net::UdpSocket::bind((any, 0))?;
    socket.connect(client)?;
    Ok(socket.local_addr()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_on_a_link_is_told_an_address_that_can_be_written_down() {
        let (link, global): (Ipv6Addr, Ipv6Addr) =
            ("fe80::1".parse().unwrap(), "2001:db8::1".parse().unwrap());
        let ipv4 = Ipv4Addr::new(192, 0, 2, 1);
        let (any_ipv4, any_ipv6) = (IpAddr::from(Ipv4Addr::UNSPECIFIED), IpAddr::from(Ipv6Addr::UNSPECIFIED));
        let interface = |ipv4: &[Ipv4Addr], ipv6: &[Ipv6Addr]| Interface {
            ipv4: ipv4.iter().map(|address| (*address, 24)).collect(),
            ipv6: ipv6.to_vec(),
            ..Interface::default()
        };
        let both = interface(&[ipv4], &[link, global]);
        for (own, service, interface, told) in [
            (IpAddr::from(link), any_ipv6, &both, IpAddr::from(global)),
            (global.into(), any_ipv6, &both, global.into()),
            // Served over IPv4 only, and asked by IPv6.
            (link.into(), any_ipv4, &both, ipv4.into()),
            (global.into(), any_ipv4, &both, ipv4.into()),
            (ipv4.into(), any_ipv4, &both, ipv4.into()),
            (link.into(), any_ipv6, &interface(&[ipv4], &[link]), ipv4.into()),
            // There is no other.
            (link.into(), any_ipv6, &interface(&[], &[link]), link.into()),
        ] {
            assert_eq!(told_address(own, service, interface), told, "{own} for {service}");
        }
    }
}
