//! What is H.264's own in payloads (RFC 6184) and parameter sets.

use crate::h264::{
    DecoderConfig, DecoderConfigError, Sps, SpsError, UnitKind, is_clean_recovery_point, pps_id,
};

use super::access_unit::{Fragment, NalCoding, Payload, Role};
use super::sets::{Place, Sets};

/// The parameter sets of an H.264 stream.
#[derive(Debug, Default)]
pub(super) struct H264 {
    sps: Sets,
    pps: Sets,
    changed: bool,
}

impl H264 {
    /// The sets of a decoder configuration, which may be empty.
    pub(super) fn new(config: &[u8]) -> Result<Self, DecoderConfigError> {
        let mut sets = Self::default();
        if !config.is_empty() {
            let held = DecoderConfig::parse(config)?;
            for unit in held.sps.iter().rev() {
                sets.learn_sps(unit)?;
            }
            for unit in &held.pps {
                sets.learn_pps(unit)?;
            }
            sets.changed = false;
        }
        Ok(sets)
    }

    fn learn_sps(&mut self, unit: &[u8]) -> Result<(), SpsError> {
        self.changed |= self.sps.learn(unit, Place::First, |unit| Ok(Some(Sps::parse(unit)?.id)))?;
        Ok(())
    }

    fn learn_pps(&mut self, unit: &[u8]) -> Result<(), SpsError> {
        self.changed |= self.pps.learn(unit, Place::Last, |unit| Ok(pps_id(unit)))?;
        Ok(())
    }
}

impl NalCoding for H264 {
    const HEADER_BYTES: usize = 1;

    fn payload(payload: &[u8]) -> Payload<'_> {
        let Some((header, rest)) = payload.split_first() else { return Payload::Truncated };
        match header & 0x1f {
            1..=23 => Payload::Unit,
            24 => Payload::Aggregate(rest),
            28 => {
                let Some((fu_header, data)) = rest.split_first() else { return Payload::Truncated };
                Payload::Fragment(Fragment {
                    start: fu_header & 0x80 != 0,
                    end: fu_header & 0x40 != 0,
                    header: [header & 0xe0 | fu_header & 0x1f, 0],
                    data,
                })
            }
            // STAP-B, MTAP, FU-B.
            kind @ (25..=27 | 29) => Payload::Refused(kind),
            // RFC 6184 §5.2: reserved and undefined types are ignored.
            kind => Payload::Ignored(kind),
        }
    }

    fn role(head: &[u8]) -> Role {
        let header = head.first().copied().unwrap_or(0);
        let kind = UnitKind::from_header(header);
        // first_mb_in_slice is the first code of a slice header: a one bit is zero (ITU-T H.264 §7.3.3, §9.1).
        let first_macroblock = head.get(1).is_none_or(|second| second & 0x80 != 0);
        Role {
            slice: kind.is_slice(),
            begins_picture: matches!(kind, UnitKind::Slice | UnitKind::IdrSlice) && first_macroblock,
            begins_access_unit: kind.begins_access_unit(),
            key: kind == UnitKind::IdrSlice,
            outside: (kind == UnitKind::Outside).then_some(header & 0x1f),
        }
    }

    fn learn(&mut self, unit: &[u8]) -> Result<bool, SpsError> {
        match UnitKind::of(unit) {
            Some(UnitKind::Sei) => return Ok(is_clean_recovery_point(unit)),
            Some(UnitKind::Sps) => self.learn_sps(unit)?,
            Some(UnitKind::Pps) => self.learn_pps(unit)?,
            _ => {}
        }
        Ok(false)
    }

    fn changed_config(&mut self) -> Option<Vec<u8>> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        DecoderConfig { sps: self.sps.units(), pps: self.pps.units() }.build().ok()
    }
}
