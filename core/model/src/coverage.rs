//! What is known of every second of a camera: the vocabulary of the coverage ledger.

use serde::{Deserialize, Serialize};

use crate::{RoleId, Span};

/// Who recorded a held span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The recorder that the camera belongs to.
    #[default]
    Primary,
    /// A standby that covered for it.
    Standby,
    /// The camera's own card, or a box beside it.
    Edge,
}

impl Origin {
    /// The code on disk; never reused.
    pub const fn code(self) -> u8 {
        match self {
            Self::Primary => 0,
            Self::Standby => 1,
            Self::Edge => 2,
        }
    }

    /// The origin of a code on disk; `None` when unknown.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Primary),
            1 => Some(Self::Standby),
            2 => Some(Self::Edge),
            _ => None,
        }
    }
}

/// Why a span that should hold footage holds none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapReason {
    /// The connection stood, but no picture came.
    CameraSilent,
    /// The camera could not be reached, or the connection broke.
    ConnectionLost,
    /// The camera refused: no such stream, no session left.
    ConnectionRefused,
    /// The camera sent what cannot be recorded: an unknown coding or broken data.
    StreamUnusable,
    /// Pictures came, but none that decoding can start at.
    KeyFrameMissing,
    /// Packets were lost on the way.
    PacketsLost,
    /// The disk was full of protected footage.
    DiskFull,
    /// No registered disk was there, or writing to it failed.
    DiskGone,
    /// The disk took data more slowly than the cameras gave it, and the buffer was full.
    DiskSlow,
    /// The recorder was not running.
    RecorderDown,
    /// The footage was there and was overwritten, before its time, because space ran out.
    Overwritten,
    /// A record on disk did not match its checksum.
    Damaged,
    /// The camera refused the user or the password.
    LoginRefused,
    /// The edge node that records the camera has not sent it.
    NotSent,
    /// The edge node that records the camera could not record it, or lost it before it was sent.
    EdgeFailed,
}

impl GapReason {
    /// All reasons, in the order of their codes.
    pub const ALL: [Self; 15] = [
        Self::CameraSilent,
        Self::ConnectionLost,
        Self::ConnectionRefused,
        Self::StreamUnusable,
        Self::KeyFrameMissing,
        Self::PacketsLost,
        Self::DiskFull,
        Self::DiskGone,
        Self::DiskSlow,
        Self::RecorderDown,
        Self::Overwritten,
        Self::Damaged,
        Self::LoginRefused,
        Self::NotSent,
        Self::EdgeFailed,
    ];

    /// The code on disk: 1 and up, 0 means no reason; never reused.
    pub const fn code(self) -> u8 {
        match self {
            Self::CameraSilent => 1,
            Self::ConnectionLost => 2,
            Self::ConnectionRefused => 3,
            Self::StreamUnusable => 4,
            Self::KeyFrameMissing => 5,
            Self::PacketsLost => 6,
            Self::DiskFull => 7,
            Self::DiskGone => 8,
            Self::DiskSlow => 9,
            Self::RecorderDown => 10,
            Self::Overwritten => 11,
            Self::Damaged => 12,
            Self::LoginRefused => 13,
            Self::NotSent => 14,
            Self::EdgeFailed => 15,
        }
    }

    /// The reason of a code on disk; `None` when unknown.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.code() == code)
    }

    /// A sentence for an operator.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::CameraSilent => "the camera was connected but sent no picture",
            Self::ConnectionLost => "the camera could not be reached",
            Self::ConnectionRefused => "the camera refused the connection",
            Self::StreamUnusable => "the camera sent a stream that cannot be recorded",
            Self::KeyFrameMissing => "the camera sent no key frame",
            Self::PacketsLost => "packets were lost between camera and recorder",
            Self::DiskFull => "the disk was full of protected footage",
            Self::DiskGone => "no registered disk could be written",
            Self::DiskSlow => "the disk was too slow and the buffer was full",
            Self::RecorderDown => "the recorder was not running",
            Self::Overwritten => "the footage was overwritten early because space ran out",
            Self::Damaged => "the footage on disk is damaged",
            Self::LoginRefused => "the camera refused the user or the password",
            Self::NotSent => "the edge node that records the camera has not sent it",
            Self::EdgeFailed => {
                "the edge node that records the camera did not record it, or lost it before it was sent"
            }
        }
    }

    /// What an operator can do about it.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::CameraSilent => "restart the camera if it does not recover",
            Self::ConnectionLost => "check the camera's power, cable and address",
            Self::ConnectionRefused => "check the stream's address and how many sessions the camera allows",
            Self::StreamUnusable => "set the camera to H.264",
            Self::KeyFrameMissing => "set the camera's key frame interval to 1 or 2 s",
            Self::PacketsLost => "check the network between camera and recorder",
            Self::DiskFull => "release a protection or add a disk",
            Self::DiskGone => "check the disk and its cable, or add a disk",
            Self::DiskSlow => "check the disk's health, add a disk or lower the bit rates",
            Self::RecorderDown => "find out from the log why the recorder was stopped",
            Self::Overwritten => "add a disk, or lower retention or bit rates",
            Self::Damaged => "run keepwatch verify and replace the disk",
            Self::LoginRefused => {
                "check user and password; it is tried seldom, so that the camera does not lock the account"
            }
            Self::NotSent => {
                "look whether the edge node runs and reaches this recorder; what it holds comes when it does"
            }
            Self::EdgeFailed => "look at the edge node's own coverage and events for the cause",
        }
    }
}

/// Why it cannot be said whether footage is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownReason {
    /// The disk that may hold it is not there.
    DiskAbsent,
    /// The span is not over, or its frames are not yet on disk.
    NotYet,
    /// The camera was not known to this recorder at the time.
    NotConfigured,
    /// The recorder's clock was set forward over it: this time did not pass.
    ClockStepped,
}

/// What is known of one span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// On disk, every frame.
    Held {
        /// Who recorded it.
        origin: Origin,
        /// The recorder that holds it.
        recorder: RoleId,
        /// The recorder it stands in for; `None` for the camera's own.
        replaces: Option<RoleId>,
    },
    /// Should be there and is not.
    Gap {
        /// Why.
        reason: GapReason,
    },
    /// Was held and reached the end of its retention.
    Expired,
    /// The schedule did not ask for it.
    Unscheduled,
    /// The camera is recorded on alarm and was received, and there was none.
    NoAlarm,
    /// It cannot be said.
    Unknown {
        /// Why.
        reason: UnknownReason,
    },
}

/// How far the replenishment of a gap is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backfill {
    /// A source may have it; its turn has not come.
    Pending,
    /// It is being fetched.
    Running,
    /// All that sources had was fetched.
    Done,
}

/// One line of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoverageItem {
    /// Which labels.
    pub span: Span,
    /// What is known of them.
    pub state: State,
    /// Replenishment of a gap; `None` when no source is known.
    pub backfill: Option<Backfill>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_on_disk_come_back() {
        for (position, reason) in GapReason::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(reason.code()), position + 1);
            assert_eq!(GapReason::from_code(reason.code()), Some(reason));
        }
        for origin in [Origin::Primary, Origin::Standby, Origin::Edge] {
            assert_eq!(Origin::from_code(origin.code()), Some(origin));
        }
        assert_eq!(GapReason::from_code(0), None);
    }
}
