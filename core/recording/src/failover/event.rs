//! What can happen to a standby: answers of its primaries, news of its own shell, commands of operators.

use std::collections::BTreeSet;

use keepwatch_model::{CameraId, GapReason, RoleId, WallTime};
use thiserror::Error;

use super::setup::{Capacity, Demand, Mode, Registration, Setup, Version};

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A primary answered the check of this number.
    Answered {
        /// Who.
        role: RoleId,
        /// The check's.
        check: u64,
        /// What it said.
        report: Report,
    },
    /// The check of this number failed before its time was over.
    Missed {
        /// Whose.
        role: RoleId,
        /// The check's.
        check: u64,
        /// Why.
        why: Missed,
    },
    /// The configuration of a primary was fetched and kept; these are the cameras in it.
    BackedUp {
        /// Whose.
        role: RoleId,
        /// Its cameras.
        cameras: Vec<(CameraId, Demand)>,
    },
    /// The configuration of a primary could not be fetched or kept.
    NotBackedUp {
        /// Whose.
        role: RoleId,
    },
    /// A camera that its primary does not record was tried: whether the standby received a picture of it.
    Tried {
        /// Whose.
        role: RoleId,
        /// Which.
        camera: CameraId,
        /// The standby can record it.
        received: bool,
    },
    /// What the standby recorded of a covered camera is on disk up to here, in camera time.
    Durable {
        /// Whose.
        role: RoleId,
        /// Which.
        camera: CameraId,
        /// Camera time.
        until: WallTime,
    },
    /// The schedules of these cameras of a primary, and of no others, ask for no recording at present.
    Unscheduled {
        /// Whose.
        role: RoleId,
        /// Which.
        cameras: BTreeSet<CameraId>,
    },
    /// The coordination gave this standby the cover of a primary.
    Claimed {
        /// Whose.
        role: RoleId,
    },
    /// Another standby covers the primary.
    HeldByOther {
        /// Whose.
        role: RoleId,
    },
    /// The coordination cannot be asked: nobody knows who covers.
    Unclaimable {
        /// Whose.
        role: RoleId,
    },
    /// What this standby can record was measured or set.
    Measured(Capacity),
    /// A primary was registered.
    Registered(Registration),
    /// The setup was changed.
    SetUp(Setup),
    /// Replace came to its end: the role is played by another recorder, in this epoch.
    Replaced {
        /// Which role.
        role: RoleId,
        /// Its new epoch.
        epoch: u64,
    },
    /// Replace failed; all is as before.
    NotReplaced {
        /// Which role.
        role: RoleId,
    },
}

/// What an operator asks for. Refused with a reason or carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Take a primary off the list.
    Deregister(RoleId),
    /// Choose who starts its failover.
    Choose(RoleId, Mode),
    /// Start its failover.
    Failover(RoleId),
    /// End its failover at once; its mode becomes Manual.
    Stop(RoleId),
    /// Give the role back to the repaired primary, with both recording until its footage is on disk.
    Failback(RoleId),
    /// Another recorder is about to take the role.
    Replace(RoleId),
}

/// Why a command is not carried out. The sentence is for operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// No such primary.
    #[error("it is not on the Monitoring list")]
    Unknown,
    /// The mode stands while a failover runs, and a primary cannot be removed.
    #[error("its failover is running; Stop or Failback ends it first")]
    Running,
    /// There is nothing to stop or to fail back.
    #[error("no failover of it is running")]
    NotRunning,
    /// Failover of a primary that records everything.
    #[error("it is recording all of its cameras")]
    Normal,
    /// Failback to a primary that does not answer.
    #[error("it does not answer; repair it, or use Replace")]
    NotRepaired,
    /// Failback or Replace is under way already.
    #[error("failback or Replace is under way")]
    UnderWay,
    /// Another failover takes what this standby can record.
    #[error("this standby can record no more cameras; Stop another failover first")]
    Full,
}

/// What a primary says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// In which epoch it plays the role.
    pub epoch: u64,
    /// Its version.
    pub version: Version,
    /// Every camera that it has.
    pub cameras: Vec<CameraReport>,
}

/// What a primary says of one camera.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CameraReport {
    /// Which.
    pub camera: CameraId,
    /// What it takes.
    pub demand: Demand,
    /// Whether its pictures reach the disk.
    pub recorded: Recorded,
}

/// Whether a camera's pictures reach the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// Its newest unbroken footage on disk, in camera time.
    Durable {
        /// First instant.
        from: WallTime,
        /// Where it ends by now.
        until: WallTime,
    },
    /// They do not, for this reason.
    Missing(GapReason),
    /// The schedule does not ask for them.
    NotWanted,
}

/// Why a check failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Missed {
    /// No answer within the check interval.
    Late,
    /// The connection was refused, reset or closed.
    Disconnected,
    /// The answer was none of a primary: cut off, malformed, of another key.
    Unusable,
    /// It plays the role in an earlier epoch: it was replaced.
    Superseded,
}
