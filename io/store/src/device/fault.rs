//! A device that breaks on command.

use std::io::{self, IoSlice};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::BlockDev;

/// How a [`FaultDev`] behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// As it should.
    #[default]
    None,
    /// Every read, write and flush fails with this error number.
    Error(i32),
    /// Writes fail with this error number after so many more have succeeded.
    ErrorAfter {
        /// Writes that still succeed.
        writes: u32,
        /// The error number.
        errno: i32,
    },
    /// Writes succeed, the flush fails with this error number.
    FlushError(i32),
    /// Writes fail with this error number; reads succeed.
    WriteError(i32),
    /// Writes succeed and are dropped.
    Lies,
    /// Writes and flushes wait until the fault is lifted.
    Stuck,
}

/// Breaks on command.
pub struct FaultDev {
    inner: Arc<dyn BlockDev>,
    switch: FaultSwitch,
}

/// Says how a [`FaultDev`] behaves, without keeping the device open.
#[derive(Clone, Debug, Default)]
pub struct FaultSwitch(Arc<(Mutex<Fault>, Condvar)>);

impl FaultSwitch {
    /// Behaves so from now on; lets go of what is stuck.
    pub fn set(&self, fault: Fault) {
        *self.lock() = fault;
        self.0.1.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Fault> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FaultDev {
    /// A device that behaves as `inner` until `switch` is set.
    pub const fn new(inner: Arc<dyn BlockDev>, switch: FaultSwitch) -> Self {
        Self { inner, switch }
    }

    fn check(&self, writing: bool, flushing: bool) -> io::Result<()> {
        let mut fault = self.switch.lock();
        while *fault == Fault::Stuck && (writing || flushing) {
            fault = self.switch.0.1.wait(fault).unwrap_or_else(PoisonError::into_inner);
        }
        match &mut *fault {
            Fault::Error(errno) => Err(io::Error::from_raw_os_error(*errno)),
            Fault::FlushError(errno) if flushing => Err(io::Error::from_raw_os_error(*errno)),
            Fault::WriteError(errno) if writing => Err(io::Error::from_raw_os_error(*errno)),
            Fault::ErrorAfter { writes: 0, errno } if writing || flushing => {
                Err(io::Error::from_raw_os_error(*errno))
            }
            Fault::ErrorAfter { writes, .. } if writing => {
                *writes -= 1;
                Ok(())
            }
            Fault::None
            | Fault::ErrorAfter { .. }
            | Fault::FlushError(_)
            | Fault::WriteError(_)
            | Fault::Lies
            | Fault::Stuck => Ok(()),
        }
    }
}

impl BlockDev for FaultDev {
    fn size_bytes(&self) -> u64 {
        self.inner.size_bytes()
    }

    fn read_at(&self, offset_bytes: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.check(false, false)?;
        self.inner.read_at(offset_bytes, buffer)
    }

    fn write_at(&self, offset_bytes: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        self.check(true, false)?;
        if *self.switch.lock() == Fault::Lies {
            return Ok(());
        }
        self.inner.write_at(offset_bytes, parts)
    }

    fn flush(&self) -> io::Result<()> {
        self.check(false, true)?;
        self.inner.flush()
    }

    fn forget_cached(&self, offset_bytes: u64, bytes: u64) {
        self.inner.forget_cached(offset_bytes, bytes);
    }
}
