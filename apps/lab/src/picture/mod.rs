//! The picture of a virtual camera: I420, drawn without any library.
//!
//! It shows the camera's name, the wall clock, the frame counter as digits and as a bar for machines
//! ([`read_counter`]), and something that moves. The same arguments always draw the same picture.

mod bar;
mod font;
mod noise;

use std::fmt::Write;

pub use bar::read_counter;
use bar::{BAR_HEIGHT_PIXELS, BAR_WIDTH_PIXELS, draw_counter};
use font::{GLYPH_COLUMNS, GLYPH_ROWS, glyph};
use keepwatch_model::WallTime;
use noise::Noise;
use openh264::formats::YUVSource;

use crate::LabError;

const LUMA_BLACK: u8 = 16;
const LUMA_WHITE: u8 = 235;
const CHROMA_GREY: u8 = 128;
/// Letters of a name that are drawn; a camera id has at most 31.
const NAME_LETTERS_MAX: usize = 31;
/// Largest side in pixels that the encoder takes.
const SIDE_PIXELS_MAX: usize = 2160;
/// Side of the moving box in pixels.
const BOX_PIXELS: usize = 64;

/// What stands behind the writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scene {
    /// A still gradient with a moving box: cheap to encode, for demonstrations and tests.
    Calm,
    /// Moving texture with noise over the whole picture, so that an encoder needs all the bits it is given.
    Noisy,
}

/// What is drawn into one frame.
#[derive(Clone, Copy, Debug)]
pub struct Caption<'a> {
    /// The camera's name.
    pub name: &'a str,
    /// The wall clock to show.
    pub at: WallTime,
    /// The frame counter; the picture holds its low 32 bits.
    pub counter: u64,
}

/// A canvas of fixed size that is drawn anew for each frame.
#[derive(Debug)]
pub struct Picture {
    width: usize,
    height: usize,
    scene: Scene,
    /// All of the picture that stays the same; also the planes' layout: luma, then both chroma planes.
    backdrop: Vec<u8>,
    planes: Vec<u8>,
    noise: Noise,
    text: String,
}

impl Picture {
    /// A canvas of `width` x `height` pixels; both even, at least 320 x 160, and at most what H.264 level 5.1
    /// encoders take.
    pub fn new(width: usize, height: usize, scene: Scene) -> Result<Self, LabError> {
        let fits =
            |side: usize, least: usize| side.is_multiple_of(2) && (least..=SIDE_PIXELS_MAX).contains(&side);
        if !fits(width, BAR_WIDTH_PIXELS) || !fits(height, 160) {
            return Err(LabError::PictureSize { width, height });
        }
        let mut backdrop = vec![CHROMA_GREY; width * height * 3 / 2];
        let (luma, chroma) = backdrop.split_at_mut(width * height);
        for (y, line) in luma.chunks_mut(width).enumerate() {
            for (x, shade) in line.iter_mut().enumerate() {
                *shade = ramp(48, 96, x, width).saturating_add(ramp(0, 48, y, height));
            }
        }
        let (blue, red) = chroma.split_at_mut(width * height / 4);
        for (y, (blue, red)) in blue.chunks_mut(width / 2).zip(red.chunks_mut(width / 2)).enumerate() {
            blue.fill(ramp(112, 40, y, height / 2));
            red.fill(ramp(136, 0, y, height / 2).saturating_sub(ramp(0, 32, y, height / 2)));
        }
        Ok(Self {
            width,
            height,
            scene,
            planes: backdrop.clone(),
            backdrop,
            noise: Noise::new(width),
            text: String::new(),
        })
    }

    /// Draws one frame over whatever was there.
    pub fn draw(&mut self, caption: Caption<'_>) {
        self.planes.copy_from_slice(&self.backdrop);
        let steps = usize::try_from(caption.counter % 1_000_000).unwrap_or(0);
        match self.scene {
            Scene::Calm => self.draw_box(steps),
            Scene::Noisy => {
                let luma = &mut self.planes[..self.width * self.height];
                self.noise.draw(luma, self.width, steps);
                self.draw_box(steps);
            }
        }
        self.draw_text(caption);
        let counter = u32::try_from(caption.counter & u64::from(u32::MAX)).unwrap_or(0);
        draw_counter(&mut self.planes[..self.width * self.height], self.width, counter);
    }

    /// The luma plane, [`width`](Self::width) bytes a line.
    pub fn luma(&self) -> &[u8] {
        &self.planes[..self.width * self.height]
    }

    /// A line of the luma plane; empty below the picture.
    pub(crate) fn luma_line(&self, line: usize) -> &[u8] {
        self.luma().chunks(self.width).nth(line).unwrap_or_default()
    }

    /// A line of both chroma planes, of which each has half as many; empty below the picture.
    pub(crate) fn chroma_lines(&self, line: usize) -> [&[u8]; 2] {
        [self.u(), self.v()].map(|plane| plane.chunks(self.width / 2).nth(line).unwrap_or_default())
    }

    /// Pixels of a line.
    pub const fn width(&self) -> usize {
        self.width
    }

    /// Lines.
    pub const fn height(&self) -> usize {
        self.height
    }

    /// A chequered box that runs from side to side, one step a frame.
    fn draw_box(&mut self, steps: usize) {
        let run = self.width - BOX_PIXELS;
        let along = steps * 4 % (2 * run);
        let left = along.min(2 * run - along);
        let top = self.height - BOX_PIXELS - 8;
        for (y, line) in self.planes.chunks_mut(self.width).skip(top).take(BOX_PIXELS).enumerate() {
            for (x, shade) in line[left..left + BOX_PIXELS].iter_mut().enumerate() {
                *shade = if (x / 16 + y / 16) % 2 == 0 { LUMA_WHITE } else { LUMA_BLACK };
            }
        }
        let second = self.width * self.height * 5 / 4;
        let half = self.width / 2;
        for line in self.planes[second..].chunks_mut(half).skip(top / 2).take(BOX_PIXELS / 2) {
            line[left / 2..][..BOX_PIXELS / 2].fill(208);
        }
    }

    fn draw_text(&mut self, caption: Caption<'_>) {
        let mut text = std::mem::take(&mut self.text);
        let name: &str = caption.name.get(..NAME_LETTERS_MAX).unwrap_or(caption.name);
        // 24 letters of 6 columns each must fit: 2 pixels a dot at 320 pixels of width.
        let scale = (self.width / 160).clamp(2, 6);
        let line_height = (GLYPH_ROWS + 3) * scale;
        let mut top = BAR_HEIGHT_PIXELS + 2 * scale;
        self.write_line(name, top, scale);
        top += line_height;
        text.clear();
        write_clock(&mut text, caption.at);
        self.write_line(&text, top, scale);
        top += line_height;
        text.clear();
        // Writing into a String cannot fail.
        let _ = write!(text, "{}", caption.counter);
        self.write_line(&text, top, scale);
        self.text = text;
    }

    /// Writes one line in white on black at the left edge, as far as it fits.
    fn write_line(&mut self, text: &str, top: usize, scale: usize) {
        let mut left = 2 * scale;
        for letter in text.chars() {
            let advance = (GLYPH_COLUMNS + 1) * scale;
            if left + advance > self.width || top + (GLYPH_ROWS + 2) * scale > self.height {
                return;
            }
            let rows = glyph(letter);
            for dot_y in 0..GLYPH_ROWS + 2 {
                let bits = dot_y.checked_sub(1).and_then(|row| rows.get(row)).copied().unwrap_or(0);
                for line in self.planes.chunks_mut(self.width).skip(top + dot_y * scale).take(scale) {
                    for (dot_x, dot) in line[left..left + advance].chunks_mut(scale).enumerate() {
                        let lit = dot_x < GLYPH_COLUMNS && bits >> (GLYPH_COLUMNS - 1 - dot_x) & 1 == 1;
                        dot.fill(if lit { LUMA_WHITE } else { LUMA_BLACK });
                    }
                }
            }
            left += advance;
        }
    }
}

impl YUVSource for Picture {
    fn dimensions(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    fn strides(&self) -> (usize, usize, usize) {
        (self.width, self.width / 2, self.width / 2)
    }

    fn y(&self) -> &[u8] {
        self.luma()
    }

    fn u(&self) -> &[u8] {
        let luma = self.width * self.height;
        &self.planes[luma..luma + luma / 4]
    }

    fn v(&self) -> &[u8] {
        let luma = self.width * self.height;
        &self.planes[luma + luma / 4..]
    }
}

/// `from` at the start of `length`, `from + rise` at its end.
fn ramp(from: u8, rise: u8, at: usize, length: usize) -> u8 {
    from.saturating_add(u8::try_from(usize::from(rise) * at / length.max(1)).unwrap_or(rise))
}

/// Writes a wall clock as `2026-11-21 22:05:00.000`, to the millisecond.
fn write_clock(text: &mut String, at: WallTime) {
    let label = at.to_string();
    for letter in label.chars().take(23) {
        text.push(if letter == 'T' { ' ' } else { letter });
    }
}

#[cfg(test)]
mod tests;
