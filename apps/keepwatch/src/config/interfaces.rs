//! `[node.vin]`, `[node.vin2]` and `[node.wan]`: which network interface is for what.

use std::fmt;
use std::net::IpAddr;

use keepwatch_interfaces::NAME_BYTES_MAX;
use keepwatch_recorder::config::text::{Complaint, quoted};
use serde_spanned::Spanned;

use super::reader::Table;
use super::report::Report;

/// What an interface is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// Video in: the cameras.
    Vin,
    /// Video in of cameras of another make, on a network of their own.
    Vin2,
    /// Clients, mail, everything else.
    Wan,
}

impl Part {
    /// All of them: the key below `[node]`, and how messages name the table.
    const ALL: [(Self, &'static str, &'static str); 3] = [
        (Self::Vin, "vin", "[node.vin]"),
        (Self::Vin2, "vin2", "[node.vin2]"),
        (Self::Wan, "wan", "[node.wan]"),
    ];

    /// Cameras come in here.
    pub(crate) fn has_cameras(self) -> bool {
        matches!(self, Self::Vin | Self::Vin2)
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vin => "VIN",
            Self::Vin2 => "VIN2",
            Self::Wan => "WAN",
        })
    }
}

/// What an interface is to be called by others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Address {
    /// Asked of the network.
    #[default]
    Dhcp,
    /// This one, with the length of its network.
    Fixed(IpAddr, u8),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dhcp => f.write_str("dhcp"),
            Self::Fixed(address, bits) => write!(f, "{address}/{bits}"),
        }
    }
}

/// One of the tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InterfaceTable {
    /// What it is for.
    pub(crate) part: Part,
    /// The interface.
    pub(crate) interface: Spanned<String>,
    /// The links that it bundles; empty when that is not said.
    pub(crate) members: Vec<Spanned<String>>,
    /// Its address, for `plan`.
    pub(crate) address: Address,
}

/// Reads those that are there.
pub(super) fn read_all(report: &mut Report, node: &mut Table<'_, '_>) -> Vec<InterfaceTable> {
    let mut tables: Vec<InterfaceTable> = Vec::new();
    for (part, key, name) in Part::ALL {
        let Some(mut table) = node.table(report, key, name) else { continue };
        if !table.has("interface") {
            table.missing(report, "interface", "add the name of the interface, like interface = \"bond0\"");
        }
        let interface = table.parsed(report, "interface", interface_name);
        let members = table.list(report, "members", interface_name);
        let address = table.parsed(report, "address", address);
        table.finish(report);
        let Some(interface) = interface else { continue };
        let taken = tables.iter().find(|other| other.interface.get_ref() == interface.get_ref());
        if let Some(other) = taken {
            let what = format!("{} is for {} already", quoted(interface.get_ref()), other.part);
            report.warning(interface.span(), what, "give cameras and everything else an interface each");
        }
        tables.push(InterfaceTable {
            part,
            interface,
            members: members.unwrap_or_default(),
            address: address.map(Spanned::into_inner).unwrap_or_default(),
        });
    }
    tables
}

pub(crate) fn interface_name(text: &str) -> Result<String, Complaint> {
    let fits = (1..=NAME_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:@".contains(&byte))
        && !matches!(text, "." | "..");
    if fits {
        return Ok(text.to_owned());
    }
    let what = format!("{} cannot be an interface", quoted(text));
    Err(Complaint::new(what, "write a name as `ip link` shows it, like \"eno1\""))
}

fn address(text: &str) -> Result<Address, Complaint> {
    if text == "dhcp" {
        return Ok(Address::Dhcp);
    }
    let parsed = text.split_once('/').and_then(|(address, bits)| {
        let address: IpAddr = address.parse().ok()?;
        let bits: u8 = bits.parse().ok()?;
        (bits <= if address.is_ipv4() { 32 } else { 128 }).then_some(Address::Fixed(address, bits))
    });
    let what = || format!("{} is no address with the length of its network", quoted(text));
    parsed.ok_or_else(|| Complaint::new(what(), "write \"dhcp\", or an address like \"192.0.2.5/24\""))
}
