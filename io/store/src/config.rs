//! What a store is told to do.

use std::path::PathBuf;
use std::time::Duration;

use keepwatch_iscsi::{Login, Secret};
use keepwatch_model::{Place, RoleId};

/// Bytes of footage in memory unless configured otherwise.
pub const BUFFER_BYTES_MAX_DEFAULT: u64 = 256 << 20;

/// Time between two looks for a disk that is gone.
const REPROBE_INTERVAL_DEFAULT: Duration = Duration::from_secs(3);

/// Everything a store needs to open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// Directory of the index and of this recorder's identity; created if missing.
    pub data: PathBuf,
    /// The recorder that footage is written for; `None` takes the one kept in `data`, drawn at first use.
    pub role: Option<RoleId>,
    /// Where footage is kept, at least one.
    pub disks: Vec<DiskConfig>,
    /// Most bytes of footage held in memory: open records and those that wait for a disk.
    pub buffer_bytes_max: u64,
    /// Time between two looks for a disk that is gone.
    pub reprobe_interval: Duration,
}

impl StoreConfig {
    /// A configuration with the usual buffer and intervals.
    pub fn new(data: impl Into<PathBuf>, disks: Vec<DiskConfig>) -> Self {
        Self {
            data: data.into(),
            role: None,
            disks,
            buffer_bytes_max: BUFFER_BYTES_MAX_DEFAULT,
            reprobe_interval: REPROBE_INTERVAL_DEFAULT,
        }
    }
}

/// A place for footage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskConfig {
    /// A directory (its container is a file inside), a block device, or the address of a LUN:
    /// `iscsi://[user@]host[:port]/target/lun`.
    pub path: PathBuf,
    /// Bytes of the container; `None` takes all but 5 % of the file system, or the whole device. Only read when
    /// the container is made.
    pub size_bytes: Option<u64>,
    /// What the disk is for.
    pub role: DiskRole,
    /// Bytes of an extent; `None` chooses by the size of the disk. Only read when the container is made.
    pub extent_bytes: Option<u64>,
    /// The operator has confirmed what is here: a container of another recorder may be taken over, and a blank file
    /// system may take the place of a disk that is gone for good.
    pub adopt_foreign: bool,
    /// How to log in to the target of a LUN; `None` does not.
    pub login: Option<DiskLogin>,
    /// Nothing is written to it, whoever it belongs to: what stands on it is shown, see [`Store::shown`](crate::Store::shown).
    pub read_only: bool,
}

/// How to log in to the target of a LUN, by CHAP; the user stands in its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskLogin {
    /// Our password.
    pub password: Secret,
    /// By what the target shows who it is; `None` does not ask.
    pub target: Option<Login>,
}

impl DiskConfig {
    /// A disk for recordings of the given size.
    pub fn new(path: impl Into<PathBuf>, size_bytes: Option<u64>) -> Self {
        Self {
            path: path.into(),
            size_bytes,
            role: DiskRole::Recordings,
            extent_bytes: None,
            adopt_foreign: false,
            login: None,
            read_only: false,
        }
    }
}

/// What a disk is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DiskRole {
    /// The recorder's footage.
    #[default]
    Recordings,
    /// The internal local storage of an edge node: a card or a partition. It is used as one for recordings.
    Edge,
    /// The second local storage of an edge node, which is recorded to while no other disk can be.
    Second,
}

impl DiskRole {
    /// Which storage a disk of this role belongs to. That of the first place is recorded to as long as it can be.
    pub const fn place(self) -> Place {
        match self {
            Self::Recordings | Self::Edge => Place::Internal,
            Self::Second => Place::Second,
        }
    }

    /// The code on disk; never reused.
    pub const fn code(self) -> u8 {
        match self {
            Self::Recordings => 0,
            Self::Edge => 1,
            Self::Second => 2,
        }
    }

    /// The role of a code on disk; `None` when unknown.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Recordings),
            1 => Some(Self::Edge),
            2 => Some(Self::Second),
            _ => None,
        }
    }
}
