//! Reading an extent: by its trailer, or record by record when it has none.

use std::io;

use super::{Key, RECORDS_PER_EXTENT_MAX, hull_of};
use crate::FormatError;
use crate::device::{AlignedBuffer, BlockDev};
use crate::format::{
    BLOCK, BLOCK_BYTES, ENTRY_BYTES, Entry, ExtentHeader, Locator, RecordHeader, Superblock, decode_index,
    length_u32, padded,
};

/// What a scan of an extent found.
pub(crate) struct Scan {
    pub(crate) entries: Vec<Entry>,
    /// First offset behind the last whole record.
    pub(crate) tail_bytes: u32,
    /// What the next record is to be chained to.
    pub(crate) chain: u32,
    /// Bytes of a record that was begun behind the tail but is not whole.
    pub(crate) torn_bytes: u64,
    /// Records that the index knows to be durable but that cannot be read.
    pub(crate) damaged: u32,
}

/// The entries of a sealed extent; `None` when it has no whole trailer of this use.
pub(crate) fn trailer(
    device: &dyn BlockDev,
    superblock: &Superblock,
    extent: u32,
    sequence: u64,
) -> io::Result<Option<Vec<Entry>>> {
    Ok(any_trailer(device, superblock, extent)?
        .filter(|(locator, _)| locator.sequence == sequence)
        .map(|(_, entries)| entries))
}

/// The trailer of an extent, whatever use it is of.
pub(super) fn any_trailer(
    device: &dyn BlockDev,
    superblock: &Superblock,
    extent: u32,
) -> io::Result<Option<(Locator, Vec<Entry>)>> {
    let base = superblock.extent_offset(extent);
    let mut block = AlignedBuffer::zeroed(BLOCK_BYTES);
    device.read_at(base + superblock.extent_bytes - BLOCK, &mut block)?;
    let Ok(locator) = Locator::decode(&block) else { return Ok(None) };
    let length = padded((locator.records as usize).saturating_mul(ENTRY_BYTES));
    let end = u64::from(locator.index_offset_bytes) + length as u64 + BLOCK;
    if locator.disk != superblock.disk
        || locator.records as usize > RECORDS_PER_EXTENT_MAX
        || end > superblock.extent_bytes
        || !u64::from(locator.index_offset_bytes).is_multiple_of(BLOCK)
    {
        return Ok(None);
    }
    let mut index = AlignedBuffer::zeroed(length);
    device.read_at(base + u64::from(locator.index_offset_bytes), &mut index)?;
    let whole = |entry: &Entry| {
        u64::from(entry.offset_bytes) + u64::from(entry.record_bytes) <= superblock.extent_bytes
            && entry.offset_bytes.is_multiple_of(length_u32(BLOCK_BYTES))
            && entry.head_bytes <= entry.record_bytes
    };
    Ok(locator
        .decode_entries(&index)
        .ok()
        .filter(|entries| entries.iter().all(whole))
        .map(|entries| (locator, entries)))
}

/// The entries of an extent in a certain use: by its trailer or, when `records` are known to be durable in it, by
/// their headers. `None` when the extent is used for something else.
pub(crate) fn read_entries(
    device: &dyn BlockDev,
    superblock: &Superblock,
    extent: u32,
    sequence: u64,
    records: u32,
) -> io::Result<Option<Vec<Entry>>> {
    if let Some(entries) = trailer(device, superblock, extent, sequence)? {
        return Ok(Some(entries));
    }
    let Some((header, crc)) = read_extent(device, superblock, extent)? else { return Ok(None) };
    if header.sequence != sequence {
        return Ok(None);
    }
    let mut scan = scan(device, superblock, extent, (&header, crc), Depth::Headers { records })?;
    scan.entries.retain(|entry| entry.number < records);
    Ok(Some(scan.entries))
}

/// The header of an extent and its checksum; `None` when there is none of this disk.
pub(crate) fn read_extent(
    device: &dyn BlockDev,
    superblock: &Superblock,
    extent: u32,
) -> io::Result<Option<(ExtentHeader, u32)>> {
    let mut block = AlignedBuffer::zeroed(BLOCK_BYTES);
    device.read_at(superblock.extent_offset(extent), &mut block)?;
    Ok(ExtentHeader::decode(&block).ok().filter(|(header, _)| header.disk == superblock.disk))
}

/// How closely a scan looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// At the headers of the first so many records, and no further.
    Headers { records: u32 },
    /// At the headers of the first so many records, which are known to be durable, and at every sample behind them.
    Tail { records: u32 },
}

/// Reads an extent record by record up to the last whole one.
///
/// A record counts when its header is whole, is of this use of the extent, follows the record before it (number and
/// chain), and every sample matches its checksum. What is known to be durable but damaged is skipped.
pub(crate) fn scan(
    device: &dyn BlockDev,
    superblock: &Superblock,
    extent: u32,
    (header, crc): (&ExtentHeader, u32),
    depth: Depth,
) -> io::Result<Scan> {
    let base = superblock.extent_offset(extent);
    let (trusted, read_on) = match depth {
        Depth::Headers { records } => (records, false),
        Depth::Tail { records } => (records, true),
    };
    let block = length_u32(BLOCK_BYTES);
    let mut found = Scan { entries: Vec::new(), tail_bytes: block, chain: crc, torn_bytes: 0, damaged: 0 };
    let (mut number, mut offset_bytes) = (0_u32, block);
    let mut head = AlignedBuffer::zeroed(BLOCK_BYTES);
    while number < trusted || read_on {
        if u64::from(offset_bytes) + 2 * BLOCK > superblock.extent_bytes {
            break;
        }
        device.read_at(base + u64::from(offset_bytes), &mut head)?;
        let decoded = RecordHeader::decode_with_crc(&head).ok().filter(|(record, _)| {
            record.sequence == header.sequence
                && (record.camera, record.stream) == (header.camera, header.stream)
                && u64::from(offset_bytes) + u64::from(record.record_bytes) + BLOCK <= superblock.extent_bytes
        });
        let follows = |record: &RecordHeader| {
            // Behind damage the chain cannot be followed, but the index vouches for what is durable.
            let chained = record.chain == found.chain || (found.damaged > 0 && record.number < trusted);
            chained && record.number >= number && (record.number == number || record.number < trusted)
        };
        match decoded.filter(|(record, _)| follows(record)) {
            Some((record, record_crc)) => {
                found.damaged += record.number - number;
                let entry = Entry::from_header(&record, offset_bytes, record_crc);
                if record.number >= trusted && check_record(device, base, &entry, key(header))?.is_err() {
                    found.torn_bytes = u64::from(record.record_bytes);
                    break;
                }
                found.entries.push(entry);
                number = record.number.saturating_add(1);
                offset_bytes = entry.end_bytes();
                found.tail_bytes = offset_bytes;
                found.chain = record_crc;
            }
            None if number < trusted => {
                // A durable record's header is damaged: look for the next one, block by block.
                found.damaged = found.damaged.max(1);
                offset_bytes += block;
            }
            None => break,
        }
    }
    Ok(found)
}

const fn key(header: &ExtentHeader) -> Key {
    (header.camera, header.stream)
}

/// Reads a whole record and checks that it is the one `entry` describes and that every sample matches its checksum;
/// returns the count and the bytes of its samples, and
/// what it is chained to.
pub(crate) fn check_record(
    device: &dyn BlockDev,
    base: u64,
    entry: &Entry,
    (camera, stream): Key,
) -> io::Result<Result<(u64, u64, u32), FormatError>> {
    let mut bytes = AlignedBuffer::zeroed(entry.record_bytes as usize);
    device.read_at(base + u64::from(entry.offset_bytes), &mut bytes)?;
    Ok(check_bytes(&bytes, entry, (camera, stream)))
}

fn check_bytes(bytes: &[u8], entry: &Entry, key: Key) -> Result<(u64, u64, u32), FormatError> {
    let (header, crc) = RecordHeader::decode_with_crc(bytes)?;
    if crc != entry.header_crc || (header.camera, header.stream) != key || header.number != entry.number {
        return Err(FormatError::Chain);
    }
    if header.info != entry.info || header.record_bytes != entry.record_bytes {
        return Err(FormatError::Field("index entry"));
    }
    let index = decode_index(&header, bytes)?;
    let (mut samples, mut media_bytes) = (0_u64, 0_u64);
    for track in &index.tracks {
        for sample in &track.samples {
            // The lengths add up to the track's, which lies within the record: decode_index has checked it.
            let from = (track.data_offset_bytes + sample.offset_bytes) as usize;
            let data = bytes.get(from..from + sample.bytes as usize).ok_or(FormatError::Short("sample"))?;
            if crc32c::crc32c(data) != sample.crc {
                return Err(FormatError::Checksum("sample"));
            }
            samples += 1;
            media_bytes += u64::from(sample.bytes);
        }
    }
    Ok((samples, media_bytes, header.chain))
}

/// The labels from the first to the last record.
pub(super) fn hull(entries: &[Entry]) -> Option<keepwatch_model::Span> {
    entries.iter().fold(None, |hull, entry| Some(hull_of(hull, entry.info.label)))
}
