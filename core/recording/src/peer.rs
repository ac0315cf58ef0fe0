//! What nodes say to each other: who they are, whether a recorder's pictures reach its disks, and its whole configuration.
//!
//! These are the types of the wire. Everything in them was said by somebody else: each text and each list has a bound that is
//! kept while it is read, so that a forged answer costs no more memory than an honest one. What is not known is passed over:
//! a node of a later version is still understood, for its cover must go on. Who may ask, and over which connection, is a
//! matter of the shell.

mod backup;
mod bounds;
mod check;
mod hello;
mod missing;
mod relay;

pub use backup::{
    Backup, BackupError, CameraBackup, Contents, Difference, FORMAT, LEFT_BYTES_MAX, LEFT_MAX, Restore,
    Restored, RtspUserBackup, Superseded,
};
pub use check::{CameraCheck, Check, CheckError, RecordedSpan};
pub use hello::{Hello, NodeDuty, NodeKeyError, NodePublic, Password, Register};
pub use missing::{CameraMissing, Missing};
pub use relay::{
    Arrived, ArrivedRecord, Fate, MissingSpan, NOWHERE_SPANS_MAX, Nowhere, NowhereLine, NowhereSpan,
    WANTED_SPANS_MAX, Wanted, WantedLine,
};

use crate::failover::Version;

/// Version of what nodes say to each other; grows when an earlier one could not understand it.
pub const PROTOCOL: u32 = 1;

/// The product, so that another one that speaks likewise is told apart.
pub const PRODUCT: &str = "keepwatch";

/// The version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Most cameras of one recorder, as many as its settings may have.
pub const CAMERAS_MAX: usize = 4096;

/// Most standbys of one recorder.
pub const STANDBYS_MAX: usize = 16;

/// Most edge nodes of one recorder.
pub const EDGE_NODES_MAX: usize = 256;

/// Longest name of a node in bytes: a hundred characters.
const NAME_BYTES_MAX: usize = 400;

/// Longest version in bytes.
const VERSION_BYTES_MAX: usize = 32;

/// Returns major and minor of a version like `0.1.0`, with the protocol; `None` when it is none.
pub fn version(text: &str, protocol: u32) -> Option<Version> {
    let mut parts = text.split('.');
    let mut number = || parts.next()?.parse().ok();
    let (major, minor) = (number()?, number()?);
    Some(Version { major, minor, protocol })
}

/// Returns the version of this program and its protocol.
pub fn own_version() -> Version {
    version(VERSION, PROTOCOL).expect("the version of a crate has a major and a minor number")
}

#[cfg(test)]
mod tests;
