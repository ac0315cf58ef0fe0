//! Addresses that are asked one by one, where multicast does not get through.

use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

/// The widest range, in bits that name it: 4096 addresses, which are asked in some twenty seconds.
const BITS_MIN: u8 = 20;

/// One address, or a range of IPv4 addresses such as `192.168.1.0/24`, of 4096 at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRange {
    first: IpAddr,
    count: u32,
}

/// Why a text is no range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// It is no address.
    #[error("{0:?} is no address and no range; write 192.168.1.64 or 192.168.1.0/24")]
    Malformed(String),
    /// It has too many addresses.
    #[error("{0:?} has too many addresses; /{BITS_MIN} is the widest, and IPv6 addresses are asked singly")]
    TooWide(String),
}

impl FromStr for AddressRange {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        let shown = || text.chars().take(64).collect::<String>();
        let (address, bits) = text.trim().split_once('/').map_or((text.trim(), None), |(a, b)| (a, Some(b)));
        let first: IpAddr = address.parse().map_err(|_| RangeError::Malformed(shown()))?;
        let Some(bits) = bits else { return Ok(Self { first, count: 1 }) };
        let bits: u8 = bits.parse().map_err(|_| RangeError::Malformed(shown()))?;
        match first {
            IpAddr::V4(_) if bits > 32 => Err(RangeError::Malformed(shown())),
            IpAddr::V4(_) if bits < BITS_MIN => Err(RangeError::TooWide(shown())),
            IpAddr::V4(address) => {
                let count = 1_u32.checked_shl(u32::from(32_u8.saturating_sub(bits))).unwrap_or(1);
                let network = Ipv4Addr::from(u32::from(address) & !count.saturating_sub(1));
                Ok(Self { first: network.into(), count })
            }
            IpAddr::V6(_) if bits == 128 => Ok(Self { first, count: 1 }),
            IpAddr::V6(_) => Err(RangeError::TooWide(shown())),
        }
    }
}

impl AddressRange {
    /// Its addresses, of a range without those of the network and of everybody in it.
    pub fn addresses(self) -> impl Iterator<Item = IpAddr> {
        let ends = if self.count > 2 { 1 } else { 0 };
        (ends..self.count.saturating_sub(ends)).filter_map(move |offset| match self.first {
            IpAddr::V4(first) => Some(Ipv4Addr::from(u32::from(first).checked_add(offset)?).into()),
            IpAddr::V6(_) => Some(self.first),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_have_the_addresses_of_their_hosts() {
        for (text, count, first, last) in [
            ("192.168.1.64", 1, "192.168.1.64", "192.168.1.64"),
            ("192.168.1.77/24", 254, "192.168.1.1", "192.168.1.254"),
            ("10.0.16.0/20", 4094, "10.0.16.1", "10.0.31.254"),
            ("10.0.0.8/31", 2, "10.0.0.8", "10.0.0.9"),
            ("255.255.255.255/32", 1, "255.255.255.255", "255.255.255.255"),
            ("fd00::1", 1, "fd00::1", "fd00::1"),
        ] {
            let addresses: Vec<IpAddr> = text.parse::<AddressRange>().unwrap().addresses().collect();
            assert_eq!(addresses.len(), count, "{text}");
            assert_eq!(
                (addresses[0], *addresses.last().unwrap()),
                (first.parse().unwrap(), last.parse().unwrap())
            );
        }
    }

    #[test]
    fn what_is_no_range_or_too_wide_says_so() {
        for text in ["10.0.0.0/19", "0.0.0.0/0", "fd00::/64"] {
            assert!(matches!(text.parse::<AddressRange>(), Err(RangeError::TooWide(_))), "{text}");
        }
        for text in ["", "gate", "10.0.0.0/33", "10.0.0.0/x", "10.0.0.1:80", "10.0.0/24"] {
            assert!(matches!(text.parse::<AddressRange>(), Err(RangeError::Malformed(_))), "{text}");
        }
    }
}
