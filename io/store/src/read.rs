//! Reading records.

use std::io;

use crate::chunk::Media;
use crate::device::AlignedBuffer;
use crate::disk::Mounted;
use crate::format::{BLOCK_BYTES, RecordHeader, decode_index};
use crate::volume::read_extent;
use crate::{FormatError, ReadError, RecordIndex, RecordRef};

/// A record with its samples, every one checked.
#[derive(Clone, Debug)]
pub struct Record {
    index: RecordIndex,
    bytes: AlignedBuffer,
}

impl Record {
    /// Its description.
    pub const fn index(&self) -> &RecordIndex {
        &self.index
    }

    /// All of it as it stands on the disk, checksums included: what another recorder can read with
    /// [`from_bytes`](Self::from_bytes).
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The record of a head and data in memory, which were never anywhere else; `None` when they do not belong together, which would be
    /// a fault of this program.
    pub(crate) fn from_memory(header: &RecordHeader, head: &[u8], media: &Media) -> Option<Self> {
        let index = decode_index(header, head).ok()?;
        let mut bytes = AlignedBuffer::zeroed(header.record_bytes as usize);
        let mut at = 0;
        for part in std::iter::once(head).chain(media.parts()) {
            let end = at + part.len();
            bytes.get_mut(at..end)?.copy_from_slice(part);
            at = end;
        }
        Some(Self { index, bytes })
    }

    /// The record of `bytes`, of which every checksum is checked: they may come from anywhere.
    ///
    /// # Errors
    /// When they are no whole record, or more than one.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, FormatError> {
        let header = RecordHeader::decode(bytes)?;
        if header.record_bytes as usize != bytes.len() {
            return Err(FormatError::Short("record"));
        }
        let index = decode_index(&header, bytes)?;
        let mut aligned = AlignedBuffer::zeroed(bytes.len());
        aligned.copy_from_slice(bytes);
        check_samples(Self { index, bytes: aligned })
    }

    /// All bytes of a track, samples one after the other; empty when there is no such track.
    pub fn track_data(&self, track: usize) -> &[u8] {
        let Some(track) = self.index.tracks.get(track) else { return &[] };
        let from = track.data_offset_bytes as usize;
        self.bytes.get(from..from.saturating_add(track.data_bytes as usize)).unwrap_or_default()
    }

    /// The bytes of a sample; empty when there is no such sample.
    pub fn sample(&self, track: usize, sample: usize) -> &[u8] {
        let found = self.index.tracks.get(track).and_then(|track| track.samples.get(sample));
        let Some(found) = found else { return &[] };
        let from = found.offset_bytes as usize;
        self.track_data(track).get(from..from.saturating_add(found.bytes as usize)).unwrap_or_default()
    }
}

/// Reads the head of a record.
pub(crate) fn read_index(mounted: &Mounted, record: &RecordRef) -> Result<RecordIndex, ReadError> {
    let bytes = read_bytes(mounted, record, record.head_bytes)?;
    check_head(record, &bytes).or_else(|error| Err(why(mounted, record, error)?))
}

/// Reads all of a record and checks every sample.
pub(crate) fn read(mounted: &Mounted, record: &RecordRef) -> Result<Record, ReadError> {
    let bytes = read_bytes(mounted, record, record.record_bytes)?;
    let checked = check_head(record, &bytes).map(|index| Record { index, bytes }).and_then(check_samples);
    checked.or_else(|error| Err(why(mounted, record, error)?))
}

/// Reads one sample of a record and checks it.
pub(crate) fn read_sample(
    mounted: &Mounted,
    record: &RecordRef,
    index: &RecordIndex,
    (track, sample): (usize, usize),
) -> Result<Vec<u8>, ReadError> {
    let damaged = |source| why(mounted, record, source).unwrap_or_else(ReadError::from);
    let found = index.tracks.get(track).and_then(|track| Some((track, track.samples.get(sample)?)));
    let Some((track, sample)) = found else { return Err(damaged(FormatError::Field("sample"))) };
    // The table was checked against the record's length when it was read.
    let from = u64::from(track.data_offset_bytes) + u64::from(sample.offset_bytes);
    let to = from + u64::from(sample.bytes);
    if to > u64::from(record.record_bytes) {
        return Err(damaged(FormatError::Field("sample")));
    }
    // Direct reads begin and end at blocks.
    let block = BLOCK_BYTES as u64;
    let begin = from / block * block;
    let length = usize::try_from(to.next_multiple_of(block) - begin).expect("records are far below 4 GiB");
    let mut bytes = AlignedBuffer::zeroed(length);
    let base = mounted.superblock.extent_offset(record.extent) + u64::from(record.offset_bytes);
    mounted.device.read_at(base + begin, &mut bytes)?;
    let skipped = usize::try_from(from - begin).expect("less than a block");
    let data = bytes.get(skipped..skipped + sample.bytes as usize).unwrap_or_default();
    if crc32c::crc32c(data) != sample.crc {
        return Err(damaged(FormatError::Checksum("sample")));
    }
    Ok(data.to_vec())
}

fn read_bytes(mounted: &Mounted, record: &RecordRef, length: u32) -> io::Result<AlignedBuffer> {
    let mut bytes = AlignedBuffer::zeroed(length as usize);
    let base = mounted.superblock.extent_offset(record.extent);
    mounted.device.read_at(base + u64::from(record.offset_bytes), &mut bytes)?;
    Ok(bytes)
}

fn check_head(record: &RecordRef, bytes: &[u8]) -> Result<RecordIndex, FormatError> {
    let header = RecordHeader::decode(bytes)?;
    if header.sequence != record.sequence || header.info != record.info {
        return Err(FormatError::Chain);
    }
    // Found under another id, if its disk is only shown.
    let index = decode_index(&header, bytes)?;
    Ok(RecordIndex { camera: record.camera, ..index })
}

fn check_samples(record: Record) -> Result<Record, FormatError> {
    for track in 0..record.index.tracks.len() {
        for (number, sample) in record.index.tracks[track].samples.iter().enumerate() {
            if crc32c::crc32c(record.sample(track, number)) != sample.crc {
                return Err(FormatError::Checksum("sample"));
            }
        }
    }
    Ok(record)
}

/// Whether what could not be read was overwritten in the meantime or is damaged.
fn why(mounted: &Mounted, record: &RecordRef, source: FormatError) -> io::Result<ReadError> {
    let header = read_extent(mounted.device.as_ref(), &mounted.superblock, record.extent)?;
    Ok(match header {
        Some((header, _)) if header.sequence != record.sequence => ReadError::Overwritten,
        Some(_) | None => ReadError::Damaged { camera: record.camera, span: record.info.label, source },
    })
}
