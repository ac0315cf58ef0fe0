//! NAL units: their kinds, and their two framings (Annex B start codes, 4-byte lengths).

use super::sei;

/// Bytes of a length before a NAL unit in a sample.
pub const LENGTH_BYTES: usize = 4;

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

/// A sample that ends within a NAL unit or its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("sample ends within a NAL unit, {missing_bytes} bytes are missing")]
pub struct TruncatedUnit {
    /// How much more the last length promises.
    pub missing_bytes: usize,
}

/// The NAL units of a sample; an error ends the iteration.
pub fn units(sample: &[u8]) -> impl Iterator<Item = Result<&[u8], TruncatedUnit>> {
    let mut rest = sample;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let truncated = |missing_bytes| Some(Err(TruncatedUnit { missing_bytes }));
        let Some((length, after)) = rest.split_first_chunk::<LENGTH_BYTES>() else {
            return truncated(LENGTH_BYTES - std::mem::take(&mut rest).len());
        };
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let Some((unit, after)) = after.split_at_checked(length) else {
            rest = &[];
            return truncated(length - after.len());
        };
        rest = after;
        Some(Ok(unit))
    })
}

/// The NAL units of an Annex B byte stream, or the whole when there is no start code; empty ones are left out.
pub fn annex_b_units(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(stream);
    std::iter::from_fn(move || {
        loop {
            let bytes = rest?;
            let unit = match find_start_code(bytes) {
                Some(position) => {
                    rest = bytes.get(position + 3..);
                    bytes.get(..position)?
                }
                None => {
                    rest = None;
                    bytes
                }
            };
            // trailing_zero_8bits, and the zero_byte of the next start code (Annex B.1); a NAL unit ends in a one.
            let zeros = unit.iter().rev().take_while(|b| **b == 0).count();
            let unit = unit.get(..unit.len() - zeros)?;
            if !unit.is_empty() {
                return Some(unit);
            }
        }
    })
}

/// Where the first `00 00 01` begins.
pub(crate) fn find_start_code(bytes: &[u8]) -> Option<usize> {
    let mut at = 2;
    // Looks at every third byte: one above 1 excludes three positions.
    loop {
        match *bytes.get(at)? {
            0 => at += 1,
            1 if bytes.get(at - 2..at) == Some(&[0, 0]) => return Some(at - 2),
            _ => at += 3,
        }
    }
}

/// Appends a NAL unit with its length; units of 4 GiB and more are left out.
pub fn write_unit(out: &mut Vec<u8>, unit: &[u8]) {
    if let Ok(length) = u32::try_from(unit.len()) {
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(unit);
    }
}

/// Appends the NAL units of an Annex B byte stream as a sample has them.
pub fn length_prefixed(annex_b: &[u8], out: &mut Vec<u8>) {
    for unit in annex_b_units(annex_b) {
        write_unit(out, unit);
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
