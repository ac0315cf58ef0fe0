//! Where fetched footage joins what is held: which of its frames fill a gap, and which labels they get.
//!
//! Two recorders label the same frame by their own clocks, so that a frame is recognised by its picture ([`Frame::hash`])
//! and, where the camera tells it, by the camera's time within half a frame. The last frame held before a gap, found among the
//! fetched ones, gives the difference of the clocks and proves that what follows can be decoded. Where it is not found the
//! camera's time gives the difference, and filling begins at a key frame.

use keepwatch_model::{Span, TICKS_PER_SECOND, WallTime};

use super::identity::Frame;

/// Frames of one picture may be labelled so differently by clocks that are both right, where the camera tells no time.
const CLOCKS_TICKS_MAX: i64 = 2 * TICKS_PER_SECOND;

/// What is to be done with a fetched frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It fills the gap.
    Take,
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
    /// This recorder's label less the source's, of the same frame.
    shift_ticks: Option<i64>,
    /// A frame held before the gap was among the fetched ones.
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
        let half_frame_ticks = half_frame_ticks.max(1);
        Self {
            gap,
            half_frame_ticks,
            before,
            after,
            shift_ticks: None,
            aligned: false,
            taking: false,
            joined: false,
        }
    }

    /// The source begins another time line, as its clock was set: what its labels mean is found out anew.
    pub fn other_clock(&mut self) {
        self.shift_ticks = None;
        self.taking = false;
        self.aligned = false;
    }

    /// Whether the frames follow what is held before the gap without a hole.
    pub const fn is_aligned(&self) -> bool {
        self.aligned
    }

    /// Whether they reach up to what is held behind it.
    pub const fn is_joined(&self) -> bool {
        self.joined
    }

    /// What this recorder's label of `label` is, which is the source's; `None` before the first frame was judged.
    pub fn own_label(&self, label: WallTime) -> Option<WallTime> {
        Some(label.plus(self.shift_ticks?))
    }

    /// Judges the next frame.
    pub fn judge(&mut self, frame: &Frame) -> Verdict {
        if !self.taking
            && let Some(held) = self.before.iter().rev().find(|held| self.is_same(held, frame))
        {
            self.shift_ticks = Some(held.label.ticks_since(frame.label));
            self.aligned = true;
            return Verdict::Skip;
        }
        if self.after.iter().any(|held| self.is_same(held, frame)) {
            self.joined = self.taking;
            return Verdict::Beyond;
        }
        let shift = *self.shift_ticks.get_or_insert_with(|| shift_of(&self.before, &self.after, frame));
        let label = frame.label.plus(shift);
        if label >= self.gap.to.plus(-self.half_frame_ticks) {
            return Verdict::Beyond;
        }
        let inside = label.plus(self.half_frame_ticks) >= self.gap.from;
        if self.taking || (inside && (self.aligned || frame.key)) {
            self.taking = true;
            return Verdict::Take;
        }
        if !inside && !self.aligned {
            // The clocks may be compared again with a later frame.
            self.shift_ticks = None;
        }
        Verdict::Skip
    }

    fn is_same(&self, held: &Frame, frame: &Frame) -> bool {
        held.hash == frame.hash
            && match (held.camera_time, frame.camera_time) {
                (Some(held), Some(frame)) => held.ticks_since(frame).saturating_abs() < self.half_frame_ticks,
                (Some(_), None) | (None, Some(_)) | (None, None) => {
                    held.label.ticks_since(frame.label).saturating_abs() <= CLOCKS_TICKS_MAX
                }
            }
    }
}

/// How far this recorder's labels are ahead of those of `frame`'s, by the camera's clock; both clocks count as right where the
/// camera does not tell.
fn shift_of(before: &[Frame], after: &[Frame], frame: &Frame) -> i64 {
    let near = before.last().or(after.first());
    let by_camera = near.and_then(|held| {
        let own = held.label.ticks_since(held.camera_time?);
        let theirs = frame.label.ticks_since(frame.camera_time?);
        Some(own.saturating_sub(theirs))
    });
    by_camera.unwrap_or(0)
}

#[cfg(test)]
mod tests {
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
            assert_eq!(splice.own_label(at(80).plus(ahead)), Some(at(80)));
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
