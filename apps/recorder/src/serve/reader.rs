//! Reads the records of a stream one after the other for a replay. It blocks.
//!
//! The ledger tells where footage lies ahead, the store has it. What the ledger calls held and the store does not give is
//! on a disk that is away, or was overwritten a moment ago: it is passed over.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use keepwatch_model::{Span, TICKS_PER_SECOND, TrackConfig, WallTime};
use keepwatch_recording::ledger::Ahead;
use keepwatch_recording::lineup::Unit;
use keepwatch_store::{Record, RecordRef, Store, StoreError};

use super::sets::carries;
use crate::camera::StreamState;
use crate::clock::Clock;
use crate::export::{ExportError, records_from_key};

/// Records are looked up for so much footage at a time.
const LOOK_UP_TICKS: i64 = 30 * TICKS_PER_SECOND;
/// Steps of twice the length each by which footage is looked for that the ledger has and the store does not: together
/// longer than anything is kept.
const STEPS_MAX: u32 = 32;

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
    Record(Span, Vec<Vec<Unit<Frame>>>),
    /// A record that cannot be read any more.
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

/// Reads one stream.
#[derive(Debug)]
pub(super) struct Reader {
    store: Store,
    stream: Arc<StreamState>,
    clock: Clock,
    /// The tracks that were announced.
    tracks: Arc<[TrackConfig]>,
    /// Whether the first record was found.
    begun: bool,
    /// Records that were looked up.
    found: VecDeque<RecordRef>,
    /// Records that begin before it were read, or are not wanted.
    from: WallTime,
    /// End of the last record; `None` before the first.
    until: Option<WallTime>,
    /// The first label that is not wanted.
    to: WallTime,
}

impl Reader {
    /// A reader of `stream` from the record on that holds the clean point which shows `from`.
    pub(super) fn new(
        store: Store,
        stream: Arc<StreamState>,
        clock: Clock,
        tracks: Arc<[TrackConfig]>,
        (from, to): (WallTime, WallTime),
    ) -> Self {
        Self { store, stream, clock, tracks, begun: false, found: VecDeque::new(), from, until: None, to }
    }

    /// What comes next.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub(super) fn next(&mut self) -> Result<Next, StoreError> {
        if self.found.is_empty() {
            let ahead = self.look_up()?;
            if self.found.is_empty() {
                return Ok(self.at_the_end(ahead));
            }
        }
        let Some(found) = self.found.pop_front() else { return Ok(self.nothing_before(self.to)) };
        if found.info.label.from >= self.to {
            return Ok(self.nothing_before(found.info.label.from));
        }
        self.from = found.info.label.from.plus(1);
        self.until = Some(found.info.label.to);
        Ok(match self.store.read(&found) {
            Ok(record) => Next::Record(found.info.label, self.samples(&record)),
            Err(error) => {
                tracing::debug!(camera = %found.camera, from = %found.info.label.from, %error, "a record is left out of a replay");
                // The others may lie beside it.
                self.found.clear();
                Next::Lost
            }
        })
    }

    /// Looks up the records that come next; where none are, what the ledger knows of what lies ahead.
    fn look_up(&mut self) -> Result<Ahead, StoreError> {
        let mut step = LOOK_UP_TICKS;
        // Behind the last record: its own labels are held, too.
        let mut at = self.until.map_or(self.from, |until| until.max(self.from));
        let mut ahead = Ahead::Nothing;
        for _ in 0..STEPS_MAX {
            // The ledger is not held while the index is read.
            ahead = self.stream.ledger().ahead(at);
            let Ahead::Held(held) = ahead else { return Ok(ahead) };
            if held >= self.to {
                return Ok(ahead);
            }
            let window = Span { from: held, to: held.plus(step) };
            self.found = if self.begun { self.records(window)? } else { self.first_records(window)? }.into();
            if !self.found.is_empty() {
                self.begun = true;
                return Ok(ahead);
            }
            at = window.to;
            step = step.saturating_mul(2);
        }
        Ok(ahead)
    }

    /// The records of `window` that were not read.
    fn records(&self, window: Span) -> Result<Vec<RecordRef>, StoreError> {
        let mut found = self.store.records(self.stream.camera, self.stream.id, window)?;
        found.retain(|record| record.info.label.from >= self.from);
        Ok(found)
    }

    /// The records of `window` from the one on that decoding begins at.
    fn first_records(&self, window: Span) -> Result<Vec<RecordRef>, StoreError> {
        match records_from_key(&self.store, (self.stream.camera, self.stream.id), window) {
            Ok(found) => Ok(found),
            Err(ExportError::Store(error)) => Err(error),
            // What decoding needs cannot be read, so it begins behind.
            Err(_) => self.records(window),
        }
    }

    /// What there is when no record was found.
    fn at_the_end(&self, ahead: Ahead) -> Next {
        let goes_on = |from| self.until.is_none_or(|until| from <= until);
        match ahead {
            Ahead::Held(from) => self.nothing_before(from),
            Ahead::OnItsWay(from) if from >= self.to => self.nothing_before(from),
            Ahead::OnItsWay(from) => Next::NotYet { goes_on: goes_on(from) },
            Ahead::Nothing if self.to <= self.clock.wall() => self.nothing_before(self.to),
            Ahead::Nothing => Next::NotYet { goes_on: false },
        }
    }

    /// The end of what is wanted, as no footage comes before `label`.
    fn nothing_before(&self, label: WallTime) -> Next {
        Next::Nothing { ends_section: self.until.is_some_and(|until| until < label.min(self.to)) }
    }

    /// The samples of a record by the position of their announced track; those of other tracks are left out.
    fn samples(&self, record: &Record) -> Vec<Vec<Unit<Frame>>> {
        let mut tracks: Vec<Vec<Unit<Frame>>> = self.tracks.iter().map(|_| Vec::new()).collect();
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
