//! The state that faults leave a camera in: all that a connection has to look at before it sends.

use std::num::NonZeroU16;

use keepwatch_model::WallTime;
use keepwatch_rtsp::server::{Keepalives, Quirks, Transports};

use super::{AcceptedTransports, CardState, Fault, KeepaliveAnswer, Motion, ParameterSet};

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
    /// How the server misbehaves.
    pub(crate) quirks: Quirks,
    /// Whether footage of the card is always played in real time.
    pub(crate) ignores_rate_control: bool,
    /// Whether footage of the card is played beyond the end that was asked for.
    pub(crate) ignores_range_end: bool,
    /// When connections break; `None` for not.
    pub(crate) breaks: Option<Breaks>,
    /// What state the card is in.
    pub(crate) card: CardState,
    /// How often the card stopped to take footage, ever: also a short time leaves a gap.
    pub(crate) card_outs: u64,
    /// Whether footage of the card comes without marks.
    pub(crate) unmarked: bool,
    /// When something moves before the camera.
    pub(crate) motion: Motion,
    /// Whether no sender reports are sent.
    pub(crate) reportless: bool,
    /// Whether searches find nothing.
    pub(crate) finds_nothing: bool,
}

/// Connections that break in the middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Breaks {
    /// After so many pictures.
    pub(crate) frames: u32,
    /// How many connections do.
    pub(crate) times: u32,
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

    /// Whether a connection that was given so many pictures may break.
    pub(crate) fn breaks_after(&self, frames: u32) -> bool {
        self.breaks.is_some_and(|breaks| frames >= breaks.frames)
    }

    /// Breaks a connection that was given so many pictures; `false` when it need not any more.
    pub(super) fn use_up_break(&mut self, frames: u32) -> bool {
        let Some(breaks) = self.breaks.filter(|breaks| frames >= breaks.frames) else { return false };
        let times = breaks.times.saturating_sub(1);
        self.breaks = (times > 0).then_some(Breaks { times, ..breaks });
        true
    }

    pub(super) fn apply(&mut self, fault: Fault, now: WallTime) {
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
            Fault::UdpLoss { every } => self.quirks.udp_loss = NonZeroU16::new(every),
            Fault::UdpReorder { distance } => {
                self.quirks.udp_reorder = NonZeroU16::new(distance.min(Quirks::REORDER_MAX));
            }
            Fault::UdpDuplicate { every } => self.quirks.udp_duplicate = NonZeroU16::new(every),
            Fault::Transport { accept } => {
                self.quirks.transports = match accept {
                    AcceptedTransports::Any => Transports::Any,
                    AcceptedTransports::Tcp => Transports::Tcp,
                    AcceptedTransports::Udp => Transports::Udp,
                }
            }
            Fault::Keepalive { answer } => {
                self.quirks.keepalives = match answer {
                    KeepaliveAnswer::Ok => Keepalives::Answered,
                    KeepaliveAnswer::WrongCseq => Keepalives::WrongSequence,
                    KeepaliveAnswer::BadRequest => Keepalives::BadRequest,
                    KeepaliveAnswer::Silent => Keepalives::Silent,
                }
            }
            Fault::RefuseNth { n } => self.quirks.refuse_session = NonZeroU16::new(n),
            Fault::IgnoreRateControl { on } => self.ignores_rate_control = on,
            Fault::IgnoreRangeEnd { on } => self.ignores_range_end = on,
            Fault::DropAfter { frames, times } => {
                self.breaks = (frames > 0 && times > 0).then_some(Breaks { frames, times });
            }
            Fault::Card { state } => {
                self.card_outs += u64::from(self.card.takes_footage() && !state.takes_footage());
                self.card = state;
            }
            Fault::NoMarks { on } => self.unmarked = on,
            Fault::Motion { motion } => self.motion = motion,
            Fault::NoSenderReports { on } => self.reportless = on,
            Fault::SearchEmpty { on } => self.finds_nothing = on,
            Fault::Heal => {
                let Self { generation, skips, losses, card_outs, .. } = *self;
                *self = Self { generation, skips, losses, card_outs, ..Self::default() };
            }
        }
    }
}

/// Saturates: a clock that far off is as wrong as it can be.
fn add_milliseconds(ticks: &mut i64, milliseconds: i64) {
    *ticks = ticks.saturating_add(milliseconds.saturating_mul(90)).clamp(-TICKS_OFF_MAX, TICKS_OFF_MAX);
}

/// A hundred years: keeps every label in the range that dates have.
pub(super) const TICKS_OFF_MAX: i64 = 100 * 365 * 86_400 * 90_000;

/// A second in a hundred: a crystal that bad is broken.
const DRIFT_PPM_MAX: i32 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

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
