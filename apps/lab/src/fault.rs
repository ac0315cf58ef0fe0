//! What can be made to go wrong with a camera while it runs, and the state that this leaves it in.
//!
//! A fault stays until it is taken back or [`Fault::Heal`] takes back all; faults join. `Drop` happens once.

mod condition;

use std::sync::Arc;

pub(crate) use condition::Condition;
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
    /// Of RTP over UDP, loses every so many-th packet.
    UdpLoss {
        /// Which; 0 for none.
        every: u16,
    },
    /// Of RTP over UDP, sends some packets late.
    UdpReorder {
        /// Behind how many that follow, at most 64; 0 for none.
        distance: u16,
    },
    /// Of RTP over UDP, sends every so many-th packet twice.
    UdpDuplicate {
        /// Which; 0 for none.
        every: u16,
    },
    /// How media are sent from the next session on; what a client asks for otherwise is refused with 461.
    Transport {
        /// Which ways.
        accept: AcceptedTransports,
    },
    /// What becomes of requests that keep a session.
    Keepalive {
        /// What.
        answer: KeepaliveAnswer,
    },
    /// Refuses sessions that are too many at the same time.
    RefuseNth {
        /// The first that is refused: 1 refuses all; 0 none.
        n: u16,
    },
    /// Whether footage of the card is always played in real time.
    IgnoreRateControl {
        /// Whether it is.
        #[serde(default = "yes")]
        on: bool,
    },
    /// Whether footage of the card is played beyond the end that was asked for.
    IgnoreRangeEnd {
        /// Whether it is.
        #[serde(default = "yes")]
        on: bool,
    },
    /// Breaks connections in the middle of what they transfer, live or from the card.
    DropAfter {
        /// After so many pictures of a connection; 0 for never.
        frames: u32,
        /// How many connections are broken before all is well again.
        #[serde(default = "once")]
        times: u32,
    },
    /// What state the card is in.
    Card {
        /// Which.
        state: CardState,
    },
    /// Whether footage of the card comes without the marks of ONVIF replay.
    NoMarks {
        /// Whether it does.
        #[serde(default = "yes")]
        on: bool,
    },
    /// When something moves before the camera.
    Motion {
        /// When.
        motion: Motion,
    },
    /// Whether no sender reports are sent.
    NoSenderReports {
        /// Whether none are.
        #[serde(default = "yes")]
        on: bool,
    },
    /// Whether the device finds nothing when footage is searched for.
    SearchEmpty {
        /// Whether it does.
        #[serde(default = "yes")]
        on: bool,
    },
    /// Takes back everything: clock, timestamps and parameter sets too.
    Heal,
}

const fn yes() -> bool {
    true
}

const fn once() -> u32 {
    1
}

/// What becomes of requests that keep a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeepaliveAnswer {
    /// They are answered.
    #[default]
    Ok,
    /// They are answered with another `CSeq` than they have.
    WrongCseq,
    /// They are answered with 400.
    BadRequest,
    /// They are not answered.
    Silent,
}

/// How a camera sends media.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AcceptedTransports {
    /// As the client asks.
    #[default]
    Any,
    /// In the RTSP connection only.
    Tcp,
    /// In datagrams only.
    Udp,
}

/// What state a camera's card is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CardState {
    /// It is recorded to and played from.
    #[default]
    Ok,
    /// It was taken out: nothing is recorded, nothing is found, nothing is played.
    Missing,
    /// It takes no more: nothing is recorded.
    Full,
    /// It is read no faster than it was recorded.
    Slow,
}

impl CardState {
    /// Whether it is recorded to.
    pub(crate) const fn takes_footage(self) -> bool {
        matches!(self, Self::Ok | Self::Slow)
    }
}

/// When something moves before a camera.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Motion {
    /// For five seconds of every ten.
    #[default]
    Regular,
    /// From now on.
    On,
    /// Not from now on.
    Off,
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

    /// Whether a connection that was given so many pictures breaks: the fault is used up by so many connections.
    pub(crate) fn break_one(&self, frames: u32) -> bool {
        self.condition.send_if_modified(|condition| condition.use_up_break(frames))
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
        assert_eq!((joined.clock_ticks, joined.timestamp_ticks), (135_000, -condition::TICKS_OFF_MAX));
        assert_eq!((joined.generation, joined.skips), (1, 3));
        control.apply(Fault::Heal);
        assert_eq!(
            control.condition(),
            Condition { generation: 1, skips: 3, losses: 2, ..Condition::default() }
        );
    }
}
