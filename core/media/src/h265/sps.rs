//! Sequence parameter sets (ITU-T H.265 §7.3.2.2): profile, size, depth. What follows these is not read.

use std::fmt::Write as _;

use super::{HEADER_BYTES, UnitKind};
use crate::bits::BitReader;
use crate::nal::{PIXELS_MAX, SpsError, ranged};

/// Largest picture in luma samples: `MaxLumaPs` of level 7.2.
const LUMA_SAMPLES_MAX: u32 = 142_606_336;

/// Most temporal sub-layers beside the first.
const SUB_LAYERS_MAX: u8 = 6;

/// Bits of the profile of one sub-layer, and of its level.
const SUB_PROFILE_BITS: u32 = 88;
const SUB_LEVEL_BITS: u32 = 8;

/// What a decoder must be capable of (§7.3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProfileTierLevel {
    /// general_profile_space, 0 to 3.
    pub profile_space: u8,
    /// general_tier_flag: the high tier.
    pub high_tier: bool,
    /// general_profile_idc, 0 to 31.
    pub profile: u8,
    /// general_profile_compatibility_flags, the first flag in the highest bit.
    pub compatibility: u32,
    /// The 48 bits from general_progressive_source_flag on.
    pub constraints: [u8; 6],
    /// general_level_idc, thirty times the level.
    pub level: u8,
}

/// What recording and export need of a sequence parameter set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sps {
    /// Its number, 0 to 15.
    pub id: u8,
    /// What a decoder must be capable of.
    pub profile_tier_level: ProfileTierLevel,
    /// Temporal sub-layers, 1 to 7.
    pub temporal_layers: u8,
    /// sps_temporal_id_nesting_flag.
    pub temporal_nesting: bool,
    /// chroma_format_idc: 0 monochrome, 1 4:2:0, 2 4:2:2, 3 4:4:4.
    pub chroma_format: u8,
    /// Bits of a luma sample.
    pub luma_bits: u8,
    /// Bits of a chroma sample.
    pub chroma_bits: u8,
    /// Pixels shown, inside the conformance window.
    pub width: u32,
    /// Pixels shown, inside the conformance window.
    pub height: u32,
}

impl Sps {
    /// Reads a NAL unit.
    pub fn parse(unit: &[u8]) -> Result<Self, SpsError> {
        if UnitKind::of(unit) != Some(UnitKind::Sps) {
            return Err(if unit.len() < HEADER_BYTES { SpsError::Malformed } else { SpsError::Kind });
        }
        let malformed = SpsError::Malformed;
        let mut bits = BitReader::new(unit.get(HEADER_BYTES..).unwrap_or_default());
        bits.skip(4).ok_or(malformed)?; // sps_video_parameter_set_id
        let sub_layers = ranged("sps_max_sub_layers_minus1", bits.unsigned(3), SUB_LAYERS_MAX)?;
        let temporal_nesting = bits.bit().ok_or(malformed)?;
        let profile_tier_level = profile_tier_level(&mut bits, sub_layers).ok_or(malformed)?;
        let id = ranged("sps_seq_parameter_set_id", bits.exp_golomb(), 15)?;
        let chroma_format = ranged("chroma_format_idc", bits.exp_golomb(), 3)?;
        let separate = chroma_format == 3 && bits.bit().ok_or(malformed)?;
        let width = bits.exp_golomb().ok_or(malformed)?;
        let height = bits.exp_golomb().ok_or(malformed)?;
        let size = SpsError::Size { width, height };
        if width > PIXELS_MAX || height > PIXELS_MAX || width * height > LUMA_SAMPLES_MAX {
            return Err(size);
        }
        let mut shown = (width, height);
        if bits.bit().ok_or(malformed)? {
            let mut edge = || bits.exp_golomb().ok_or(malformed);
            let (left, right, top, bottom) = (edge()?, edge()?, edge()?, edge()?);
            let chroma = if separate { 0 } else { chroma_format };
            // SubWidthC and SubHeightC (table 6-1).
            let unit_x = if matches!(chroma, 1 | 2) { 2 } else { 1 };
            let unit_y = if chroma == 1 { 2 } else { 1 };
            let cropped =
                |size: u32, a: u32, b: u32, unit| size.checked_sub(a.checked_add(b)?.checked_mul(unit)?);
            shown.0 = cropped(width, left, right, unit_x).ok_or(size)?;
            shown.1 = cropped(height, top, bottom, unit_y).ok_or(size)?;
        }
        if shown.0 == 0 || shown.1 == 0 {
            return Err(SpsError::Size { width: shown.0, height: shown.1 });
        }
        let luma_bits = 8 + ranged("bit_depth_luma_minus8", bits.exp_golomb(), 8)?;
        let chroma_bits = 8 + ranged("bit_depth_chroma_minus8", bits.exp_golomb(), 8)?;
        Ok(Self {
            id,
            profile_tier_level,
            temporal_layers: sub_layers + 1,
            temporal_nesting,
            chroma_format,
            luma_bits,
            chroma_bits,
            width: shown.0,
            height: shown.1,
        })
    }

    /// What browsers call the coding of a track with this set (ISO/IEC 14496-15 annex E): `hvc1.1.6.L93.B0`.
    pub fn codec_name(&self) -> String {
        let ProfileTierLevel { profile_space, high_tier, profile, compatibility, constraints, level } =
            self.profile_tier_level;
        let space = ["", "A", "B", "C"].get(usize::from(profile_space)).copied().unwrap_or_default();
        let tier = if high_tier { 'H' } else { 'L' };
        let mut name = format!("hvc1.{space}{profile}.{:X}.{tier}{level}", compatibility.reverse_bits());
        // Zero bytes at the end are left out.
        let told = constraints.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        for byte in constraints.iter().take(told) {
            write!(name, ".{byte:X}").expect("writing to a String cannot fail");
        }
        name
    }
}

/// §7.3.3, with profilePresentFlag 1.
fn profile_tier_level(bits: &mut BitReader<'_>, sub_layers: u8) -> Option<ProfileTierLevel> {
    let byte = |bits: &mut BitReader<'_>| u8::try_from(bits.unsigned(8)?).ok();
    let first = byte(bits)?;
    let compatibility = bits.unsigned(32)?;
    let mut constraints = [0; 6];
    for place in &mut constraints {
        *place = byte(bits)?;
    }
    let level = byte(bits)?;
    let mut below_bits = 0;
    for _ in 0..sub_layers {
        below_bits += if bits.bit()? { SUB_PROFILE_BITS } else { 0 };
        below_bits += if bits.bit()? { SUB_LEVEL_BITS } else { 0 };
    }
    if sub_layers > 0 {
        bits.skip(2 * u32::from(8 - sub_layers))?; // reserved_zero_2bits
    }
    bits.skip(below_bits)?;
    Some(ProfileTierLevel {
        profile_space: first >> 6,
        high_tier: first & 0x20 != 0,
        profile: first & 0x1f,
        compatibility,
        constraints,
        level,
    })
}

/// The number of a video parameter set; `None` when the unit is none.
pub fn vps_id(unit: &[u8]) -> Option<u8> {
    let (header, rest) = unit.split_first_chunk::<HEADER_BYTES>()?;
    let first = rest.first()?;
    (UnitKind::from_header(*header) == UnitKind::Vps).then_some(first >> 4)
}

/// The number of a picture parameter set; `None` when the unit is none or malformed.
pub fn pps_id(unit: &[u8]) -> Option<u8> {
    let (header, rest) = unit.split_first_chunk::<HEADER_BYTES>()?;
    let id = BitReader::new(rest).exp_golomb()?;
    u8::try_from(id).ok().filter(|_| UnitKind::from_header(*header) == UnitKind::Pps)
}
