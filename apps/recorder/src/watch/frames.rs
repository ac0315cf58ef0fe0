//! The frames of a window by their labels: what a page steps through.

use keepwatch_model::{CameraId, Span, StreamId, TICKS_PER_SECOND, WallTime};
use keepwatch_store::{Store, StoreError};

/// Records around the window that may hold frames of it.
const MARGIN_TICKS: i64 = TICKS_PER_SECOND;

/// A frame, without its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameInfo {
    /// When it is shown.
    pub(crate) label: WallTime,
    /// Whether decoding can start at it.
    pub(crate) key: bool,
    /// Its length.
    pub(crate) bytes: u32,
}

/// The first `limit` frames of a stream with a label in `window`, in the order they are shown. Those of records that
/// cannot be read any more are left out. Blocks.
///
/// # Errors
/// When the index cannot be read.
pub(crate) fn list_frames(
    store: &Store,
    (camera, stream): (CameraId, StreamId),
    window: Span,
    limit: usize,
) -> Result<Vec<FrameInfo>, StoreError> {
    let around = Span { from: window.from.plus(-MARGIN_TICKS), to: window.to.plus(MARGIN_TICKS) };
    let mut frames: Vec<FrameInfo> = Vec::new();
    for record in store.records(camera, stream, around)? {
        // Frames of records behind the next are shown later than all that was found.
        let settled = record.info.label.from.plus(-MARGIN_TICKS);
        if frames.iter().filter(|frame| frame.label < settled).count() >= limit {
            break;
        }
        let Ok(index) = store.read_index(&record) else { continue };
        let Some(video) = index.tracks.iter().find(|track| track.config.kind.is_video()) else { continue };
        let listed = video.samples.iter().map(|sample| FrameInfo {
            label: video.label_of(sample),
            key: sample.key,
            bytes: sample.bytes,
        });
        frames.extend(listed.filter(|frame| (window.from..window.to).contains(&frame.label)));
    }
    frames.sort_by_key(|frame| frame.label);
    frames.truncate(limit);
    Ok(frames)
}
