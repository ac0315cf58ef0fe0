//! NAL units as single packets and fragments (RFC 6184 §5.6 and §5.8, RFC 7798 §4.4.1 and §4.4.3).

use crate::nal::units;
use crate::{h264, h265};

use super::{PAYLOAD_BYTES_MAX, PacketWriter, PacketizeError};

const FU_START: u8 = 0x80;
const FU_END: u8 = 0x40;

/// What differs between codings of NAL units.
pub(super) trait Framing {
    /// Whether a NAL unit, which is not empty, can be sent.
    fn is_sendable(&self, unit: &[u8]) -> bool;

    /// What every fragment of a NAL unit begins with, the type for the FU header, and what is to be cut.
    fn fragmented<'a>(&self, unit: &'a [u8]) -> ([u8; 2], usize, u8, &'a [u8]);
}

pub(super) struct H264;
pub(super) struct H265;

impl Framing for H264 {
    fn is_sendable(&self, unit: &[u8]) -> bool {
        h264::UnitKind::of(unit) != Some(h264::UnitKind::Outside)
    }

    fn fragmented<'a>(&self, unit: &'a [u8]) -> ([u8; 2], usize, u8, &'a [u8]) {
        const FU_A: u8 = 28;
        let (header, body) = unit.split_first().unwrap_or((&0, &[]));
        ([header & 0xe0 | FU_A, 0], 1, header & 0x1f, body)
    }
}

impl Framing for H265 {
    fn is_sendable(&self, unit: &[u8]) -> bool {
        h265::UnitKind::of(unit).is_some_and(|kind| kind != h265::UnitKind::Outside)
    }

    fn fragmented<'a>(&self, unit: &'a [u8]) -> ([u8; 2], usize, u8, &'a [u8]) {
        const FU: u8 = 49;
        let ([first, second], body) = unit.split_first_chunk::<2>().unwrap_or((&[0; 2], &[]));
        ([first & 0x81 | FU << 1, *second], 2, first >> 1 & 0x3f, body)
    }
}

impl PacketWriter<'_, '_> {
    /// The units of one access unit; the last packet has the marker.
    pub(super) fn nal_units(
        &mut self,
        framing: &impl Framing,
        parts: &[&[u8]],
    ) -> Result<(), PacketizeError> {
        let mut previous: Option<&[u8]> = None;
        for unit in parts.iter().flat_map(|part| units(part)) {
            let unit = unit?;
            let Some(first) = unit.first() else { continue };
            if !framing.is_sendable(unit) {
                return Err(PacketizeError::Unit(*first));
            }
            if let Some(previous) = previous.replace(unit) {
                self.nal_unit(framing, previous, false);
            }
        }
        self.nal_unit(framing, previous.ok_or(PacketizeError::Empty)?, true);
        Ok(())
    }

    fn nal_unit(&mut self, framing: &impl Framing, unit: &[u8], last: bool) {
        if unit.len() <= PAYLOAD_BYTES_MAX {
            return self.packet(last, &[], unit);
        }
        let ([i0, i1], indicator_bytes, kind, body) = framing.fragmented(unit);
        let fragments = body.chunks(PAYLOAD_BYTES_MAX - indicator_bytes - 1);
        let end = fragments.len().saturating_sub(1);
        for (position, fragment) in fragments.enumerate() {
            let flags = if position == 0 { FU_START } else { 0 } | if position == end { FU_END } else { 0 };
            let header = if indicator_bytes == 1 { [i0, flags | kind, 0] } else { [i0, i1, flags | kind] };
            let header = header.get(..=indicator_bytes).unwrap_or(&header);
            self.packet(last && position == end, header, fragment);
        }
    }
}
