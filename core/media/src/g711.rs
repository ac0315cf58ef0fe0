//! G.711 (ITU-T G.711): 8-bit logarithmic audio to linear 16-bit samples and back.
//!
//! Decoding is a table of 256 values per law, so it is exact and the same everywhere. A decoded µ-law value is a
//! multiple of 4 and an A-law value a multiple of 8: what [`crate::flac`] needs to know a frame's length from
//! the number of its samples alone. Footage is stored as received; this is used where it leaves the system.
#![cfg_attr(
    not(test),
    expect(clippy::indexing_slicing, reason = "every index is a byte and every table has 256")
)]

use keepwatch_model::CodecKind;

/// Added to a µ-law magnitude, so that every segment begins at a power of two (G.711 table 2).
const MU_BIAS: i16 = 0x84;

/// Largest magnitude that µ-law can code.
const MU_MAGNITUDE_MAX: i16 = 32_635;

const MU_LINEAR: [i16; 256] = table(Law::Mu);
const A_LINEAR: [i16; 256] = table(Law::A);

/// One of the two companding laws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Law {
    /// µ-law, RTP encoding name PCMU.
    Mu,
    /// A-law, RTP encoding name PCMA.
    A,
}

impl Law {
    /// The law of a codec; `None` when the codec is not G.711.
    pub const fn of(kind: CodecKind) -> Option<Self> {
        match kind {
            CodecKind::Pcmu => Some(Self::Mu),
            CodecKind::Pcma => Some(Self::A),
            CodecKind::H264 | CodecKind::H265 | CodecKind::Jpeg | CodecKind::Aac | CodecKind::Metadata => {
                None
            }
        }
    }

    /// How many low bits of every decoded sample are zero.
    pub const fn zero_bits(self) -> u8 {
        match self {
            Self::Mu => 2,
            Self::A => 3,
        }
    }

    /// The linear value of one code.
    pub const fn decode(self, code: u8) -> i16 {
        let table = match self {
            Self::Mu => &MU_LINEAR,
            Self::A => &A_LINEAR,
        };
        table[code as usize]
    }

    /// Appends the linear values of `codes` to `linear`.
    pub fn decode_into(self, codes: &[u8], linear: &mut Vec<i16>) {
        linear.extend(codes.iter().map(|code| self.decode(*code)));
    }

    /// The code whose value is nearest to `linear` within its segment.
    pub const fn encode(self, linear: i16) -> u8 {
        match self {
            Self::Mu => encode_mu(linear),
            Self::A => encode_a(linear),
        }
    }
}

const fn table(law: Law) -> [i16; 256] {
    let mut values = [0; 256];
    let mut code = 0u8;
    loop {
        values[code as usize] = match law {
            Law::Mu => linear_of_mu(code),
            Law::A => linear_of_a(code),
        };
        if code == u8::MAX {
            return values;
        }
        code += 1;
    }
}

const fn linear_of_mu(code: u8) -> i16 {
    let code = !code;
    let segment = (code >> 4) & 7;
    let magnitude = ((((code & 0x0f) as i16) << 3) + MU_BIAS) << segment;
    if code & 0x80 == 0 { magnitude - MU_BIAS } else { MU_BIAS - magnitude }
}

const fn linear_of_a(code: u8) -> i16 {
    // G.711 §3.2: every second bit is inverted on the line.
    let code = code ^ 0x55;
    let segment = (code >> 4) & 7;
    let step = ((code & 0x0f) as i16) << 4;
    let magnitude = if segment == 0 { step + 8 } else { (step + 0x108) << (segment - 1) };
    if code & 0x80 != 0 { magnitude } else { -magnitude }
}

const fn encode_mu(linear: i16) -> u8 {
    let sign = if linear < 0 { 0x80 } else { 0 };
    let biased = magnitude(linear, MU_MAGNITUDE_MAX) + MU_BIAS.unsigned_abs() as u32;
    // The biased magnitude has 8 to 15 significant bits.
    let segment = 24 - biased.leading_zeros();
    !low_byte(sign | (segment << 4) | ((biased >> (segment + 3)) & 0x0f))
}

const fn encode_a(linear: i16) -> u8 {
    // -1 to -16 are coded as 0 to 15 are, but for the sign.
    let (sign, magnitude) =
        if linear >= 0 { (0x80, magnitude(linear, i16::MAX)) } else { (0, magnitude(!linear, i16::MAX)) };
    let code = if magnitude < 0x100 {
        magnitude >> 4
    } else {
        let segment = 24 - magnitude.leading_zeros();
        (segment << 4) | ((magnitude >> (segment + 3)) & 0x0f)
    };
    low_byte(sign | code) ^ 0x55
}

/// The magnitude of `linear`, at most `max`.
const fn magnitude(linear: i16, max: i16) -> u32 {
    let magnitude = linear.unsigned_abs() as u32;
    let max = max.unsigned_abs() as u32;
    if magnitude > max { max } else { magnitude }
}

/// The low eight bits.
const fn low_byte(value: u32) -> u8 {
    value.to_le_bytes()[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_come_back_from_their_values() {
        for law in [Law::Mu, Law::A] {
            for code in 0..=u8::MAX {
                let linear = law.decode(code);
                let again = law.encode(linear);
                // µ-law has two codes for zero.
                assert!(again == code || linear == 0, "{law:?} {code:#04x} {linear} {again:#04x}");
                assert_eq!(law.decode(again), linear);
            }
        }
    }

    /// G.711 tables 1a and 2a: the ends of the first and the last segment.
    #[test]
    fn values_are_those_of_the_standard() {
        assert_eq!(Law::Mu.decode(0xff), 0);
        assert_eq!(Law::Mu.decode(0x7f), 0);
        assert_eq!(Law::Mu.decode(0xfe), 8);
        assert_eq!(Law::Mu.decode(0x80), 32_124);
        assert_eq!(Law::Mu.decode(0x00), -32_124);
        assert_eq!(Law::A.decode(0xd5), 8);
        assert_eq!(Law::A.decode(0x55), -8);
        assert_eq!(Law::A.decode(0xaa), 32_256);
        assert_eq!(Law::A.decode(0x2a), -32_256);
    }

    #[test]
    fn low_bits_are_zero_as_promised() {
        for law in [Law::Mu, Law::A] {
            let joined = (0..=u8::MAX).fold(0, |joined, code| joined | law.decode(code));
            assert_eq!(joined.trailing_zeros(), u32::from(law.zero_bits()));
        }
    }

    #[test]
    fn encoding_is_monotone_and_near() {
        for law in [Law::Mu, Law::A] {
            let mut before = i16::MIN;
            for linear in i16::MIN..=i16::MAX {
                let decoded = law.decode(law.encode(linear));
                assert!(decoded >= before, "{law:?} {linear}");
                before = decoded;
                let error = (i32::from(decoded) - i32::from(linear)).abs();
                assert!(error <= 8 + i32::from(linear).abs() / 16, "{law:?} {linear} {decoded}");
            }
        }
    }
}
