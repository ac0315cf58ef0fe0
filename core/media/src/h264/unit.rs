//! Kinds of NAL units.

use super::{sei, units};

/// What a NAL unit is (ITU-T H.264 table 7-1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitKind {
    /// A slice of a picture that is no IDR picture (1), or its data partition A (2).
    Slice,
    /// Data partition B or C of a slice (3, 4).
    SlicePartition,
    /// A slice of an IDR picture (5).
    IdrSlice,
    /// Supplemental enhancement information (6).
    Sei,
    /// A sequence parameter set (7).
    Sps,
    /// A picture parameter set (8).
    Pps,
    /// An access unit delimiter (9).
    Delimiter,
    /// The end of the sequence or of the stream (10, 11).
    End,
    /// Filler data (12).
    Filler,
    /// Another unit that stands before the first slice of a picture (14 to 18).
    Prefix,
    /// Any other unit that may stand in a stream (0, 13, 19 to 23).
    Other,
    /// A number that only RTP uses (24 to 31).
    Outside,
}

impl UnitKind {
    /// The kind of a NAL unit; `None` when it is empty.
    pub fn of(unit: &[u8]) -> Option<Self> {
        unit.first().map(|header| Self::from_header(*header))
    }

    /// The kind that a NAL unit's first byte says.
    pub const fn from_header(header: u8) -> Self {
        match header & 0x1f {
            1 | 2 => Self::Slice,
            3 | 4 => Self::SlicePartition,
            5 => Self::IdrSlice,
            6 => Self::Sei,
            7 => Self::Sps,
            8 => Self::Pps,
            9 => Self::Delimiter,
            10 | 11 => Self::End,
            12 => Self::Filler,
            14..=18 => Self::Prefix,
            24.. => Self::Outside,
            _ => Self::Other,
        }
    }

    /// Whether it carries a part of the picture itself.
    pub const fn is_slice(self) -> bool {
        matches!(self, Self::Slice | Self::SlicePartition | Self::IdrSlice)
    }

    /// Whether it can only stand before the first slice of a picture (ITU-T H.264 §7.4.1.2.3).
    pub const fn begins_access_unit(self) -> bool {
        matches!(self, Self::Sei | Self::Sps | Self::Pps | Self::Delimiter | Self::Prefix)
    }
}

/// Whether decoding can start at a sample: an IDR picture, or a recovery point at the picture itself.
pub fn is_key_frame(sample: &[u8]) -> bool {
    let (mut recovery, mut slices) = (false, false);
    for unit in units(sample).map_while(Result::ok) {
        match UnitKind::of(unit) {
            Some(UnitKind::IdrSlice) => return true,
            Some(UnitKind::Sei) => recovery |= sei::is_clean_recovery_point(unit),
            Some(kind) => slices |= kind.is_slice(),
            None => {}
        }
    }
    recovery && slices
}
