//! Which frames of a fetched piece fill a gap, and which labels they get in it.
//!
//! The splice judges frame by frame; a piece has one place, by its first and its last one, because within a record the
//! distances of pictures are those of their timestamps. No label of a record lies outside of the gap or within another one's.
//! Pictures of late packets may not all have room between the one before and the end of the gap: their order counts then.

use std::collections::BTreeSet;

use keepwatch_model::{Span, WallTime};
use keepwatch_recording::replenish::splice::{Splice, Verdict};

use super::piece::Piece;

/// Most half frames between two pieces that count as none missing: rounding, and the steering of clocks.
const SEAM_HALF_FRAMES: i64 = 3;

/// What of a piece fills the gap. It is written when the next one was judged: only that tells what becomes of a frame that is
/// labelled behind the gap, and whether anything is missing between what is taken and what is held behind it.
#[derive(Debug)]
pub(super) struct Judged {
    taken: BTreeSet<usize>,
    /// Frames that fill the gap if the first one held behind it comes after them.
    late: BTreeSet<usize>,
    /// How many of those that are taken were late.
    taken_late: usize,
    /// This recorder's labels are so far ahead.
    shift_ticks: i64,
    /// The first frame held behind the gap is in it.
    joined: bool,
    /// Nothing else is missing up to the end of the gap but so many late frames, which are in the piece behind it.
    behind: Option<usize>,
    /// Something of it belongs behind the gap: nothing more is wanted.
    pub(super) is_last: bool,
}

impl Judged {
    /// Judges `piece`, which comes behind all that `splice` has judged.
    pub(super) fn of(splice: &mut Splice, piece: &Piece<'_>) -> Self {
        splice.enter(piece.run.0, piece.label);
        let joined_before = splice.is_joined();
        let (mut taken, mut late, mut is_last) = (BTreeSet::new(), BTreeSet::new(), false);
        for (place, frame) in piece.frames().iter().enumerate() {
            match splice.judge(frame) {
                Verdict::Take => drop(taken.insert(place)),
                Verdict::Late => drop(late.insert(place)),
                Verdict::Skip => {}
                Verdict::Beyond => is_last = true,
            }
        }
        let joined = splice.is_joined() && !joined_before;
        let shift_ticks = splice.shift_ticks();
        let mut judged = Self { taken, late, taken_late: 0, shift_ticks, joined, behind: None, is_last };
        if joined {
            judged.take_late();
            judged.behind = Some(0);
        } else if is_last {
            judged.late.clear();
        }
        judged
    }

    /// Whether any of it fills the gap.
    pub(super) fn takes_any(&self) -> bool {
        !self.taken.is_empty()
    }

    /// `next` was judged, which comes right behind it.
    pub(super) fn followed_by(&mut self, next: &mut Self) {
        if next.joined {
            self.take_late();
            self.behind = (next.taken.len() == next.taken_late).then_some(next.taken_late);
        } else if !self.late.is_empty() {
            // Whether they are held here cannot be told.
            self.late.clear();
            next.late.clear();
            next.is_last = true;
        }
    }

    fn take_late(&mut self) {
        self.taken_late = self.late.len();
        self.taken.append(&mut self.late);
    }
}

/// What of a piece is written, and where.
#[derive(Debug)]
pub(super) struct Placed<'a> {
    /// Its pictures that are taken.
    pub(super) taken: &'a BTreeSet<usize>,
    /// What the record is labelled.
    pub(super) label: Span,
    /// By so many ticks its samples are labelled later than by the source.
    pub(super) shift_ticks: i64,
    /// The label of the picture that is shown last.
    last_shown: WallTime,
}

/// The places in a gap, which are given from its beginning on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places {
    gap: Span,
    half_frame_ticks: i64,
    /// Where what was written ends.
    reach: WallTime,
    /// The label of its last picture; at first that of the one before the gap.
    last_shown: WallTime,
}

impl Places {
    /// All of `gap` is free.
    pub(super) fn new(gap: Span, half_frame_ticks: i64) -> Self {
        let half_frame_ticks = half_frame_ticks.max(1);
        let last_shown = gap.from.plus(half_frame_ticks.saturating_mul(-2));
        Self { gap, half_frame_ticks, reach: gap.from, last_shown }
    }

    /// The place of what is taken of `piece`; `None` when nothing is, or there is none. What was recognised as lying in the gap
    /// has its place there, however late its packets were.
    pub(super) fn place<'a>(&self, piece: &Piece<'_>, judged: &'a Judged) -> Option<Placed<'a>> {
        let Judged { taken, taken_late, shift_ticks, behind, is_last, .. } = judged;
        let only_late = *taken_late > 0 && taken.len() == *taken_late;
        let own = |label: WallTime| label.plus(*shift_ticks);
        let frame_ticks = self.half_frame_ticks.saturating_mul(2);
        let samples = piece.samples.get(piece.video()?)?;
        let labels = samples.iter().enumerate();
        let shown = labels.filter(|(place, _)| taken.contains(place)).map(|(_, sample)| sample.label);
        let (first, last) = (shown.clone().min()?, shown.max()?);
        let whole = |place: usize| taken.contains(&place);
        let from = if whole(0) { piece.label.from } else { first };
        let to = match *is_last || !whole(samples.len().saturating_sub(1)) {
            true => last.plus(frame_ticks),
            false => piece.label.to,
        };
        let (mut from, mut to) = (own(from), own(to).min(self.gap.to));
        let seam = SEAM_HALF_FRAMES.saturating_mul(self.half_frame_ticks);
        // Late frames stand where the piece before left room for them.
        if only_late || from.ticks_since(self.reach) <= seam {
            from = self.reach;
        }
        // Nothing is known of what comes behind it: one frame more may, unless there is no room for it.
        let behind_ticks = if *is_last { seam } else { self.half_frame_ticks };
        match *behind {
            // What comes behind it needs a place as well.
            Some(count @ 1..) => {
                let room = frame_ticks.saturating_mul(i64::try_from(count).unwrap_or(i64::MAX));
                to = to.min(self.gap.to.plus(-room)).max(from.plus(1)).min(self.gap.to);
            }
            Some(0) if self.gap.to.ticks_since(to) <= seam => to = self.gap.to,
            None if self.gap.to.ticks_since(to) <= behind_ticks => to = self.gap.to,
            Some(0) | None => {}
        }
        let label = Span::new(from, to)?;
        let (first, last) = (own(first), own(last));
        let excess_ticks = last.ticks_since(to).saturating_add(1).max(0);
        let room_ticks = first.ticks_since(self.last_shown).saturating_sub(1);
        let earlier_ticks = excess_ticks.min(room_ticks);
        let shift_ticks = shift_ticks.saturating_sub(earlier_ticks);
        Some(Placed { taken, label, shift_ticks, last_shown: last.plus(earlier_ticks.saturating_neg()) })
    }

    /// Whether the gap is free from `label` on, as far as what was written tells.
    pub(super) fn is_free_from(&self, label: WallTime) -> bool {
        let seam = SEAM_HALF_FRAMES.saturating_mul(self.half_frame_ticks);
        label < self.gap.to && label >= self.reach.plus(seam.saturating_neg())
    }

    /// What was placed is written.
    pub(super) fn written(&mut self, placed: &Placed<'_>) {
        self.reach = placed.label.to;
        self.last_shown = placed.last_shown;
    }
}

#[cfg(test)]
mod tests;
