//! Reading backwards: the records of one group of pictures after the other, the latest group first.

use std::collections::VecDeque;

use keepwatch_model::{Span, WallTime};
use keepwatch_store::{RecordRef, StoreError};

use super::{Archive, LOOK_UP_TICKS, Next, Read, STEPS_MAX};

/// How far back the beginning of a group of pictures is looked for, beyond the records that were looked up.
const GROUP_TICKS_MAX: i64 = 10 * LOOK_UP_TICKS;

/// Reads groups of pictures in reverse order, and the records of each as they were recorded.
#[derive(Debug)]
pub(in crate::serve) struct Backward {
    archive: Archive,
    /// Whether each record is a group.
    alone: bool,
    /// Records that were looked up and belong to no group yet, ascending.
    found: Vec<RecordRef>,
    /// The rest of the group that is being read, and its labels.
    group: VecDeque<RecordRef>,
    labels: Span,
    /// Records that begin here or behind were read, or are not wanted.
    at: WallTime,
    /// Footage before it is not wanted.
    to: WallTime,
}

impl Backward {
    pub(super) const fn new(archive: Archive, from: WallTime, to: WallTime, alone: bool) -> Self {
        let at = from.plus(1);
        let labels = Span { from: at, to: at };
        Self { archive, alone, found: Vec::new(), group: VecDeque::new(), labels, at, to }
    }

    pub(super) fn next(&mut self) -> Result<Next, StoreError> {
        loop {
            if self.group.is_empty() && !self.gather()? {
                // Footage ends here too when what lies before it is not wanted, unless it goes on.
                let ends_section = self.archive.stream.ledger().held_before(self.at) != Some(self.at);
                return Ok(Next::Nothing { ends_section });
            }
            let Some(found) = self.group.pop_front() else { continue };
            match self.archive.read(&found) {
                Read::Samples(tracks) => return Ok(Next::OfGroup(found.info.label, self.labels, tracks)),
                Read::Lost | Read::Foreign => return Ok(Next::Lost),
                Read::KnownForeign => {
                    self.group.clear();
                    if self.found.is_empty() {
                        // Others have a turn before more are looked up.
                        return Ok(Next::Lost);
                    }
                }
            }
        }
    }

    /// Takes the latest group of the records that were found, or are found now; whether there is one.
    fn gather(&mut self) -> Result<bool, StoreError> {
        if self.found.is_empty() {
            self.look_up()?;
        }
        let begins = (0..self.found.len()).rev().find(|position| self.begins_group(*position));
        self.group = self.found.split_off(begins.unwrap_or(0)).into();
        let (Some(first), Some(last)) = (self.group.front(), self.group.back()) else { return Ok(false) };
        let labels = Span { from: first.info.label.from, to: last.info.label.to };
        if labels.to <= self.to {
            self.group.clear();
            return Ok(false);
        }
        (self.labels, self.at) = (labels, labels.from);
        Ok(true)
    }

    /// Whether the record at `position` of those found begins a group of pictures, or is the first behind a hole.
    fn begins_group(&self, position: usize) -> bool {
        let Some(record) = self.found.get(position) else { return false };
        let before = position.checked_sub(1).and_then(|before| self.found.get(before));
        let joins = before.is_some_and(|before| before.info.label.to >= record.info.label.from);
        self.alone || record.info.starts_with_key || (before.is_some() && !joins)
    }

    /// Looks up the latest records that begin before those that were read.
    fn look_up(&mut self) -> Result<(), StoreError> {
        let mut step = LOOK_UP_TICKS;
        let mut end = self.at;
        for _ in 0..STEPS_MAX {
            // The ledger is not held while the index is read.
            let held = self.archive.stream.ledger().held_before(end);
            let Some(held) = held.filter(|held| *held > self.to) else { return Ok(()) };
            let window = Span { from: held.plus(-step), to: held };
            self.found = self.records(window)?;
            if !self.found.is_empty() {
                return self.look_further();
            }
            end = window.from;
            step = step.saturating_mul(2);
        }
        Ok(())
    }

    /// Looks up more records until one begins a group: the first found may be in the middle of one.
    fn look_further(&mut self) -> Result<(), StoreError> {
        let mut step = LOOK_UP_TICKS;
        while step <= GROUP_TICKS_MAX
            && let Some(first) = self.found.first()
            && !self.alone
            && !first.info.starts_with_key
        {
            let from = first.info.label.from;
            let mut earlier = self.records(Span { from: from.plus(-step), to: from })?;
            earlier.retain(|record| record.info.label.from < from);
            if earlier.is_empty() {
                return Ok(());
            }
            earlier.append(&mut self.found);
            self.found = earlier;
            step = step.saturating_mul(2);
        }
        Ok(())
    }

    /// The records of `window` that were not read.
    fn records(&self, window: Span) -> Result<Vec<RecordRef>, StoreError> {
        let mut found = self.archive.records(window)?;
        found.retain(|record| record.info.label.from < self.at);
        Ok(found)
    }
}
