//! What a standby asks of its shell.

use keepwatch_model::{CameraId, RoleId, Span, WallTime};

use super::cover::{Cause, Claim};
use super::event::Missed;
use super::setup::Mode;

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Ask a primary. What is answered carries this number.
    Check {
        /// Whom.
        role: RoleId,
        /// Grows with each check.
        check: u64,
    },
    /// Fetch the configuration of a primary.
    BackUp(RoleId),
    /// See whether a picture of this camera can be received.
    Try {
        /// Whose.
        role: RoleId,
        /// Which.
        camera: CameraId,
    },
    /// Record this camera, first what of it is in the pre-buffer.
    Record {
        /// Whose.
        role: RoleId,
        /// Which.
        camera: CameraId,
    },
    /// Record it no more.
    Rest {
        /// Whose.
        role: RoleId,
        /// Which.
        camera: CameraId,
    },
    /// The primary lost footage of this camera that it will not have again: bring to disk what the pre-buffer has of `span`, in
    /// camera time. Nothing, where there is no pre-buffer.
    Save {
        /// Whose.
        role: RoleId,
        /// Which.
        camera: CameraId,
        /// What the primary does not hold.
        span: Span,
    },
    /// The primary holds this camera's footage up to `until`, in camera time, and what it lacks before was saved: the pre-buffer
    /// needs it no more.
    Trim {
        /// Whose.
        role: RoleId,
        /// Which.
        camera: CameraId,
        /// Camera time.
        until: WallTime,
    },
    /// Ask the coordination for the cover of a primary, and keep it once it is had, unless it is released. Recording does not wait
    /// for the answer.
    Claim(RoleId),
    /// Give the claim back: it is covered no more, or not all of it.
    Release(RoleId),
    /// Keep mode and cover of a primary, for the next start.
    Keep(RoleId),
    /// An operator must hear of it.
    Tell(RoleId, Told),
}

/// What operators hear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Checks fail in a row, the threshold is reached.
    Failed(Missed),
    /// It answers, and records none of the cameras that the standby receives.
    RecordsNothing,
    /// It answers again.
    Returned,
    /// Its version is not the standby's: it cannot be replaced or restored; it is covered as before.
    VersionDiffers,
    /// Its version is the standby's again.
    VersionAgrees,
    /// A failover of all its cameras began.
    Began(Cause),
    /// A failover is due, and the standby can record no more.
    Waits,
    /// It covers without knowing whether another does, not all cameras, or has the claim again.
    ClaimIs(Claim),
    /// Another standby covers it.
    LeftToOther,
    /// It is covered no more.
    Ended(Ended),
    /// One camera is covered, which its primary does not record.
    CameraCovered(CameraId),
    /// The primary records it again.
    CameraReturned(CameraId),
    /// Its mode is another.
    ModeIs(Mode),
}

/// Why a cover ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// An operator stopped it.
    Stopped,
    /// The primary records again, with overlap.
    FailedBack,
    /// Another recorder plays the role, with overlap.
    Replaced,
    /// The primary answers again and never stopped recording.
    NeverFailed,
}
