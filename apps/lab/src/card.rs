//! A camera's SD card: its own frames in a store of its own, and their replay.
//!
//! The card records what the camera's eye sees, whatever happens to the network, labelled by the camera's clock. It
//! is a ring: what is oldest is overwritten. Replay is `source`; what ONVIF calls a recording is the whole card.

mod batch;
mod prefill;
mod recorder;
mod shelf;
mod source;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use keepwatch_model::{CameraId, Span, StreamId, WallTime};
use keepwatch_store::{
    Commit, DiskConfig, DiskEvent, Loss, Reclaim, Store, StoreConfig, StoreError, StoreEvents,
};
pub(crate) use prefill::{Pictures, prefill};
pub(crate) use recorder::record;
use shelf::Shelf;
pub(crate) use source::{CardSource, track_token};
use tokio::sync::watch;

/// Bytes of footage in memory of one card: a few seconds of a large picture.
const BUFFER_BYTES_MAX: u64 = 32 << 20;

/// Where a site's cards are, and how large.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CardOptions {
    /// Directory that holds one directory for each camera; created if missing.
    pub directory: PathBuf,
    /// Bytes of each card, at least 17 MiB.
    pub size_bytes: u64,
    /// Labels for which each card is filled with footage before the cameras start; `None` for none.
    pub prefill: Option<Span>,
    /// Labels that the prefill leaves out.
    pub gaps: Vec<Span>,
}

/// A card in its slot.
#[derive(Debug)]
pub(crate) struct Card {
    camera: CameraId,
    store: Store,
    ledge: Arc<Ledge>,
}

impl Card {
    /// Opens the card of `camera`, or makes it; takes a moment.
    pub(crate) fn open(directory: &Path, camera: CameraId, size_bytes: u64) -> Result<Self, StoreError> {
        let own = directory.join(camera.as_str());
        let disk = own.join("disk");
        std::fs::create_dir_all(&disk).map_err(|source| StoreError::Io { path: disk.clone(), source })?;
        let ledge = Arc::new(Ledge::default());
        let config = StoreConfig {
            buffer_bytes_max: BUFFER_BYTES_MAX,
            ..StoreConfig::new(own.join("data"), vec![DiskConfig::new(disk, Some(size_bytes))])
        };
        let (store, _) = Store::open(config, ledge.clone())?;
        let everything = Span { from: WallTime::MIN, to: WallTime::MAX };
        for record in store.records(camera, StreamId::MAIN, everything)? {
            ledge.shelf().add(&record.info);
        }
        Ok(Self { camera, store, ledge })
    }

    /// What lies on it.
    pub(crate) fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.ledge.shelf()
    }

    /// Changes whenever something was added.
    fn news(&self) -> watch::Receiver<u64> {
        self.ledge.news.subscribe()
    }
}

/// Hears of what the store writes, and keeps the shelf.
#[derive(Debug, Default)]
struct Ledge {
    shelf: Mutex<Shelf>,
    /// Records that were written or lost.
    settled: Mutex<u64>,
    settling: Condvar,
    news: watch::Sender<u64>,
}

impl Ledge {
    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        // A change of the shelf is one insertion or removal, so a poisoned one is still whole.
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settle(&self) {
        *self.settled.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.settling.notify_all();
        self.news.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Waits until all but `pending` of `committed` records are settled.
    fn wait_for(&self, committed: u64, pending: u64) {
        let settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        let behind = |settled: &mut u64| settled.saturating_add(pending) < committed;
        drop(self.settling.wait_while(settled, behind).unwrap_or_else(PoisonError::into_inner));
    }
}

impl StoreEvents for Ledge {
    fn durable(&self, commit: &Commit) {
        self.shelf().add(&commit.info);
        self.settle();
    }

    fn lost(&self, _: &Loss) {
        self.settle();
    }

    fn reclaimed(&self, _: CameraId, _: StreamId, spans: &[Span], _: Reclaim) {
        let mut shelf = self.shelf();
        for span in spans {
            shelf.remove(*span);
        }
    }

    fn disk(&self, _: &DiskEvent) {}
}

#[cfg(test)]
mod tests;
