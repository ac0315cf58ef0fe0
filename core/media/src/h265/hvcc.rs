//! The `HEVCDecoderConfigurationRecord` (ISO/IEC 14496-15 §8.3.3.1): parameter sets out of band.

use super::{Sps, UnitKind};
use crate::nal::{DecoderConfigError, append_counted_units, take_counted_unit};

/// Bytes before the arrays of units.
const FIXED_BYTES: usize = 22;

/// Most parameter sets of one kind: sequence parameter sets have numbers up to 15, picture parameter sets up to 63
/// (ITU-T H.265 §7.4.3).
const SETS_MAX: usize = 64;

/// The kinds of units that a record holds, with their numbers, in the order in which a decoder needs them.
const KINDS: [(UnitKind, u8); 3] = [(UnitKind::Vps, 32), (UnitKind::Sps, 33), (UnitKind::Pps, 34)];

/// The parameter sets of a stream, as NAL units.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DecoderConfig<'a> {
    /// Video parameter sets.
    pub vps: Vec<&'a [u8]>,
    /// Sequence parameter sets; the first one describes the stream.
    pub sps: Vec<&'a [u8]>,
    /// Picture parameter sets.
    pub pps: Vec<&'a [u8]>,
}

impl<'a> DecoderConfig<'a> {
    /// Reads a record. Sets may be missing from it; other units in it are passed over.
    pub fn parse(record: &'a [u8]) -> Result<Self, DecoderConfigError> {
        let short = DecoderConfigError::Short;
        let (fixed, mut rest) = record.split_first_chunk::<FIXED_BYTES>().ok_or(short)?;
        let [version, .., lengths] = *fixed;
        if version != 1 {
            return Err(DecoderConfigError::Version(version));
        }
        if lengths & 3 != 3 {
            return Err(DecoderConfigError::LengthBytes((lengths & 3) + 1));
        }
        let (arrays, after) = rest.split_first().ok_or(short)?;
        rest = after;
        let mut config = Self::default();
        for _ in 0..*arrays {
            let ([_, high, low], after) = rest.split_first_chunk::<3>().ok_or(short)?;
            rest = after;
            for _ in 0..u16::from_be_bytes([*high, *low]) {
                let unit = take_counted_unit(&mut rest)?;
                let sets = match UnitKind::of(unit) {
                    Some(UnitKind::Vps) => &mut config.vps,
                    Some(UnitKind::Sps) => &mut config.sps,
                    Some(UnitKind::Pps) => &mut config.pps,
                    _ => continue,
                };
                if sets.len() == SETS_MAX {
                    return Err(DecoderConfigError::Count);
                }
                sets.push(unit);
            }
        }
        Ok(config)
    }

    /// Builds the record. Its arrays are said to be complete, as `hvc1` demands (§8.4.1), although cameras repeat the
    /// sets in the stream.
    pub fn build(&self) -> Result<Vec<u8>, DecoderConfigError> {
        let first = Sps::parse(self.sps.first().ok_or(DecoderConfigError::Count)?)?;
        let described = first.profile_tier_level;
        let [c0, c1, c2, c3] = described.compatibility.to_be_bytes();
        let [n0, n1, n2, n3, n4, n5] = described.constraints;
        let tier = u8::from(described.high_tier) << 5;
        let nesting = u8::from(first.temporal_nesting) << 2;
        #[rustfmt::skip]
        let mut record = vec![
            1,
            described.profile_space << 6 | tier | described.profile,
            c0, c1, c2, c3,
            n0, n1, n2, n3, n4, n5,
            described.level,
            // min_spatial_segmentation_idc and parallelismType: not known.
            0xf0, 0, 0xfc,
            0xfc | first.chroma_format,
            0xf8 | first.luma_bits.saturating_sub(8) & 7,
            0xf8 | first.chroma_bits.saturating_sub(8) & 7,
            // avgFrameRate: not known.
            0, 0,
            // constantFrameRate: not known; 4-byte lengths.
            first.temporal_layers << 3 | nesting | 3,
            3,
        ];
        for ((kind, number), units) in KINDS.into_iter().zip([&self.vps, &self.sps, &self.pps]) {
            if units.is_empty() || units.len() > SETS_MAX {
                return Err(DecoderConfigError::Count);
            }
            if units.iter().any(|unit| UnitKind::of(unit) != Some(kind)) {
                return Err(DecoderConfigError::Kind);
            }
            let count = u16::try_from(units.len()).map_err(|_| DecoderConfigError::Count)?;
            record.push(0x80 | number);
            record.extend_from_slice(&count.to_be_bytes());
            append_counted_units(&mut record, units)?;
        }
        Ok(record)
    }
}
