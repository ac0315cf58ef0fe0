//! Block devices: a file or a partition, a LUN, memory, and wrappers that record or break.

mod buffer;
mod fault;
mod file;
mod lun;
mod medium;
mod memory;

pub use fault::{Fault, FaultDev, FaultSwitch};
pub use lun::{is_lun, lun_address_fault, lun_fault};
pub use memory::{DeviceOp, MemoryDev, RecordingDev};

pub(crate) use buffer::AlignedBuffer;
pub(crate) use file::{FileDev, Found, Slot, blank, slot_of};
pub(crate) use lun::{LunDev, lun_options};
pub(crate) use medium::Medium;

use std::io::{self, IoSlice};

use keepwatch_iscsi::Write;

/// A place of fixed size that keeps what was written before a flush that succeeded.
pub trait BlockDev: Send + Sync {
    /// Its size in bytes.
    fn size_bytes(&self) -> u64;

    /// Fills `buffer` from `offset_bytes` on.
    fn read_at(&self, offset_bytes: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Writes all of `parts`, one after the other, at `offset_bytes`. Offset, addresses and lengths are whole blocks.
    fn write_at(&self, offset_bytes: u64, parts: &[IoSlice<'_>]) -> io::Result<()>;

    /// Returns when everything written before is durable.
    fn flush(&self) -> io::Result<()>;

    /// Writes all of `writes`, which do not overlap, and returns when everything written up to then is durable. A device may
    /// write them in any order, and again.
    fn write_durably(&self, writes: &[Write<'_>]) -> io::Result<()> {
        for write in writes {
            self.write_at(write.offset_bytes, &write.parts)?;
        }
        self.flush()
    }

    /// What this machine has in memory of these bytes is not to answer the next read; they were flushed before. A wish: a device that has
    /// nothing in memory, or cannot let go of it, does nothing.
    fn forget_cached(&self, _offset_bytes: u64, _bytes: u64) {}
}
