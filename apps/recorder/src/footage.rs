//! Footage of a window as the index knows it: which records, from the key frame on that decoding begins at, and why
//! there are none.
//!
//! Exports, playback, single pictures, replays and the beginnings of live pictures all begin here.

use std::ops::Range;

use keepwatch_model::{CameraId, Span, StreamId, TICKS_PER_SECOND};
use keepwatch_store::{ReadError, RecordIndex, RecordRef, RecordTrack, Store, StoreError};

/// Records around a window that may hold frames of it: labels of neighbours differ by the steering only.
pub(crate) const MARGIN_TICKS: i64 = TICKS_PER_SECOND;
/// How far before the window a key frame is looked for, in steps.
const LOOK_BACK_SECONDS: [i64; 4] = [5, 30, 300, LOOK_BACK_MAX_SECONDS];
const LOOK_BACK_MAX_SECONDS: i64 = 3_600;

/// Why there is no footage.
#[derive(Debug, thiserror::Error)]
pub enum FootageError {
    /// Nothing is held in the window.
    #[error("no footage of {camera} from {} to {}; its coverage says why", window.from, window.to)]
    Empty {
        /// Whose.
        camera: CameraId,
        /// Which labels.
        window: Span,
    },
    /// The index cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Footage cannot be read.
    #[error("footage of {camera} from {}: {source}", span.from)]
    Read {
        /// Whose.
        camera: CameraId,
        /// Which record.
        span: Span,
        /// Why.
        source: ReadError,
    },
}

impl FootageError {
    /// That `record` cannot be read.
    pub(crate) const fn unread(record: &RecordRef, source: ReadError) -> Self {
        Self::Read { camera: record.camera, span: record.info.label, source }
    }
}

/// The index of a record.
///
/// # Errors
/// When it was overwritten or is damaged.
pub(crate) fn read_index(store: &Store, record: &RecordRef) -> Result<RecordIndex, FootageError> {
    store.read_index(record).map_err(|source| FootageError::unread(record, source))
}

/// The records of `window`, from the one that holds the last key frame at or before its start; from the first of the
/// window when there is none. Blocks.
///
/// # Errors
/// When the index, or a record in which a key frame is looked for, cannot be read.
pub(crate) fn records_from_key(
    store: &Store,
    (camera, stream): (CameraId, StreamId),
    window: Span,
) -> Result<Vec<RecordRef>, FootageError> {
    let to = window.to.plus(MARGIN_TICKS);
    for seconds in LOOK_BACK_SECONDS {
        let from = window.from.plus(-seconds * TICKS_PER_SECOND);
        let mut found = store.records(camera, stream, Span { from, to })?;
        for position in (0..found.len()).rev() {
            let Some(record) = found.get(position).filter(|record| record.info.label.from <= window.from)
            else {
                continue;
            };
            let index = read_index(store, record)?;
            let tracks = index.tracks.iter().filter(|track| track.config.kind.is_video());
            let starts = tracks.flat_map(|track| track.samples.iter().map(move |sample| (track, sample)));
            if starts.into_iter().any(|(track, sample)| sample.key && track.label_of(sample) <= window.from) {
                return Ok(found.split_off(position));
            }
        }
        // Nothing before the window belongs to it when it begins in a gap; else what comes first inside may depend on
        // a key frame further back.
        let in_a_gap = |first: &RecordRef| first.info.label.from > window.from && first.info.starts_with_key;
        if found.first().is_some_and(in_a_gap) {
            return Ok(found);
        }
        if seconds == LOOK_BACK_MAX_SECONDS {
            // The file begins with the first key frame inside.
            let inside = found.iter().position(|record| record.info.label.to > window.from);
            return Ok(found.split_off(inside.unwrap_or(found.len())));
        }
    }
    Ok(Vec::new())
}

/// The bytes of `samples` of a track whose bytes are `data`; they stand one behind the other.
pub(crate) fn bytes_of<'a>(track: &RecordTrack, data: &'a [u8], samples: Range<usize>) -> &'a [u8] {
    let samples = track.samples.get(samples).unwrap_or_default();
    let (Some(first), Some(last)) = (samples.first(), samples.last()) else { return &[] };
    let start = usize::try_from(first.offset_bytes).unwrap_or(usize::MAX);
    let end = usize::try_from(u64::from(last.offset_bytes) + u64::from(last.bytes)).unwrap_or(usize::MAX);
    data.get(start..end).unwrap_or_default()
}
