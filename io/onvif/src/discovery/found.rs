//! A device that was found: who it says it is, and the address at which it can most likely be reached.

#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr};

use url::{Host, Url};

use super::interfaces::Interface;
use super::message::{SCOPE, Target, decoded, type_name};

/// Longest name that is shown, in characters.
const SHOWN_MAX: usize = 64;

/// Senders that are kept of one device.
const SENDERS_MAX: usize = 8;

/// A device that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its stable name, `urn:uuid:...`.
    pub endpoint: String,
    /// Where its device service is most likely reached.
    pub address: Url,
    /// All addresses that it gave.
    pub addresses: Vec<String>,
    /// What its owner calls it; empty when it does not say.
    pub name: String,
    /// Its hardware; empty when it does not say.
    pub hardware: String,
    /// Where it hangs; empty when it does not say.
    pub location: String,
    /// The profiles of ONVIF that it conforms to: `Streaming`, `G`, `T`.
    pub profiles: Vec<String>,
    /// Its types, without their namespaces.
    pub types: Vec<String>,
    /// Who answered for it, the first one first.
    pub senders: Vec<IpAddr>,
    /// The interface that it was found by; `None` when it was asked directly.
    pub interface: Option<String>,
}

impl Found {
    /// A device of which nothing but its name and address is known.
    pub const fn silent(endpoint: String, address: Url) -> Self {
        Self {
            endpoint,
            address,
            addresses: Vec::new(),
            name: String::new(),
            hardware: String::new(),
            location: String::new(),
            profiles: Vec::new(),
            types: Vec::new(),
            senders: Vec::new(),
            interface: None,
        }
    }

    /// What a device said of itself that was heard from `sender`. `interface` is the one it was found by, and `reached` are
    /// those whose subnets count as near. `None` when there is no address to reach it at.
    pub(super) fn new(
        target: &Target,
        sender: IpAddr,
        interface: Option<&Interface>,
        reached: &[Interface],
    ) -> Option<Self> {
        let near = match interface {
            Some(interface) => std::slice::from_ref(interface),
            None => reached,
        };
        let address = address(&target.addresses, sender, near)?;
        Some(Self {
            addresses: target.addresses.clone(),
            name: scope(target, "name/"),
            hardware: scope(target, "hardware/"),
            location: scope(target, "location/"),
            profiles: scopes(target, "Profile/").collect(),
            types: target.types.iter().map(|name| type_name(name).to_owned()).collect(),
            senders: vec![sender],
            interface: interface.map(|interface| interface.name.clone()),
            ..Self::silent(target.endpoint.clone(), address)
        })
    }

    /// Adds what another answer of the same device says.
    pub(super) fn join(&mut self, other: Self) {
        for sender in other.senders {
            if !self.senders.contains(&sender) && self.senders.len() < SENDERS_MAX {
                self.senders.push(sender);
            }
        }
        // An answer by its own IPv4 address is worth more than one by link-local IPv6.
        if self.address.host_str() != other.address.host_str()
            && !is_ipv4(&self.address)
            && is_ipv4(&other.address)
        {
            self.address = other.address;
        }
        for (own, others) in [
            (&mut self.name, other.name),
            (&mut self.hardware, other.hardware),
            (&mut self.location, other.location),
        ] {
            if own.is_empty() {
                *own = others;
            }
        }
    }
}

fn is_ipv4(address: &Url) -> bool {
    matches!(address.host(), Some(Host::Ipv4(_)))
}

/// The best address: one that names the sender, then one in a near subnet; else the sender with the first path given, for
/// a device in a container or behind a translator does not know how it is reached.
fn address(given: &[String], sender: IpAddr, near: &[Interface]) -> Option<Url> {
    let sender = sender.to_canonical();
    let urls: Vec<Url> = given
        .iter()
        .filter_map(|text| text.parse::<Url>().ok())
        .filter(|url| matches!(url.scheme(), "http" | "https"))
        .collect();
    let host = |url: &Url| match url.host() {
        Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
        Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
        Some(Host::Domain(_)) | None => None,
    };
    let is_near = |url: &&Url| match host(url) {
        Some(IpAddr::V4(address)) => near.iter().any(|interface| interface.reaches(address)),
        Some(IpAddr::V6(_)) | None => false,
    };
    let named = urls
        .iter()
        .find(|url| host(url) == Some(sender) && usable(sender))
        .or_else(|| urls.iter().find(is_near));
    if let Some(named) = named {
        return Some(bare(named.clone()));
    }
    // No address of a link names its link, so a sender by link-local IPv6 cannot be written down.
    if usable(sender) {
        let mut url = match urls.first() {
            Some(first) => first.clone(),
            None => "http://0.0.0.0/onvif/device_service".parse().ok()?,
        };
        url.set_ip_host(sender).ok()?;
        return Some(bare(url));
    }
    urls.into_iter().find(|url| host(url).is_none_or(usable)).map(bare)
}

/// Whether an address can be written into a configuration.
fn usable(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address != Ipv4Addr::UNSPECIFIED,
        IpAddr::V6(address) => !address.is_unicast_link_local() && !address.is_unspecified(),
    }
}

fn bare(mut url: Url) -> Url {
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_fragment(None);
    url
}

fn scope(target: &Target, kind: &str) -> String {
    scopes(target, kind).next().unwrap_or_default()
}

/// The values of all scopes of a kind, decoded and fit to be shown.
fn scopes<'a>(target: &'a Target, kind: &'a str) -> impl Iterator<Item = String> + 'a {
    target.scopes.iter().filter_map(move |scope| {
        let value = scope.strip_prefix(SCOPE)?.strip_prefix(kind)?;
        let text = String::from_utf8_lossy(&decoded(value)).into_owned();
        let shown: String =
            text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SHOWN_MAX).collect();
        Some(shown.trim().to_owned()).filter(|shown| !shown.is_empty())
    })
}
