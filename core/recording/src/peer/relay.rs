//! What an edge node and the recorder that it sends to say to each other: what is wanted, and what arrived.
//!
//! Labels are by the clock of the edge node, which shows its clock with each question.

use keepwatch_model::{CameraId, GapReason, Span, State, StreamId, WallTime};
use serde::{Deserialize, Serialize};

use super::{CAMERAS_MAX, bounds};
use crate::replenish::StreamKey;

/// Most streams of one edge node: two of each camera.
const LINES_MAX: usize = 2 * CAMERAS_MAX;
/// Most spans of one stream that are told at a time, the oldest first: the others come when those are filled.
pub const WANTED_SPANS_MAX: usize = 256;
/// Most spans of one stream of which a node tells at a time that it has nothing.
pub const NOWHERE_SPANS_MAX: usize = 2 * WANTED_SPANS_MAX;
/// Most spans of all records of one transfer.
const ARRIVED_MAX: usize = 4096;

/// What a recorder wants of an edge node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// When the recorder started: another time says that what it told before need not hold.
    pub started: WallTime,
    /// How many ticks its clock shows more than that of the edge node.
    pub ahead_ticks: i64,
    /// Every stream that the node is to send.
    #[serde(deserialize_with = "bounds::list::<_, _, LINES_MAX>")]
    pub lines: Vec<WantedLine>,
}

/// What is wanted of one stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WantedLine {
    /// The camera, by its id at the edge node.
    pub camera: CameraId,
    /// 0 is the main stream.
    pub stream: u8,
    /// What is missing, in order.
    #[serde(deserialize_with = "bounds::list::<_, _, WANTED_SPANS_MAX>")]
    pub missing: Vec<MissingSpan>,
    /// All from here on is missing as well.
    pub missing_from: WallTime,
}

impl WantedLine {
    /// Which stream.
    pub const fn key(&self) -> StreamKey {
        (self.camera, StreamId(self.stream))
    }

    /// What is missing, to the end of all time.
    pub fn spans(&self) -> impl Iterator<Item = Span> {
        let rest = Span::new(self.missing_from, WallTime::MAX);
        self.missing.iter().filter_map(|missing| Span::new(missing.from, missing.to)).chain(rest)
    }
}

/// A span of labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingSpan {
    /// The first label.
    pub from: WallTime,
    /// The first label behind it.
    pub to: WallTime,
}

impl From<Span> for MissingSpan {
    fn from(Span { from, to }: Span) -> Self {
        Self { from, to }
    }
}

/// What an edge node has not of what is wanted of it, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nowhere {
    /// Streams of which something is told.
    #[serde(deserialize_with = "bounds::list::<_, _, LINES_MAX>")]
    pub lines: Vec<NowhereLine>,
}

/// What an edge node has not of one stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NowhereLine {
    /// The camera, by its id at the edge node.
    pub camera: CameraId,
    /// 0 is the main stream.
    pub stream: u8,
    /// What it has not, in order.
    #[serde(deserialize_with = "bounds::list::<_, _, NOWHERE_SPANS_MAX>")]
    pub spans: Vec<NowhereSpan>,
}

/// A span that an edge node has nothing of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NowhereSpan {
    /// The first label.
    pub from: WallTime,
    /// The first label behind it.
    pub to: WallTime,
    /// Why, as it is for the recorder; `None` when it was not to be recorded.
    pub why: Option<GapReason>,
    /// It was not to be recorded because there was no alarm, rather than by a schedule.
    #[serde(default)]
    pub no_alarm: bool,
}

impl NowhereSpan {
    /// What an edge node has in `span` in `state`; `None` when it has it, or may have it later.
    pub fn of(span: Span, state: State) -> Option<Self> {
        let why = match state {
            State::Gap { reason: GapReason::NotSent } | State::Held { .. } | State::Unknown { .. } => {
                return None;
            }
            State::Gap { reason } => Some(for_recorder(reason)),
            // It was held once, and its time is over.
            State::Expired => Some(GapReason::Overwritten),
            State::Unscheduled | State::NoAlarm => None,
        };
        Some(Self { from: span.from, to: span.to, why, no_alarm: state == State::NoAlarm })
    }

    /// What that is at the recorder.
    pub fn state(&self) -> State {
        let resting = if self.no_alarm { State::NoAlarm } else { State::Unscheduled };
        self.why.map_or(resting, |reason| State::Gap { reason })
    }
}

/// What a reason at the edge node is at the recorder, whose own disks and whose own times of absence are others.
const fn for_recorder(reason: GapReason) -> GapReason {
    match reason {
        GapReason::DiskFull
        | GapReason::DiskGone
        | GapReason::DiskSlow
        | GapReason::RecorderDown
        | GapReason::Damaged
        | GapReason::EdgeFailed => GapReason::EdgeFailed,
        GapReason::CameraSilent
        | GapReason::ConnectionLost
        | GapReason::ConnectionRefused
        | GapReason::StreamUnusable
        | GapReason::KeyFrameMissing
        | GapReason::PacketsLost
        | GapReason::Overwritten
        | GapReason::LoginRefused
        | GapReason::NotSent => reason,
    }
}

/// What became of the records of one transfer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrived {
    /// Records that are on the recorder's disks, or need not be sent again: they were there, or nobody wants them.
    #[serde(deserialize_with = "bounds::list::<_, _, ARRIVED_MAX>")]
    pub settled: Vec<ArrivedRecord>,
}

/// A record that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArrivedRecord {
    /// The camera, by its id at the edge node.
    pub camera: CameraId,
    /// 0 is the main stream.
    pub stream: u8,
    /// Its labels.
    pub from: WallTime,
    /// The first label behind it.
    pub to: WallTime,
    /// What became of it.
    pub fate: Fate,
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It is on a disk there.
    Stored,
    /// All of it was there already, or the recorder lacks nothing there.
    Held,
    /// It cannot be stored there: it is too large for the disks, or all that they hold is newer.
    Refused,
}
