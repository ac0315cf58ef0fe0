//! Where fetched footage joins what is held: which of its frames fill a gap, and which labels they get.
//!
//! Two recorders label the same frame by their own clocks, so that a frame is recognised by its picture ([`Frame::hash`])
//! and, where the camera tells it, by the camera's time within half a frame. The last frame held before a gap, found among the
//! fetched ones, gives the difference of the clocks and proves that what follows can be decoded. Where it is not found the
//! camera's time gives the difference, or what the two recorders' clocks show, and filling begins at a key frame.

use std::collections::BTreeSet;

use keepwatch_model::{Span, TICKS_PER_SECOND};

use super::identity::Frame;

/// Frames of one picture may be labelled so differently by clocks that are both right, where the camera tells no time.
const CLOCKS_TICKS_MAX: i64 = TICKS_PER_SECOND;

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
    /// This recorder's label less the source's, of the same frame; `None` until a frame is found or taken.
    shift_ticks: Option<i64>,
    /// Frames of `before` up to the last that was found.
    found: usize,
    /// What pictures without a time looked like.
    seen: BTreeSet<u64>,
    /// Pictures come again and again, and no time tells them apart: only the clocks count.
    ambiguous: bool,
    /// The next frame follows the last that is held before the gap.
    follows: bool,
    /// What is taken follows what is held before the gap.
    aligned: bool,
    /// Frames are taken.
    taking: bool,
    /// The first frame held behind the gap was among them.
    joined: bool,
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
            found: 0,
            seen: BTreeSet::new(),
            ambiguous: false,
            follows: false,
            aligned: false,
            taking: false,
            joined: false,
        }
    }

    /// This recorder's clock shows so many ticks more than the source's.
    pub const fn compare_clocks(&mut self, clocks_ticks: i64) {
        self.clocks_ticks = clocks_ticks;
    }

    /// The source begins another run: its clock may have been set, and frames may be missing before it.
    pub fn other_run(&mut self) {
        // Where the camera tells no time, what was found out is still the best guess.
        self.clocks_ticks = self.shift_ticks.take().unwrap_or(self.clocks_ticks);
        self.taking = false;
        self.follows = false;
    }

    /// Whether what was taken first follows what is held before the gap without a hole.
    pub const fn is_aligned(&self) -> bool {
        self.aligned
    }

    /// Whether they reach up to what is held behind it.
    pub const fn is_joined(&self) -> bool {
        self.joined
    }

    /// How many ticks this recorder's labels are ahead of the source's, of the frame that was judged last.
    pub fn shift_ticks(&self) -> i64 {
        self.shift_ticks.unwrap_or(self.clocks_ticks)
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
        if !follows && !frame.key {
            return Verdict::Skip;
        }
        self.aligned |= follows;
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
                let apart_ticks = held.label.ticks_since(frame.label.plus(self.clocks_ticks));
                let held_once = || {
                    let all = self.before.iter().chain(&self.after);
                    all.filter(|other| other.hash == held.hash).take(2).count() == 1
                };
                !self.ambiguous && apart_ticks.saturating_abs() <= CLOCKS_TICKS_MAX && held_once()
            }
        }
    }

    /// How far this recorder's labels are ahead of those of `frame`'s: by the camera's clock, or by those of the two where the
    /// camera does not tell.
    fn shift_of(&self, frame: &Frame) -> i64 {
        let near = self.before.iter().rev().chain(&self.after);
        let by_camera = near.filter_map(|held| Some(held.label.ticks_since(held.camera_time?))).next();
        let theirs = frame.camera_time.map(|time| frame.label.ticks_since(time));
        by_camera.zip(theirs).map_or(self.clocks_ticks, |(own, theirs)| own.saturating_sub(theirs))
    }
}

#[cfg(test)]
mod tests {
    use keepwatch_model::WallTime;

    use super::*;
    use proptest::prelude::*;

    const FRAME: i64 = 3_600;
    /// The camera's clock is years behind.
    const CAMERA: i64 = -1_000_000_000;

    fn at(number: i64) -> WallTime {
        WallTime::from_ticks(number * FRAME)
    }

    /// Frame `number` as a recorder saw it whose clock is `ahead` ticks ahead.
    fn frame(number: i64, ahead: i64, tells_time: bool) -> Frame {
        Frame {
            label: at(number).plus(ahead),
            camera_time: tells_time.then(|| at(number).plus(CAMERA)),
            key: number % 25 == 0,
            hash: number.unsigned_abs() * 0x9e37_79b9,
        }
    }

    fn frames(numbers: std::ops::Range<i64>, ahead: i64) -> Vec<Frame> {
        numbers.map(|number| frame(number, ahead, true)).collect()
    }

    /// Every packet of this recorder's was late before the gap, and none behind it.
    #[test]
    fn a_frame_that_is_labelled_behind_the_gap_fills_it_if_what_is_held_there_comes_later() {
        let late = |numbers, ticks: i64| -> Vec<Frame> {
            frames(numbers, 0)
                .into_iter()
                .map(|frame| Frame { label: frame.label.plus(ticks), ..frame })
                .collect()
        };
        let gap = Span { from: at(60).plus(FRAME), to: at(100) };
        let mut splice = Splice::new(gap, FRAME / 2, late(50..60, FRAME), frames(100..125, 0));
        let verdicts: Vec<(i64, Verdict)> =
            (55..103).map(|number| (number, splice.judge(&frame(number, 0, true)))).collect();
        let of = |wanted: Verdict| -> Vec<i64> {
            verdicts.iter().filter(|(_, verdict)| *verdict == wanted).map(|(number, _)| *number).collect()
        };
        assert_eq!(of(Verdict::Take), (60..99).collect::<Vec<_>>());
        assert_eq!(of(Verdict::Late), [99]);
        assert_eq!(of(Verdict::Beyond), [100, 101, 102]);
        assert!(splice.is_joined());
        // It is a part of a longer gap, behind which frames are held: its label counts.
        let mut splice = Splice::new(gap, FRAME / 2, late(50..60, FRAME), frames(110..125, 0));
        let last = (55..112).map(|number| (number, splice.judge(&frame(number, 0, true))));
        let last: Vec<i64> =
            last.filter(|(_, verdict)| *verdict != Verdict::Beyond).map(|(number, _)| number).collect();
        assert_eq!(last.last(), Some(&98));
        // Nothing is held behind it that could be recognised: its label counts.
        let mut splice = Splice::new(gap, FRAME / 2, late(50..60, FRAME), Vec::new());
        let taken = (55..99).filter(|number| splice.judge(&frame(*number, 0, true)) == Verdict::Take);
        assert_eq!(taken.count(), 99 - 60);
        assert_eq!(splice.judge(&frame(99, 0, true)), Verdict::Beyond);
    }

    fn taken(splice: &mut Splice, numbers: std::ops::Range<i64>, ahead: i64) -> Vec<i64> {
        numbers.filter(|number| splice.judge(&frame(*number, ahead, true)) == Verdict::Take).collect()
    }

    #[test]
    fn frames_join_on_both_sides_in_the_middle_of_a_group_whatever_the_clocks_say() {
        for ahead in [0, 7_777, -90_000 * 86_400] {
            let gap = Span { from: at(60), to: at(100) };
            let mut splice = Splice::new(gap, FRAME / 2, frames(50..60, 0), frames(100..125, 0));
            assert_eq!(taken(&mut splice, 25..130, ahead), (60..100).collect::<Vec<_>>(), "{ahead}");
            assert!(splice.is_aligned() && splice.is_joined());
            assert_eq!(splice.shift_ticks(), -ahead);
        }
    }

    #[test]
    fn without_a_common_frame_filling_begins_at_a_key_frame() {
        let gap = Span { from: at(60), to: at(100) };
        let mut splice = Splice::new(gap, FRAME / 2, frames(50..60, 0), Vec::new());
        assert_eq!(taken(&mut splice, 62..130, 4_000), (75..100).collect::<Vec<_>>());
        assert!(!splice.is_aligned());
    }

    /// The card holds another coding of the same scene: a picture of it cannot be decoded behind one of this.
    #[test]
    fn another_coding_is_not_spliced_within_a_group() {
        let gap = Span { from: at(60), to: at(100) };
        let mut before = frames(50..60, 0);
        before.iter_mut().for_each(|frame| frame.hash ^= 1);
        let mut splice = Splice::new(gap, FRAME / 2, before, Vec::new());
        assert_eq!(taken(&mut splice, 25..130, 0), (75..100).collect::<Vec<_>>());
    }

    /// A scene that does not move: the same picture again and again is told apart by the camera's time.
    #[test]
    fn equal_pictures_of_other_times_are_other_frames() {
        let still = |number| Frame { hash: 5, ..frame(number, 0, true) };
        let gap = Span { from: at(60), to: at(100) };
        let mut splice =
            Splice::new(gap, FRAME / 2, (50..60).map(still).collect(), (100..125).map(still).collect());
        let taken: Vec<i64> =
            (25..130).filter(|number| splice.judge(&still(*number)) == Verdict::Take).collect();
        assert_eq!(taken, (60..100).collect::<Vec<_>>());
    }

    #[test]
    fn a_camera_that_tells_no_time_is_recognised_by_its_pictures() {
        let gap = Span { from: at(60), to: at(100) };
        let held = |numbers: std::ops::Range<i64>| -> Vec<Frame> {
            numbers.map(|number| frame(number, 0, false)).collect()
        };
        let mut splice = Splice::new(gap, FRAME / 2, held(50..60), held(100..125));
        let theirs = |number| frame(number, 3_000, false);
        let taken: Vec<i64> =
            (25..130).filter(|number| splice.judge(&theirs(*number)) == Verdict::Take).collect();
        assert_eq!(taken, (60..100).collect::<Vec<_>>());
    }

    fn timeless(numbers: std::ops::Range<i64>, ahead: i64) -> Vec<Frame> {
        numbers.map(|number| frame(number, ahead, false)).collect()
    }

    fn judged(splice: &mut Splice, frames: &[Frame]) -> Vec<i64> {
        let mut taken = Vec::new();
        for frame in frames {
            if splice.judge(frame) == Verdict::Take {
                taken.push((frame.label.plus(splice.shift_ticks()).ticks() + FRAME / 2) / FRAME);
            }
        }
        taken
    }

    /// Neither recorder has had a sender report, and their clocks differ by an hour: the two can tell by how much.
    #[test]
    fn before_the_first_sender_report_the_difference_of_the_clocks_counts() {
        let hour = 3_600 * TICKS_PER_SECOND;
        for (ahead, said) in [(hour, hour), (-hour, -hour + TICKS_PER_SECOND / 10)] {
            let gap = Span { from: at(60), to: at(100) };
            let mut splice = Splice::new(gap, FRAME / 2, timeless(50..60, 0), timeless(100..125, 0));
            splice.compare_clocks(-said);
            assert_eq!(judged(&mut splice, &timeless(25..130, ahead)), (60..100).collect::<Vec<_>>());
            assert!(splice.is_aligned() && splice.is_joined());
            // Nothing that both hold: from a key frame on, by the clocks.
            let mut splice = Splice::new(gap, FRAME / 2, timeless(50..60, 0), Vec::new());
            splice.compare_clocks(-ahead);
            assert_eq!(judged(&mut splice, &timeless(62..130, ahead)), (75..100).collect::<Vec<_>>());
        }
    }

    /// The source's session began without a report: what its first frames are labelled by must not outlive them.
    #[test]
    fn the_first_frame_with_the_cameras_time_tells_better_than_the_clocks() {
        let gap = Span { from: at(60), to: at(100) };
        let mut splice = Splice::new(gap, FRAME / 2, Vec::new(), frames(100..125, 0));
        // The clocks say that it is an hour off, which it is not.
        splice.compare_clocks(-3_600 * TICKS_PER_SECOND);
        let fetched: Vec<Frame> = (50..130).map(|number| frame(number, 0, number >= 62)).collect();
        assert_eq!(judged(&mut splice, &fetched), (75..100).collect::<Vec<_>>());
    }

    /// A camera that shows a test picture, or the same group of pictures again and again, and tells no time.
    #[test]
    fn equal_pictures_without_times_are_told_apart_by_the_clocks() {
        for period in [1, 25] {
            let again = |number: i64| Frame {
                hash: number.rem_euclid(period).unsigned_abs(),
                ..frame(number, 0, false)
            };
            let all = |numbers: std::ops::Range<i64>| numbers.map(again).collect::<Vec<_>>();
            let gap = Span { from: at(60), to: at(200) };
            let mut splice = Splice::new(gap, FRAME / 2, all(50..60), all(200..225));
            let taken = judged(&mut splice, &all(0..230));
            // Up to a group of pictures is given up, and none is there twice.
            let first = taken.first().copied().unwrap_or_default();
            assert!((60..=75).contains(&first), "{period}: {taken:?}");
            assert_eq!(taken, (first..200).collect::<Vec<_>>(), "{period}");
        }
    }

    /// Frames are missing between what is held and the gap that is filled, and the source has them: what refers to them cannot
    /// be decoded here.
    #[test]
    fn what_does_not_follow_the_last_frame_held_begins_at_a_key_frame() {
        let gap = Span { from: at(60), to: at(100) };
        let mut splice = Splice::new(gap, FRAME / 2, frames(50..56, 0), Vec::new());
        assert_eq!(taken(&mut splice, 25..130, 0), (75..100).collect::<Vec<_>>());
        assert!(!splice.is_aligned());
        // The source misses the last one only, which is here.
        let mut splice = Splice::new(gap, FRAME / 2, frames(50..60, 0), Vec::new());
        let fetched: Vec<Frame> =
            frames(25..130, 0).into_iter().filter(|held| held.label != at(59)).collect();
        assert_eq!(judged(&mut splice, &fetched), (60..100).collect::<Vec<_>>());
    }

    /// The source's clock was set between two of its runs.
    #[test]
    fn another_run_has_another_clock() {
        let gap = Span { from: at(60), to: at(100) };
        let mut splice = Splice::new(gap, FRAME / 2, frames(50..60, 0), frames(100..125, 0));
        assert_eq!(judged(&mut splice, &frames(50..70, 0)), (60..70).collect::<Vec<_>>());
        splice.other_run();
        let later = frames(75..110, 90_000_000);
        assert_eq!(judged(&mut splice, &later), (75..100).collect::<Vec<_>>());
        assert!(splice.is_joined());
    }

    proptest! {
        /// Whatever the source has, and whatever the clocks say: each frame is there once, and none is invented.
        #[test]
        fn no_frame_is_there_twice(
            from in 20i64..80, length in 1i64..80, begins in 0i64..120, ends in 0i64..200, ahead in -100_000i64..100_000,
        ) {
            let gap = Span { from: at(from), to: at(from + length) };
            let before = frames(from - 15..from, 0);
            let mut splice = Splice::new(gap, FRAME / 2, before, frames(from + length..from + length + 25, 0));
            let taken = taken(&mut splice, begins..ends.max(begins), ahead);
            prop_assert!(taken.iter().all(|number| (from..from + length).contains(number)));
            prop_assert!(taken.windows(2).all(|pair| pair[1] == pair[0] + 1));
            // All that the source has is taken from the first frame on that can be decoded.
            let first = if begins < from { from } else { (begins + 24) / 25 * 25 };
            let expected = (from + length).min(ends.max(begins)) - first;
            prop_assert_eq!(taken.len(), usize::try_from(expected.max(0)).unwrap());
        }
    }
}
