//! What can be made to go wrong with a camera while it runs, and the state that this leaves it in.
//!
//! A fault stays until it is taken back or [`Fault::Heal`] takes back all; faults join. `Drop` happens once.

use std::sync::Arc;

use keepwatch_model::WallTime;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::LabClock;

/// One command to a camera.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// Ends the connections that are playing; the next is welcome.
    Drop,
    /// Whether the camera's path is unknown to the server from the next request on; ends what is playing.
    Refuse {
        /// Whether it is.
        #[serde(default = "yes")]
        on: bool,
    },
    /// Whether the camera is connected but sends nothing; the frames of that time are never sent.
    Stall {
        /// Whether it is.
        #[serde(default = "yes")]
        on: bool,
    },
    /// Moves the camera's wall clock: capture times and sender reports follow, RTP timestamps do not.
    ClockStep {
        /// How far, in milliseconds; negative is back. Adds to earlier steps.
        milliseconds: i64,
    },
    /// Makes the camera's crystal too fast or too slow: its wall clock and its RTP timestamps run away from the time.
    ClockDrift {
        /// By how many millionths, -10,000 to 10,000; negative is too slow. 0 leaves the clock where it is by then.
        ppm: i32,
    },
    /// Makes the RTP timestamps of all tracks jump; capture times do not.
    TimestampJump {
        /// How far, in milliseconds; negative is back. Adds to earlier jumps.
        milliseconds: i64,
    },
    /// From the next key frame on, another picture size with its own parameter sets.
    Parameters {
        /// Which.
        set: ParameterSet,
    },
    /// Whether pictures come without any that decoding can start at.
    NoKeyFrames {
        /// Whether they do.
        #[serde(default = "yes")]
        on: bool,
    },
    /// Leaves out frames: their numbers are missing, RTP sequence numbers are not.
    SkipFrames {
        /// How many, from the next on.
        count: u32,
    },
    /// Loses frames on the way: their numbers and RTP sequence numbers are missing.
    LoseFrames {
        /// How many, from the next on.
        count: u32,
    },
    /// Takes back everything: clock, timestamps and parameter sets too.
    Heal,
}

const fn yes() -> bool {
    true
}

/// Which of a camera's two configurations it sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParameterSet {
    /// What it was started with.
    #[default]
    Main,
    /// Another picture size.
    Alternate,
}

/// What a camera is doing, as faults left it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Condition {
    /// Connections that began playing under a smaller number must end.
    pub(crate) generation: u64,
    /// Whether the path is unknown.
    pub(crate) refuses: bool,
    /// Whether nothing is sent.
    pub(crate) stalled: bool,
    /// The camera's clock minus the lab's, in 90 kHz ticks.
    pub(crate) clock_ticks: i64,
    /// RTP timestamps minus what the lab's clock says, in 90 kHz ticks.
    pub(crate) timestamp_ticks: i64,
    /// How the camera's crystal runs, which moves both.
    pub(crate) drift: Drift,
    /// Which picture size.
    pub(crate) parameters: ParameterSet,
    /// Whether there are no key frames.
    pub(crate) keyless: bool,
    /// Frames to leave out, ever: a connection compares it with how many it left out.
    pub(crate) skips: u64,
    /// Frames to lose, ever, counted as `skips`.
    pub(crate) losses: u64,
}

/// A crystal that is off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Drift {
    /// Since when it has run like this.
    since: WallTime,
    /// How far off it was then, in 90 kHz ticks.
    ticks: i64,
    /// How it runs, in millionths.
    ppm: i32,
}

impl Drift {
    /// How far off it is at `label`, in 90 kHz ticks.
    fn at(self, label: WallTime) -> i64 {
        let ticks = i128::from(label.ticks_since(self.since)) * i128::from(self.ppm) / 1_000_000;
        self.ticks.saturating_add(i64::try_from(ticks).unwrap_or(0))
    }
}

impl Condition {
    /// What the camera's wall clock shows at `label` of the lab's.
    pub(crate) fn camera_time(&self, label: WallTime) -> WallTime {
        label.plus(self.clock_ticks).plus(self.drift.at(label))
    }

    /// The label from which the camera computes an RTP timestamp at `label` of the lab's clock.
    pub(crate) fn media_time(&self, label: WallTime) -> WallTime {
        label.plus(self.timestamp_ticks).plus(self.drift.at(label))
    }

    fn apply(&mut self, fault: Fault, now: WallTime) {
        match fault {
            Fault::Drop => self.generation += 1,
            Fault::Refuse { on } => {
                self.refuses = on;
                self.generation += u64::from(on);
            }
            Fault::Stall { on } => self.stalled = on,
            Fault::ClockStep { milliseconds } => add_milliseconds(&mut self.clock_ticks, milliseconds),
            Fault::ClockDrift { ppm } => {
                let ppm = ppm.clamp(-DRIFT_PPM_MAX, DRIFT_PPM_MAX);
                self.drift = Drift { since: now, ticks: self.drift.at(now), ppm };
            }
            Fault::TimestampJump { milliseconds } => {
                add_milliseconds(&mut self.timestamp_ticks, milliseconds)
            }
            Fault::Parameters { set } => self.parameters = set,
            Fault::NoKeyFrames { on } => self.keyless = on,
            Fault::SkipFrames { count } => self.skips = self.skips.saturating_add(u64::from(count)),
            Fault::LoseFrames { count } => self.losses = self.losses.saturating_add(u64::from(count)),
            Fault::Heal => {
                let Self { generation, skips, losses, .. } = *self;
                *self = Self { generation, skips, losses, ..Self::default() };
            }
        }
    }
}

/// Saturates: a clock that far off is as wrong as it can be.
fn add_milliseconds(ticks: &mut i64, milliseconds: i64) {
    *ticks = ticks.saturating_add(milliseconds.saturating_mul(90)).clamp(-TICKS_OFF_MAX, TICKS_OFF_MAX);
}

/// A hundred years: keeps every label in the range that dates have.
const TICKS_OFF_MAX: i64 = 100 * 365 * 86_400 * 90_000;

/// A second in a hundred: a crystal that bad is broken.
const DRIFT_PPM_MAX: i32 = 10_000;

/// Makes things go wrong with one camera; clones command the same camera.
#[derive(Clone, Debug)]
pub struct CameraControl {
    condition: Arc<watch::Sender<Condition>>,
    clock: LabClock,
}

impl CameraControl {
    /// The control of a healthy camera.
    pub(crate) fn new(clock: LabClock) -> Self {
        Self { condition: Arc::new(watch::Sender::new(Condition::default())), clock }
    }

    /// Takes effect before the next access unit of every connection.
    pub fn apply(&self, fault: Fault) {
        let now = self.clock.now();
        self.condition.send_modify(|condition| condition.apply(fault, now));
    }

    /// Follows the camera's condition.
    pub(crate) fn watch(&self) -> watch::Receiver<Condition> {
        self.condition.subscribe()
    }

    /// The camera's condition.
    pub(crate) fn condition(&self) -> Condition {
        *self.condition.borrow()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_join_and_healing_takes_back_all_but_what_happened() {
        let control = CameraControl::new(LabClock::start());
        for fault in [
            Fault::Stall { on: true },
            Fault::NoKeyFrames { on: true },
            Fault::ClockStep { milliseconds: 2_000 },
            Fault::ClockStep { milliseconds: -500 },
            Fault::TimestampJump { milliseconds: i64::MIN },
            Fault::Parameters { set: ParameterSet::Alternate },
            Fault::SkipFrames { count: 3 },
            Fault::LoseFrames { count: 2 },
            Fault::Drop,
        ] {
            control.apply(fault);
        }
        let joined = control.condition();
        assert!(joined.stalled && joined.keyless && !joined.refuses);
        assert_eq!((joined.clock_ticks, joined.timestamp_ticks), (135_000, -TICKS_OFF_MAX));
        assert_eq!((joined.generation, joined.skips), (1, 3));
        control.apply(Fault::Heal);
        assert_eq!(
            control.condition(),
            Condition { generation: 1, skips: 3, losses: 2, ..Condition::default() }
        );
    }

    #[test]
    fn a_crystal_that_drifts_moves_both_clocks_and_stops_where_it_is() {
        let mut condition = Condition::default();
        let start = WallTime::from_ticks(90_000 * 1_000);
        condition.apply(Fault::ClockDrift { ppm: 500 }, start);
        let later = start.plus(90_000 * 2_000);
        assert_eq!(condition.camera_time(start), start);
        assert_eq!(condition.camera_time(later), later.plus(90_000));
        assert_eq!(condition.media_time(later), later.plus(90_000));
        condition.apply(Fault::ClockDrift { ppm: -500 }, later);
        assert_eq!(condition.camera_time(later.plus(90_000 * 1_000)), later.plus(90_000 * 1_000 + 45_000));
        condition.apply(Fault::ClockDrift { ppm: i32::MAX }, later);
        assert_eq!(condition.camera_time(later.plus(90_000)), later.plus(90_000 + 90_000 + 900));
        condition.apply(Fault::Heal, later);
        assert_eq!(condition.camera_time(later), later);
    }
}
