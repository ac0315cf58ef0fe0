//! The `AVCDecoderConfigurationRecord` (ISO/IEC 14496-15 §5.3.3.1): parameter sets out of band.

use super::{Sps, UnitKind};
use crate::nal::{DecoderConfigError, append_counted_units, take_counted_unit};

/// Most sequence parameter sets that a record can count.
const SPS_MAX: usize = 31;
/// Most picture parameter sets that a record can count.
const PPS_MAX: usize = 255;

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
    pub fn parse(record: &'a [u8]) -> Result<Self, DecoderConfigError> {
        let ([version, _, _, _, lengths, count], mut rest) =
            record.split_first_chunk::<6>().ok_or(DecoderConfigError::Short)?;
        if *version != 1 {
            return Err(DecoderConfigError::Version(*version));
        }
        if lengths & 3 != 3 {
            return Err(DecoderConfigError::LengthBytes((lengths & 3) + 1));
        }
        let sps = sets(&mut rest, count & 0x1f, UnitKind::Sps)?;
        let (count, after) = rest.split_first().ok_or(DecoderConfigError::Short)?;
        rest = after;
        let pps = sets(&mut rest, *count, UnitKind::Pps)?;
        Ok(Self { sps, pps })
    }

    /// Builds the record.
    pub fn build(&self) -> Result<Vec<u8>, DecoderConfigError> {
        let first = self.sps.first().ok_or(DecoderConfigError::Count)?;
        let described = Sps::parse(first)?;
        if self.pps.is_empty() || self.sps.len() > SPS_MAX || self.pps.len() > PPS_MAX {
            return Err(DecoderConfigError::Count);
        }
        let kinds = |units: &[&[u8]], kind| units.iter().all(|unit| UnitKind::of(unit) == Some(kind));
        if !kinds(&self.sps, UnitKind::Sps) || !kinds(&self.pps, UnitKind::Pps) {
            return Err(DecoderConfigError::Kind);
        }
        let count = |units: &[&[u8]]| u8::try_from(units.len()).map_err(|_| DecoderConfigError::Count);
        let mut record = vec![
            1,
            described.profile,
            described.constraints,
            described.level,
            0xff,
            0xe0 | count(&self.sps)?,
        ];
        append_counted_units(&mut record, &self.sps)?;
        record.push(count(&self.pps)?);
        append_counted_units(&mut record, &self.pps)?;
        if !matches!(described.profile, 66 | 77 | 88) {
            let (luma, chroma) =
                (described.luma_bits.saturating_sub(8), described.chroma_bits.saturating_sub(8));
            record.extend_from_slice(&[0xfc | described.chroma_format, 0xf8 | luma, 0xf8 | chroma, 0]);
        }
        Ok(record)
    }
}

fn sets<'a>(rest: &mut &'a [u8], count: u8, kind: UnitKind) -> Result<Vec<&'a [u8]>, DecoderConfigError> {
    let mut units = Vec::new();
    for _ in 0..count {
        let unit = take_counted_unit(rest)?;
        if UnitKind::of(unit) != Some(kind) {
            return Err(DecoderConfigError::Kind);
        }
        units.push(unit);
    }
    Ok(units)
}
