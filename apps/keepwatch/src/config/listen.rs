//! The addresses that are listened on: none may be that of another, nor within it.
//!
//! A socket of `0.0.0.0` takes the port of every IPv4 address. One of `[::]` takes it of every IPv6 address and, unless the
//! machine keeps the families apart (`net.ipv6.bindv6only`), of every IPv4 address, too.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use keepwatch_recorder::config::text::quoted;
use serde_spanned::Spanned;

use super::report::Report;

/// What a socket of `[::]` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Families {
    /// Both families.
    Together,
    /// IPv6 alone.
    Apart,
}

impl Families {
    /// As this machine does it.
    pub(super) fn of_machine() -> Self {
        let text = std::fs::read_to_string("/proc/sys/net/ipv6/bindv6only").unwrap_or_default();
        if text.trim() == "1" { Self::Apart } else { Self::Together }
    }
}

/// Complains about addresses that overlap; `usual` stand nowhere in the file.
pub(super) fn check(
    report: &mut Report,
    usual: &[&Spanned<SocketAddr>],
    given: &[&Spanned<SocketAddr>],
    families: Families,
) {
    let mut taken = Taken { places: BTreeMap::new(), families };
    for address in usual {
        taken.places.insert(key(*address.get_ref()), (*address.get_ref(), None));
    }
    for place in given {
        let address = *place.get_ref();
        if let Some((other, start)) = taken.find(address) {
            let shown = quoted(&address.to_string());
            let (whose, here) = match start {
                Some(start) => (format!("on line {}", report.line(start)), ""),
                None => ("of the HTTP server".to_owned(), ", by listen or here"),
            };
            let (what, another) = if address == other {
                (format!("address {shown} is already that {whose}"), "another")
            } else {
                let other = quoted(&other.to_string());
                (format!("address {shown} and {other} {whose} have addresses in common"), "another port")
            };
            report.error(place.span(), what, format!("give one of them {another}{here}"));
        }
        taken.places.entry(key(address)).or_insert((address, Some(place.span().start)));
    }
}

/// Addresses by port and then by number.
type Key = (u16, SocketAddr);

struct Taken {
    /// What was written, and where.
    places: BTreeMap<Key, (SocketAddr, Option<usize>)>,
    families: Families,
}

impl Taken {
    /// One that `address` has an address in common with.
    fn find(&self, address: SocketAddr) -> Option<(SocketAddr, Option<usize>)> {
        let key = key(address);
        let (port, canonical) = key;
        let one = |wanted: SocketAddr| self.places.get(&(port, wanted));
        let within = |from: SocketAddr, to: SocketAddr| {
            self.places.range((port, from)..=(port, to)).next().map(|(_, place)| place)
        };
        let together = self.families == Families::Together;
        let v4 = |ip| SocketAddr::V4(SocketAddrV4::new(ip, port));
        let v6 = |ip, rest| SocketAddr::V6(SocketAddrV6::new(ip, port, rest, rest));
        let any_v6 = v6(Ipv6Addr::UNSPECIFIED, 0);
        let all_v4 = || within(v4(Ipv4Addr::UNSPECIFIED), v4(Ipv4Addr::BROADCAST));
        let found = self.places.get(&key).or_else(|| match canonical {
            SocketAddr::V4(_) if together && one(any_v6).is_some() => one(any_v6),
            SocketAddr::V4(address) if address.ip().is_unspecified() => all_v4(),
            SocketAddr::V4(_) => one(v4(Ipv4Addr::UNSPECIFIED)),
            SocketAddr::V6(address) if address.ip().is_unspecified() => {
                within(any_v6, v6(Ipv6Addr::from_bits(u128::MAX), u32::MAX))
                    .or_else(|| all_v4().filter(|_| together))
            }
            SocketAddr::V6(_) => one(any_v6),
        });
        found.copied()
    }
}

/// An address by what is taken of the machine: IPv4 in the form of IPv6 is IPv4.
fn key(address: SocketAddr) -> Key {
    let canonical = match address {
        SocketAddr::V6(v6) if v6.ip().to_ipv4_mapped().is_none() => address,
        SocketAddr::V4(_) | SocketAddr::V6(_) => SocketAddr::new(address.ip().to_canonical(), address.port()),
    };
    (address.port(), canonical)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the second of two addresses is complained about.
    fn overlap(first: &str, second: &str, families: Families) -> bool {
        let place = |text: &str| Spanned::new(1..2, text.parse::<SocketAddr>().unwrap());
        let (first, second) = (place(first), place(second));
        let mut report = Report::new("listen".to_owned());
        check(&mut report, &[], &[&first, &second], families);
        report.failed()
    }

    /// As the kernel has it: the second socket is refused where this says so. (Linux, `inet_csk_bind_conflict`.)
    #[test]
    fn addresses_overlap_where_the_kernel_says_that_they_are_in_use() {
        for (one, other, together, apart) in [
            ("127.0.0.1:80", "127.0.0.1:80", true, true),
            ("127.0.0.1:80", "127.0.0.1:81", false, false),
            ("127.0.0.1:80", "127.0.0.2:80", false, false),
            ("0.0.0.0:80", "127.0.0.1:80", true, true),
            ("0.0.0.0:80", "127.0.0.1:81", false, false),
            ("[::]:80", "[::1]:80", true, true),
            ("[::]:80", "127.0.0.1:80", true, false),
            ("[::]:80", "0.0.0.0:80", true, false),
            ("[::1]:80", "127.0.0.1:80", false, false),
            ("[::1]:80", "0.0.0.0:80", false, false),
            ("[::ffff:127.0.0.1]:80", "127.0.0.1:80", true, true),
            ("[::ffff:127.0.0.1]:80", "0.0.0.0:80", true, true),
            ("[fe80::1%2]:80", "[fe80::1%3]:80", false, false),
            ("[fe80::1%2]:80", "[::]:80", true, true),
        ] {
            for (first, second) in [(one, other), (other, one)] {
                assert_eq!(overlap(first, second, Families::Together), together, "{first} {second}");
                assert_eq!(overlap(first, second, Families::Apart), apart, "{first} {second} apart");
            }
        }
    }

    #[test]
    fn what_is_told_of_this_machine_is_what_its_kernel_does() {
        let Ok(all) = std::net::TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)) else {
            // Without IPv6 nothing can be told apart.
            return;
        };
        let port = all.local_addr().unwrap().port();
        let refused = std::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_err();
        assert_eq!(refused, Families::of_machine() == Families::Together);
    }
}
