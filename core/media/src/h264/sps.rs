//! Sequence parameter sets (ITU-T H.264 §7.3.2.1, Annex E): size, timing, reordering.

use crate::bits::BitReader;
use crate::nal::{PIXELS_MAX, SpsError, ranged};

/// Largest picture in macroblocks: MaxFS of level 6.2.
const MACROBLOCKS_MAX: u32 = 139_264;

/// The timing that a sequence parameter set may state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Units in a tick, one field; a frame takes two ticks.
    pub units_in_tick: u32,
    /// Units in a second.
    pub time_scale: u32,
    /// Whether all frames have the same distance.
    pub fixed_frame_rate: bool,
}

/// What recording and export need of a sequence parameter set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sps {
    /// Its number, 0 to 31.
    pub id: u8,
    /// profile_idc.
    pub profile: u8,
    /// The constraint flags.
    pub constraints: u8,
    /// level_idc, ten times the level.
    pub level: u8,
    /// chroma_format_idc: 0 monochrome, 1 4:2:0, 2 4:2:2, 3 4:4:4.
    pub chroma_format: u8,
    /// Bits of a luma sample.
    pub luma_bits: u8,
    /// Bits of a chroma sample.
    pub chroma_bits: u8,
    /// Pixels shown, after cropping.
    pub width: u32,
    /// Pixels shown, after cropping.
    pub height: u32,
    /// Timing, when stated and not zero.
    pub timing: Option<Timing>,
    /// How many frames may precede another in decoding order and follow it in output order, when stated: 0 means
    /// no reordering.
    pub reorder_frames: Option<u8>,
}

impl Sps {
    /// Reads a NAL unit. What follows the picture size is optional: malformed usability information is left out.
    pub fn parse(unit: &[u8]) -> Result<Self, SpsError> {
        let ([header, profile, constraints, level], rest) =
            unit.split_first_chunk::<4>().ok_or(SpsError::Malformed)?;
        if header & 0x1f != 7 {
            return Err(SpsError::Kind);
        }
        let mut bits = BitReader::new(rest);
        let id = ranged("seq_parameter_set_id", bits.exp_golomb(), 31)?;
        let (chroma_format, luma_bits, chroma_bits, separate) = chroma(&mut bits, *profile)?;
        ranged("log2_max_frame_num_minus4", bits.exp_golomb(), 12)?;
        match ranged("pic_order_cnt_type", bits.exp_golomb(), 2)? {
            0 => {
                ranged("log2_max_pic_order_cnt_lsb_minus4", bits.exp_golomb(), 12)?;
            }
            1 => order_count_cycle(&mut bits)?,
            _ => {}
        }
        ranged("max_num_ref_frames", bits.exp_golomb(), 16)?;
        let malformed = SpsError::Malformed;
        bits.bit().ok_or(malformed)?; // gaps_in_frame_num_value_allowed_flag
        let columns = macroblocks(bits.exp_golomb())?;
        let rows = macroblocks(bits.exp_golomb())?;
        let frames_only = bits.bit().ok_or(malformed)?;
        if !frames_only {
            bits.bit().ok_or(malformed)?; // mb_adaptive_frame_field_flag
        }
        bits.bit().ok_or(malformed)?; // direct_8x8_inference_flag
        let field_rows = if frames_only { 1 } else { 2 };
        let (width, height) = (columns * 16, rows * 16 * field_rows);
        let mut sps = Self {
            id,
            profile: *profile,
            constraints: *constraints,
            level: *level,
            chroma_format,
            luma_bits,
            chroma_bits,
            width,
            height,
            timing: None,
            reorder_frames: None,
        };
        if width > PIXELS_MAX || height > PIXELS_MAX || columns * rows * field_rows > MACROBLOCKS_MAX {
            return Err(SpsError::Size { width, height });
        }
        if bits.bit().ok_or(malformed)? {
            sps.crop(&mut bits, if separate { 0 } else { chroma_format }, field_rows)?;
        }
        if bits.bit() == Some(true) {
            // The picture can be decoded without it.
            let _ = sps.usability(&mut bits);
        }
        Ok(sps)
    }

    /// Frames in a second that the timing states, when it does and is sane.
    pub fn frame_rate(&self) -> Option<f64> {
        let timing = self.timing?;
        let rate = f64::from(timing.time_scale) / f64::from(timing.units_in_tick) / 2.0;
        (0.01..=1000.0).contains(&rate).then_some(rate)
    }

    fn crop(&mut self, bits: &mut BitReader<'_>, chroma_format: u8, field_rows: u32) -> Result<(), SpsError> {
        let mut edge = || bits.exp_golomb().ok_or(SpsError::Malformed);
        let (left, right, top, bottom) = (edge()?, edge()?, edge()?, edge()?);
        let unit_x = if matches!(chroma_format, 1 | 2) { 2 } else { 1 };
        let unit_y = if chroma_format == 1 { 2 } else { 1 } * field_rows;
        let cropped = |size: u32, a: u32, b: u32, unit: u32| {
            size.checked_sub(a.checked_add(b)?.checked_mul(unit)?).filter(|left| *left > 0)
        };
        let none = SpsError::Size { width: 0, height: 0 };
        self.width = cropped(self.width, left, right, unit_x).ok_or(none)?;
        self.height = cropped(self.height, top, bottom, unit_y).ok_or(none)?;
        Ok(())
    }

    /// Annex E.1.1.
    fn usability(&mut self, bits: &mut BitReader<'_>) -> Option<()> {
        const EXTENDED_SAR: u32 = 255;
        if bits.bit()? && bits.unsigned(8)? == EXTENDED_SAR {
            bits.unsigned(32)?;
        }
        if bits.bit()? {
            bits.bit()?; // overscan_appropriate_flag
        }
        if bits.bit()? {
            bits.unsigned(4)?; // video_format, video_full_range_flag
            if bits.bit()? {
                bits.unsigned(24)?; // colour description
            }
        }
        if bits.bit()? {
            bits.exp_golomb()?; // chroma sample locations
            bits.exp_golomb()?;
        }
        if bits.bit()? {
            let (units_in_tick, time_scale) = (bits.unsigned(32)?, bits.unsigned(32)?);
            let fixed_frame_rate = bits.bit()?;
            if units_in_tick > 0 && time_scale > 0 {
                self.timing = Some(Timing { units_in_tick, time_scale, fixed_frame_rate });
            }
        }
        let nal_hrd = hypothetical_decoder(bits)?;
        let vcl_hrd = hypothetical_decoder(bits)?;
        if nal_hrd || vcl_hrd {
            bits.bit()?; // low_delay_hrd_flag
        }
        bits.bit()?; // pic_struct_present_flag
        if bits.bit()? {
            bits.bit()?; // motion_vectors_over_pic_boundaries_flag
            for _ in 0..4 {
                bits.exp_golomb()?; // limits of sizes and motion vectors
            }
            let reorder = bits.exp_golomb()?;
            let buffered = bits.exp_golomb()?;
            if reorder <= buffered && buffered <= 16 {
                self.reorder_frames = u8::try_from(reorder).ok();
            }
        }
        Some(())
    }
}

/// The number of a picture parameter set; `None` when the unit is none or malformed.
pub fn pps_id(unit: &[u8]) -> Option<u8> {
    let (header, rest) = unit.split_first()?;
    let id = BitReader::new(rest).exp_golomb()?;
    u8::try_from(id).ok().filter(|_| header & 0x1f == 8)
}

fn macroblocks(minus_1: Option<u32>) -> Result<u32, SpsError> {
    let value = minus_1.ok_or(SpsError::Malformed)?;
    if value >= PIXELS_MAX / 16 {
        return Err(SpsError::OutOfRange { name: "size in macroblocks", value });
    }
    Ok(value + 1)
}

/// chroma_format_idc, luma bits, chroma bits, separate_colour_plane_flag.
fn chroma(bits: &mut BitReader<'_>, profile: u8) -> Result<(u8, u8, u8, bool), SpsError> {
    if !matches!(profile, 100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128 | 138 | 139 | 134 | 135) {
        return Ok((1, 8, 8, false));
    }
    let malformed = SpsError::Malformed;
    let chroma_format = ranged("chroma_format_idc", bits.exp_golomb(), 3)?;
    let separate = chroma_format == 3 && bits.bit().ok_or(malformed)?;
    let luma_bits = 8 + ranged("bit_depth_luma_minus8", bits.exp_golomb(), 6)?;
    let chroma_bits = 8 + ranged("bit_depth_chroma_minus8", bits.exp_golomb(), 6)?;
    bits.bit().ok_or(malformed)?; // qpprime_y_zero_transform_bypass_flag
    if bits.bit().ok_or(malformed)? {
        for list in 0..if chroma_format == 3 { 12 } else { 8 } {
            if bits.bit().ok_or(malformed)? {
                scaling_list(bits, if list < 6 { 16 } else { 64 }).ok_or(malformed)?;
            }
        }
    }
    Ok((chroma_format, luma_bits, chroma_bits, separate))
}

/// §7.3.2.1.1.1
fn scaling_list(bits: &mut BitReader<'_>, size: u32) -> Option<()> {
    let (mut last, mut next) = (8, 8);
    for _ in 0..size {
        if next != 0 {
            next = (last + bits.signed_exp_golomb()?).rem_euclid(256);
        }
        last = if next == 0 { last } else { next };
    }
    Some(())
}

fn order_count_cycle(bits: &mut BitReader<'_>) -> Result<(), SpsError> {
    let malformed = SpsError::Malformed;
    bits.bit().ok_or(malformed)?; // delta_pic_order_always_zero_flag
    bits.signed_exp_golomb().ok_or(malformed)?; // offset_for_non_ref_pic
    bits.signed_exp_golomb().ok_or(malformed)?; // offset_for_top_to_bottom_field
    for _ in 0..ranged("num_ref_frames_in_pic_order_cnt_cycle", bits.exp_golomb(), u8::MAX)? {
        bits.signed_exp_golomb().ok_or(malformed)?;
    }
    Ok(())
}

/// Annex E.1.2, with the flag that it is there; returns the flag.
fn hypothetical_decoder(bits: &mut BitReader<'_>) -> Option<bool> {
    if !bits.bit()? {
        return Some(false);
    }
    let schedules = bits.exp_golomb().filter(|count| *count < 32)? + 1;
    bits.unsigned(8)?; // scales
    for _ in 0..schedules {
        bits.exp_golomb()?;
        bits.exp_golomb()?;
        bits.bit()?;
    }
    bits.unsigned(20)?; // lengths of delays and of the time offset
    Some(true)
}
