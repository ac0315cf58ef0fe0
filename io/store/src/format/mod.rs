//! The bytes on a disk: superblocks, extent headers and trailers, records.
//!
//! Little endian, blocks of 4 KiB, CRC32C everywhere. All decoders take untrusted bytes: they never panic and never
//! allocate more than the bytes they were given can describe. `docs/design/store.md` has the tables.

mod cursor;
mod entry;
mod extent;
mod record;
mod superblock;
#[cfg(test)]
mod tests;

pub(crate) use cursor::{Reader, Writer};
pub(crate) use entry::{ENTRY_BYTES, Entry, index_bytes};
pub(crate) use extent::{ExtentHeader, ExtentUse, Locator};
pub(crate) use record::{
    HEADER_BYTES, RecordHeader, SAMPLE_BYTES, TRACK_BYTES, TableTrack, decode_index, encode_table,
};
pub(crate) use superblock::{Superblock, read_superblocks, superblock_offset};

use crate::FormatError;

/// What a block begins with that was written to test a disk, and holds nothing.
pub(crate) const TEST_MAGIC: [u8; 8] = *b"KWTEST\0\x01";

/// Bytes of a block, the unit of all offsets and of direct writes.
pub(crate) const BLOCK_BYTES: usize = 4096;

/// As [`BLOCK_BYTES`], for offsets.
pub(crate) const BLOCK: u64 = 4096;

/// The format version of a container made by this program.
pub(crate) const VERSION: u32 = 1;

/// `bytes` rounded up to whole blocks.
pub(crate) const fn padded(bytes: usize) -> usize {
    bytes.div_ceil(BLOCK_BYTES) * BLOCK_BYTES
}

/// A length that is known to be small.
pub(crate) fn length_u32(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("no record or extent reaches 4 GiB")
}

/// An offset or length as an index into memory.
pub(crate) fn index_of(bytes: u64) -> usize {
    usize::try_from(bytes).expect("addresses have 64 bits")
}

/// Decodes `data` as every structure on a disk in turn, for fuzzing: whatever the bytes are, it must return.
pub fn decode_untrusted(data: &[u8]) {
    let _ = Superblock::decode(data);
    let _ = ExtentHeader::decode(data);
    if let Ok(locator) = Locator::decode(data) {
        let _ = locator.decode_entries(data);
    }
    if let Ok(header) = RecordHeader::decode(data) {
        let _ = decode_index(&header, data);
        let _ = Entry::from_header(&header, 0, 0);
    }
    let _ = Entry::decode(data);
    // A checksum keeps random bytes out; what is behind it must hold as well.
    if let Some(header) = RecordHeader::decode_unchecked(data) {
        let _ = decode_index(&header, data);
    }
}

/// Checks `magic` and the CRC32C that stands behind it over all of `bytes`, its own four bytes read as zero.
fn check_sealed(bytes: &[u8], magic: [u8; 8], what: &'static str) -> Result<u32, FormatError> {
    if bytes.get(..8) != Some(&magic[..]) {
        return Err(FormatError::Magic(what));
    }
    let stored = bytes.get(8..12).and_then(|field| field.try_into().ok()).map(u32::from_le_bytes);
    let stored = stored.ok_or(FormatError::Short(what))?;
    (sealed_crc(bytes) == stored).then_some(stored).ok_or(FormatError::Checksum(what))
}

fn sealed_crc(bytes: &[u8]) -> u32 {
    let (head, tail) = bytes.split_at(bytes.len().min(8));
    let crc = crc32c::crc32c_append(crc32c::crc32c(head), &[0; 4]);
    crc32c::crc32c_append(crc, tail.get(4..).unwrap_or_default())
}

/// Writes the CRC32C of `bytes` behind their magic and returns it.
fn seal(bytes: &mut [u8]) -> u32 {
    let crc = sealed_crc(bytes);
    bytes[8..12].copy_from_slice(&crc.to_le_bytes());
    crc
}
