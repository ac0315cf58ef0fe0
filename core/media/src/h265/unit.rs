//! Kinds of NAL units.

use crate::nal::units;

/// Bytes of the header of a NAL unit (ITU-T H.265 §7.3.1.2).
pub const HEADER_BYTES: usize = 2;

/// What a NAL unit is (ITU-T H.265 table 7-1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitKind {
    /// A slice segment of a picture that decoding cannot start at (0 to 9).
    Slice,
    /// A slice segment of a picture that decoding can start at: BLA, IDR, CRA (16 to 21).
    KeySlice,
    /// A video parameter set (32).
    Vps,
    /// A sequence parameter set (33).
    Sps,
    /// A picture parameter set (34).
    Pps,
    /// An access unit delimiter (35).
    Delimiter,
    /// The end of the sequence or of the bitstream (36, 37).
    End,
    /// Filler data (38).
    Filler,
    /// Supplemental enhancement information that stands before the picture (39).
    PrefixSei,
    /// Supplemental enhancement information that stands behind the picture (40).
    SuffixSei,
    /// Another unit that stands before the first slice segment of a picture (41 to 44).
    Prefix,
    /// Any other unit that may stand in a stream: reserved, or of another layer.
    Other,
    /// A number that only RTP uses (48 to 63).
    Outside,
}

impl UnitKind {
    /// The kind of a NAL unit; `None` when it is shorter than its header.
    pub fn of(unit: &[u8]) -> Option<Self> {
        unit.first_chunk::<HEADER_BYTES>().map(|header| Self::from_header(*header))
    }

    /// The kind that a NAL unit's first two bytes say.
    pub const fn from_header([first, second]: [u8; HEADER_BYTES]) -> Self {
        let layer = (first & 1) << 5 | second >> 3;
        match first >> 1 & 0x3f {
            48.. => Self::Outside,
            _ if layer != 0 => Self::Other,
            0..=9 => Self::Slice,
            16..=21 => Self::KeySlice,
            32 => Self::Vps,
            33 => Self::Sps,
            34 => Self::Pps,
            35 => Self::Delimiter,
            36 | 37 => Self::End,
            38 => Self::Filler,
            39 => Self::PrefixSei,
            40 => Self::SuffixSei,
            41..=44 => Self::Prefix,
            10..=15 | 22..=31 | 45..=47 => Self::Other,
        }
    }

    /// Whether it carries a part of the picture itself.
    pub const fn is_slice(self) -> bool {
        matches!(self, Self::Slice | Self::KeySlice)
    }

    /// Whether it can only stand before the first slice segment of a picture (ITU-T H.265 §7.4.2.4.4).
    pub const fn begins_access_unit(self) -> bool {
        matches!(self, Self::Vps | Self::Sps | Self::Pps | Self::Delimiter | Self::PrefixSei | Self::Prefix)
    }
}

/// Whether decoding can start at a sample.
pub fn is_key_frame(sample: &[u8]) -> bool {
    units(sample).map_while(Result::ok).any(|unit| UnitKind::of(unit) == Some(UnitKind::KeySlice))
}
