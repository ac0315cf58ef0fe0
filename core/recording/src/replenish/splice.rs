//! Where fetched footage joins what is held: which of its frames fill a gap, and which labels they get.
//!
//! Two recorders label the same frame by their own clocks, so that a frame is recognised by its picture ([`Frame::hash`])
//! and, where the camera tells it, by the camera's time within half a frame. The last frame held before a gap, found among the
//! fetched ones, gives the difference of the clocks and proves that what follows can be decoded. Where it is not found the
//! camera's time gives the difference, or what the two recorders' clocks show, and filling begins at a key frame. Any of the
//! three clocks may be set while a gap lasts; what the two others say tells which it was.

use std::collections::BTreeSet;

use keepwatch_model::{Span, TICKS_PER_SECOND, WallTime};

use super::identity::Frame;

/// Frames of one picture may be labelled so differently by clocks that are both right, where the camera tells no time.
const CLOCKS_TICKS_MAX: i64 = TICKS_PER_SECOND;

/// A clock that is so far from where another one puts it was set: less is packets that were late.
const CLOCK_SET_TICKS: i64 = TICKS_PER_SECOND / 2;

/// A camera's clock that is further off than this was never set: it lost its time when it was switched off.
const CAMERA_CLOCK_TICKS_MAX: i64 = 24 * 3_600 * TICKS_PER_SECOND;

/// So many pictures without a time are remembered: half an hour of the fastest camera, twice what is fetched for one gap.
const SEEN_MAX: usize = 100_000;

/// What is to be done with a fetched frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It fills the gap.
    Take,
    /// By its label it lies behind the gap, by what is held it may not: it fills the gap if the first frame held behind comes
    /// after it. Labels of two recorders are as far apart as packets were late.
    Late,
    /// It is held already, or lies before the gap, or cannot be decoded.
    Skip,
    /// It is held behind the gap, or belongs there.
    Beyond,
}

/// Judges the frames that one source gives for one gap, in decoding order.
#[derive(Clone, Debug)]
pub struct Splice {
    gap: Span,
    half_frame_ticks: i64,
    before: Vec<Frame>,
    after: Vec<Frame>,
    /// This recorder's clock less the source's, as far as the two can tell: what counts where no frame says it better.
    clocks_ticks: i64,
    /// This recorder's label less the source's, of the same frame; `None` until a frame of the run is found or taken.
    shift_ticks: Option<i64>,
    /// The same of the run before.
    earlier_ticks: Option<i64>,
    /// Run and end of the last piece, by the source.
    piece: Option<(u64, WallTime)>,
    /// Frames of `before` up to the last that was found.
    found: usize,
    /// What pictures without a time looked like.
    seen: BTreeSet<u64>,
    /// Pictures come again and again, and no time tells them apart: only the clocks count.
    ambiguous: bool,
    /// The next frame follows the last that is held before the gap.
    follows: bool,
    /// Frames are taken.
    taking: bool,
    /// The first frame held behind the gap was among them.
    joined: bool,
    /// Filling begins at any frame.
    from_any_frame: bool,
}

impl Splice {
    /// Judges frames for `gap`, beside the last record that is held before it and the first one behind it, each in
    /// decoding order and empty where there is none.
    pub fn new(gap: Span, half_frame_ticks: i64, before: Vec<Frame>, after: Vec<Frame>) -> Self {
        Self {
            gap,
            half_frame_ticks: half_frame_ticks.max(1),
            before,
            after,
            clocks_ticks: 0,
            shift_ticks: None,
            earlier_ticks: None,
            piece: None,
            found: 0,
            seen: BTreeSet::new(),
            ambiguous: false,
            follows: false,
            taking: false,
            joined: false,
            from_any_frame: false,
        }
    }

    /// The source sends all that it has, in whatever order: what a frame is decoded with is there, or comes.
    pub const fn begin_at_any_frame(&mut self) {
        self.from_any_frame = true;
    }

    /// This recorder's clock shows so many ticks more than the source's.
    pub const fn compare_clocks(&mut self, clocks_ticks: i64) {
        self.clocks_ticks = clocks_ticks;
    }

    /// The frames of a piece come next that the source recorded in `run` and labels so.
    pub fn enter(&mut self, run: u64, label: Span) {
        let Some((last_run, until)) = self.piece.replace((run, label.to)) else { return };
        if last_run != run && label.from != until {
            // Its clock may have been set, or the camera's: what was found out is a guess at most.
            self.earlier_ticks = self.shift_ticks.take().or(self.earlier_ticks);
        }
        // A run that begins where the last one ended has its frames and its clock: only what the camera says of itself changed.
        if label.from > until || (last_run != run && label.from != until) {
            self.taking = false;
            self.follows = false;
        }
    }

    /// Whether what is taken reaches up to what is held behind the gap.
    pub const fn is_joined(&self) -> bool {
        self.joined
    }

    /// How many ticks this recorder's labels are ahead of the source's, of the frame that was judged last.
    pub fn shift_ticks(&self) -> i64 {
        self.shift_ticks.unwrap_or_else(|| self.guess_ticks())
    }

    /// Judges the next frame.
    pub fn judge(&mut self, frame: &Frame) -> Verdict {
        self.doubt(frame);
        if !self.taking && self.find(frame) {
            return Verdict::Skip;
        }
        if self.after.iter().any(|held| self.is_same(held, frame)) {
            self.joined = self.taking;
            return Verdict::Beyond;
        }
        if self.joined {
            return Verdict::Beyond;
        }
        let follows = std::mem::take(&mut self.follows);
        let shift = self.shift_ticks.unwrap_or_else(|| self.shift_of(frame));
        let label = frame.label.plus(shift);
        if label >= self.gap.to.plus(-self.half_frame_ticks) {
            let late = self.taking && self.is_recognisable() && label < self.gap.to.plus(CLOCKS_TICKS_MAX);
            return if late { Verdict::Late } else { Verdict::Beyond };
        }
        let inside = label.plus(self.half_frame_ticks) >= self.gap.from;
        let last = self.before.iter().map(|held| held.label).max();
        if self.taking {
            return Verdict::Take;
        }
        if !inside {
            // What is shown before the last picture may come behind it.
            self.follows = follows && last.is_some_and(|last| label <= last);
            return Verdict::Skip;
        }
        // The source may miss the last picture that is held here.
        let next_ticks = 3 * self.half_frame_ticks;
        let follows =
            follows || (self.found > 0 && last.is_some_and(|last| label.ticks_since(last) <= next_ticks));
        if !follows && !frame.key && !self.from_any_frame {
            return Verdict::Skip;
        }
        self.taking = true;
        self.shift_ticks = Some(shift);
        Verdict::Take
    }

    /// A picture without a time that came before comes again, and is held as well: what is found by its looks says nothing.
    fn doubt(&mut self, frame: &Frame) {
        if self.ambiguous || frame.camera_time.is_some() || self.seen.len() >= SEEN_MAX {
            return;
        }
        let repeats = !self.seen.insert(frame.hash);
        if repeats && self.before.iter().chain(&self.after).any(|held| held.hash == frame.hash) {
            self.ambiguous = true;
            if !self.taking {
                (self.found, self.follows, self.shift_ticks) = (0, false, None);
            }
        }
    }

    /// Whether the frame right behind the gap would be found among those of the source.
    fn is_recognisable(&self) -> bool {
        // What is asked for may be a part of a longer gap: what is held behind that stands elsewhere.
        let near = self.gap.to.plus(3 * self.half_frame_ticks);
        let first = self.after.iter().map(|held| held.label).min();
        !self.ambiguous && first.is_some_and(|first| first < near)
    }

    /// Looks for `frame` among those held before the gap.
    fn find(&mut self, frame: &Frame) -> bool {
        let Some(place) = self.before.iter().rposition(|held| self.is_same(held, frame)) else {
            return false;
        };
        let Some(held) = self.before.get(place) else { return false };
        self.shift_ticks = Some(held.label.ticks_since(frame.label));
        self.found = place + 1;
        self.follows = self.found == self.before.len();
        true
    }

    fn is_same(&self, held: &Frame, frame: &Frame) -> bool {
        if held.hash != frame.hash {
            return false;
        }
        match (held.camera_time, frame.camera_time) {
            (Some(held), Some(frame)) => held.ticks_since(frame).saturating_abs() < self.half_frame_ticks,
            (Some(_), None) | (None, Some(_)) | (None, None) => {
                let apart_ticks = held.label.ticks_since(frame.label.plus(self.guess_ticks()));
                let held_once = || {
                    let all = self.before.iter().chain(&self.after);
                    all.filter(|other| other.hash == held.hash).take(2).count() == 1
                };
                !self.ambiguous && apart_ticks.saturating_abs() <= CLOCKS_TICKS_MAX && held_once()
            }
        }
    }

    /// How far this recorder's labels are ahead of the source's where no frame tells.
    fn guess_ticks(&self) -> i64 {
        self.earlier_ticks.unwrap_or(self.clocks_ticks)
    }

    /// How far this recorder's labels are ahead of those of `frame`'s: by the camera's clock, or by those of the two where the
    /// camera does not tell.
    ///
    /// The camera's clock may have been set since the frames before the gap; then those behind it tell, or none. The source's may
    /// have been set between two runs, or since. It is taken that one of them was, and not both.
    fn shift_of(&self, frame: &Frame) -> i64 {
        let Some(time) = frame.camera_time else { return self.guess_ticks() };
        let theirs = frame.label.ticks_since(time);
        let shift = |held: &Frame| Some(held.label.ticks_since(held.camera_time?).saturating_sub(theirs));
        let before = self.before.iter().rev().find_map(shift);
        let after = self.after.iter().find_map(shift);
        // What differs by less is packets that were late.
        let after = after.filter(|after| before.is_none_or(|before| apart(before, *after) > CLOCK_SET_TICKS));
        let nearest = |to: i64, within: i64| {
            let near = [before, after].into_iter().flatten().filter(|shift| apart(*shift, to) <= within);
            near.min_by_key(|shift| apart(*shift, to))
        };
        let Some(earlier) = self.earlier_ticks else {
            return nearest(self.clocks_ticks, CAMERA_CLOCK_TICKS_MAX).unwrap_or(self.clocks_ticks);
        };
        let was_set = apart(earlier, self.clocks_ticks) > CLOCK_SET_TICKS;
        let by_clocks = || nearest(self.clocks_ticks, CLOCK_SET_TICKS).filter(|_| was_set);
        nearest(earlier, CLOCK_SET_TICKS).or_else(by_clocks).unwrap_or(earlier)
    }
}

fn apart(one: i64, other: i64) -> i64 {
    one.saturating_sub(other).saturating_abs()
}

#[cfg(test)]
mod tests;
