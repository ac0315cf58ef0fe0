//! Frames into records: one group of pictures or one second each, sound and documents between the pictures they
//! belong to.

use std::sync::Arc;

use bytes::Bytes;
use keepwatch_model::{Origin, Span, StreamId, TICKS_PER_SECOND, TrackConfig, WallTime};
use keepwatch_store::{CommitError, PushError, RecordMeta, RunId, StreamWriter, TRACKS_MAX};

use super::Card;

/// A record is as long at most, in 90 kHz ticks.
const RECORD_TICKS_MAX: i64 = TICKS_PER_SECOND;
/// A key frame begins a record when the open one is as long, in 90 kHz ticks: where each is one, not all do.
const RECORD_TICKS_MIN: i64 = TICKS_PER_SECOND / 2;
/// A record holds so many bytes at most.
const RECORD_BYTES_MAX: usize = 3 << 20;

/// A sample for the card.
#[derive(Clone, Debug)]
pub(super) struct CardSample {
    /// The position of its track.
    pub(super) track: usize,
    /// By the camera's clock.
    pub(super) label: WallTime,
    /// Whether decoding can start here.
    pub(super) key: bool,
    /// What stands before `data`; may be empty.
    pub(super) prefix: Bytes,
    /// The sample.
    pub(super) data: Bytes,
}

/// Why a sample is not on the card.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    /// The store did not take it.
    #[error("the card does not take a sample")]
    Push(#[from] PushError),
    /// The store did not take the record.
    #[error("the card does not take a record")]
    Commit(#[from] CommitError),
}

/// Writes one camera's card.
pub(super) struct CardWriter<'c> {
    card: &'c Card,
    writer: StreamWriter,
    tracks: Arc<[TrackConfig]>,
    /// From one picture to the next, in 90 kHz ticks.
    frame_ticks: i64,
    run: Option<Run>,
    committed: u64,
}

/// Footage without a hole.
struct Run {
    id: RunId,
    /// No record of it was closed.
    first: bool,
    /// The open record; `None` between two.
    record: Option<OpenRecord>,
    /// The label of the last picture.
    last: WallTime,
}

struct OpenRecord {
    from: WallTime,
    continuation: bool,
    track_labels: [Option<WallTime>; TRACKS_MAX],
}

impl<'c> CardWriter<'c> {
    /// A writer of `tracks`, of which the first is the video.
    pub(super) fn new(card: &'c Card, tracks: Vec<TrackConfig>, frame_ticks: i64) -> Self {
        let writer = card.store.writer(card.camera, StreamId::MAIN);
        Self { card, writer, tracks: tracks.into(), frame_ticks, run: None, committed: 0 }
    }

    /// Records that were queued.
    pub(super) const fn committed(&self) -> u64 {
        self.committed
    }

    /// Takes a picture. What is not continuous with the last one begins a section; a section begins with a key frame,
    /// and pictures before it are left out.
    pub(super) fn picture(&mut self, sample: &CardSample) -> Result<(), WriteError> {
        let passed = self.run.as_ref().map(|run| sample.label.ticks_since(run.last));
        if passed.is_some_and(|passed| !(1..=RECORD_TICKS_MAX).contains(&passed)) {
            self.end_section()?;
        }
        if self.run.is_none() {
            if !sample.key {
                return Ok(());
            }
            let id = self.card.store.new_run();
            self.run = Some(Run { id, first: true, record: None, last: sample.label });
        }
        if self.cuts_before(sample) {
            self.commit(sample.label)?;
        }
        let Some(run) = &mut self.run else { return Ok(()) };
        run.last = sample.label;
        run.record.get_or_insert(OpenRecord {
            from: sample.label,
            continuation: !sample.key,
            track_labels: [None; TRACKS_MAX],
        });
        self.push(sample)
    }

    /// Takes what is no picture; left out while no section is open.
    pub(super) fn other(&mut self, sample: &CardSample) -> Result<(), WriteError> {
        self.push(sample)
    }

    /// Writes what is open; what follows is another section.
    pub(super) fn end_section(&mut self) -> Result<(), WriteError> {
        let Some(run) = &self.run else { return Ok(()) };
        let end = run.last.plus(self.frame_ticks);
        let result = self.commit(end);
        self.run = None;
        result
    }

    /// Forgets what is open, after the store refused something.
    pub(super) fn give_up(&mut self) {
        self.writer.discard();
        self.run = None;
    }

    fn cuts_before(&self, sample: &CardSample) -> bool {
        let Some(record) = self.run.as_ref().and_then(|run| run.record.as_ref()) else { return false };
        let ticks = sample.label.ticks_since(record.from);
        let bytes = self.writer.open_bytes() + sample.prefix.len() + sample.data.len();
        ticks >= RECORD_TICKS_MAX || (sample.key && ticks >= RECORD_TICKS_MIN) || bytes > RECORD_BYTES_MAX
    }

    fn push(&mut self, sample: &CardSample) -> Result<(), WriteError> {
        let Some(record) = self.run.as_mut().and_then(|run| run.record.as_mut()) else { return Ok(()) };
        let Some(track) = self.tracks.get(sample.track) else { return Ok(()) };
        let ticks = i128::from(sample.label.ticks()) * i128::from(track.clock_rate);
        let pts = i64::try_from(ticks.div_euclid(i128::from(TICKS_PER_SECOND))).unwrap_or(i64::MAX);
        self.writer.push_parts(sample.track, pts, sample.key, &[&sample.prefix, &sample.data])?;
        if let Some(label) = record.track_labels.get_mut(sample.track) {
            label.get_or_insert(sample.label);
        }
        Ok(())
    }

    /// Closes the open record, which lasts until `end`.
    fn commit(&mut self, end: WallTime) -> Result<(), WriteError> {
        let Some(run) = &mut self.run else { return Ok(()) };
        let Some(record) = run.record.take() else { return Ok(()) };
        let run_start = std::mem::take(&mut run.first);
        self.writer.commit(RecordMeta {
            run: run.id,
            run_start,
            continuation: record.continuation,
            label: Span { from: record.from, to: end },
            track_labels: record.track_labels.map(Option::unwrap_or_default),
            camera_time: None,
            tracks: self.tracks.clone(),
            gap_before: None,
            lost_packets: 0,
            origin: Origin::Edge,
            recorder: None,
            replaces: None,
        })?;
        self.committed += 1;
        Ok(())
    }
}
