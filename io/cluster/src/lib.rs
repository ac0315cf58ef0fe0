//! Who of several nodes does what only one may do.
//!
//! A [`Lease`] of a role has an *epoch* that only grows: whoever takes the role over has a higher one, and by it what an earlier
//! holder still tries is told from what its successor does. A lease alone excludes nobody, for its holder may have slept.
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
pub use remote::{Claim, Line, Question, Remote, Reply};

/// Shortest time to live of a lease: below it, a holder that is busy loses it.
pub const TTL_MIN: Duration = Duration::from_secs(1);
/// Longest: a dead holder is waited for so long.
pub const TTL_MAX: Duration = Duration::from_secs(60);
/// Most roles that anybody ever had: what is kept of each is kept for ever.
pub const ROLES_MAX: usize = 4_096;

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

/// What nodes agree by. Every implementation passes the same suite.
pub trait Coord: Send + Sync + fmt::Debug {
    /// Asks for a role. Who holds it already gets the same lease, with its time begun anew.
    fn acquire(&self, role: RoleId, holder: RoleId, ttl: Duration)
    -> Answer<'_, Result<Lease, AcquireError>>;

    /// Begins the time of a lease anew.
    fn renew(&self, lease: Lease) -> Answer<'_, Result<(), RenewError>>;

    /// Gives a role back; one that is over is over.
    fn release(&self, lease: Lease) -> Answer<'_, Result<(), Unavailable>>;
}

#[cfg(test)]
mod tests;
