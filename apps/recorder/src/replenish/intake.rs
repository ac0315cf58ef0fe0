//! What becomes of fetched records on their way to the disk, told to whoever fetches them.

use std::sync::atomic::{AtomicU64, Ordering};

use keepwatch_model::{GapReason, WallTime};
use tokio::sync::watch;

/// Follows the fetched records of one stream.
#[derive(Debug, Default)]
pub(crate) struct Intake {
    queued: AtomicU64,
    settled: watch::Sender<Settled>,
}

/// What became of them since the recorder started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settled {
    /// Records that are on disk.
    pub(crate) durable: u64,
    /// Records that were lost on the way, as a disk failed or does not keep up.
    pub(crate) lost: u64,
    /// Records for which there was no place, as all that the disks hold is newer, or that cannot be written at all.
    pub(crate) refused: u64,
    /// Where the last of those ended.
    pub(crate) refused_until: Option<WallTime>,
}

impl Settled {
    /// Records that are not on their way any more.
    const fn all(&self) -> u64 {
        self.durable.saturating_add(self.lost).saturating_add(self.refused)
    }
}

impl Intake {
    /// A record is queued for its disk: told before it is, so that none is settled that was not counted.
    pub(crate) fn queued(&self) {
        self.queued.fetch_add(1, Ordering::Relaxed);
    }

    /// A record is on disk.
    pub(crate) fn durable(&self) {
        self.settled.send_modify(|settled| settled.durable = settled.durable.saturating_add(1));
    }

    /// No disk took a record that ended at `until`.
    pub(crate) fn lost(&self, reason: GapReason, until: WallTime) {
        tracing::debug!(?reason, "a fetched record was not written");
        self.settled.send_modify(|settled| {
            // Fetched footage finds a disk full where all is newer; another disk, or another try, changes nothing.
            if matches!(reason, GapReason::DiskFull | GapReason::StreamUnusable) {
                settled.refused = settled.refused.saturating_add(1);
                settled.refused_until = Some(until);
            } else {
                settled.lost = settled.lost.saturating_add(1);
            }
        });
    }

    /// A record that ends at `until` is too large for the disks and was never queued.
    pub(crate) fn refuse(&self, until: WallTime) {
        self.queued();
        self.lost(GapReason::StreamUnusable, until);
    }

    /// What became of those that are not on their way any more.
    pub(crate) fn settled(&self) -> Settled {
        *self.settled.borrow()
    }

    /// Follows what becomes of them.
    pub(crate) fn follow(&self) -> watch::Receiver<Settled> {
        self.settled.subscribe()
    }

    /// Returns what became of all of them when none is on its way any more.
    pub(crate) async fn settle(&self) -> Settled {
        let mut settled = self.follow();
        let none_waits = |settled: &Settled| settled.all() >= self.queued.load(Ordering::Relaxed);
        // The sender lives as long as this does, so the only end of the wait is what is waited for.
        settled.wait_for(none_waits).await.map(|settled| *settled).unwrap_or_default()
    }
}
