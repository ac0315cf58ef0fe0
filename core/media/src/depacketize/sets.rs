//! The parameter sets of one kind in one stream, as they are known and as they change.

use crate::nal::SpsError;

/// Most sets of a kind: a decoder configuration of H.264 can count 31 sequence parameter sets, and nobody sends so
/// many.
const SETS_MAX: usize = 31;

/// Most bytes of a set: one with every scaling list and with usability information takes less than a quarter of it, and
/// a decoder configuration could not hold one of 64 KiB.
const SET_BYTES_MAX: usize = 4 * 1024;

/// Whether a new set goes before those that are known or behind them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A sequence parameter set that differs comes first, for the first one describes the stream.
    First,
    Last,
}

/// The sets of one kind, one for each number.
#[derive(Debug, Default)]
pub(super) struct Sets {
    held: Vec<(u8, Vec<u8>)>,
}

impl Sets {
    /// Takes a set, unless this very set is known, with the number that `id` reads in it; returns whether that changed
    /// something. One without a number is passed over: pictures that need it cannot be decoded.
    pub(super) fn learn(
        &mut self,
        unit: &[u8],
        place: Place,
        id: impl FnOnce(&[u8]) -> Result<Option<u8>, SpsError>,
    ) -> Result<bool, SpsError> {
        if self.held.iter().any(|(_, held)| held == unit) {
            return Ok(false);
        }
        let Some(id) = id(unit)? else { return Ok(false) };
        self.put(id, unit, place)?;
        Ok(true)
    }

    /// Takes a set in the place of any other of its number; one that is too long is refused.
    fn put(&mut self, id: u8, unit: &[u8], place: Place) -> Result<(), SpsError> {
        if unit.len() > SET_BYTES_MAX {
            return Err(SpsError::TooLong(unit.len()));
        }
        self.held.retain(|(held, _)| *held != id);
        self.held.truncate(SETS_MAX - 1);
        let position = if place == Place::First { 0 } else { self.held.len() };
        self.held.insert(position, (id, unit.to_vec()));
        Ok(())
    }

    /// The sets as NAL units.
    pub(super) fn units(&self) -> Vec<&[u8]> {
        self.held.iter().map(|(_, unit)| unit.as_slice()).collect()
    }
}
