//! What H.264 and H.265 share: NAL units and their framings (Annex B start codes, 4-byte lengths in samples, 2-byte
//! lengths in decoder configurations), and the errors of parameter sets.

/// Bytes of a length before a NAL unit in a sample.
pub const LENGTH_BYTES: usize = 4;

/// Largest width and height in pixels: level 6.2 of both codings allows 16,888 in one direction.
pub(crate) const PIXELS_MAX: u32 = 16_896;

/// Why a sequence parameter set cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpsError {
    /// The unit is of another kind.
    #[error("not a sequence parameter set")]
    Kind,
    /// It ends before its picture size is told, or a code in it is malformed.
    #[error("sequence parameter set is cut off or malformed")]
    Malformed,
    /// A value outside what the standard allows.
    #[error("sequence parameter set has {name} {value}")]
    OutOfRange {
        /// The syntax element.
        name: &'static str,
        /// What it says.
        value: u32,
    },
    /// A picture of no size, or larger than any level allows.
    #[error("sequence parameter set has a picture of {width} x {height}")]
    Size {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
    },
    /// A parameter set of any kind that is longer than any stream has a use for.
    #[error("parameter set has {0} bytes")]
    TooLong(usize),
}

/// Why a decoder configuration cannot be read or built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecoderConfigError {
    /// It ends too early.
    #[error("decoder configuration is cut off")]
    Short,
    /// Its version is not 1.
    #[error("decoder configuration has version {0}")]
    Version(u8),
    /// Lengths of NAL units in samples are not 4 bytes.
    #[error("decoder configuration says that lengths have {0} bytes")]
    LengthBytes(u8),
    /// No sequence or no picture parameter set, or more than can be counted, or one of 64 KiB.
    #[error("decoder configuration cannot hold these parameter sets")]
    Count,
    /// A unit among them is of another kind.
    #[error("decoder configuration holds a NAL unit that is no parameter set")]
    Kind,
    /// The first sequence parameter set cannot be used.
    #[error(transparent)]
    Sps(#[from] SpsError),
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

/// Takes the next unit of a decoder configuration off `rest`.
pub(crate) fn take_counted_unit<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], DecoderConfigError> {
    let short = DecoderConfigError::Short;
    let (length, after) = rest.split_first_chunk::<2>().ok_or(short)?;
    let (unit, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*length))).ok_or(short)?;
    *rest = after;
    Ok(unit)
}

/// Appends units as a decoder configuration has them.
pub(crate) fn append_counted_units(record: &mut Vec<u8>, units: &[&[u8]]) -> Result<(), DecoderConfigError> {
    for unit in units {
        let length = u16::try_from(unit.len()).map_err(|_| DecoderConfigError::Count)?;
        record.extend_from_slice(&length.to_be_bytes());
        record.extend_from_slice(unit);
    }
    Ok(())
}

/// The value of a syntax element of a parameter set, if it was read and is at most `max`.
pub(crate) fn ranged(name: &'static str, value: Option<u32>, max: u8) -> Result<u8, SpsError> {
    let value = value.ok_or(SpsError::Malformed)?;
    u8::try_from(value).ok().filter(|value| *value <= max).ok_or(SpsError::OutOfRange { name, value })
}
