//! What is held on both sides of a gap, frame by frame: where fetched footage has to join it.

use keepwatch_model::{CameraId, Span, StreamId, TICKS_PER_SECOND};
use keepwatch_recording::replenish::identity::Frame;
use keepwatch_recording::replenish::splice::Splice;
use keepwatch_store::{Store, StoreError};

use super::piece::Piece;

/// How far from the gap a record is looked for: the slowest camera's pictures are ten seconds apart.
const REACH_TICKS: i64 = 15 * TICKS_PER_SECOND;
/// Half of a frame as long as nothing is known of them: of 25 in a second.
const HALF_FRAME_TICKS: i64 = TICKS_PER_SECOND / 50;

/// A gap and the frames on both sides of it.
pub(super) struct Edges {
    pub(super) gap: Span,
    pub(super) before: Vec<Frame>,
    pub(super) after: Vec<Frame>,
    pub(super) half_frame_ticks: i64,
}

impl Edges {
    /// Reads what is held beside `gap`. A record that cannot be read is none: it joins less well then. Blocks.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub(super) fn read(
        store: &Store,
        (camera, stream): (CameraId, StreamId),
        gap: Span,
    ) -> Result<Self, StoreError> {
        let window = |from, to| store.records(camera, stream, Span { from, to });
        let before = window(gap.from.plus(-REACH_TICKS), gap.from)?;
        let after = window(gap.to, gap.to.plus(REACH_TICKS))?;
        let frames = |found: Option<&keepwatch_store::RecordRef>| {
            let record = store.read(found?).ok()?;
            Some(Piece::of(&record).frames())
        };
        let before = frames(before.last()).unwrap_or_default();
        let after =
            frames(after.iter().find(|record| record.info.label.from >= gap.from)).unwrap_or_default();
        let half_frame_ticks = half_frame(&before).or_else(|| half_frame(&after)).unwrap_or(HALF_FRAME_TICKS);
        Ok(Self { gap, before, after, half_frame_ticks })
    }

    /// Judges what is fetched for it.
    pub(super) fn splice(self) -> Splice {
        Splice::new(self.gap, self.half_frame_ticks, self.before, self.after)
    }

    /// How far this recorder's labels are ahead of the camera's clock, beside the gap; `None` when the camera does not tell.
    pub(super) fn ahead_of_camera_ticks(&self) -> Option<i64> {
        let mut near = self.before.iter().rev().chain(&self.after);
        near.find_map(|near| Some(near.label.ticks_since(near.camera_time?)))
    }
}

/// Half of the usual time from one picture to the next.
fn half_frame(frames: &[Frame]) -> Option<i64> {
    let mut labels: Vec<_> = frames.iter().map(|frame| frame.label).collect();
    labels.sort_unstable();
    let mut steps: Vec<i64> =
        labels.iter().zip(labels.iter().skip(1)).map(|(a, b)| b.ticks_since(*a)).collect();
    steps.sort_unstable();
    steps.get(steps.len() / 2).map(|step| (step / 2).clamp(1, REACH_TICKS))
}
