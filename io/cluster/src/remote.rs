//! Coordination by another node, over whatever line leads to it: questions and replies that can be written down.
//!
//! Nothing is kept here. A line that fails says that the coordination is unavailable; only of a change nobody knows then whether
//! it was made.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use keepwatch_model::RoleId;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{AcquireError, Answer, Change, CommitError, Coord, Entry, Lease, RenewError, Unavailable};

/// What is asked of the node with the authority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Question {
    /// [`Coord::acquire`].
    Acquire(Claim),
    /// [`Coord::renew`].
    Renew(Claim),
    /// [`Coord::release`].
    Release(Claim),
    /// [`Coord::commit`].
    Commit {
        /// Roles and their epochs.
        fence: Vec<(RoleId, u64)>,
        /// Keys and the revisions that they must have.
        expect: Vec<(String, Option<u64>)>,
        /// Keys and what is written there.
        put: Vec<(String, Option<Bytes>)>,
    },
    /// [`Coord::entry`].
    Entry {
        /// Of what.
        key: String,
    },
}

/// A lease that is wanted or had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
    /// The change was made.
    Committed {
        /// Its revision.
        revision: u64,
    },
    /// A role of the change was taken over.
    Fenced {
        /// Which.
        role: RoleId,
        /// Its epoch.
        epoch: u64,
    },
    /// An entry is not what was expected.
    Conflict {
        /// Which.
        key: String,
    },
    /// A key or a value is too long.
    TooLong {
        /// Which.
        key: String,
    },
    /// An entry.
    Entry {
        /// The change that wrote it.
        revision: u64,
        /// What it is.
        value: Bytes,
    },
    /// There is no such entry.
    Nothing,
    /// It cannot be asked there either.
    Unavailable(String),
    /// It was asked there, and nobody knows.
    Unknown(String),
}

/// Bytes, written as base64 without padding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD_NO_PAD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD_NO_PAD.decode(text).map(Self).map_err(serde::de::Error::custom)
    }
}

impl Question {
    /// In whose name it is asked; `None` when in nobody's.
    pub const fn holder(&self) -> Option<RoleId> {
        match self {
            Self::Acquire(claim) | Self::Renew(claim) | Self::Release(claim) => Some(claim.holder),
            Self::Commit { .. } | Self::Entry { .. } => None,
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
            Self::Commit { fence, expect, put } => {
                let put = put.into_iter().map(|(key, value)| (key, value.map(|bytes| bytes.0))).collect();
                match coord.commit(Change { fence, expect, put }).await {
                    Ok(revision) => Reply::Committed { revision },
                    Err(CommitError::Fenced { role, epoch }) => Reply::Fenced { role, epoch },
                    Err(CommitError::Conflict { key }) => Reply::Conflict { key },
                    Err(CommitError::TooLong { key }) => Reply::TooLong { key },
                    Err(CommitError::Unavailable(Unavailable(why))) => Reply::Unavailable(why),
                    Err(CommitError::Unknown(why)) => Reply::Unknown(why),
                }
            }
            Self::Entry { key } => match coord.entry(&key).await {
                Ok(Some(Entry { revision, value })) => Reply::Entry { revision, value: Bytes(value) },
                Ok(None) => Reply::Nothing,
                Err(Unavailable(why)) => Reply::Unavailable(why),
            },
        }
    }
}

/// Why there is no reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoReply {
    /// What happened.
    pub why: String,
    /// The question may have been understood and acted upon.
    pub asked: bool,
}

/// A line to the node with the authority.
pub trait Line: Send + Sync + fmt::Debug {
    /// Asks it.
    fn ask(&self, question: Question) -> Answer<'_, Result<Reply, NoReply>>;
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

    /// A reply to a question that may be asked again.
    async fn reply(&self, question: Question) -> Result<Reply, Unavailable> {
        match self.line.ask(question).await {
            Ok(Reply::Unavailable(why) | Reply::Unknown(why)) => Err(Unavailable(why)),
            Ok(reply) => Ok(reply),
            Err(NoReply { why, .. }) => Err(Unavailable(why)),
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

    fn commit(&self, change: Change) -> Answer<'_, Result<u64, CommitError>> {
        Box::pin(async move {
            let Change { fence, expect, put } = change;
            let put = put.into_iter().map(|(key, value)| (key, value.map(Bytes))).collect();
            match self.line.ask(Question::Commit { fence, expect, put }).await {
                Ok(Reply::Committed { revision }) => Ok(revision),
                Ok(Reply::Fenced { role, epoch }) => Err(CommitError::Fenced { role, epoch }),
                Ok(Reply::Conflict { key }) => Err(CommitError::Conflict { key }),
                Ok(Reply::TooLong { key }) => Err(CommitError::TooLong { key }),
                Ok(Reply::Unavailable(why)) | Err(NoReply { why, asked: false }) => {
                    Err(Unavailable(why).into())
                }
                Ok(Reply::Unknown(why)) | Err(NoReply { why, asked: true }) => Err(CommitError::Unknown(why)),
                Ok(_) => Err(CommitError::Unknown(strange().0)),
            }
        })
    }

    fn entry(&self, key: &str) -> Answer<'_, Result<Option<Entry>, Unavailable>> {
        let question = Question::Entry { key: key.to_owned() };
        Box::pin(async move {
            match self.reply(question).await? {
                Reply::Entry { revision, value } => Ok(Some(Entry { revision, value: value.0 })),
                Reply::Nothing => Ok(None),
                _ => Err(strange()),
            }
        })
    }
}
