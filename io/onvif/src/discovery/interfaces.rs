//! The network interfaces of this machine.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};

use if_addrs::IfAddr;
use socket2::{InterfaceIndexOrAddress, Socket};

use super::message::{GROUP_IPV4, GROUP_IPV6};

/// An interface that has an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Interface {
    /// Its name.
    pub(crate) name: String,
    /// Its number, as IPv6 wants it.
    pub(crate) index: u32,
    /// Its IPv4 addresses and how many bits of each name the subnet.
    pub(crate) ipv4: Vec<(Ipv4Addr, u8)>,
    /// Its IPv6 addresses, the link's own among them.
    pub(crate) ipv6: Vec<Ipv6Addr>,
    /// Whether it leads to this machine itself.
    pub(crate) loopback: bool,
}

impl Interface {
    /// Whether an address is in one of its subnets.
    pub(crate) fn reaches(&self, address: Ipv4Addr) -> bool {
        self.ipv4.iter().any(|(own, bits)| {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(u32::from(*bits))).unwrap_or(0);
            u32::from(*own) & mask == u32::from(address) & mask
        })
    }

    /// Makes a socket of IPv4 hear the group by this interface: once, however many addresses it has.
    pub(crate) fn join_ipv4(&self, socket: &Socket) -> io::Result<()> {
        if self.ipv4.is_empty() {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        let interface = InterfaceIndexOrAddress::Index(self.index);
        joined(socket.join_multicast_v4_n(&GROUP_IPV4, &interface))
    }

    /// The same for a socket of IPv6.
    pub(crate) fn join_ipv6(&self, socket: &Socket) -> io::Result<()> {
        if self.ipv6.is_empty() {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        joined(socket.join_multicast_v6(&GROUP_IPV6, self.index))
    }
}

/// Whether a socket hears the group; that it did before is no error.
fn joined(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(()),
        other => other,
    }
}

/// All interfaces, by name.
pub(crate) fn all() -> io::Result<Vec<Interface>> {
    let mut interfaces: BTreeMap<String, Interface> = BTreeMap::new();
    for found in if_addrs::get_if_addrs()? {
        let loopback = found.is_loopback();
        let interface = interfaces.entry(found.name.clone()).or_insert_with(|| Interface {
            name: found.name,
            loopback,
            ..Interface::default()
        });
        interface.index = found.index.unwrap_or(interface.index);
        match found.addr {
            IfAddr::V4(address) => interface.ipv4.push((address.ip, address.prefixlen)),
            IfAddr::V6(address) => interface.ipv6.push(address.ip),
        }
    }
    Ok(interfaces.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_is_joined_once_and_one_that_is_gone_is_an_error() {
        let lo = all().unwrap().into_iter().find(|interface| interface.loopback).unwrap();
        let socket = Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
        lo.join_ipv4(&socket).unwrap();
        lo.join_ipv4(&socket).expect("an interface that was joined is joined");
        let gone = Interface { index: 999_999, ..lo };
        assert!(gone.join_ipv4(&socket).is_err());
    }

    #[test]
    fn subnets_decide_what_an_interface_reaches() {
        let ipv4 = vec![(Ipv4Addr::new(192, 168, 1, 5), 24), (Ipv4Addr::new(10, 0, 0, 1), 32)];
        let interface = Interface { ipv4, ..Interface::default() };
        for (address, reached) in [
            ([192, 168, 1, 77], true),
            ([192, 168, 2, 77], false),
            ([10, 0, 0, 1], true),
            ([10, 0, 0, 2], false),
        ] {
            assert_eq!(interface.reaches(address.into()), reached, "{address:?}");
        }
        let everywhere = Interface { ipv4: vec![(Ipv4Addr::UNSPECIFIED, 0)], ..Interface::default() };
        assert!(everywhere.reaches(Ipv4Addr::new(8, 8, 8, 8)));
    }
}
