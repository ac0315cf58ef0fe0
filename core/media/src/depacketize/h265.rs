//! What is H.265's own in payloads (RFC 7798) and parameter sets.
//!
//! Decoding order numbers (sprop-max-don-diff above 0) are refused when the description is read, so none is expected
//! here.

use crate::h265::{DecoderConfig, DecoderConfigError, HEADER_BYTES, Sps, SpsError, UnitKind, pps_id, vps_id};

use super::access_unit::{Fragment, NalCoding, Payload, Role};
use super::sets::{Place, Sets};

/// The parameter sets of an H.265 stream.
#[derive(Debug, Default)]
pub(super) struct H265 {
    vps: Sets,
    sps: Sets,
    pps: Sets,
    changed: bool,
}

impl H265 {
    /// The sets of a decoder configuration, which may be empty.
    pub(super) fn new(config: &[u8]) -> Result<Self, DecoderConfigError> {
        let mut sets = Self::default();
        if !config.is_empty() {
            let held = DecoderConfig::parse(config)?;
            for unit in held.sps.iter().rev() {
                sets.learn_sps(unit)?;
            }
            for unit in held.vps.iter().chain(&held.pps) {
                sets.learn_numbered(unit)?;
            }
            sets.changed = false;
        }
        Ok(sets)
    }

    fn learn_sps(&mut self, unit: &[u8]) -> Result<(), SpsError> {
        self.changed |= self.sps.learn(unit, Place::First, |unit| Ok(Some(Sps::parse(unit)?.id)))?;
        Ok(())
    }

    /// Takes a video or picture parameter set.
    fn learn_numbered(&mut self, unit: &[u8]) -> Result<(), SpsError> {
        let vps = vps_id(unit);
        let (sets, id) = if vps.is_some() { (&mut self.vps, vps) } else { (&mut self.pps, pps_id(unit)) };
        self.changed |= sets.learn(unit, Place::Last, |_| Ok(id))?;
        Ok(())
    }
}

impl NalCoding for H265 {
    const HEADER_BYTES: usize = HEADER_BYTES;

    fn payload(payload: &[u8]) -> Payload<'_> {
        let Some(([first, second], rest)) = payload.split_first_chunk::<HEADER_BYTES>() else {
            return Payload::Truncated;
        };
        match first >> 1 & 0x3f {
            0..=47 => Payload::Unit,
            48 => Payload::Aggregate(rest),
            49 => {
                let Some((fu_header, data)) = rest.split_first() else { return Payload::Truncated };
                Payload::Fragment(Fragment {
                    start: fu_header & 0x80 != 0,
                    end: fu_header & 0x40 != 0,
                    header: [first & 0x81 | (fu_header & 0x3f) << 1, *second],
                    data,
                })
            }
            // PACI (§4.4.4): carries what no camera sends, and a picture may be inside.
            50 => Payload::Refused(50),
            // §4.4: types 51 to 63 are ignored.
            kind => Payload::Ignored(kind),
        }
    }

    fn role(head: &[u8]) -> Role {
        let header = head.first_chunk::<HEADER_BYTES>().copied().unwrap_or_default();
        let kind = UnitKind::from_header(header);
        // first_slice_segment_in_pic_flag is the first bit of a slice segment header (ITU-T H.265 §7.3.6.1).
        let first_segment = head.get(HEADER_BYTES).is_none_or(|third| third & 0x80 != 0);
        Role {
            slice: kind.is_slice(),
            begins_picture: kind.is_slice() && first_segment,
            begins_access_unit: kind.begins_access_unit(),
            key: kind == UnitKind::KeySlice,
            outside: (kind == UnitKind::Outside).then_some(header[0] >> 1 & 0x3f),
        }
    }

    fn learn(&mut self, unit: &[u8]) -> Result<bool, SpsError> {
        match UnitKind::of(unit) {
            Some(UnitKind::Sps) => self.learn_sps(unit)?,
            Some(UnitKind::Vps | UnitKind::Pps) => self.learn_numbered(unit)?,
            _ => {}
        }
        Ok(false)
    }

    fn changed_config(&mut self) -> Option<Vec<u8>> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        DecoderConfig { vps: self.vps.units(), sps: self.sps.units(), pps: self.pps.units() }.build().ok()
    }
}
