//! What the tracks of a stream are and were: of its newest footage, so that it can be asked for before its camera is there
//! again, and of footage at a time, so that one session description is not all that can be played. It blocks.

use keepwatch_model::{Span, TICKS_PER_SECOND, WallTime};
use keepwatch_recording::ledger::Ahead;
use keepwatch_store::{ReadError, Store, StoreError, TimeQuality};

use super::hub::Tracks;
use super::reader::{LOOK_UP_TICKS, STEPS_MAX};
use crate::camera::{Registry, StreamState};

/// Why footage does not tell its tracks.
#[derive(Debug, thiserror::Error)]
pub(super) enum LearnError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Read(#[from] ReadError),
    /// What the ledger has, the store has not.
    #[error("it is on a disk that is away, or was overwritten")]
    Away,
}

/// Learns from the newest footage of each stream what its tracks are, and how far the camera's clock is from the labels.
pub(crate) fn learn(store: &Store, cameras: &Registry) {
    for stream in cameras.streams() {
        if stream.hub().tracks().is_none()
            && let Err(error) = learn_stream(store, &stream)
        {
            tracing::warn!(camera = %stream.camera, stream = %stream.id, %error, "newest footage cannot be read");
        }
    }
}

fn learn_stream(store: &Store, stream: &StreamState) -> Result<(), LearnError> {
    let Some(until) = stream.ledger().held_until() else { return Ok(()) };
    let window = Span { from: until.plus(-TICKS_PER_SECOND), to: until };
    let records = store.records(stream.camera, stream.id, window)?;
    let Some(newest) = records.last() else { return Ok(()) };
    if let Some(time) = newest.info.camera_time.filter(|time| time.quality == TimeQuality::SenderReport) {
        stream.remember(newest.info.label, time.span);
    }
    let index = store.read_index(newest)?;
    stream.hub().describe_at_first(index.tracks.into_iter().map(|track| track.config).collect());
    Ok(())
}

/// The tracks of the first footage at or after `at`; `None` where there is none.
pub(super) fn tracks_at(
    store: &Store,
    stream: &StreamState,
    at: WallTime,
) -> Result<Option<Tracks>, LearnError> {
    let (mut at, mut step, mut away) = (at, LOOK_UP_TICKS, false);
    for _ in 0..STEPS_MAX {
        let ahead = stream.ledger().ahead(at);
        let Ahead::Held(held) = ahead else { break };
        let window = Span { from: held, to: held.plus(step) };
        let records = store.records(stream.camera, stream.id, window)?;
        if let Some(first) = records.first() {
            let index = store.read_index(first)?;
            return Ok(Some(index.tracks.into_iter().map(|track| track.config).collect()));
        }
        away = true;
        at = window.to;
        step = step.saturating_mul(2);
    }
    if away { Err(LearnError::Away) } else { Ok(None) }
}
