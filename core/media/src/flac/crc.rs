//! The two checksums of a frame: CRC-8 of its header, CRC-16 of all of it (RFC 9639 §9.1.8, §9.3).
#![cfg_attr(
    not(test),
    expect(clippy::indexing_slicing, reason = "every index is a byte and every table has 256")
)]

const CRC8: [u8; 256] = crc8_table();
const CRC16: [u16; 256] = crc16_table();

/// CRC-8, polynomial x^8 + x^2 + x + 1, from 0.
pub(super) fn crc8(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| CRC8[usize::from(sum ^ byte)])
}

/// CRC-16, polynomial x^16 + x^15 + x^2 + 1, from 0.
pub(super) fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |sum, byte| {
        let [high, low] = sum.to_be_bytes();
        u16::from_be_bytes([low, 0]) ^ CRC16[usize::from(high ^ byte)]
    })
}

const fn crc8_table() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0u8;
    loop {
        let mut sum = byte;
        let mut bit = 0;
        while bit < 8 {
            sum = (sum << 1) ^ if sum & 0x80 == 0 { 0 } else { 0x07 };
            bit += 1;
        }
        table[byte as usize] = sum;
        if byte == u8::MAX {
            return table;
        }
        byte += 1;
    }
}

const fn crc16_table() -> [u16; 256] {
    let mut table = [0; 256];
    let mut byte = 0u8;
    loop {
        let mut sum = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            sum = (sum << 1) ^ if sum & 0x8000 == 0 { 0 } else { 0x8005 };
            bit += 1;
        }
        table[byte as usize] = sum;
        if byte == u8::MAX {
            return table;
        }
        byte += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check values of CRC-8/SMBUS and CRC-16/UMTS.
    #[test]
    fn sums_are_those_of_the_catalogue() {
        assert_eq!(crc8(b"123456789"), 0xf4);
        assert_eq!(crc16(b"123456789"), 0xfee8);
    }
}
