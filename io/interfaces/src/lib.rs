//! What the kernel says of network interfaces, in the files of `/sys/class/net`: whether a link is up and how fast, what a
//! bundle of links is made of, and whether the switch at the other end bundles them too.
//!
//! It reads and judges nothing, and changes nothing. The format of the files is that of the kernel's documentation
//! (`Documentation/ABI/testing/sysfs-class-net`, `Documentation/networking/bonding.rst`); the meaning of a port's state is
//! that of IEEE 802.1AX §6.4.2.3.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Longest file that is read: a bundle of many members.
const FILE_BYTES_MAX: u64 = 16 << 10;
/// Most members of a bundle that are looked at.
const MEMBERS_MAX: usize = 64;
/// Most interfaces that are looked at for an address.
const INTERFACES_MAX: usize = 1024;
/// Characters of an address of Ethernet, like `02:00:5e:00:53:01`.
const MAC_CHARS: usize = 17;
/// Longest name of an interface (`IFNAMSIZ` without its zero).
pub const NAME_BYTES_MAX: usize = 15;

/// Where the kernel shows interfaces.
#[derive(Clone, Debug)]
pub struct Interfaces {
    root: PathBuf,
}

/// Why nothing is known of an interface.
#[derive(Debug, Error)]
pub enum InterfaceError {
    /// No interface can have such a name.
    #[error("{0:?} is no name of an interface")]
    Name(String),
    /// There is none of this name.
    #[error("there is no interface {0}")]
    Unknown(String),
    /// The kernel does not say.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its link is up.
    pub up: bool,
    /// Megabits per second; `None` when the link is down, or the driver does not say.
    pub speed_mbps: Option<u32>,
    /// It is a bundle of links.
    pub bond: Option<Bond>,
    /// It is a member of this bundle.
    pub member_of: Option<String>,
}

/// A bundle of links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bond {
    /// The kernel's name of its mode, like `802.3ad`.
    pub mode: String,
    /// The kernel's number of it; 4 is IEEE 802.1AX with LACP.
    pub mode_number: u8,
    /// How often the links are looked at, in milliseconds; 0 is never.
    pub monitor_interval_ms: u32,
    /// How packets are spread, like `layer2+3`.
    pub spread_by: String,
    /// The aggregator in use; only of mode 4.
    pub aggregator: Option<u16>,
    /// Its members.
    pub members: Vec<Member>,
}

/// A member of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its link is up, as the bundle sees it.
    pub up: bool,
    /// Megabits per second; `None` when the link is down, or the driver does not say.
    pub speed_mbps: Option<u32>,
    /// How often its link failed since it joined.
    pub failures: u32,
    /// Its aggregator; only of mode 4.
    pub aggregator: Option<u16>,
    /// What the other end says of itself; only of mode 4.
    pub partner: Option<PortState>,
}

/// The state of a port, as LACP tells it (IEEE 802.1AX §6.4.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortState(pub u8);

impl PortState {
    /// It takes part in a bundle.
    pub fn aggregates(self) -> bool {
        self.0 & 0x04 != 0
    }

    /// It is in the right bundle.
    pub fn is_synchronised(self) -> bool {
        self.0 & 0x08 != 0
    }

    /// It takes packets in, and sends packets.
    pub fn carries(self) -> bool {
        self.0 & 0x30 == 0x30
    }

    /// Nothing was heard of the other end: what stands here is made up.
    pub fn is_made_up(self) -> bool {
        self.0 & 0x40 != 0
    }

    /// Nothing has been heard for too long.
    pub fn is_expired(self) -> bool {
        self.0 & 0x80 != 0
    }
}

impl Default for Interfaces {
    fn default() -> Self {
        Self::at("/sys/class/net")
    }
}

impl Interfaces {
    /// Those that are shown in `root`.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// What is known of the interface `name`.
    ///
    /// # Errors
    /// When there is none, or the kernel does not say whether its link is up.
    pub fn look(&self, name: &str) -> Result<Interface, InterfaceError> {
        let directory = self.directory(name)?;
        let state = text(&directory.join("operstate"))?;
        let bond = directory.join("bonding");
        let member_of = std::fs::read_link(directory.join("master")).ok();
        // The upper interface may be a bridge: only that of a bundle counts.
        let member_of = member_of.filter(|_| directory.join("bonding_slave").is_dir());
        let member_of = member_of.as_deref().and_then(Path::file_name);
        Ok(Interface {
            name: name.to_owned(),
            // Some drivers say nothing more precise of a link that carries.
            up: matches!(state.as_str(), "up" | "unknown"),
            speed_mbps: speed(&directory),
            bond: if bond.is_dir() { Some(self.bond(&bond)?) } else { None },
            member_of: member_of.map(|name| name.to_string_lossy().into_owned()),
        })
    }

    /// The hardware address of this machine, as people know it by: of the first interface that is a device, by name, else of
    /// the first that has one. `None` when none has.
    pub fn hardware_address(&self) -> Option<String> {
        let mut names: Vec<String> = std::fs::read_dir(&self.root)
            .ok()?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .take(INTERFACES_MAX)
            .collect();
        names.sort_unstable();
        let address = |name: &String| {
            let directory = self.directory(name).ok()?;
            let address = text(&directory.join("address")).ok()?;
            let is_one =
                address.len() == MAC_CHARS && address.bytes().any(|byte| !matches!(byte, b'0' | b':'));
            is_one.then(|| (!directory.join("device").exists(), address))
        };
        names.iter().filter_map(address).min_by_key(|(is_made_up, _)| *is_made_up).map(|(_, address)| address)
    }

    fn directory(&self, name: &str) -> Result<PathBuf, InterfaceError> {
        let is_name = !name.is_empty()
            && name.len() <= NAME_BYTES_MAX
            && !matches!(name, "." | "..")
            && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/');
        if !is_name {
            return Err(InterfaceError::Name(name.chars().take(64).collect()));
        }
        let directory = self.root.join(name);
        if directory.is_dir() { Ok(directory) } else { Err(InterfaceError::Unknown(name.to_owned())) }
    }

    fn bond(&self, directory: &Path) -> Result<Bond, InterfaceError> {
        // "802.3ad 4"
        let mode = text(&directory.join("mode"))?;
        let (mode, number) = mode.split_once(' ').unwrap_or((&mode, ""));
        let spread_by = text(&directory.join("xmit_hash_policy")).unwrap_or_default();
        let spread_by = spread_by.split(' ').next().unwrap_or_default().to_owned();
        let names = text(&directory.join("slaves"))?;
        let members = names.split_ascii_whitespace().take(MEMBERS_MAX).map(|name| self.member(name));
        Ok(Bond {
            mode: mode.to_owned(),
            mode_number: number.parse().unwrap_or(u8::MAX),
            monitor_interval_ms: number_in(&directory.join("miimon")).unwrap_or(0),
            spread_by,
            aggregator: number_in(&directory.join("ad_aggregator")),
            members: members.collect::<Result<_, _>>()?,
        })
    }

    fn member(&self, name: &str) -> Result<Member, InterfaceError> {
        let directory = self.directory(name)?;
        let port = directory.join("bonding_slave");
        Ok(Member {
            name: name.to_owned(),
            up: text(&port.join("mii_status"))? == "up",
            speed_mbps: speed(&directory),
            failures: number_in(&port.join("link_failure_count")).unwrap_or(0),
            aggregator: number_in(&port.join("ad_aggregator_id")),
            partner: number_in(&port.join("ad_partner_oper_port_state")).map(PortState),
        })
    }
}

/// The kernel refuses to read it while the link is down, or says -1.
fn speed(directory: &Path) -> Option<u32> {
    number_in(&directory.join("speed")).filter(|speed| *speed > 0)
}

fn number_in<T: std::str::FromStr>(path: &Path) -> Option<T> {
    text(path).ok()?.parse().ok()
}

fn text(path: &Path) -> Result<String, InterfaceError> {
    let read = || {
        let mut text = String::new();
        File::open(path)?.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
        Ok(text.trim().to_owned())
    };
    read().map_err(|source| InterfaceError::Unreadable { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests;
