//! What a configured path leads to, opened: a file or block device of this machine, or a LUN.

use std::io::{self, IoSlice};

use keepwatch_iscsi::Write;
use keepwatch_model::RoleId;

use super::{BlockDev, FileDev, LunDev, Slot};
use crate::format::Superblock;

/// A place for a container, open.
#[derive(Debug)]
pub(crate) enum Medium {
    /// Of this machine.
    File(FileDev),
    /// Of an iSCSI target.
    Lun(LunDev),
}

impl Medium {
    /// The page cache is bypassed.
    pub(crate) const fn direct(&self) -> bool {
        match self {
            Self::File(file) => file.direct,
            Self::Lun(_) => true,
        }
    }

    /// Takes the lock that keeps writers of this machine apart; false when another process has it. A LUN is claimed once it is
    /// known whose it is.
    pub(crate) fn lock(&self) -> io::Result<bool> {
        match self {
            Self::File(file) => file.lock(),
            Self::Lun(_) => Ok(true),
        }
    }

    /// Keeps writers of other machines away from a LUN.
    pub(crate) fn claim(&mut self, owner: RoleId, preempt: bool) -> io::Result<()> {
        match self {
            Self::File(_) => Ok(()),
            Self::Lun(lun) => lun.claim(owner, preempt),
        }
    }

    /// Whether it was opened so that it can be written.
    pub(crate) const fn is_for_writing(&self) -> bool {
        match self {
            Self::File(file) => file.writable,
            Self::Lun(_) => true,
        }
    }

    /// Whether writers of other machines can reach it.
    pub(crate) const fn is_shared(&self) -> bool {
        matches!(self, Self::Lun(_))
    }

    /// `superblock` is what stands there while it is in use.
    pub(crate) fn expect(&self, superblock: Superblock) {
        if let Self::Lun(lun) = self {
            lun.expect(superblock);
        }
    }

    /// Why it is not what it was when it was taken into use; `None` when it is.
    pub(crate) fn displaced(&self, slot: &Slot) -> Option<String> {
        match self {
            Self::File(file) => {
                (!file.is_at(slot)).then(|| "its container is not at its path any more".to_owned())
            }
            Self::Lun(lun) => lun.check().err().map(|error| error.to_string()),
        }
    }

    /// Lets others write.
    pub(crate) fn release(&self) -> io::Result<()> {
        match self {
            Self::File(_) => Ok(()),
            Self::Lun(lun) => lun.release(),
        }
    }
}

impl BlockDev for Medium {
    fn size_bytes(&self) -> u64 {
        match self {
            Self::File(file) => file.size_bytes(),
            Self::Lun(lun) => lun.size_bytes(),
        }
    }

    fn read_at(&self, offset_bytes: u64, buffer: &mut [u8]) -> io::Result<()> {
        match self {
            Self::File(file) => file.read_at(offset_bytes, buffer),
            Self::Lun(lun) => lun.read_at(offset_bytes, buffer),
        }
    }

    fn write_at(&self, offset_bytes: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        match self {
            Self::File(file) => file.write_at(offset_bytes, parts),
            Self::Lun(lun) => lun.write_at(offset_bytes, parts),
        }
    }

    fn flush(&self) -> io::Result<()> {
        match self {
            Self::File(file) => file.flush(),
            Self::Lun(lun) => lun.flush(),
        }
    }

    fn write_durably(&self, writes: &[Write<'_>]) -> io::Result<()> {
        match self {
            Self::File(file) => file.write_durably(writes),
            Self::Lun(lun) => lun.write_durably(writes),
        }
    }

    fn forget_cached(&self, offset_bytes: u64, bytes: u64) {
        match self {
            Self::File(file) => file.forget_cached(offset_bytes, bytes),
            Self::Lun(lun) => lun.forget_cached(offset_bytes, bytes),
        }
    }
}
