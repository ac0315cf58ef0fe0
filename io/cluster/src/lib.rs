//! Who of several nodes does what only one may do.
//!
//! A [`Lease`] of a role has an *epoch* that only grows: whoever takes the role over has a higher one, and what an earlier holder
//! still tries to change is refused by it ([`Coord::commit`]). A lease alone excludes nobody, for its holder may have slept; the epoch
//! does.
//!
//! Recording never waits for any of this. A standby that gets no answer covers all the same, and says that its cover is
//! unconfirmed. [`Memory`] forgets, and is for tests and for what lives no longer than its process; [`Database`] keeps everything in
//! SQLite, on the one node that has the authority, and [`Remote`] asks that node. It has no quorum: while that node is away, roles
//! stay as they are. [`Absent`] stands in for a database that cannot be used.

mod absent;
mod database;
mod memory;
mod remote;
mod table;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use keepwatch_model::RoleId;
use thiserror::Error;

pub use absent::Absent;
pub use database::{Database, DatabaseError};
pub use memory::{Clock, Memory};
pub use remote::{Bytes, Claim, Line, NoReply, Question, Remote, Reply};

/// Shortest time to live of a lease: below it, a holder that is busy loses it.
pub const TTL_MIN: Duration = Duration::from_secs(1);
/// Longest: a dead holder is waited for so long.
pub const TTL_MAX: Duration = Duration::from_secs(3_600);
/// Longest key of an entry, in bytes.
pub const KEY_BYTES_MAX: usize = 256;
/// Longest value of an entry, in bytes. What is larger is kept elsewhere, and its hash here.
pub const VALUE_BYTES_MAX: usize = 64 << 10;

/// An answer that is on its way.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The right of one node to a role, for a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The role.
    pub role: RoleId,
    /// Who has it.
    pub holder: RoleId,
    /// Higher than that of every holder before.
    pub epoch: u64,
    /// How long it lasts, counted from when it was asked for. The holder counts by its own clock, from before it asked: it then
    /// never believes in a lease that is over.
    pub ttl: Duration,
}

/// A value that nodes share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The change that wrote it.
    pub revision: u64,
    /// What it is.
    pub value: Vec<u8>,
}

/// What is to be changed: all of it or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Roles and epochs under which it is made: if one was taken over meanwhile, nothing is changed.
    pub fence: Vec<(RoleId, u64)>,
    /// Entries and the revision that they must have; `None`: there must be none.
    pub expect: Vec<(String, Option<u64>)>,
    /// What is written; `None` removes an entry.
    pub put: Vec<(String, Option<Vec<u8>>)>,
}

/// The coordination cannot be asked, or gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the coordination gives no answer: {0}")]
pub struct Unavailable(pub String);

/// Why there is no lease.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AcquireError {
    /// Another node has it.
    #[error("{holder} has it, in epoch {epoch}")]
    Held {
        /// Who.
        holder: RoleId,
        /// In which epoch.
        epoch: u64,
    },
    /// Nobody knows.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Why a lease does not go on.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RenewError {
    /// It was over, or was given back: another node may have the role.
    #[error("the lease is over")]
    Lost,
    /// Nobody knows.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Why nothing was changed, or nobody knows whether it was.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CommitError {
    /// Another node took the role over.
    #[error("{role} is in epoch {epoch} by now")]
    Fenced {
        /// Which role.
        role: RoleId,
        /// Its epoch.
        epoch: u64,
    },
    /// An entry is not what was expected.
    #[error("{key} was changed meanwhile")]
    Conflict {
        /// Which.
        key: String,
    },
    /// A key or a value is too long.
    #[error("{key:?} or its value is too long")]
    TooLong {
        /// Which key.
        key: String,
    },
    /// It was not asked.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// It was asked and gave no answer: the change may have been made.
    #[error("it is not known whether the change was made: {0}")]
    Unknown(String),
}

/// What nodes agree by. Every implementation passes the same suite.
pub trait Coord: Send + Sync + fmt::Debug {
    /// Asks for a role. Who holds it already gets the same lease, with its time begun anew.
    fn acquire(&self, role: RoleId, holder: RoleId, ttl: Duration)
    -> Answer<'_, Result<Lease, AcquireError>>;

    /// Begins the time of a lease anew.
    fn renew(&self, lease: Lease) -> Answer<'_, Result<(), RenewError>>;

    /// Gives a role back; one that is over is over.
    fn release(&self, lease: Lease) -> Answer<'_, Result<(), Unavailable>>;

    /// Makes a change and returns its revision.
    fn commit(&self, change: Change) -> Answer<'_, Result<u64, CommitError>>;

    /// An entry; `None` when there is none.
    fn entry(&self, key: &str) -> Answer<'_, Result<Option<Entry>, Unavailable>>;
}

#[cfg(test)]
mod tests;
