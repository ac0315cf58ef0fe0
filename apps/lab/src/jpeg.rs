//! Motion JPEG from pictures: baseline, 4:2:0, with the Huffman tables of the standard, so that RFC 2435 can carry it.
//!
//! And back: the counter that a decoded picture shows. RFC 2435 §3.1 transports neither comments nor application
//! segments, so the bar in the picture is the only number of a frame.

use bytes::Bytes;
use jpeg_encoder::{ImageBuffer, JpegColorType, SamplingFactor};
use keepwatch_model::{CodecKind, TrackConfig};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use crate::encoder::{AccessUnit, EncoderSettings};
use crate::{Caption, LabError, Picture, read_counter};

/// What the tables of the standard are scaled to, 1 to 100: a few hundred kilobits a second for a calm picture of
/// 640 x 360, and the counter stays legible by far.
const QUALITY: u8 = 50;

/// Largest side of a picture that is decoded, in pixels: more than any camera sends.
const SIDE_PIXELS_MAX: usize = 8_192;

/// Draws and encodes one stream.
pub(crate) struct JpegEncoder {
    picture: Picture,
    track: TrackConfig,
}

impl JpegEncoder {
    /// An encoder. The bit rate of `settings` is not regarded: the quality is the same for every picture.
    pub(crate) fn new(settings: EncoderSettings) -> Result<Self, LabError> {
        let EncoderSettings { width, height, scene, .. } = settings;
        // RFC 2435 §3.1.5: sides are told in multiples of 8 pixels, 2,040 at most.
        let told = |side: usize| side.is_multiple_of(8) && side <= 2_040;
        if !told(width) || !told(height) {
            return Err(LabError::PictureSize { width, height });
        }
        let side = |side: usize| u16::try_from(side).unwrap_or(u16::MAX).to_be_bytes();
        let config = [side(width), side(height)].concat();
        let track = TrackConfig { kind: CodecKind::Jpeg, clock_rate: 90_000, channels: 0, config };
        Ok(Self { picture: Picture::new(width, height, scene)?, track })
    }

    /// The track.
    pub(crate) const fn track(&self) -> &TrackConfig {
        &self.track
    }

    /// Draws `caption` and encodes it.
    pub(crate) fn encode(&mut self, caption: Caption<'_>) -> Result<AccessUnit, LabError> {
        self.picture.draw(caption);
        let mut data = Vec::new();
        let mut encoder = jpeg_encoder::Encoder::new(&mut data, QUALITY);
        encoder.set_sampling_factor(SamplingFactor::F_2_2);
        encoder.encode_image(Planes(&self.picture))?;
        Ok(AccessUnit { data: Bytes::from(data.into_boxed_slice()), key: true })
    }
}

/// A picture as the encoder takes it: line by line, and of each chroma value as many as there are pixels.
struct Planes<'a>(&'a Picture);

impl ImageBuffer for Planes<'_> {
    fn get_jpeg_color_type(&self) -> JpegColorType {
        JpegColorType::Ycbcr
    }

    fn width(&self) -> u16 {
        u16::try_from(self.0.width()).unwrap_or(u16::MAX)
    }

    fn height(&self) -> u16 {
        u16::try_from(self.0.height()).unwrap_or(u16::MAX)
    }

    fn fill_buffers(&self, y: u16, buffers: &mut [Vec<u8>; 4]) {
        let (line, width) = (usize::from(y), self.0.width());
        let [luma, blue, red, _] = buffers;
        luma.extend(self.0.luma_line(line).iter().map(|&shade| full_range(shade, 16, 219)));
        for (chroma, out) in self.0.chroma_lines(line / 2).into_iter().zip([blue, red]) {
            let doubled = chroma.iter().flat_map(|&shade| [full_range(shade, 16, 224); 2]);
            out.extend(doubled.take(width));
        }
    }
}

/// A value that begins at `from` and has `range` steps, as one of 0 to 255: JPEG has no narrower range.
fn full_range(value: u8, from: u8, range: u16) -> u8 {
    u8::try_from(u16::from(value.saturating_sub(from)) * 255 / range).unwrap_or(u8::MAX)
}

/// The counter in a JPEG picture; `None` when it cannot be decoded or shows none.
pub fn read_jpeg_counter(file: &[u8]) -> Option<u32> {
    let options = DecoderOptions::default()
        .jpeg_set_out_colorspace(ColorSpace::Luma)
        .set_max_width(SIDE_PIXELS_MAX)
        .set_max_height(SIDE_PIXELS_MAX);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(file), options);
    let luma = decoder.decode().ok()?;
    let (width, height) = decoder.dimensions()?;
    read_counter(&luma, width, width, height)
}

#[cfg(test)]
mod tests {
    use keepwatch_model::WallTime;

    use super::*;

    fn caption(counter: u64) -> Caption<'static> {
        Caption { name: "cam1", at: WallTime::from_ticks(1_800_000_000 * 90_000), counter }
    }

    #[test]
    fn the_counter_survives_coding_in_every_picture() {
        for (width, height) in [(640, 360), (320, 184)] {
            let settings = EncoderSettings { width, height, ..EncoderSettings::default() };
            let mut encoder = JpegEncoder::new(settings).unwrap();
            for counter in [0, 1, 0xffff_ffff, 0x1_0000_0007, 700_000_123] {
                let unit = encoder.encode(caption(counter)).unwrap();
                assert!(unit.key);
                assert_eq!(read_jpeg_counter(&unit.data), u32::try_from(counter & 0xffff_ffff).ok());
            }
        }
    }

    #[test]
    fn pictures_are_what_rfc_2435_can_carry() {
        let mut encoder = JpegEncoder::new(EncoderSettings::default()).unwrap();
        let unit = encoder.encode(caption(7)).unwrap();
        // Baseline, three components, luma sampled twice each way, quantised by table 0 and the others by table 1.
        let frame = segment(&unit.data, 0xc0).unwrap();
        assert_eq!(frame[..6], [8, 360_u16.to_be_bytes()[0], 104, 2, 128, 3]);
        let sampling: Vec<_> = frame[6..].chunks(3).map(|component| (component[1], component[2])).collect();
        assert_eq!(sampling, [(0x22, 0), (0x11, 1), (0x11, 1)]);
        assert!(segment(&unit.data, 0xc2).is_none() && segment(&unit.data, 0xdd).is_none());
        assert!(unit.data.len() < 40_000, "{} bytes", unit.data.len());
    }

    #[test]
    fn what_is_no_picture_shows_no_counter() {
        let mut encoder = JpegEncoder::new(EncoderSettings::default()).unwrap();
        let unit = encoder.encode(caption(7)).unwrap();
        for end in [0, 2, 100, 600] {
            assert_eq!(read_jpeg_counter(&unit.data[..end]), None);
        }
        assert!(JpegEncoder::new(EncoderSettings { height: 362, ..EncoderSettings::default() }).is_err());
    }

    /// The content of the first segment that begins with `marker`.
    fn segment(file: &[u8], marker: u8) -> Option<&[u8]> {
        let mut rest = file.strip_prefix(&[0xff, 0xd8])?;
        while let [0xff, kind, high, low, after @ ..] = rest {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            if *kind == marker {
                return after.get(..length - 2);
            }
            if *kind == 0xda {
                return None;
            }
            rest = after.get(length - 2..)?;
        }
        None
    }
}
