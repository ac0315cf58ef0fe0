//! The superblock: what a container is, whose it is, and how it is laid out.
//!
//! There are two, written alternately with a growing generation, so that one is whole at every moment.

use std::io;

use keepwatch_model::RoleId;

use super::{BLOCK, BLOCK_BYTES, Reader, VERSION, Writer, check_sealed, seal};
use crate::device::{AlignedBuffer, BlockDev};
use crate::{DiskId, DiskRole, FormatError};

const MAGIC: [u8; 8] = *b"KWDISK\0\x01";
const WHAT: &str = "superblock";

/// Features that this version knows and that others must know to write.
const RO_COMPAT_KNOWN: u64 = 0;
/// Features that this version knows and that others must know to read.
const INCOMPAT_KNOWN: u64 = 0;

/// What a container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Superblock {
    /// Grows with every write of either superblock.
    pub(crate) generation: u64,
    /// Features that others may ignore.
    pub(crate) compat: u64,
    /// Features that others must know to write.
    pub(crate) ro_compat: u64,
    pub(crate) disk: DiskId,
    /// The recorder that writes it.
    pub(crate) owner: RoleId,
    pub(crate) role: DiskRole,
    /// Closed properly; false from open to close.
    pub(crate) clean: bool,
    /// Bytes of an extent.
    pub(crate) extent_bytes: u64,
    pub(crate) extent_count: u32,
    /// Where the first extent begins.
    pub(crate) data_offset_bytes: u64,
    /// Raised at every writable open.
    pub(crate) epoch: u64,
}

impl Superblock {
    /// Whether this version may write the container.
    pub(crate) const fn writable(&self) -> bool {
        self.ro_compat & !RO_COMPAT_KNOWN == 0
    }

    /// Where extent `extent` begins.
    pub(crate) fn extent_offset(&self, extent: u32) -> u64 {
        self.data_offset_bytes + u64::from(extent) * self.extent_bytes
    }

    pub(crate) fn encode(&self) -> AlignedBuffer {
        let mut block = AlignedBuffer::zeroed(BLOCK_BYTES);
        Writer::new(&mut block)
            .bytes(&MAGIC)
            .u32(0)
            .u32(VERSION)
            .u64(self.compat)
            .u64(self.ro_compat)
            .u64(INCOMPAT_KNOWN)
            .u64(self.generation)
            .bytes(&self.disk.0)
            .bytes(&self.owner.0)
            .u8(self.role.code())
            .u8(u8::from(self.clean))
            .bytes(&[0; 6])
            .u64(self.extent_bytes)
            .u32(self.extent_count)
            .u32(0)
            .u64(self.data_offset_bytes)
            .u64(self.epoch);
        seal(&mut block);
        block
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let block = bytes.get(..BLOCK_BYTES).ok_or(FormatError::Short(WHAT))?;
        check_sealed(block, MAGIC, WHAT)?;
        let mut fields = Reader::new(&block[12..], WHAT);
        let _version = fields.u32()?;
        let (compat, ro_compat, incompat) = (fields.u64()?, fields.u64()?, fields.u64()?);
        if incompat & !INCOMPAT_KNOWN != 0 {
            return Err(FormatError::Features(incompat & !INCOMPAT_KNOWN));
        }
        let superblock = Self {
            generation: fields.u64()?,
            compat,
            ro_compat,
            disk: DiskId(fields.array()?),
            owner: fields.role()?,
            role: DiskRole::from_code(fields.u8()?).ok_or(FormatError::Field("disk role"))?,
            clean: fields.array::<7>()?[0] != 0,
            extent_bytes: fields.u64()?,
            extent_count: {
                let count = fields.u32()?;
                fields.u32()?;
                count
            },
            data_offset_bytes: fields.u64()?,
            epoch: fields.u64()?,
        };
        superblock.check_layout()?;
        Ok(superblock)
    }

    fn check_layout(&self) -> Result<(), FormatError> {
        // Offsets within an extent are 32 bits wide.
        let whole_blocks = |bytes: u64| bytes != 0 && bytes.is_multiple_of(BLOCK);
        if !whole_blocks(self.extent_bytes) || !(8 * BLOCK..=1 << 30).contains(&self.extent_bytes) {
            return Err(FormatError::Field("extent size"));
        }
        if !whole_blocks(self.data_offset_bytes) || self.data_offset_bytes > 1 << 30 || self.extent_count == 0
        {
            return Err(FormatError::Field("extents"));
        }
        Ok(())
    }
}

/// Where the superblock of a generation is written: the two places take turns.
pub(crate) const fn superblock_offset(generation: u64) -> u64 {
    // Apart from each other, so that one bad sector or one torn large write does not reach both.
    if generation.is_multiple_of(2) { 0 } else { 8 * BLOCK }
}

/// Reads both superblocks of a device and returns the newer whole one, or why there is none.
pub(crate) fn read_superblocks(device: &dyn BlockDev) -> io::Result<Result<Superblock, FormatError>> {
    let mut best: Result<Superblock, FormatError> = Err(FormatError::Magic(WHAT));
    let mut block = AlignedBuffer::zeroed(BLOCK_BYTES);
    let mut failure = None;
    for generation in [0, 1] {
        if let Err(error) = device.read_at(superblock_offset(generation), &mut block) {
            failure = Some(error);
            continue;
        }
        match (Superblock::decode(&block), &best) {
            (Ok(found), Ok(known)) if found.generation <= known.generation => {}
            (Ok(found), _) => best = Ok(found),
            // "A later version" is the more telling reason, and must win over an older readable copy's absence.
            (Err(error), Err(FormatError::Magic(_))) => best = Err(error),
            (Err(_), _) => {}
        }
    }
    match (best, failure) {
        (Err(_), Some(error)) => Err(error),
        (best, _) => Ok(best),
    }
}
