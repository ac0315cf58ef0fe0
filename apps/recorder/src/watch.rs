//! What the page watches: the present over a WebSocket, the past as fragmented MP4, the frames of a window by number.
//!
//! [`cast`] makes each live stream into pieces once for all viewers; [`viewer`] takes them to one client. [`playback`]
//! reads windows of footage. All reading of disks is within the few places that those who show footage share, so that
//! recording comes first.

#[cfg(test)]
mod bench;
mod cast;
mod frames;
mod muxer;
mod playback;
mod ring;
#[cfg(test)]
mod segments;
mod sound;
mod viewer;

use std::sync::Arc;

use keepwatch_store::Store;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use self::cast::Casts;
pub(crate) use self::frames::list_frames;
#[cfg(test)]
pub(crate) use self::playback::tests as footage_tests;
pub(crate) use self::playback::{
    Frames, KEY_WINDOW_TICKS_MAX, Playback, PlaybackError, WINDOW_TICKS_MAX, Wanted,
};
pub(crate) use self::viewer::{MESSAGE_BYTES_MAX, READ_BYTES, UNSENT_BYTES_MAX, Viewer, Viewing};

/// Live viewers at a time: 200 pages of four cameras each, and some.
pub(crate) const VIEWERS_MAX: usize = 1_024;
/// Windows of footage that are read at a time: each keeps a record or two in memory.
pub(crate) const PLAYBACKS_MAX: usize = 64;

/// What all who watch share.
#[derive(Debug)]
pub(crate) struct Watch {
    casts: Casts,
    viewers: Arc<Semaphore>,
    playbacks: Arc<Semaphore>,
    /// Set when the node ends.
    closing: watch::Sender<bool>,
}

impl Watch {
    /// Nobody watches; footage is read from `store` within `reads`.
    pub(crate) fn new(store: &Store, reads: &Arc<Semaphore>) -> Self {
        Self {
            casts: Casts::new(store.clone(), Arc::clone(reads)),
            viewers: Arc::new(Semaphore::new(VIEWERS_MAX)),
            playbacks: Arc::new(Semaphore::new(PLAYBACKS_MAX)),
            closing: watch::Sender::new(false),
        }
    }

    /// Ends all who watch, and who come from here on.
    pub(crate) fn close(&self) {
        self.closing.send_replace(true);
    }

    /// Changes when the node ends.
    pub(crate) fn closing(&self) -> watch::Receiver<bool> {
        self.closing.subscribe()
    }

    /// A place among the live viewers; `None` when all are taken.
    pub(crate) fn viewer_place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.viewers).try_acquire_owned().ok()
    }

    /// A place among those that read windows; `None` when all are taken.
    pub(crate) fn playback_place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.playbacks).try_acquire_owned().ok()
    }
}
