//! Where a request comes from: an address, or a process that the kernel names; and which node sends it, if one does.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use keepwatch_tls::NodePublicKey;

use crate::Identity;

/// The node that sends a request, by the key that it has proven to have; present as a request extension on the routes of
/// nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node(pub NodePublicKey);

/// Where a request comes from; present as a request extension on every route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// An address on the network.
    Network(SocketAddr),
    /// A process on this machine, named by the kernel.
    Process {
        /// Its user.
        uid: u32,
        /// Whether that is root or the node's own user.
        administrator: bool,
    },
}

impl Peer {
    /// Who a process is; an address is nobody.
    pub(crate) fn administrator(&self) -> Option<Identity> {
        match self {
            Self::Process { uid, administrator: true } => Some(Identity::of_process(*uid)),
            Self::Process { administrator: false, .. } | Self::Network(_) => None,
        }
    }

    /// What counts as one place when logins are slowed: an IPv4 address, an IPv6 /64 (a site has that many addresses
    /// to try from), a local user.
    pub(crate) fn brake_key(&self) -> String {
        match self {
            Self::Network(address) => match address.ip().to_canonical() {
                IpAddr::V4(address) => address.to_string(),
                IpAddr::V6(address) => {
                    let [a, b, c, d, ..] = address.segments();
                    format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
                }
            },
            Self::Process { uid, .. } => format!("uid:{uid}"),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(address) => write!(f, "{address}"),
            Self::Process { uid, .. } => write!(f, "uid:{uid}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_site_counts_as_one_place() {
        let key = |text: &str| Peer::Network(text.parse().unwrap()).brake_key();
        assert_eq!(key("[2001:db8:1:2:3::4]:1"), key("[2001:db8:1:2:ffff::1]:2"));
        assert_ne!(key("[2001:db8:1:2::1]:1"), key("[2001:db8:1:3::1]:1"));
        assert_eq!(key("[::ffff:192.0.2.1]:1"), key("192.0.2.1:2"));
    }
}
