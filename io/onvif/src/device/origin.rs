//! Under which address a client reached the device, so that the addresses it is told work for it: behind a forwarded
//! port, over IPv6, or by a name.

use std::net::SocketAddr;

/// Longest host that is echoed, in bytes (RFC 1035 §2.3.4, and a port).
const AUTHORITY_BYTES_MAX: usize = 262;

/// How the connection of a request looks from the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// The address of the device that the client connected to.
    pub local: SocketAddr,
    /// Whether the connection is encrypted.
    pub secure: bool,
}

/// The beginning of all addresses that a client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    scheme: &'static str,
    authority: String,
}

impl Origin {
    /// What the client wrote into `Host`, if it is a host; else where it connected to.
    pub(crate) fn new(reached: Reached, host: Option<&str>) -> Self {
        let scheme = if reached.secure { "https" } else { "http" };
        let named = host.map(str::trim).filter(|host| is_authority(host));
        // A link-local zone means nothing to anybody else.
        let local = SocketAddr::new(reached.local.ip().to_canonical(), reached.local.port());
        Self { scheme, authority: named.map_or_else(|| local.to_string(), str::to_owned) }
    }

    /// The address of `path`, which begins with a slash.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.authority)
    }

    /// The host alone, in brackets if it is IPv6.
    pub(crate) fn host(&self) -> &str {
        match self.authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            Some(_) | None => &self.authority,
        }
    }
}

fn is_authority(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => {
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            ("v6", rest.strip_prefix(':').or(rest.is_empty().then_some("0")))
        }
        None => match host.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (host, Some("0")),
        },
    };
    let allowed = |character: char| character.is_ascii_alphanumeric() || "-._".contains(character);
    host.len() <= AUTHORITY_BYTES_MAX
        && !name.is_empty()
        && name.chars().all(allowed)
        && port.is_some_and(|port| port.parse::<u16>().is_ok() && !port.starts_with('+'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(host: Option<&str>) -> Origin {
        Origin::new(Reached { local: "192.0.2.7:8080".parse().unwrap(), secure: false }, host)
    }

    #[test]
    fn a_client_is_told_the_address_that_it_used() {
        for (host, url, bare) in [
            (Some("camera.example"), "http://camera.example/x", "camera.example"),
            (Some("203.0.113.1:81"), "http://203.0.113.1:81/x", "203.0.113.1"),
            (Some("[2001:db8::1]:81"), "http://[2001:db8::1]:81/x", "[2001:db8::1]"),
            (Some("[2001:db8::1]"), "http://[2001:db8::1]/x", "[2001:db8::1]"),
            (None, "http://192.0.2.7:8080/x", "192.0.2.7"),
        ] {
            assert_eq!((origin(host).url("/x").as_str(), origin(host).host()), (url, bare));
        }
    }

    #[test]
    fn what_is_no_host_is_not_echoed() {
        let long = "a".repeat(300);
        for host in ["", "a b", "a/b", "a:b", "a:99999", "<x>", "u@h", "[::1", "[x]", ":80", "a:+8", &long] {
            assert_eq!(origin(Some(host)).url("/"), "http://192.0.2.7:8080/", "{host}");
        }
    }
}
