//! The names and addresses by which a server is known, for its certificate (RFC 6125 §6.4, RFC 5280 §4.2.1.6).

use std::net::IpAddr;

use rustls::pki_types::ServerName;

/// Most names and addresses in a certificate: a host of many containers has thousands of addresses, and a certificate that
/// is shown in each handshake should stay within a few packets.
const NAMES_MAX: usize = 64;

/// Longest common name, RFC 5280 appendix A.1.
const COMMON_NAME_CHARS_MAX: usize = 64;

/// Names and addresses of a server, `localhost` and the loopback addresses among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names(Vec<ServerName<'static>>);

impl Names {
    /// Returns those by which any server is known on its own machine.
    pub fn local() -> Self {
        let mut names = Self(Vec::new());
        for name in ["localhost", "127.0.0.1", "::1"] {
            names.add(name);
        }
        names
    }

    /// Returns those of this machine: its host name, also as mDNS writes it, and the addresses of its interfaces.
    ///
    /// An address that is valid on one link only is left out, as no browser can be told which link. Where the system does
    /// not tell the addresses, the names have to do.
    pub fn of_this_machine() -> Self {
        let mut names = Self::local();
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        names.add(&host);
        if !host.contains('.') {
            names.add(&format!("{host}.local"));
        }
        for interface in if_addrs::get_if_addrs().unwrap_or_default() {
            if !interface.is_link_local() {
                names.add_address(interface.ip());
            }
        }
        names
    }

    /// Adds a name or an address. What cannot stand in a certificate, such as a name with a space, is left out, and so is
    /// what goes beyond 64.
    pub fn add(&mut self, name: &str) {
        if let Ok(name) = ServerName::try_from(name.to_ascii_lowercase()) {
            self.push(name);
        }
    }

    /// Adds an address, unless it stands for all of them.
    pub fn add_address(&mut self, address: IpAddr) {
        if !address.is_unspecified() {
            self.push(address.into());
        }
    }

    fn push(&mut self, name: ServerName<'static>) {
        if self.0.len() < NAMES_MAX && !self.0.contains(&name) {
            self.0.push(name);
        }
    }

    /// All, as text.
    pub(crate) fn texts(&self) -> Vec<String> {
        self.0.iter().map(|name| name.to_str().into_owned()).collect()
    }

    /// What an operator reads who looks at the certificate: the first name that is not every machine's.
    pub(crate) fn common_name(&self) -> String {
        let own = self.0.iter().filter(|name| matches!(name, ServerName::DnsName(_))).nth(1);
        let own = own.or_else(|| self.0.first()).map_or_else(|| "keepwatch".into(), ServerName::to_str);
        own.chars().take(COMMON_NAME_CHARS_MAX).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_stand_in_a_certificate_is_left_out_and_nothing_stands_there_twice() {
        let mut names = Names::local();
        for name in ["Gate.example", "gate.example", "", "the gate", "a..b", "[::1]", "::1", "0:0::1"] {
            names.add(name);
        }
        names.add_address([0; 4].into());
        names.add_address([192, 0, 2, 7].into());
        assert_eq!(names.texts(), ["localhost", "127.0.0.1", "::1", "gate.example", "192.0.2.7"]);
        assert_eq!(names.common_name(), "gate.example");
        assert_eq!(Names::local().common_name(), "localhost");
    }

    #[test]
    fn however_many_addresses_a_machine_has_the_certificate_stays_small() {
        let mut names = Names::local();
        for number in 0..=255 {
            names.add_address([192, 0, 2, number].into());
        }
        assert_eq!(names.texts().len(), NAMES_MAX);
    }

    #[test]
    fn the_machine_is_known_by_its_loopback_addresses_once() {
        let names = Names::of_this_machine().texts();
        assert_eq!(names.iter().filter(|name| *name == "127.0.0.1").count(), 1, "{names:?}");
    }
}
