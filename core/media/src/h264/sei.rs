//! Supplemental enhancement information (ITU-T H.264 §7.3.2.3, Annex D): user data, recovery points.

use super::{UnitKind, units};
use crate::bits::BitReader;

const USER_DATA_UNREGISTERED: usize = 5;
const RECOVERY_POINT: usize = 6;

/// Most messages read out of one unit.
const MESSAGES_MAX: usize = 64;

/// Longest message that is read, in bytes.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// A message of unregistered user data (Annex D.1.7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserData {
    /// Says what the data is.
    pub uuid: [u8; 16],
    /// The data, without emulation prevention.
    pub data: Vec<u8>,
}

/// The messages of unregistered user data in one SEI unit.
pub fn user_data(unit: &[u8]) -> Vec<UserData> {
    let mut found = Vec::new();
    messages(unit, |kind, size, mut message| {
        if kind == USER_DATA_UNREGISTERED {
            let bytes: Vec<u8> = std::iter::from_fn(|| message.byte()).take(size).collect();
            if let Some((uuid, data)) = bytes.split_first_chunk::<16>().filter(|_| bytes.len() == size) {
                found.push(UserData { uuid: *uuid, data: data.to_vec() });
            }
        }
    });
    found
}

/// The first user data of `uuid` in a sample.
pub fn find_user_data(sample: &[u8], uuid: &[u8; 16]) -> Option<Vec<u8>> {
    let seis = units(sample).map_while(Result::ok).filter(|unit| UnitKind::of(unit) == Some(UnitKind::Sei));
    seis.flat_map(user_data).find(|held| held.uuid == *uuid).map(|held| held.data)
}

/// Appends an SEI unit, without length, that holds one message of unregistered user data.
pub fn write_user_data(out: &mut Vec<u8>, uuid: &[u8; 16], data: &[u8]) {
    let size = uuid.len() + data.len();
    out.extend_from_slice(&[6, 5]);
    out.extend(std::iter::repeat_n(0xff, size / 255));
    let mut zeros = 0;
    // The size may end in a zero byte, so emulation prevention begins with it; the last byte is rbsp_trailing_bits.
    let low = u8::try_from(size % 255).unwrap_or(0);
    for byte in [low].iter().chain(uuid).chain(data).chain(&[0x80]) {
        if zeros == 2 && *byte <= 3 {
            out.push(3);
            zeros = 0;
        }
        out.push(*byte);
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
    }
}

/// Whether an SEI unit says that decoding can start at its picture (Annex D.2.8: recovery_frame_cnt 0, no broken
/// link).
pub(crate) fn is_clean_recovery_point(unit: &[u8]) -> bool {
    let mut clean = false;
    messages(unit, |kind, _, mut message| {
        if kind == RECOVERY_POINT {
            let count = message.exp_golomb();
            let _exact_match = message.bit();
            clean |= count == Some(0) && message.bit() == Some(false);
        }
    });
    clean
}

/// Hands the kind and the size of every message of an SEI unit to `each`, with a reader at its beginning.
fn messages(unit: &[u8], mut each: impl FnMut(usize, usize, BitReader<'_>)) {
    if UnitKind::of(unit) != Some(UnitKind::Sei) {
        return;
    }
    let mut bits = BitReader::new(unit.get(1..).unwrap_or_default());
    for _ in 0..MESSAGES_MAX {
        let (Some(kind), Some(size)) = (coded_number(&mut bits), coded_number(&mut bits)) else { return };
        if size > MESSAGE_BYTES_MAX {
            return;
        }
        each(kind, size, bits.clone());
        if (0..size).any(|_| bits.byte().is_none()) {
            return;
        }
    }
}

/// A type or size: bytes of 255 and a last one, added up.
fn coded_number(bits: &mut BitReader<'_>) -> Option<usize> {
    let mut number: usize = 0;
    loop {
        let byte = bits.byte()?;
        number = number.checked_add(usize::from(byte))?;
        if byte != 255 {
            return Some(number);
        }
    }
}
