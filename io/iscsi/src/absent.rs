//! What stands in the place of a LUN in a program that was built without iSCSI: nothing that could be opened.

use std::convert::Infallible;

use crate::{LunError, Options, Owner, Preempt, Reserved, Write};

/// A LUN, of which there is none in this program.
#[derive(Debug)]
pub struct Lun(Infallible);

impl Lun {
    /// Says that the program was built without iSCSI.
    ///
    /// # Errors
    /// Always.
    pub fn open(_: Options) -> Result<Self, LunError> {
        Err(LunError::NotBuilt)
    }

    /// Its size in bytes.
    pub const fn size_bytes(&self) -> u64 {
        match self.0 {}
    }

    /// Bytes of a block.
    pub const fn block_bytes(&self) -> u32 {
        match self.0 {}
    }

    /// Fills `buffer` from `offset_bytes` on.
    ///
    /// # Errors
    /// None: there is no such LUN.
    pub const fn read(&self, _: u64, _: &mut [u8]) -> Result<(), LunError> {
        match self.0 {}
    }

    /// Writes, in any order.
    ///
    /// # Errors
    /// None: there is no such LUN.
    pub const fn write(&self, _: &[Write<'_>]) -> Result<(), LunError> {
        match self.0 {}
    }

    /// Writes, and returns when all that was ever written is durable.
    ///
    /// # Errors
    /// None: there is no such LUN.
    pub const fn write_durably(&self, _: &[Write<'_>]) -> Result<(), LunError> {
        match self.0 {}
    }

    /// Returns when everything written before is durable.
    ///
    /// # Errors
    /// None: there is no such LUN.
    pub const fn flush(&self) -> Result<(), LunError> {
        match self.0 {}
    }

    /// Keeps all other writers away.
    ///
    /// # Errors
    /// None: there is no such LUN.
    pub const fn reserve(&self, _: Owner, _: Preempt) -> Result<Reserved, LunError> {
        match self.0 {}
    }

    /// Lets others write.
    ///
    /// # Errors
    /// None: there is no such LUN.
    pub const fn release(&self) -> Result<(), LunError> {
        match self.0 {}
    }
}
