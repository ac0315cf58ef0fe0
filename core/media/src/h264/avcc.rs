//! The `AVCDecoderConfigurationRecord` (ISO/IEC 14496-15 §5.3.3.1): parameter sets out of band.

use super::{Sps, UnitKind};

/// Most sequence parameter sets that a record can count.
const SPS_MAX: usize = 31;
/// Most picture parameter sets that a record can count.
const PPS_MAX: usize = 255;

/// Why a decoder configuration cannot be read or built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AvccError {
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
    Sps(#[from] super::SpsError),
}

/// The parameter sets of a stream, as NAL units.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DecoderConfig<'a> {
    /// Sequence parameter sets; the first one describes the stream.
    pub sps: Vec<&'a [u8]>,
    /// Picture parameter sets.
    pub pps: Vec<&'a [u8]>,
}

impl<'a> DecoderConfig<'a> {
    /// Reads a record. Sets may be missing from it; the extension of high profiles is not read.
    pub fn parse(record: &'a [u8]) -> Result<Self, AvccError> {
        let ([version, _, _, _, lengths, count], mut rest) =
            record.split_first_chunk::<6>().ok_or(AvccError::Short)?;
        if *version != 1 {
            return Err(AvccError::Version(*version));
        }
        if lengths & 3 != 3 {
            return Err(AvccError::LengthBytes((lengths & 3) + 1));
        }
        let sps = sets(&mut rest, count & 0x1f, UnitKind::Sps)?;
        let (count, after) = rest.split_first().ok_or(AvccError::Short)?;
        rest = after;
        let pps = sets(&mut rest, *count, UnitKind::Pps)?;
        Ok(Self { sps, pps })
    }

    /// Builds the record.
    pub fn build(&self) -> Result<Vec<u8>, AvccError> {
        let first = self.sps.first().ok_or(AvccError::Count)?;
        let described = Sps::parse(first)?;
        if self.pps.is_empty() || self.sps.len() > SPS_MAX || self.pps.len() > PPS_MAX {
            return Err(AvccError::Count);
        }
        let kinds = |units: &[&[u8]], kind| units.iter().all(|unit| UnitKind::of(unit) == Some(kind));
        if !kinds(&self.sps, UnitKind::Sps) || !kinds(&self.pps, UnitKind::Pps) {
            return Err(AvccError::Kind);
        }
        let count = |units: &[&[u8]]| u8::try_from(units.len()).map_err(|_| AvccError::Count);
        let mut record = vec![
            1,
            described.profile,
            described.constraints,
            described.level,
            0xff,
            0xe0 | count(&self.sps)?,
        ];
        append(&mut record, &self.sps)?;
        record.push(count(&self.pps)?);
        append(&mut record, &self.pps)?;
        if !matches!(described.profile, 66 | 77 | 88) {
            let (luma, chroma) =
                (described.luma_bits.saturating_sub(8), described.chroma_bits.saturating_sub(8));
            record.extend_from_slice(&[0xfc | described.chroma_format, 0xf8 | luma, 0xf8 | chroma, 0]);
        }
        Ok(record)
    }
}

fn append(record: &mut Vec<u8>, units: &[&[u8]]) -> Result<(), AvccError> {
    for unit in units {
        record.extend_from_slice(&u16::try_from(unit.len()).map_err(|_| AvccError::Count)?.to_be_bytes());
        record.extend_from_slice(unit);
    }
    Ok(())
}

fn sets<'a>(rest: &mut &'a [u8], count: u8, kind: UnitKind) -> Result<Vec<&'a [u8]>, AvccError> {
    let mut units = Vec::new();
    for _ in 0..count {
        let (length, after) = rest.split_first_chunk::<2>().ok_or(AvccError::Short)?;
        let (unit, after) =
            after.split_at_checked(usize::from(u16::from_be_bytes(*length))).ok_or(AvccError::Short)?;
        if UnitKind::of(unit) != Some(kind) {
            return Err(AvccError::Kind);
        }
        units.push(unit);
        *rest = after;
    }
    Ok(units)
}
