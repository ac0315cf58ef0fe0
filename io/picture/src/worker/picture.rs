//! A decoded picture: one plane of brightness and two of colour, each with as many values as there are pixels.

use jpeg_encoder::{ImageBuffer, JpegColorType};
use openh264::decoder::DecodedYUV;
use openh264::formats::YUVSource;

use super::decode::DecodeError;
use crate::frame::SIDE_PIXELS_MAX;

/// A picture with values of 0 to 255, as JPEG has them (JFIF).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Picture {
    width: u16,
    height: u16,
    /// Brightness, blue, red.
    planes: [Vec<u8>; 3],
}

impl Picture {
    /// The picture of a decoder, whose values are those of television: 16 to 235, colour 16 to 240 (ITU-R BT.601).
    pub(super) fn from_yuv(yuv: &DecodedYUV<'_>) -> Result<Self, DecodeError> {
        let (width, height) = yuv.dimensions();
        let (luma_stride, blue_stride, red_stride) = yuv.strides();
        let (told_width, told_height) = sides(width, height)?;
        let plane = |data: &[u8], stride: usize, halved: bool, (from, range): (u8, u16)| {
            let step = if halved { 2 } else { 1 };
            let mut out = Vec::with_capacity(width.saturating_mul(height));
            for line in 0..height {
                let begin = (line / step).saturating_mul(stride);
                let values = data.get(begin..).and_then(|rest| rest.get(..width.div_ceil(step)));
                let values = values.ok_or(DecodeError::Size(width, height))?;
                out.extend((0..width).map(|column| {
                    full_range(values.get(column / step).copied().unwrap_or(from), from, range)
                }));
            }
            Ok::<_, DecodeError>(out)
        };
        let planes = [
            plane(yuv.y(), luma_stride, false, (16, 219))?,
            plane(yuv.u(), blue_stride, true, (16, 224))?,
            plane(yuv.v(), red_stride, true, (16, 224))?,
        ];
        Ok(Self { width: told_width, height: told_height, planes })
    }

    /// A picture of pixels with three values each.
    pub(super) fn from_pixels(width: usize, height: usize, pixels: &[u8]) -> Result<Self, DecodeError> {
        let (told_width, told_height) = sides(width, height)?;
        let pixels = pixels.as_chunks::<3>().0;
        if pixels.len() != width.saturating_mul(height) {
            return Err(DecodeError::Size(width, height));
        }
        let plane = |at: usize| pixels.iter().map(|pixel| pixel.get(at).copied().unwrap_or(0)).collect();
        Ok(Self { width: told_width, height: told_height, planes: [plane(0), plane(1), plane(2)] })
    }

    /// Its width and height in pixels.
    pub(super) const fn size(&self) -> (u16, u16) {
        (self.width, self.height)
    }

    /// The picture with lines of `width` pixels, each the mean of those it stands for; as it is when it has no more than
    /// that, or when `width` is 0.
    pub(super) fn scaled_down(self, width: u16) -> Self {
        if width == 0 || width >= self.width {
            return self;
        }
        let (from_width, from_height) = (usize::from(self.width), usize::from(self.height));
        let to_width = usize::from(width);
        // At least one line; below the height, as the width is.
        let to_height = (from_height.saturating_mul(to_width) / from_width.max(1)).max(1);
        let columns = shares(from_width, to_width);
        let lines = shares(from_height, to_height);
        let scale = |plane: &Vec<u8>| {
            let mut out = Vec::with_capacity(to_width.saturating_mul(to_height));
            for (top, bottom) in &lines {
                for (left, right) in &columns {
                    let values = (*top..*bottom).filter_map(|line| {
                        let begin = line.saturating_mul(from_width);
                        plane.get(begin.saturating_add(*left)..begin.saturating_add(*right))
                    });
                    let sum: u64 = values.flatten().map(|&value| u64::from(value)).sum();
                    let count =
                        u64::try_from((bottom - top).saturating_mul(right - left)).unwrap_or(1).max(1);
                    out.push(u8::try_from((sum + count / 2) / count).unwrap_or(u8::MAX));
                }
            }
            out
        };
        let [luma, blue, red] = &self.planes;
        let planes = [scale(luma), scale(blue), scale(red)];
        Self { width, height: u16::try_from(to_height).unwrap_or(u16::MAX), planes }
    }
}

impl ImageBuffer for Picture {
    fn get_jpeg_color_type(&self) -> JpegColorType {
        JpegColorType::Ycbcr
    }

    fn width(&self) -> u16 {
        self.width
    }

    fn height(&self) -> u16 {
        self.height
    }

    fn fill_buffers(&self, y: u16, buffers: &mut [Vec<u8>; 4]) {
        let width = usize::from(self.width);
        let begin = usize::from(y).saturating_mul(width);
        for (plane, out) in self.planes.iter().zip(buffers) {
            out.extend_from_slice(plane.get(begin..begin.saturating_add(width)).unwrap_or_default());
        }
    }
}

/// Both sides, if they can be right.
fn sides(width: usize, height: usize) -> Result<(u16, u16), DecodeError> {
    let side = |side: usize| u16::try_from(side).ok().filter(|side| (1..=SIDE_PIXELS_MAX).contains(side));
    side(width).zip(side(height)).ok_or(DecodeError::Size(width, height))
}

/// For each of `to` values the range of the `from` ones that it stands for; every one belongs to one of them.
fn shares(from: usize, to: usize) -> Vec<(usize, usize)> {
    let edge = |at: usize| at.saturating_mul(from) / to.max(1);
    (0..to)
        .map(|at| (edge(at), edge(at.saturating_add(1)).max(edge(at).saturating_add(1)).min(from)))
        .collect()
}

/// A value that begins at `from` and has `range` steps, as one of 0 to 255, to the nearest.
fn full_range(value: u8, from: u8, range: u16) -> u8 {
    let scaled = (u16::from(value.saturating_sub(from)) * 255 + range / 2) / range;
    u8::try_from(scaled).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pixel_of_a_smaller_picture_is_the_mean_of_its_share() {
        let pixels: Vec<u8> = (0..8_u8).flat_map(|at| [at * 10, 200, 100]).collect();
        let picture = Picture::from_pixels(4, 2, &pixels).unwrap().scaled_down(2);
        assert_eq!(picture.size(), (2, 1));
        assert_eq!(picture.planes, [vec![25, 45], vec![200, 200], vec![100, 100]]);
    }

    #[test]
    fn a_picture_is_never_made_larger_and_has_a_line_at_least() {
        let pixels = vec![9; 3 * 100];
        let flat = Picture::from_pixels(100, 1, &pixels).unwrap();
        assert_eq!(flat.clone().scaled_down(0).size(), (100, 1));
        assert_eq!(flat.clone().scaled_down(100).size(), (100, 1));
        assert_eq!(flat.clone().scaled_down(3840).size(), (100, 1));
        assert_eq!(flat.scaled_down(64).size(), (64, 1));
        assert!(Picture::from_pixels(100, 2, &pixels).is_err());
        assert!(Picture::from_pixels(0, 0, &[]).is_err());
        assert!(Picture::from_pixels(9_000, 1, &vec![0; 27_000]).is_err());
    }

    #[test]
    fn black_and_white_of_television_are_black_and_white() {
        assert_eq!([0, 16, 126, 235, 255].map(|value| full_range(value, 16, 219)), [0, 0, 128, 255, 255]);
    }
}
