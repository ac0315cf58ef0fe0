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
/// Larger erase blocks than this are not believed.
const ERASE_BLOCK_BYTES_MAX: u64 = 64 * MIB;
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
        Self::divide_card(size_bytes, wanted, None)
    }

    /// The same of a device that says how much it erases at a time: extents are whole erase blocks, so that what is given up for
    /// newer footage is never erased in part, with copies of the rest.
    pub(crate) fn divide_card(
        size_bytes: u64,
        wanted: Option<u64>,
        erase_block_bytes: Option<u64>,
    ) -> Result<Self, String> {
        let believed = MIB..=ERASE_BLOCK_BYTES_MAX;
        let erased = erase_block_bytes
            .filter(|bytes| believed.contains(bytes) && bytes.is_multiple_of(BLOCK))
            .unwrap_or(MIB);
        let largest = if size_bytes < LARGE_DISK_BYTES { 64 * MIB } else { 256 * MIB };
        let chosen = (size_bytes / EXTENTS_WANTED / MIB * MIB).clamp(EXTENT_BYTES_MIN, largest);
        let extent_bytes = wanted.unwrap_or_else(|| chosen.next_multiple_of(erased));
        if !extent_bytes.is_multiple_of(BLOCK) || !(8 * BLOCK..=EXTENT_BYTES_MAX).contains(&extent_bytes) {
            return Err(format!("extents of {extent_bytes} bytes are not possible"));
        }
        // Extents begin at a round place, so that they do not straddle erase blocks and stripes.
        let data_offset_bytes = if extent_bytes >= MIB { erased } else { 16 * BLOCK };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extents_of_a_card_are_whole_erase_blocks() {
        let gib = 1 << 30;
        let plain = Geometry::divide(32 * gib, None).unwrap();
        assert_eq!((plain.data_offset_bytes, plain.extent_bytes), (MIB, 64 * MIB));
        for erased in [4 * MIB, 6 * MIB, 48 * MIB] {
            let card = Geometry::divide_card(32 * gib, None, Some(erased)).unwrap();
            assert_eq!(card.data_offset_bytes % erased, 0, "{card:?}");
            assert_eq!(card.extent_bytes % erased, 0, "{card:?}");
            let end = card.data_offset_bytes + u64::from(card.extent_count) * card.extent_bytes;
            assert!(end <= 32 * gib && 32 * gib - end < card.extent_bytes, "{card:?}");
        }
        for nonsense in [0, 512, MIB + 1, 4 * gib, u64::MAX] {
            assert_eq!(Geometry::divide_card(32 * gib, None, Some(nonsense)), Ok(plain), "{nonsense}");
        }
        // Somebody who says how large extents are to be is obeyed.
        let wanted = Geometry::divide_card(32 * gib, Some(16 * MIB), Some(6 * MIB)).unwrap();
        assert_eq!(wanted.extent_bytes, 16 * MIB);
    }
}
