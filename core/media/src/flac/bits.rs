//! Bits into bytes, most significant first, and the variable-length numbers of frame headers.

/// Appends bits to a byte vector.
pub(super) struct BitWriter<'a> {
    out: &'a mut Vec<u8>,
    /// The pending bits are its lowest `pending`; what is above them has been written.
    held: u64,
    /// Fewer than 32 between calls.
    pending: u32,
}

impl<'a> BitWriter<'a> {
    /// A writer that continues `out` at a byte boundary.
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, held: 0, pending: 0 }
    }

    /// Appends the lowest `count` bits of `value`; `count` is at most 32 and the bits above are zero.
    pub(super) fn write(&mut self, value: u32, count: u32) {
        self.held = self.held << count | u64::from(value);
        self.pending += count;
        if self.pending >= 32 {
            self.pending -= 32;
            let [.., a, b, c, d] = (self.held >> self.pending).to_be_bytes();
            self.out.extend_from_slice(&[a, b, c, d]);
        }
    }

    /// Appends the lowest `count` bits of a signed value in two's complement; `count` is 1 to 31.
    pub(super) fn write_signed(&mut self, value: i32, count: u32) {
        self.write(value.cast_unsigned() & ((1 << count) - 1), count);
    }

    /// Appends `zeros` zero bits and a one.
    pub(super) fn write_unary(&mut self, mut zeros: u32) {
        while zeros >= 32 {
            self.write(0, 32);
            zeros -= 32;
        }
        self.write(1, zeros + 1);
    }

    /// Fills the last byte with zero bits.
    pub(super) fn finish(mut self) {
        self.write(0, self.pending.wrapping_neg() & 7);
        while self.pending >= 8 {
            self.pending -= 8;
            let [.., byte] = (self.held >> self.pending).to_be_bytes();
            self.out.push(byte);
        }
    }
}

/// Bytes that [`write_coded_number`] appends.
pub(super) fn coded_number_bytes(number: u64) -> u32 {
    let bits = u64::BITS - number.leading_zeros();
    // One byte holds 7 bits; n bytes, of which the first spends n + 1 bits on the length, hold 5 n + 1.
    if bits <= 7 { 1 } else { (bits - 1).div_ceil(5) }
}

/// Appends a number of at most 36 bits as UTF-8 would write it (RFC 9639 §9.1.5).
pub(super) fn write_coded_number(number: u64, out: &mut Vec<u8>) {
    let bytes = coded_number_bytes(number);
    if bytes == 1 {
        out.extend(u8::try_from(number));
        return;
    }
    for position in (0..bytes).rev() {
        let [.., low] = (number >> (6 * position)).to_be_bytes();
        out.push(if position == bytes - 1 {
            // `bytes` ones and a zero; the bits of the number below them are few enough.
            !(0xff_u8 >> bytes) | low & (0x7f >> bytes)
        } else {
            0x80 | low & 0x3f
        });
    }
}
