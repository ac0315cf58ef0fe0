//! The network interfaces of this machine, and sockets that speak to the group of multicast DNS by one of them.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use if_addrs::IfAddr;
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use tokio::net::UdpSocket;

/// The groups (RFC 6762 §3).
const GROUP_IPV4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
/// See [`GROUP_IPV4`].
const GROUP_IPV6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
/// Hops of every packet (RFC 6762 §11).
const HOPS: u32 = 255;
/// Most interfaces that are used: each takes a socket or two.
const INTERFACES_MAX: usize = 64;

/// An interface that has an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Interface {
    index: u32,
    pub(crate) ipv4: Vec<Ipv4Addr>,
    pub(crate) ipv6: Vec<Ipv6Addr>,
    /// Addresses with the masks of their networks.
    networks: Vec<(IpAddr, IpAddr)>,
    loopback: bool,
}

/// A socket that speaks to the group by one interface.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) socket: UdpSocket,
    pub(crate) group: SocketAddr,
}

/// The interfaces of these names; all but loopback when there are no names.
pub(crate) fn chosen(names: &[String]) -> io::Result<Vec<Interface>> {
    let mut interfaces: BTreeMap<String, Interface> = BTreeMap::new();
    for found in if_addrs::get_if_addrs()? {
        let loopback = found.is_loopback();
        let interface = interfaces.entry(found.name.clone()).or_default();
        interface.loopback = loopback;
        interface.index = found.index.unwrap_or(interface.index);
        match found.addr {
            IfAddr::V4(address) => {
                interface.ipv4.push(address.ip);
                interface.networks.push((address.ip.into(), address.netmask.into()));
            }
            IfAddr::V6(address) => {
                interface.ipv6.push(address.ip);
                interface.networks.push((address.ip.into(), address.netmask.into()));
            }
        }
    }
    let wanted = |name: &String, interface: &Interface| {
        if names.is_empty() { !interface.loopback } else { names.contains(name) }
    };
    let chosen = interfaces.into_iter().filter(|(name, interface)| wanted(name, interface));
    Ok(chosen.map(|(_, interface)| interface).take(INTERFACES_MAX).collect())
}

impl Interface {
    /// Whether `ip` is of a network of this interface (RFC 6762 §11): who is behind a router is not spoken to, and a sender that
    /// is made up can have nobody flooded but a neighbour.
    pub(crate) fn is_on_link(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        let linked = |(own, mask): &(IpAddr, IpAddr)| match (ip, *own, *mask) {
            (IpAddr::V4(ip), IpAddr::V4(own), IpAddr::V4(mask)) => ip & mask == own & mask,
            (IpAddr::V6(ip), IpAddr::V6(own), IpAddr::V6(mask)) => ip & mask == own & mask,
            (_, _, _) => false,
        };
        self.networks.iter().any(linked)
    }

    /// Sockets that hear the group at `port` and answer from there. One that cannot be had costs only its own family.
    pub(crate) fn listeners(&self, port: u16) -> Vec<Group> {
        self.groups(|first| self.listener_ipv4(first, port), || self.listener_ipv6(port))
    }

    /// Sockets that ask the group at `port` from a port of their own.
    pub(crate) fn askers(&self, port: u16) -> Vec<Group> {
        self.groups(|first| self.asker_ipv4(first, port), || self.asker_ipv6(port))
    }

    fn groups(
        &self,
        ipv4: impl Fn(Ipv4Addr) -> io::Result<Group>,
        ipv6: impl Fn() -> io::Result<Group>,
    ) -> Vec<Group> {
        let log = |error: &io::Error| tracing::debug!(%error, index = self.index, "an interface is not used");
        let ipv4 = self.ipv4.first().map(|first| ipv4(*first).inspect_err(log));
        let ipv6 = (!self.ipv6.is_empty()).then(|| ipv6().inspect_err(log));
        [ipv4, ipv6].into_iter().flatten().filter_map(Result::ok).collect()
    }

    fn listener_ipv4(&self, first: Ipv4Addr, port: u16) -> io::Result<Group> {
        let socket = self.socket_ipv4(first)?;
        // Others on this machine may answer for what is theirs.
        socket.set_reuse_address(true)?;
        // What comes in by another interface is for the socket of that one.
        socket.set_multicast_all_v4(false)?;
        socket.bind(&SocketAddr::from((GROUP_IPV4, port)).into())?;
        socket.join_multicast_v4_n(&GROUP_IPV4, &InterfaceIndexOrAddress::Index(self.index))?;
        ready(socket, (GROUP_IPV4, port).into())
    }

    fn listener_ipv6(&self, port: u16) -> io::Result<Group> {
        let socket = self.socket_ipv6()?;
        socket.set_reuse_address(true)?;
        socket.set_multicast_all_v6(false)?;
        let group = SocketAddrV6::new(GROUP_IPV6, port, 0, self.index);
        socket.bind(&group.into())?;
        socket.join_multicast_v6(&GROUP_IPV6, self.index)?;
        ready(socket, group.into())
    }

    fn asker_ipv4(&self, first: Ipv4Addr, port: u16) -> io::Result<Group> {
        let socket = self.socket_ipv4(first)?;
        socket.bind(&SocketAddr::from((first, 0)).into())?;
        ready(socket, (GROUP_IPV4, port).into())
    }

    fn asker_ipv6(&self, port: u16) -> io::Result<Group> {
        let socket = self.socket_ipv6()?;
        socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)).into())?;
        ready(socket, SocketAddrV6::new(GROUP_IPV6, port, 0, self.index).into())
    }

    fn socket_ipv4(&self, first: Ipv4Addr) -> io::Result<Socket> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_multicast_if_v4(&first)?;
        socket.set_multicast_ttl_v4(HOPS)?;
        // Two nodes may run on one machine.
        socket.set_multicast_loop_v4(true)?;
        Ok(socket)
    }

    fn socket_ipv6(&self) -> io::Result<Socket> {
        let socket = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_only_v6(true)?;
        socket.set_multicast_if_v6(self.index)?;
        socket.set_multicast_hops_v6(HOPS)?;
        socket.set_multicast_loop_v6(true)?;
        Ok(socket)
    }
}

fn ready(socket: Socket, group: SocketAddr) -> io::Result<Group> {
    socket.set_nonblocking(true)?;
    Ok(Group { socket: UdpSocket::from_std(socket.into())?, group })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_neighbours_are_on_the_link() {
        let network = |ip: &str, mask: &str| (ip.parse().unwrap(), mask.parse().unwrap());
        let networks = vec![
            network("192.0.2.7", "255.255.255.0"),
            network("fe80::1", "ffff:ffff:ffff:ffff::"),
            network("2001:db8::7", "ffff:ffff:ffff:ffff::"),
        ];
        let interface = Interface { networks, ..Interface::default() };
        for near in ["192.0.2.200", "::ffff:192.0.2.9", "fe80::beef", "2001:db8::1"] {
            assert!(interface.is_on_link(near.parse().unwrap()), "{near}");
        }
        for far in ["192.0.3.7", "203.0.113.1", "::ffff:203.0.113.1", "2001:db8:1::1", "::1"] {
            assert!(!interface.is_on_link(far.parse().unwrap()), "{far}");
        }
    }
}
