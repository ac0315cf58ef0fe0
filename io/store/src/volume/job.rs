//! A closed record on its way to a disk.

use std::io::IoSlice;
use std::sync::Arc;
use std::time::Instant;

use crate::Lane;
use crate::chunk::Media;
use crate::device::AlignedBuffer;
use crate::format::RecordHeader;

/// A closed record on its way to a disk.
pub(crate) struct Job {
    /// Complete but for its place: sequence, number, chain and epoch.
    pub(crate) header: RecordHeader,
    /// Room for the header, and the table.
    pub(crate) head: AlignedBuffer,
    /// The data of each track.
    pub(crate) media: Arc<Media>,
    pub(crate) queued_at: Instant,
    pub(crate) lane: Lane,
}

impl Job {
    /// Whose record it is.
    pub(crate) const fn key(&self) -> super::Key {
        (self.header.camera, self.header.stream)
    }

    /// Where it goes: records of one slot go into the same extent.
    pub(crate) const fn slot(&self) -> super::Slot {
        (self.header.camera, self.header.stream, self.lane)
    }

    /// The record as it goes to disk.
    pub(crate) fn parts(&self) -> Vec<IoSlice<'_>> {
        std::iter::once(IoSlice::new(&self.head)).chain(self.media.parts().map(IoSlice::new)).collect()
    }

    /// Bytes of the buffer it holds, which is what a disk that hangs takes from the others. What is fetched for gaps has a
    /// buffer of its own and counts as nothing.
    pub(crate) fn held_bytes(&self) -> u64 {
        match self.lane {
            Lane::Live => self.media.held_bytes(),
            Lane::Backfill => 0,
        }
    }

    /// Bytes it takes on disk.
    pub(crate) fn bytes(&self) -> u64 {
        u64::from(self.header.record_bytes)
    }
}
