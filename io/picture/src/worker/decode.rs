//! Out of coded pictures the last one, as a JPEG file.

use jpeg_encoder::{EncodingError, SamplingFactor};
use keepwatch_media::{h264, nal};
use openh264::OpenH264API;
use openh264::decoder::{DecodeOptions, Decoder, DecoderConfig, Flush};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::picture::Picture;
use crate::frame::{Coding, Made, Request, SIDE_PIXELS_MAX};

/// Quality of the JPEG files, 1 to 100: no difference is seen to what the camera sent.
const QUALITY: u8 = 88;

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
pub(super) enum DecodeError {
    /// The decoder says so.
    #[error("H.264: {0}")]
    H264(#[from] openh264::Error),
    /// The same of a JPEG file.
    #[error("JPEG: {0}")]
    Jpeg(String),
    /// The decoder gave nothing for the last one.
    #[error("the stream gives no picture there")]
    Nothing,
    /// Its size cannot be right.
    #[error("a picture of {0} x {1} pixels")]
    Size(usize, usize),
    /// The file cannot be made.
    #[error("the file cannot be made: {0}")]
    Encode(#[from] EncodingError),
}

/// Decodes what is asked for.
pub(super) fn decode(request: &Request) -> Result<Made, DecodeError> {
    let picture = match request.coding {
        Coding::H264 => h264(&request.units)?,
        Coding::Jpeg => jpeg(request.units.last().map(Vec::as_slice).unwrap_or_default())?,
    };
    let picture = picture.scaled_down(request.width);
    let mut file = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut file, QUALITY);
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    let (width, height) = picture.size();
    encoder.encode_image(picture)?;
    Ok(Made { width, height, file })
}

/// The last picture of access units without reordering. Pictures that no other refers to are passed over.
fn h264(units: &[Vec<u8>]) -> Result<Picture, DecodeError> {
    let mut decoder = Decoder::with_api_config(OpenH264API::from_source(), DecoderConfig::new())?;
    let Some((last, before)) = units.split_last() else { return Err(DecodeError::Nothing) };
    let mut stream = Vec::new();
    for unit in before.iter().filter(|unit| is_referred_to(unit)) {
        write_annex_b(unit, &mut stream);
        // Concealment is off: what cannot be decoded is an error here, and not a picture that never was.
        decoder.decode_with_options(&stream, DecodeOptions::new().flush_after_decode(Flush::NoFlush))?;
    }
    write_annex_b(last, &mut stream);
    let shown =
        decoder.decode_with_options(&stream, DecodeOptions::new().flush_after_decode(Flush::NoFlush))?;
    let shown = shown.as_ref().map(Picture::from_yuv).transpose()?;
    // The decoder may hold pictures back in case that others come before them; what is left at the end is the last.
    let held = decoder.flush_remaining()?;
    let held = held.last().map(Picture::from_yuv).transpose()?;
    held.or(shown).ok_or(DecodeError::Nothing)
}

/// Whether a later picture may refer to any of an access unit (ITU-T H.264 §7.4.1, `nal_ref_idc`).
fn is_referred_to(unit: &[u8]) -> bool {
    let slices = nal::units(unit).map_while(Result::ok);
    let mut slices =
        slices.filter(|unit| h264::UnitKind::of(unit).is_some_and(h264::UnitKind::is_slice)).peekable();
    slices.peek().is_none() || slices.any(|unit| unit.first().is_some_and(|header| header & 0x60 != 0))
}

/// Writes a sample with start codes, as decoders want it (Annex B).
fn write_annex_b(sample: &[u8], stream: &mut Vec<u8>) {
    stream.clear();
    for unit in nal::units(sample).map_while(Result::ok) {
        stream.extend_from_slice(&[0, 0, 0, 1]);
        stream.extend_from_slice(unit);
    }
}

fn jpeg(file: &[u8]) -> Result<Picture, DecodeError> {
    let side = usize::from(SIDE_PIXELS_MAX);
    let options = DecoderOptions::default()
        .jpeg_set_out_colorspace(ColorSpace::YCbCr)
        .set_max_width(side)
        .set_max_height(side);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(file), options);
    let pixels = decoder.decode().map_err(|error| DecodeError::Jpeg(format!("{error:?}")))?;
    let (width, height) = decoder.dimensions().ok_or(DecodeError::Nothing)?;
    Picture::from_pixels(width, height, &pixels)
}
