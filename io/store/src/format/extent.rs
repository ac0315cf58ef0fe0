//! An extent: one camera's stream for as long as it is used. A header block in front, records behind it, and when it
//! is full an index of them with a locator in the last block.

use keepwatch_model::{CameraId, Origin, RoleId, StreamId, WallTime};

use super::{BLOCK_BYTES, ENTRY_BYTES, Entry, Reader, Writer, check_sealed, length_u32, seal};
use crate::device::AlignedBuffer;
use crate::{DiskId, FormatError, Lane};

const HEADER_MAGIC: [u8; 8] = *b"KWEXT\0\0\x01";
const HEADER: &str = "extent header";
const LOCATOR_MAGIC: [u8; 8] = *b"KWTRL\0\0\x01";
const LOCATOR: &str = "extent trailer";
/// A header fits one 512-byte sector, which disks write whole or not at all: a crash leaves the old or the new one.
const HEADER_BYTES: usize = 256;

/// Whether an extent holds footage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExtentUse {
    /// It held footage that has been deleted.
    Free,
    /// It holds footage.
    Used,
}

/// The first block of an extent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ExtentHeader {
    pub(crate) usage: ExtentUse,
    pub(crate) disk: DiskId,
    /// Grows with every allocation on the disk.
    pub(crate) sequence: u64,
    /// The open epoch it was allocated in.
    pub(crate) epoch: u64,
    pub(crate) camera: CameraId,
    pub(crate) stream: StreamId,
    pub(crate) lane: Lane,
    pub(crate) origin: Origin,
    pub(crate) recorder: RoleId,
    /// Label of its first record.
    pub(crate) first_label: WallTime,
}

impl ExtentHeader {
    /// The block and its checksum, which seeds the chain of records.
    pub(crate) fn encode(&self) -> (AlignedBuffer, u32) {
        let mut block = AlignedBuffer::zeroed(BLOCK_BYTES);
        let usage = match self.usage {
            ExtentUse::Free => 0,
            ExtentUse::Used => 1,
        };
        Writer::new(&mut block)
            .bytes(&HEADER_MAGIC)
            .u32(0)
            .u8(usage)
            .u8(self.stream.0)
            .u8(self.origin.code())
            .u8(self.lane.code())
            .bytes(&self.disk.0)
            .u64(self.sequence)
            .u64(self.epoch)
            .label(self.first_label)
            .bytes(&self.recorder.0)
            .camera(self.camera);
        let crc = seal(&mut block[..HEADER_BYTES]);
        (block, crc)
    }

    /// The header in `bytes` and its checksum.
    pub(crate) fn decode(bytes: &[u8]) -> Result<(Self, u32), FormatError> {
        let header = bytes.get(..HEADER_BYTES).ok_or(FormatError::Short(HEADER))?;
        let crc = check_sealed(header, HEADER_MAGIC, HEADER)?;
        let mut fields = Reader::new(&header[12..], HEADER);
        let usage = match fields.u8()? {
            0 => ExtentUse::Free,
            1 => ExtentUse::Used,
            _ => return Err(FormatError::Field("use")),
        };
        let stream = StreamId(fields.u8()?);
        let origin = Origin::from_code(fields.u8()?).ok_or(FormatError::Field("origin"))?;
        let lane = Lane::from_code(fields.u8()?);
        let disk = DiskId(fields.array()?);
        let (sequence, epoch, first_label) = (fields.u64()?, fields.u64()?, fields.label()?);
        let recorder = fields.role()?;
        let camera = fields.camera()?;
        Ok((Self { usage, disk, sequence, epoch, camera, stream, lane, origin, recorder, first_label }, crc))
    }
}

/// The last block of a sealed extent: where its index is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Locator {
    pub(crate) disk: DiskId,
    pub(crate) sequence: u64,
    pub(crate) camera: CameraId,
    pub(crate) stream: StreamId,
    /// Offset of the index in the extent: where its records end.
    pub(crate) index_offset_bytes: u32,
    pub(crate) records: u32,
    /// CRC32C of the index without padding.
    pub(crate) index_crc: u32,
}

impl Locator {
    /// The index of `entries` and the block that locates it.
    pub(crate) fn seal(
        disk: DiskId,
        sequence: u64,
        (camera, stream): (CameraId, StreamId),
        index_offset_bytes: u32,
        entries: &[Entry],
    ) -> (AlignedBuffer, AlignedBuffer) {
        let length = entries.len() * ENTRY_BYTES;
        let mut index = AlignedBuffer::zeroed(super::padded(length));
        for (place, entry) in index.chunks_exact_mut(ENTRY_BYTES).zip(entries) {
            entry.encode(place);
        }
        let locator = Self {
            disk,
            sequence,
            camera,
            stream,
            index_offset_bytes,
            records: length_u32(entries.len()),
            index_crc: crc32c::crc32c(&index[..length]),
        };
        (index, locator.encode())
    }

    fn encode(&self) -> AlignedBuffer {
        let mut block = AlignedBuffer::zeroed(BLOCK_BYTES);
        Writer::new(&mut block)
            .bytes(&LOCATOR_MAGIC)
            .u32(0)
            .u32(self.index_offset_bytes)
            .u32(self.records)
            .u32(self.index_crc)
            .bytes(&self.disk.0)
            .u64(self.sequence)
            .camera(self.camera)
            .u8(self.stream.0);
        seal(&mut block[..HEADER_BYTES]);
        block
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let block = bytes.get(..HEADER_BYTES).ok_or(FormatError::Short(LOCATOR))?;
        check_sealed(block, LOCATOR_MAGIC, LOCATOR)?;
        let mut fields = Reader::new(&block[12..], LOCATOR);
        Ok(Self {
            index_offset_bytes: fields.u32()?,
            records: fields.u32()?,
            index_crc: fields.u32()?,
            disk: DiskId(fields.array()?),
            sequence: fields.u64()?,
            camera: fields.camera()?,
            stream: StreamId(fields.u8()?),
        })
    }

    /// The entries in `index`, the bytes at `index_offset_bytes`.
    pub(crate) fn decode_entries(&self, index: &[u8]) -> Result<Vec<Entry>, FormatError> {
        let length = usize::try_from(self.records).ok().and_then(|count| count.checked_mul(ENTRY_BYTES));
        let index = length.and_then(|length| index.get(..length)).ok_or(FormatError::Short(LOCATOR))?;
        if crc32c::crc32c(index) != self.index_crc {
            return Err(FormatError::Checksum(LOCATOR));
        }
        index.chunks_exact(ENTRY_BYTES).map(Entry::decode).collect()
    }
}
