//! A failover that runs: which cameras the standby records in the place of a primary.

use std::collections::BTreeMap;

use keepwatch_model::{CameraId, MonoTime, Span, TICKS_PER_SECOND, WallTime};

use super::action::Ended;
use super::watch::STILL_MAX;

/// What both must hold of a camera before the standby rests: more than two clocks that agree disagree by, and more than a
/// frame.
const OVERLAP_TICKS: i64 = TICKS_PER_SECOND;

/// Who started a failover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The standby, after the threshold.
    Threshold,
    /// An operator.
    Operator,
    /// It ran before the standby was restarted.
    Restart,
}

/// Whether the coordination knows of a cover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It is asked, or will be as soon as all cameras are recorded.
    Asked,
    /// It gave the cover to this standby.
    Held,
    /// It cannot be asked. Another standby may record the same, which harms nothing.
    Unconfirmed,
    /// Not all cameras are recorded here, so it is left to whoever records them; until somebody does, this standby goes on.
    Incomplete,
}

/// Where a failover stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// All is covered.
    Running,
    /// Each camera is covered until the primary's footage overlaps; then it will have ended for this reason.
    Returning(Ended),
}

/// A camera that the standby records.
#[derive(Clone, Copy, Debug)]
pub(super) struct Covered {
    /// Where the primary's footage on disk ended by its last answer before.
    before: Option<WallTime>,
    /// Where the standby's ends; `None` before the first.
    until: Option<WallTime>,
    /// When that was last seen to move; before the first, since when it is to be recorded.
    moved: MonoTime,
    /// The primary did not record it before it failed either.
    lacked: bool,
}

impl Covered {
    pub(super) fn new(now: MonoTime, before: Option<WallTime>, lacked: bool) -> Self {
        Self { before, until: None, moved: now, lacked }
    }

    pub(super) fn durable(&mut self, now: MonoTime, until: WallTime) {
        if self.until.replace(until) != Some(until) {
            self.moved = now;
        }
    }

    pub(super) fn was_recorded(&self) -> bool {
        self.until.is_some()
    }

    /// Its footage is on disk here, and grows.
    pub(super) fn is_recorded(&self, now: MonoTime) -> bool {
        self.was_recorded() && !self.is_still(now)
    }

    /// Nothing of it has come to disk for too long.
    pub(super) fn is_still(&self, now: MonoTime) -> bool {
        now.since(self.moved) >= STILL_MAX
    }

    /// It is to be recorded from here on, after it was not.
    pub(super) fn begin_anew(&mut self, now: MonoTime) {
        self.moved = now;
    }

    /// The primary answers, and does not record it.
    pub(super) fn left_alone(&mut self) {
        self.lacked = true;
    }

    /// The primary did not record it before it failed either.
    pub(super) fn was_lacked(&self) -> bool {
        self.lacked
    }

    /// Whether what the primary holds and what the standby holds have enough in common. What the standby does not hold at all,
    /// or records no more, it need not go on with once the primary does.
    pub(super) fn overlaps(&self, now: MonoTime, held: Span) -> bool {
        let until = self.until.filter(|_| !self.is_still(now)).map_or(held.to, |until| until.min(held.to));
        until.ticks_since(held.from) >= OVERLAP_TICKS
    }

    /// The primary held footage of it before.
    pub(super) fn was_held(&self) -> bool {
        self.before.is_some()
    }

    /// Whether the primary, by what it holds now, held it all the time; what it did not hold before the failover says nothing.
    pub(super) fn never_stopped(&self, held: Option<Span>) -> bool {
        self.before.is_none_or(|before| held.is_some_and(|held| held.from <= before))
    }
}

/// The failover of a primary.
#[derive(Debug)]
pub(super) struct Cover {
    pub(super) since: MonoTime,
    pub(super) cause: Cause,
    pub(super) claim: Claim,
    pub(super) phase: Phase,
    pub(super) cameras: BTreeMap<CameraId, Covered>,
    /// Answers in a row by which the primary never stopped recording.
    pub(super) never_failed: u32,
    /// Cameras that the standby does not record, when that was last looked at: with these it claims nothing.
    pub(super) lacks: Vec<CameraId>,
    /// Since when the coordination says that another standby has the claim.
    pub(super) refused: Option<MonoTime>,
}

impl Cover {
    /// A failover that begins, with `cameras` that are recorded already.
    pub(super) fn begun(now: MonoTime, cause: Cause, cameras: BTreeMap<CameraId, Covered>) -> Self {
        let (claim, phase) = (Claim::Asked, Phase::Running);
        Self { since: now, cause, claim, phase, cameras, never_failed: 0, lacks: Vec::new(), refused: None }
    }
}
