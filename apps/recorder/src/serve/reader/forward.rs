//! Reading as it was recorded, up to what is being recorded.

use std::collections::VecDeque;

use keepwatch_model::{Span, WallTime};
use keepwatch_recording::ledger::Ahead;
use keepwatch_store::{RecordRef, StoreError};

use super::{Archive, LOOK_UP_TICKS, Next, Read, STEPS_MAX};
use crate::footage::{FootageError, records_from_key};

/// Reads as it was recorded.
#[derive(Debug)]
pub(in crate::serve) struct Forward {
    archive: Archive,
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

impl Forward {
    pub(super) const fn new(archive: Archive, from: WallTime, to: WallTime) -> Self {
        Self { archive, begun: false, found: VecDeque::new(), from, until: None, to }
    }

    /// What comes next.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub(super) fn next(&mut self) -> Result<Next, StoreError> {
        loop {
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
            match self.archive.read(&found) {
                Read::Samples(tracks) => return Ok(Next::Record(found.info.label, tracks)),
                Read::Foreign => return Ok(Next::Lost),
                Read::Lost => {
                    // The others may lie beside it.
                    self.found.clear();
                    return Ok(Next::Lost);
                }
                // Others have a turn before more are looked up.
                Read::KnownForeign if self.found.is_empty() => return Ok(Next::Lost),
                Read::KnownForeign => {}
            }
        }
    }

    /// Looks up the records that come next; where none are, what the ledger knows of what lies ahead.
    fn look_up(&mut self) -> Result<Ahead, StoreError> {
        let mut step = LOOK_UP_TICKS;
        // Behind the last record: its own labels are held, too.
        let mut at = self.until.map_or(self.from, |until| until.max(self.from));
        let mut ahead = Ahead::Nothing;
        for _ in 0..STEPS_MAX {
            // The ledger is not held while the index is read.
            ahead = self.archive.stream.ledger().ahead(at);
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
        let mut found = self.archive.records(window)?;
        found.retain(|record| record.info.label.from >= self.from);
        Ok(found)
    }

    /// The records of `window` from the one on that decoding begins at.
    fn first_records(&self, window: Span) -> Result<Vec<RecordRef>, StoreError> {
        let Archive { store, stream, .. } = &self.archive;
        match records_from_key(store, (stream.camera, stream.id), window) {
            Ok(found) => Ok(found),
            Err(FootageError::Store(error)) => Err(error),
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
            Ahead::Nothing if self.to <= self.archive.clock.wall() => self.nothing_before(self.to),
            Ahead::Nothing => Next::NotYet { goes_on: false },
        }
    }

    /// The end of what is wanted, as no footage comes before `label`.
    fn nothing_before(&self, label: WallTime) -> Next {
        Next::Nothing { ends_section: self.until.is_some_and(|until| until < label.min(self.to)) }
    }
}
