//! Coordination by another node, over whatever line leads to it: questions and replies that can be written down.
//!
//! Nothing is kept here. A line that fails says that the coordination is unavailable; what was asked may be asked again.

use std::fmt;
use std::time::Duration;

use keepwatch_model::RoleId;
use serde::{Deserialize, Serialize};

use crate::{AcquireError, Answer, Coord, Lease, RenewError, Unavailable};

/// What is asked of the node with the authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// [`Coord::acquire`].
    Acquire(Claim),
    /// [`Coord::renew`].
    Renew(Claim),
    /// [`Coord::release`].
    Release(Claim),
}

/// A lease that is wanted or had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Of which role.
    pub role: RoleId,
    /// Whose.
    pub holder: RoleId,
    /// In which epoch; 0 while it is only wanted.
    pub epoch: u64,
    /// For how long.
    pub ttl_ms: u64,
}

impl Claim {
    fn lease(self) -> Lease {
        let Self { role, holder, epoch, ttl_ms } = self;
        Lease { role, holder, epoch, ttl: Duration::from_millis(ttl_ms) }
    }
}

impl From<Lease> for Claim {
    fn from(lease: Lease) -> Self {
        let Lease { role, holder, epoch, ttl } = lease;
        Self { role, holder, epoch, ttl_ms: u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX) }
    }
}

/// What the node with the authority replies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The lease is had.
    Leased(Claim),
    /// Another node has it.
    Held {
        /// Who.
        holder: RoleId,
        /// In which epoch.
        epoch: u64,
    },
    /// The lease goes on, or was given back.
    Done,
    /// The lease is over.
    Lost,
    /// It cannot be asked there either.
    Unavailable(String),
}

impl Question {
    /// In whose name it is asked.
    pub const fn holder(&self) -> RoleId {
        match self {
            Self::Acquire(claim) | Self::Renew(claim) | Self::Release(claim) => claim.holder,
        }
    }

    /// Asks `coord`, which this node has.
    pub async fn ask(self, coord: &dyn Coord) -> Reply {
        match self {
            Self::Acquire(claim) => {
                let Lease { role, holder, ttl, .. } = claim.lease();
                match coord.acquire(role, holder, ttl).await {
                    Ok(lease) => Reply::Leased(lease.into()),
                    Err(AcquireError::Held { holder, epoch }) => Reply::Held { holder, epoch },
                    Err(AcquireError::Unavailable(Unavailable(why))) => Reply::Unavailable(why),
                }
            }
            Self::Renew(claim) => match coord.renew(claim.lease()).await {
                Ok(()) => Reply::Done,
                Err(RenewError::Lost) => Reply::Lost,
                Err(RenewError::Unavailable(Unavailable(why))) => Reply::Unavailable(why),
            },
            Self::Release(claim) => match coord.release(claim.lease()).await {
                Ok(()) => Reply::Done,
                Err(Unavailable(why)) => Reply::Unavailable(why),
            },
        }
    }
}

/// A line to the node with the authority.
pub trait Line: Send + Sync + fmt::Debug {
    /// Asks it. Whether a question without a reply was understood nobody knows.
    fn ask(&self, question: Question) -> Answer<'_, Result<Reply, Unavailable>>;
}

/// Coordination by the node at the other end of a line.
#[derive(Debug)]
pub struct Remote<L> {
    line: L,
}

impl<L: Line> Remote<L> {
    /// By the node at the other end of `line`.
    pub const fn new(line: L) -> Self {
        Self { line }
    }

    async fn reply(&self, question: Question) -> Result<Reply, Unavailable> {
        match self.line.ask(question).await? {
            Reply::Unavailable(why) => Err(Unavailable(why)),
            reply @ (Reply::Leased(_) | Reply::Held { .. } | Reply::Done | Reply::Lost) => Ok(reply),
        }
    }
}

/// A node of another version, or one that means harm.
fn strange() -> Unavailable {
    Unavailable("its reply is none to what was asked; is it of another version?".to_owned())
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "what is no reply to the question is strange, whatever it is"
)]
impl<L: Line> Coord for Remote<L> {
    fn acquire(
        &self,
        role: RoleId,
        holder: RoleId,
        ttl: Duration,
    ) -> Answer<'_, Result<Lease, AcquireError>> {
        Box::pin(async move {
            let wanted = Claim::from(Lease { role, holder, epoch: 0, ttl });
            match self.reply(Question::Acquire(wanted)).await? {
                Reply::Leased(claim) if claim.role == role && claim.holder == holder => Ok(claim.lease()),
                Reply::Held { holder, epoch } => Err(AcquireError::Held { holder, epoch }),
                _ => Err(strange().into()),
            }
        })
    }

    fn renew(&self, lease: Lease) -> Answer<'_, Result<(), RenewError>> {
        Box::pin(async move {
            match self.reply(Question::Renew(lease.into())).await? {
                Reply::Done => Ok(()),
                Reply::Lost => Err(RenewError::Lost),
                _ => Err(strange().into()),
            }
        })
    }

    fn release(&self, lease: Lease) -> Answer<'_, Result<(), Unavailable>> {
        Box::pin(async move {
            match self.reply(Question::Release(lease.into())).await? {
                Reply::Done => Ok(()),
                _ => Err(strange()),
            }
        })
    }
}
