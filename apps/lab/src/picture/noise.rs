//! Texture that moves and is never the same: what makes an encoder spend its bits as a busy street does.

/// Half the swing of the noise in luma steps.
const GRAIN: u8 = 12;

/// A line of smooth texture and a generator of grain.
#[derive(Debug)]
pub(super) struct Noise {
    texture: Vec<u8>,
}

impl Noise {
    /// Texture for pictures of `width` pixels.
    pub(super) fn new(width: usize) -> Self {
        let mut random = Xorshift(0x9e37_79b9_7f4a_7c15);
        let mut shade = 100_u8;
        let texture = (0..width * 2)
            .map(|_| {
                let step = random.byte() % 25;
                shade = shade.saturating_add(step).saturating_sub(12).clamp(40, 200);
                shade
            })
            .collect();
        Self { texture }
    }

    /// Overdraws a luma plane: each line is the texture, shifted by line and by frame, with grain.
    pub(super) fn draw(&self, luma: &mut [u8], width: usize, steps: usize) {
        let mut random =
            Xorshift(0xd1b5_4a32_d192_ed03 ^ crate::wide(steps).wrapping_mul(0x2545_f491_4f6c_dd1d));
        for (y, line) in luma.chunks_mut(width).enumerate() {
            let shift = (y * 3 / 2 + steps * 3) % self.texture.len();
            let texture = self.texture.iter().cycle().skip(shift);
            let mut grain = [0; 8];
            for (x, (shade, &base)) in line.iter_mut().zip(texture).enumerate() {
                if x % 8 == 0 {
                    grain = random.word().to_le_bytes();
                }
                *shade = base.saturating_add(grain[x % 8] % (2 * GRAIN)).saturating_sub(GRAIN);
            }
        }
    }
}

/// A small generator of even numbers over all 64 bits but zero (Marsaglia's xorshift); chance is not its purpose.
#[derive(Debug)]
struct Xorshift(u64);

impl Xorshift {
    fn word(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn byte(&mut self) -> u8 {
        self.word().to_le_bytes()[3]
    }
}
