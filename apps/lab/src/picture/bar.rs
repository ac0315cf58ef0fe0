//! A frame counter that a machine can read from the decoded picture.
//!
//! Two rows of twenty 16x16 luma blocks, aligned to macroblocks so that lossy coding blurs none into its
//! neighbour: white, black (the guard), sixteen bits of the counter, their parity, and its complement. The upper
//! row carries the high half. A picture that was cropped, scaled or damaged reads as nothing, not as a wrong number.

/// Side of a block in pixels: a macroblock of H.264 (§6.3).
const BLOCK_PIXELS: usize = 16;
/// Blocks of a row: two of guard, sixteen bits, parity and its complement.
const BLOCKS_PER_ROW: usize = 20;
/// Width of the bar in pixels.
pub(super) const BAR_WIDTH_PIXELS: usize = BLOCKS_PER_ROW * BLOCK_PIXELS;
/// Height of the bar in pixels.
pub(super) const BAR_HEIGHT_PIXELS: usize = 2 * BLOCK_PIXELS;

const LUMA_ONE: u8 = 220;
const LUMA_ZERO: u8 = 32;
/// Half the distance that a block's mean may move before it counts as unreadable.
const LUMA_MIDDLE: u32 = 126;
const LUMA_UNSURE: u32 = 40;

/// The blocks of a row, left first.
fn row_of(half: u16) -> impl Iterator<Item = bool> {
    let parity = half.count_ones() % 2 == 1;
    [true, false]
        .into_iter()
        .chain((0..16).rev().map(move |bit| half >> bit & 1 == 1))
        .chain([parity, !parity])
}

/// Draws `counter` into the upper left corner of a luma plane that is at least as large as the bar.
pub(super) fn draw_counter(luma: &mut [u8], stride: usize, counter: u32) {
    let [a, b, c, d] = counter.to_be_bytes();
    for (row, half) in [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])].into_iter().enumerate() {
        for (column, one) in row_of(half).enumerate() {
            let shade = if one { LUMA_ONE } else { LUMA_ZERO };
            for line in luma.chunks_mut(stride).skip(row * BLOCK_PIXELS).take(BLOCK_PIXELS) {
                line[column * BLOCK_PIXELS..][..BLOCK_PIXELS].fill(shade);
            }
        }
    }
}

/// Reads the counter from a decoded luma plane of `width` x `height` pixels with `stride` bytes a line; `None`
/// when the bar is not there or not legible.
pub fn read_counter(luma: &[u8], stride: usize, width: usize, height: usize) -> Option<u32> {
    if width < BAR_WIDTH_PIXELS || height < BAR_HEIGHT_PIXELS || stride < width {
        return None;
    }
    let high = read_row(luma, stride, 0)?;
    let low = read_row(luma, stride, 1)?;
    Some(u32::from(high) << 16 | u32::from(low))
}

fn read_row(luma: &[u8], stride: usize, row: usize) -> Option<u16> {
    let mut half = 0_u16;
    for column in 2..18 {
        half = half << 1 | u16::from(read_block(luma, stride, column, row)?);
    }
    // The guard, the parity and its complement must be what this half is drawn with.
    for (column, one) in row_of(half).enumerate() {
        if read_block(luma, stride, column, row)? != one {
            return None;
        }
    }
    Some(half)
}

/// The mean of the inner quarter of a block as a bit; `None` between black and white.
fn read_block(luma: &[u8], stride: usize, column: usize, row: usize) -> Option<bool> {
    const INNER: usize = BLOCK_PIXELS / 2;
    const EDGE: usize = BLOCK_PIXELS / 4;
    let mut sum = 0_u32;
    for line in 0..INNER {
        let from = (row * BLOCK_PIXELS + EDGE + line)
            .checked_mul(stride)?
            .checked_add(column * BLOCK_PIXELS + EDGE)?;
        sum += luma.get(from..)?.get(..INNER)?.iter().map(|&shade| u32::from(shade)).sum::<u32>();
    }
    let mean = sum / u32::try_from(INNER * INNER).ok()?;
    (mean.abs_diff(LUMA_MIDDLE) > LUMA_UNSURE).then_some(mean > LUMA_MIDDLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_was_drawn_and_nothing_else() {
        let (width, height) = (336, 48);
        for counter in [0, 1, u32::MAX, 0x1234_5678, 0xffff_0000, 0x8000_0001] {
            let mut luma = vec![90; width * height];
            assert_eq!(read_counter(&luma, width, width, height), None);
            draw_counter(&mut luma, width, counter);
            assert_eq!(read_counter(&luma, width, width, height), Some(counter));
            // One bit turned over, and a cropped plane.
            for line in luma.chunks_mut(width).take(BLOCK_PIXELS) {
                for shade in &mut line[5 * BLOCK_PIXELS..6 * BLOCK_PIXELS] {
                    *shade = 255 - *shade;
                }
            }
            assert_eq!(read_counter(&luma, width, width, height), None);
            assert_eq!(read_counter(&luma[..width * 20], width, width, height), None);
            assert_eq!(read_counter(&luma, usize::MAX, width, height), None);
        }
    }
}
