//! How a container is divided into extents.

use crate::format::{BLOCK, BLOCK_BYTES};

const MIB: u64 = 1 << 20;
const EXTENT_BYTES_MIN: u64 = 8 * MIB;
/// Below this size a disk has extents of 64 MiB, above it of 256 MiB.
const LARGE_DISK_BYTES: u64 = 256_000_000_000;
/// A small disk is divided into at least so many, so that many cameras have room and little goes at once.
const EXTENTS_WANTED: u64 = 256;
/// Offsets in an extent are 32 bits wide and extents are read into memory piece by piece.
const EXTENT_BYTES_MAX: u64 = 1 << 30;
/// The most bytes a record may take, whatever the extents: bounds what a reader holds in memory.
const RECORD_BYTES_MAX: u64 = 7 * MIB;

/// The division of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(crate) extent_bytes: u64,
    pub(crate) extent_count: u32,
    pub(crate) data_offset_bytes: u64,
}

impl Geometry {
    /// Divides `size_bytes`; `wanted` overrides the size of an extent. The error is for an operator.
    pub(crate) fn divide(size_bytes: u64, wanted: Option<u64>) -> Result<Self, String> {
        let largest = if size_bytes < LARGE_DISK_BYTES { 64 * MIB } else { 256 * MIB };
        let chosen = (size_bytes / EXTENTS_WANTED / MIB * MIB).clamp(EXTENT_BYTES_MIN, largest);
        let extent_bytes = wanted.unwrap_or(chosen);
        if !extent_bytes.is_multiple_of(BLOCK) || !(8 * BLOCK..=EXTENT_BYTES_MAX).contains(&extent_bytes) {
            return Err(format!("extents of {extent_bytes} bytes are not possible"));
        }
        // Extents begin at a round place, so that they do not straddle erase blocks and stripes.
        let data_offset_bytes = if extent_bytes >= MIB { MIB } else { 16 * BLOCK };
        let count = size_bytes.saturating_sub(data_offset_bytes) / extent_bytes;
        let extent_count = u32::try_from(count).map_err(|_| "too many extents".to_owned())?;
        if extent_count < 2 {
            let needed = data_offset_bytes + 2 * extent_bytes;
            return Err(format!("{size_bytes} bytes are too few for footage: at least {needed} are needed"));
        }
        Ok(Self { extent_bytes, extent_count, data_offset_bytes })
    }

    /// Bytes of a record that fits an empty extent: header, an index of one block and the locator go off.
    pub(crate) const fn record_bytes_max(extent_bytes: u64) -> u64 {
        let room = extent_bytes - 3 * BLOCK_BYTES as u64;
        if room < RECORD_BYTES_MAX { room } else { RECORD_BYTES_MAX }
    }
}
