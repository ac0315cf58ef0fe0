//! The parameter sets of one H.264 stream, as they are known and as they change.

use crate::h264::{AvccError, DecoderConfig, Sps, SpsError, pps_id};

/// Most sets of each kind: a decoder configuration can count 31 sequence parameter sets, and nobody sends so many.
const SETS_MAX: usize = 31;

/// The sets known, one for each number.
#[derive(Debug, Default)]
pub(super) struct ParameterSets {
    sps: Vec<(u8, Vec<u8>)>,
    pps: Vec<(u8, Vec<u8>)>,
    changed: bool,
}

impl ParameterSets {
    /// The sets of a decoder configuration, which may be empty.
    pub(super) fn new(config: &[u8]) -> Result<Self, AvccError> {
        let mut sets = Self::default();
        if !config.is_empty() {
            let held = DecoderConfig::parse(config)?;
            for unit in held.sps.iter().rev() {
                sets.learn_sps(unit)?;
            }
            for unit in &held.pps {
                sets.learn_pps(unit);
            }
            sets.changed = false;
        }
        Ok(sets)
    }

    /// Takes a sequence parameter set. One that differs comes first, for the first one describes the stream.
    pub(super) fn learn_sps(&mut self, unit: &[u8]) -> Result<(), SpsError> {
        if self.sps.iter().any(|(_, held)| held == unit) {
            return Ok(());
        }
        let id = Sps::parse(unit)?.id;
        self.sps.retain(|(held, _)| *held != id);
        self.sps.truncate(SETS_MAX - 1);
        self.sps.insert(0, (id, unit.to_vec()));
        self.changed = true;
        Ok(())
    }

    /// Takes a picture parameter set; a malformed one is passed over, pictures that need it cannot be decoded.
    pub(super) fn learn_pps(&mut self, unit: &[u8]) {
        if self.pps.iter().any(|(_, held)| held == unit) {
            return;
        }
        let Some(id) = pps_id(unit) else { return };
        self.pps.retain(|(held, _)| *held != id);
        self.pps.truncate(SETS_MAX - 1);
        self.pps.push((id, unit.to_vec()));
        self.changed = true;
    }

    /// The decoder configuration, if the sets changed since the last call and it can be built.
    pub(super) fn changed_config(&mut self) -> Option<Vec<u8>> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        let config = DecoderConfig {
            sps: self.sps.iter().map(|(_, unit)| unit.as_slice()).collect(),
            pps: self.pps.iter().map(|(_, unit)| unit.as_slice()).collect(),
        };
        config.build().ok()
    }
}
