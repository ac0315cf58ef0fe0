//! Steers a running fetch from outside, and shows how far it is.

use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use keepwatch_model::WallTime;
use keepwatch_rtsp::client::Remote;
use tokio::sync::watch;

/// Least bytes in a second that a fetch can be limited to: below, a large key frame would take so long that it could not
/// be told from silence.
pub const RATE_MIN: NonZeroU64 = NonZeroU64::new(64 * 1024).expect("it is not zero");

/// Bytes in a second while the sink is full: less than a read is worth, so that nothing is read for a quarter of an
/// hour, and the sink is asked five times a second.
const HELD_RATE: NonZeroU64 = NonZeroU64::MIN;

/// How far a fetch is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Samples taken, of all tracks.
    pub samples: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Up to where the first track was taken; `None` before its first frame.
    pub position: Option<WallTime>,
    /// Replays asked for.
    pub attempts: u64,
    /// Bytes of samples taken in the last second.
    pub bytes_per_s: u64,
}

/// Steers one fetch; clones steer the same one.
#[derive(Clone, Debug)]
pub struct FetchControl(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    cancelled: watch::Sender<bool>,
    progress: watch::Sender<Progress>,
    reading: Mutex<Reading>,
}

/// How the running session reads.
#[derive(Debug, Default)]
struct Reading {
    limit: Option<NonZeroU64>,
    held: bool,
    /// The session, while one runs.
    remote: Option<Remote>,
}

impl Reading {
    /// Tells the session, which looks up even if nothing changed.
    fn apply(&self) {
        if let Some(remote) = &self.remote {
            remote.limit(if self.held { Some(HELD_RATE) } else { self.limit });
        }
    }
}

impl Default for FetchControl {
    fn default() -> Self {
        Self::new()
    }
}

impl FetchControl {
    /// The control of a fetch that has not begun, without a limit.
    pub fn new() -> Self {
        Self(Arc::new(Shared {
            cancelled: watch::Sender::new(false),
            progress: watch::Sender::new(Progress::default()),
            reading: Mutex::default(),
        }))
    }

    /// Ends the fetch, with a farewell to the server.
    pub fn cancel(&self) {
        self.0.cancelled.send_replace(true);
        self.reading().apply();
    }

    /// Limits how many bytes are read in a second, [`RATE_MIN`] at least, from now on; `None` lifts the limit.
    pub fn limit(&self, bytes_per_s: Option<NonZeroU64>) {
        let mut reading = self.reading();
        reading.limit = bytes_per_s.map(|rate| rate.max(RATE_MIN));
        reading.apply();
    }

    /// Has the sink asked for its appetite at once.
    pub fn wake(&self) {
        self.reading().apply();
    }

    /// How far it is, as it changes; about five times a second.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.0.progress.subscribe()
    }

    pub(super) fn is_cancelled(&self) -> bool {
        *self.0.cancelled.borrow()
    }

    /// Returns when it is cancelled.
    pub(super) async fn cancelled(&self) {
        // The sender lives as long as this does, so the only end of the wait is what is waited for.
        let _ = self.0.cancelled.subscribe().wait_for(|cancelled| *cancelled).await;
    }

    pub(super) fn publish(&self, progress: Progress) {
        self.0.progress.send_replace(progress);
    }

    /// A session runs.
    pub(super) fn attach(&self, remote: &Remote) {
        let mut reading = self.reading();
        *reading = Reading { limit: reading.limit, held: false, remote: Some(remote.clone()) };
        reading.apply();
    }

    /// It has ended.
    pub(super) fn detach(&self) {
        self.reading().remote = None;
    }

    /// Whether the session is to read nothing.
    pub(super) fn hold(&self, held: bool) {
        let mut reading = self.reading();
        if reading.held != held {
            reading.held = held;
            reading.apply();
        }
    }

    fn reading(&self) -> MutexGuard<'_, Reading> {
        self.0.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
