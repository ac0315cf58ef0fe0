//! Reads the records of a stream one after the other for a replay. It blocks.
//!
//! The ledger tells where footage lies, the store has it. What the ledger calls held and the store does not give is on a
//! disk that is away, or was overwritten a moment ago: it is passed over, and so is footage that the announced tracks do
//! not carry.

mod backward;
mod forward;

use std::sync::Arc;

use bytes::Bytes;
use keepwatch_model::{Span, TICKS_PER_SECOND, TrackConfig, WallTime};
use keepwatch_recording::lineup::Unit;
use keepwatch_store::{Record, RecordRef, RunId, Store, StoreError};

use self::backward::Backward;
use self::forward::Forward;
use super::sets::carries;
use crate::camera::StreamState;
use crate::clock::Clock;

/// Records are looked up for so much footage at a time.
pub(super) const LOOK_UP_TICKS: i64 = 30 * TICKS_PER_SECOND;
/// Steps of twice the length each by which footage is looked for that the ledger has and the store does not: together
/// longer than anything is kept.
pub(super) const STEPS_MAX: u32 = 32;

/// A sample and the configuration of its track.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) data: Bytes,
    pub(super) config: Arc<TrackConfig>,
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Next {
    /// A record: its labels, and its samples by the position of their announced track.
    Record(Span, Samples),
    /// Backwards, a record with the labels of the group of records that it belongs to.
    OfGroup(Span, Span, Samples),
    /// What cannot be read any more, or is of other tracks.
    Lost,
    /// Nothing is held yet; frames are on their way to the disk, or may come.
    NotYet {
        /// Whether what was held so far goes on.
        goes_on: bool,
    },
    /// Nothing that is wanted comes.
    Nothing {
        /// Whether footage ends before what is wanted does.
        ends_section: bool,
    },
}

/// The samples of a record by the position of their announced track.
pub(super) type Samples = Vec<Vec<Unit<Frame>>>;

/// In which direction footage is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// As it was recorded.
    Forward,
    /// Groups of pictures in reverse order.
    Backward,
    /// Records in reverse order, each by itself: of key frames, or of sound.
    BackwardAlone,
}

/// Reads one stream.
#[derive(Debug)]
pub(super) enum Reader {
    Forward(Forward),
    Backward(Backward),
}

impl Reader {
    /// A reader from the record on that holds the clean point which shows `from`, until `to`.
    pub(super) fn new(archive: Archive, direction: Direction, from: WallTime, to: WallTime) -> Self {
        match direction {
            Direction::Forward => Self::Forward(Forward::new(archive, from, to)),
            Direction::Backward => Self::Backward(Backward::new(archive, from, to, false)),
            Direction::BackwardAlone => Self::Backward(Backward::new(archive, from, to, true)),
        }
    }

    /// What comes next.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub(super) fn next(&mut self) -> Result<Next, StoreError> {
        match self {
            Self::Forward(reader) => reader.next(),
            Self::Backward(reader) => reader.next(),
        }
    }
}

/// The footage of one stream, as the announced tracks carry it.
#[derive(Debug)]
pub(super) struct Archive {
    store: Store,
    stream: Arc<StreamState>,
    clock: Clock,
    /// The tracks that were announced.
    tracks: Arc<[TrackConfig]>,
    /// A run whose pictures they do not carry: its records need not be read.
    foreign: Option<RunId>,
}

/// What a record gives.
enum Read {
    Samples(Samples),
    /// It cannot be read.
    Lost,
    /// Its pictures are not those of the announced track.
    Foreign,
    /// The same, of a run that was told of.
    KnownForeign,
}

impl Archive {
    /// The footage of `stream` for whom `tracks` were announced.
    pub(super) const fn new(
        store: Store,
        stream: Arc<StreamState>,
        clock: Clock,
        tracks: Arc<[TrackConfig]>,
    ) -> Self {
        Self { store, stream, clock, tracks, foreign: None }
    }

    fn records(&self, window: Span) -> Result<Vec<RecordRef>, StoreError> {
        self.store.records(self.stream.camera, self.stream.id, window)
    }

    fn read(&mut self, found: &RecordRef) -> Read {
        if self.foreign == Some(found.info.run) {
            return Read::KnownForeign;
        }
        match self.store.read(found) {
            Ok(record) if self.carries(&record) => Read::Samples(self.samples(&record)),
            Ok(_) => {
                // All records of a run have the same tracks but for parameter sets.
                self.foreign = Some(found.info.run);
                Read::Foreign
            }
            Err(error) => {
                tracing::debug!(camera = %found.camera, from = %found.info.label.from, %error, "a record is left out of a replay");
                Read::Lost
            }
        }
    }

    /// Whether the pictures of `record` are those of the announced track; where none are announced, its sound.
    fn carries(&self, record: &Record) -> bool {
        let mut main = self.tracks.iter().filter(|track| track.kind.is_video()).peekable();
        let held = || record.index().tracks.iter().map(|held| &held.config);
        if main.peek().is_none() {
            return held().any(|held| self.tracks.iter().any(|track| carries(track, held)));
        }
        main.any(|track| held().any(|held| carries(track, held)))
    }

    /// The samples of a record by the position of their announced track; those of other tracks are left out.
    fn samples(&self, record: &Record) -> Samples {
        let mut tracks: Samples = self.tracks.iter().map(|_| Vec::new()).collect();
        for (number, held) in record.index().tracks.iter().enumerate() {
            let position = self.tracks.iter().position(|track| carries(track, &held.config));
            let Some((position, place)) = position.and_then(|at| Some((at, tracks.get_mut(at)?))) else {
                continue;
            };
            let config = Arc::new(held.config.clone());
            // One copy for each track; samples share it.
            let data = Bytes::copy_from_slice(record.track_data(number));
            place.extend(held.samples.iter().filter_map(|sample| {
                let from = usize::try_from(sample.offset_bytes).ok()?;
                let to = from.checked_add(usize::try_from(sample.bytes).ok()?)?;
                let data = (to <= data.len()).then(|| data.slice(from..to))?;
                let frame = Frame { data, config: Arc::clone(&config) };
                Some(Unit::new(
                    position,
                    held.label_of(sample),
                    sample.key || !held.config.kind.is_video(),
                    frame,
                ))
            }));
        }
        tracks
    }
}
