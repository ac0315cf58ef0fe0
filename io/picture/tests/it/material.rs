//! A film that numbers its pictures, and the number in a picture.

use keepwatch_media::nal;
use openh264::encoder::{Encoder, EncoderConfig, IntraFramePeriod, SpsPpsStrategy};
use openh264::formats::YUVBuffer;
use openh264::{OpenH264API, Timestamp};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// Bits of a number, side by side over the whole picture.
const BITS: usize = 8;

/// A film of one group of pictures: samples with 4-byte lengths.
pub(crate) struct Film {
    pub(crate) units: Vec<Vec<u8>>,
}

impl Film {
    /// A film of `count` pictures; only the first is a key frame.
    pub(crate) fn new(width: usize, height: usize, count: usize) -> Self {
        let config = EncoderConfig::new()
            .skip_frames(false)
            .intra_frame_period(IntraFramePeriod::from_num_frames(0))
            .sps_pps_strategy(SpsPpsStrategy::ConstantId)
            .num_threads(1);
        let mut encoder = Encoder::with_api_config(OpenH264API::from_source(), config).unwrap();
        let units = (0..count).map(|number| {
            let mut yuv = vec![128; width * height * 3 / 2];
            for (at, luma) in yuv[..width * height].iter_mut().enumerate() {
                let bit = at % width * BITS / width;
                *luma = if number >> bit & 1 == 1 { 220 } else { 30 };
            }
            let picture = YUVBuffer::from_vec(yuv, width, height);
            let time = Timestamp::from_millis(u64::try_from(number).unwrap() * 40);
            let coded = encoder.encode_at(&picture, time).unwrap().to_vec();
            let mut unit = Vec::new();
            nal::length_prefixed(&coded, &mut unit);
            unit
        });
        Self { units: units.collect() }
    }
}

/// The number in a picture; `None` where it is neither black nor white.
pub(crate) fn read_number(file: &[u8]) -> Option<usize> {
    let options = DecoderOptions::default().jpeg_set_out_colorspace(ColorSpace::Luma);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(file), options);
    let luma = decoder.decode().ok()?;
    let (width, height) = decoder.dimensions()?;
    (0..BITS).try_fold(0, |number, bit| {
        let middle = luma[height / 2 * width + (2 * bit + 1) * width / (2 * BITS)];
        match middle {
            0..70 => Some(number),
            186.. => Some(number | 1 << bit),
            _ => None,
        }
    })
}
