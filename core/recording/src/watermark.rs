//! The newest unbroken footage of a stream on disk, in the camera's own time, and what the stream takes.
//!
//! What a standby compares with what it holds itself. Labels say whether footage is unbroken: they join where a parameter
//! set changed and nothing was lost. Camera time says where it begins and ends, for that is what two recorders of one camera
//! have in common. Footage that comes late, behind what is newest, is not counted: the answer may be too little, never too
//! much.

use keepwatch_model::{GapReason, Span, State, TICKS_PER_SECOND, UnknownReason, WallTime};

use crate::ledger::Ledger;

/// A camera whose time goes on by more than this from what it was had its clock set, or has told it only then.
const JUMP_TICKS_MAX: i64 = TICKS_PER_SECOND;
/// A camera that told its time is believed to keep it for so much footage without a word of it: after each connection the
/// first records come before the first report.
const UNTOLD_TICKS_MAX: i64 = 30 * TICKS_PER_SECOND;
/// So much footage decides what a stream takes: scenes change in minutes.
const RATE_TICKS: i64 = 60 * TICKS_PER_SECOND;

/// Footage that became durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Its labels.
    pub label: Span,
    /// The camera's own time of it; `None` when that is not known.
    pub camera: Option<Span>,
    /// Bytes of its media.
    pub bytes: u64,
}

/// The newest unbroken footage of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watermark {
    held: Option<Held>,
    /// How far the camera's time was ahead of the labels when it was told last, and how much footage came since.
    ahead: Option<(i64, i64)>,
    /// Bytes and ticks of what was newest, older ones counting less and less.
    bytes: u64,
    ticks: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    label: Span,
    /// In camera time, where `label` begins and ends.
    from: WallTime,
    until: WallTime,
}

/// How a stream stands by its ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The schedule does not ask for it, or no alarm does.
    NotWanted,
    /// It is not recorded, or nothing is on disk since it was not.
    Missing(GapReason),
    /// It is recorded, and nothing is on disk yet.
    NotYet,
    /// It is recorded, without a break since what is on disk.
    Unbroken,
}

impl Standing {
    /// That of the stream of this ledger.
    pub fn of(ledger: &Ledger) -> Self {
        const NOT_YET: State = State::Unknown { reason: UnknownReason::NotYet };
        match (ledger.state_at(WallTime::MAX), ledger.held_until().map(|until| ledger.state_at(until))) {
            (State::Unscheduled | State::NoAlarm, _) => Self::NotWanted,
            (State::Gap { reason }, _) => Self::Missing(reason),
            (NOT_YET, Some(NOT_YET)) => Self::Unbroken,
            // It is recorded again, and what is on disk is from before.
            (NOT_YET, Some(State::Gap { reason })) => Self::Missing(reason),
            (State::Unknown { .. } | State::Held { .. } | State::Expired, _) => Self::NotYet,
        }
    }
}

impl Watermark {
    /// Of a stream of which nothing is known.
    pub const fn new() -> Self {
        Self { held: None, ahead: None, bytes: 0, ticks: 0 }
    }

    /// The newest footage from before the recorder started: by it the camera's time is known until the camera tells it again.
    /// What has been told since is not touched.
    pub fn remember(&mut self, label: Span, camera: Span) {
        if self.ahead.is_none() {
            self.ahead = Some((camera.from.ticks_since(label.from), 0));
        }
    }

    /// A piece is on disk.
    pub fn durable(&mut self, piece: Piece) {
        let camera = self.camera_time(&piece);
        match &mut self.held {
            Some(held) if piece.label.to <= held.label.to => return,
            Some(held) if piece.label.from <= held.label.to => {
                let jump = camera.from.ticks_since(held.until);
                if jump.saturating_abs() > JUMP_TICKS_MAX {
                    // The footage is unbroken; what was called by the old time is called by the new one.
                    held.from = held.from.plus(jump);
                }
                held.label.to = piece.label.to;
                held.until = camera.to;
            }
            Some(_) | None => {
                self.held = Some(Held { label: piece.label, from: camera.from, until: camera.to });
            }
        }
        self.bytes = self.bytes.saturating_add(piece.bytes);
        self.ticks = self.ticks.saturating_add(piece.label.ticks());
        if self.ticks > RATE_TICKS {
            self.bytes /= 2;
            self.ticks /= 2;
        }
    }

    /// The camera's time of a piece: as it is told, else as it was told before, else its labels.
    fn camera_time(&mut self, piece: &Piece) -> Span {
        let told = piece.camera.map(|camera| (camera.from.ticks_since(piece.label.from), 0));
        let kept = self.ahead.map(|(ahead, untold)| (ahead, untold.saturating_add(piece.label.ticks())));
        self.ahead = told.or(kept).filter(|(_, untold)| *untold <= UNTOLD_TICKS_MAX);
        let ahead = self.ahead.map_or(0, |(ahead, _)| ahead);
        piece.camera.unwrap_or(Span { from: piece.label.from.plus(ahead), to: piece.label.to.plus(ahead) })
    }

    /// What had these labels is not held any more.
    pub fn given_up(&mut self, label: Span) {
        let Some(held) = &mut self.held else { return };
        let lost = label.to.ticks_since(held.label.from);
        if label.to >= held.label.to {
            self.held = None;
        } else if lost > 0 {
            held.label.from = label.to;
            held.from = held.from.plus(lost).min(held.until);
        }
    }

    /// Its newest unbroken footage, in camera time; `None` when there is none since the recorder started.
    pub fn held(&self) -> Option<Span> {
        self.held.and_then(|held| Span::new(held.from, held.until))
    }

    /// What it takes, in bits per second; 0 before the first piece.
    pub fn bits_per_second(&self) -> u64 {
        let ticks = u128::from(self.ticks.unsigned_abs()).max(1);
        let bits = u128::from(self.bytes) * 8 * u128::from(TICKS_PER_SECOND.unsigned_abs()) / ticks;
        u64::try_from(bits).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use keepwatch_model::{Origin, RoleId};

    use super::*;

    fn span(from: i64, to: i64) -> Span {
        let at = |seconds: i64| WallTime::from_ticks(seconds * TICKS_PER_SECOND);
        Span { from: at(from), to: at(to) }
    }

    fn piece(label: Span, camera: Option<Span>) -> Piece {
        Piece { label, camera, bytes: 500_000 }
    }

    /// Right after a start no camera has told its time: what is called by labels would be camera time of an hour ago, or ahead.
    #[test]
    fn after_a_restart_the_cameras_time_goes_on_from_the_newest_footage_on_disk() {
        let mut watermark = Watermark::new();
        watermark.remember(span(8, 10), span(3_608, 3_610));
        watermark.durable(piece(span(60, 62), None));
        assert_eq!(watermark.held(), Some(span(3_660, 3_662)));
        // The camera's own word counts, and what is remembered late does not.
        watermark.durable(piece(span(62, 64), Some(span(3_662, 3_664))));
        watermark.remember(span(8, 10), span(8, 10));
        watermark.durable(piece(span(64, 66), None));
        assert_eq!(watermark.held(), Some(span(3_660, 3_666)));
        // A camera that tells it no more is believed for a while only.
        for second in (66..110).step_by(2) {
            watermark.durable(piece(span(second, second + 2), None));
        }
        assert_eq!(watermark.held().map(|held| held.to), Some(span(0, 110).to));
    }

    #[test]
    fn footage_is_unbroken_by_its_labels_and_told_in_camera_time() {
        let mut mark = Watermark::new();
        assert_eq!((mark.held(), mark.bits_per_second()), (None, 0));
        mark.durable(piece(span(100, 101), Some(span(7, 8))));
        mark.durable(piece(span(101, 102), Some(span(8, 9))));
        assert_eq!((mark.held(), mark.bits_per_second()), (Some(span(7, 9)), 4_000_000));
        // The connection broke.
        mark.durable(piece(span(105, 106), Some(span(12, 13))));
        assert_eq!(mark.held(), Some(span(12, 13)));
        // What comes late fills what was broken; it is not counted, and takes nothing away.
        mark.durable(piece(span(102, 105), Some(span(9, 12))));
        assert_eq!(mark.held(), Some(span(12, 13)));
        mark.durable(piece(span(106, 107), None));
        assert_eq!(mark.held(), Some(span(12, 14)));
    }

    /// The first records of a connection come before the camera's first report of its time.
    #[test]
    fn a_camera_keeps_its_time_over_a_break_and_not_for_ever() {
        let mut mark = Watermark::new();
        mark.durable(piece(span(3700, 3701), Some(span(100, 101))));
        mark.durable(piece(span(3710, 3711), None));
        assert_eq!(mark.held(), Some(span(110, 111)));
        mark.durable(piece(span(3711, 3712), Some(span(111, 112))));
        assert_eq!(mark.held(), Some(span(110, 112)));
        mark.durable(piece(span(3720, 3750), None));
        assert_eq!(mark.held(), Some(span(120, 150)));
        mark.durable(piece(span(3760, 3761), None));
        assert_eq!(mark.held(), Some(span(3760, 3761)), "nobody has told its time for too long");
    }

    #[test]
    fn what_was_held_before_a_gap_says_nothing_of_what_comes_after_it() {
        let held = State::Held { origin: Origin::Primary, recorder: RoleId([1; 16]), replaces: None };
        let mut ledger = Ledger::new();
        assert_eq!(Standing::of(&ledger), Standing::NotYet);
        ledger.recording_from(span(100, 0).from);
        assert_eq!(Standing::of(&ledger), Standing::NotYet);
        ledger.held(span(100, 110), held);
        assert_eq!(Standing::of(&ledger), Standing::Unbroken);
        ledger.missing_from(span(110, 0).from, GapReason::ConnectionLost);
        assert_eq!(Standing::of(&ledger), Standing::Missing(GapReason::ConnectionLost));
        ledger.recording_from(span(120, 0).from);
        assert_eq!(Standing::of(&ledger), Standing::Missing(GapReason::ConnectionLost));
        ledger.held(span(120, 121), held);
        assert_eq!(Standing::of(&ledger), Standing::Unbroken);
        ledger.unscheduled_from(span(121, 0).from);
        assert_eq!(Standing::of(&ledger), Standing::NotWanted);
        ledger.recording_from(span(130, 0).from);
        assert_eq!(Standing::of(&ledger), Standing::NotYet);
    }

    #[test]
    fn a_clock_that_is_set_breaks_no_footage() {
        let mut mark = Watermark::new();
        mark.durable(piece(span(100, 101), None));
        mark.durable(piece(span(101, 102), Some(span(3701, 3702))));
        assert_eq!(mark.held(), Some(span(3700, 3702)), "known from the first sender report on");
        mark.durable(piece(span(102, 103), Some(span(3702, 3703))));
        assert_eq!(mark.held(), Some(span(3700, 3703)));
    }

    #[test]
    fn what_is_overwritten_is_held_no_more() {
        let mut mark = Watermark::new();
        mark.durable(piece(span(100, 110), Some(span(10, 20))));
        mark.given_up(span(90, 100));
        assert_eq!(mark.held(), Some(span(10, 20)));
        mark.given_up(span(100, 104));
        assert_eq!(mark.held(), Some(span(14, 20)));
        mark.given_up(span(104, 110));
        assert_eq!(mark.held(), None);
        mark.durable(piece(Span { from: WallTime::MIN, to: WallTime::MAX }, None));
        assert_eq!(mark.bits_per_second(), 0);
    }
}
