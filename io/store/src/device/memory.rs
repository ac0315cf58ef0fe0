//! Devices in memory: a plain one, and one that records what was done to it so that crashes can be played.

use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::BlockDev;
use crate::format::index_of;

/// A device in memory.
#[derive(Debug, Default)]
pub struct MemoryDev {
    bytes: Mutex<Vec<u8>>,
}

impl MemoryDev {
    /// A device that holds `image`.
    pub fn new(image: Vec<u8>) -> Self {
        Self { bytes: Mutex::new(image) }
    }

    /// A copy of all it holds.
    pub fn image(&self) -> Vec<u8> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BlockDev for MemoryDev {
    fn size_bytes(&self) -> u64 {
        self.lock().len() as u64
    }

    fn read_at(&self, offset_bytes: u64, buffer: &mut [u8]) -> io::Result<()> {
        let from = index_of(offset_bytes);
        let bytes = self.lock();
        let end = from.checked_add(buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes.get(from..end).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, offset_bytes: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        let mut bytes = self.lock();
        let mut at = index_of(offset_bytes);
        for part in parts {
            let end = at.checked_add(part.len()).ok_or(io::ErrorKind::WriteZero)?;
            bytes.get_mut(at..end).ok_or(io::ErrorKind::WriteZero)?.copy_from_slice(part);
            at = end;
        }
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

/// One thing done to a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceOp {
    /// Bytes were written.
    Write {
        /// Where.
        offset_bytes: u64,
        /// What.
        data: Vec<u8>,
    },
    /// Everything before became durable.
    Flush,
}

/// Records everything that is done to a device.
#[derive(Clone)]
pub struct RecordingDev {
    inner: Arc<dyn BlockDev>,
    log: Arc<Mutex<Vec<DeviceOp>>>,
}

impl RecordingDev {
    /// Records what is done to `inner`.
    pub fn new(inner: Arc<dyn BlockDev>) -> Self {
        Self { inner, log: Arc::default() }
    }

    /// Takes what was recorded since the last call.
    pub fn take(&self) -> Vec<DeviceOp> {
        std::mem::take(&mut self.log.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note(&self, op: DeviceOp) {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).push(op);
    }
}

impl BlockDev for RecordingDev {
    fn size_bytes(&self) -> u64 {
        self.inner.size_bytes()
    }

    fn read_at(&self, offset_bytes: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.inner.read_at(offset_bytes, buffer)
    }

    fn write_at(&self, offset_bytes: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        self.inner.write_at(offset_bytes, parts)?;
        let data = parts.iter().flat_map(|part| part.iter().copied()).collect();
        self.note(DeviceOp::Write { offset_bytes, data });
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        self.inner.flush()?;
        self.note(DeviceOp::Flush);
        Ok(())
    }
}
