//! Records that were read are appended to another store as they stand: nothing of them is encoded anew, and what they say of
//! themselves - labels, run, who recorded them - stays.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use keepwatch_model::GapReason;

use crate::chunk::Media;
use crate::device::AlignedBuffer;
use crate::format::RecordHeader;
use crate::volume::Job;
use crate::{AppendError, Lane, ROW_TICKS_MAX, Record, Store};

impl Store {
    /// Queues `record` for a disk, as it stands; whether it is durable or lost is told like of any other. The disk thread shares its
    /// memory, which counts in the buffer of the lane until then.
    ///
    /// Who appends to a stream does so in place of a [`writer`](Self::writer) of it: by [`Lane::Live`] what follows all that was
    /// appended by it, by [`Lane::Backfill`] what belongs before. Records must not overlap what is held.
    ///
    /// # Errors
    /// When it was not queued; nothing changed then.
    pub fn append(&self, record: &Arc<Record>, lane: Lane) -> Result<(), AppendError> {
        let shared = self.shared();
        if shared.closed.load(Ordering::Relaxed) || shared.read_only {
            return Err(AppendError::Closed);
        }
        let bytes = record.as_bytes();
        let header = RecordHeader::decode(bytes).map_err(|_| AppendError::Unfit)?;
        let head = bytes.get(..header.head_bytes as usize).ok_or(AppendError::Unfit)?;
        let fits = u64::from(header.record_bytes) <= shared.record_bytes_max.load(Ordering::Relaxed);
        if !fits || !(1..=ROW_TICKS_MAX).contains(&header.info.label.ticks()) {
            return Err(AppendError::Unfit);
        }
        let pool = match lane {
            Lane::Live => &shared.pool,
            Lane::Backfill => &shared.backfill_pool,
        };
        let Some(media) = Media::read(record, head.len(), pool) else {
            let reason = if shared.takes_records() { GapReason::DiskSlow } else { shared.why_not() };
            return Err(AppendError::Backlog(reason));
        };
        // The copy gets its place on the disk.
        let mut own_head = AlignedBuffer::zeroed(head.len());
        own_head.copy_from_slice(head);
        let job = Job { header, head: own_head, media, queued_at: Instant::now(), lane };
        shared.queue(job).map(drop).map_err(AppendError::NoDisk)
    }
}
