//! Whether two recordings hold the same frame: by the bytes of its picture, whatever stands around them.
//!
//! Parameter sets, timing and other messages may be repeated in one session and not in the other; the coded picture is the
//! same in both.

use keepwatch_media::h264::units;
use keepwatch_model::{CodecKind, WallTime};
use xxhash_rust::xxh3::Xxh3;

/// A frame as it is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// When it was taken, by the clock of who recorded it.
    pub label: WallTime,
    /// When it was taken, by the camera's clock; `None` when that is not known.
    pub camera_time: Option<WallTime>,
    /// Whether decoding can start at it.
    pub key: bool,
    /// [`picture_hash`] of it.
    pub hash: u64,
}

/// Returns the xxh3 of the coded picture in `sample`: of the VCL units of H.264 (types 1 to 5) and H.265 (types below 32), and of
/// all of it otherwise.
pub fn picture_hash(kind: CodecKind, sample: &[u8]) -> u64 {
    let mut hash = Xxh3::new();
    let is_picture: fn(u8) -> bool = match kind {
        CodecKind::H264 => |first| (1..=5).contains(&(first & 0x1f)),
        CodecKind::H265 => |first| (first >> 1 & 0x3f) < 32,
        CodecKind::Jpeg | CodecKind::Pcmu | CodecKind::Pcma | CodecKind::Aac | CodecKind::Metadata => {
            hash.update(sample);
            return hash.digest();
        }
    };
    for unit in units(sample).map_while(Result::ok) {
        if unit.first().is_some_and(|first| is_picture(*first)) {
            hash.update(unit);
        }
    }
    hash.digest()
}
