//! Guests: cameras of other recorders that this one records in their place for as long as it is told to.
//!
//! A guest is a camera like any other to those who watch, search and export. What differs is who decides whether it is
//! recorded, which is not its schedule alone but the [`Duty`] that a standby gives it, and what stands in its records: that
//! this recorder made them in the place of another. While a guest rests nothing of it is missing here.

#[cfg(test)]
mod bench;
mod keeper;
mod local;
mod news;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use keepwatch_model::{CameraId, RoleId, Span, WallTime};
use tokio::sync::Semaphore;

pub(crate) use self::keeper::{Keeper, Wish};
pub use self::local::local_id;
pub(crate) use self::news::News;
pub use self::news::{GuestEvent, GuestEvents};

use crate::camera::CameraState;
use crate::config::CameraConfig;

/// Guests that are tried at a time: each takes a session of a camera and a moment of the processor.
const TRIES_MAX: usize = 32;

/// A camera of another recorder that may have to be recorded here.
#[derive(Clone, Debug, PartialEq)]
pub struct Guest {
    /// The recorder that it belongs to.
    pub role: RoleId,
    /// Its id there.
    pub camera: CameraId,
    /// Its id here, see [`local_id`]; footage and books are kept under it, so it never changes.
    pub local: CameraId,
    /// How it is reached and what of it is recorded; the id in it is not looked at.
    pub config: CameraConfig,
    /// How much of it waits in memory under [`Duty::Buffer`]; `None` for nothing: it rests then.
    pub buffer: Option<BufferLimits>,
}

/// How much of a guest waits in memory. What gives way is the oldest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferLimits {
    /// Most bytes, all of its streams together. Decoding begins with a key frame: leave room for the longest group of pictures.
    pub bytes_max: u64,
    /// Longest footage behind the key frame that it begins with.
    pub age_max: Duration,
}

/// What is to be done with a guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Duty {
    /// Nothing: no session with the camera.
    #[default]
    Rest,
    /// It is received, and the newest footage waits in memory.
    Buffer,
    /// It is recorded, first what of it is in memory.
    Record,
}

/// How a guest stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuestView {
    /// Its id here.
    pub local: CameraId,
    /// What is to be done with it.
    pub duty: Duty,
    /// What of it is on disk here without a hole up to the newest, in camera time; `None` before the first record since the
    /// recorder started.
    pub durable: Option<Span>,
    /// Pictures come, and reach the disk or the memory.
    pub receiving: bool,
    /// Bytes of its footage in memory.
    pub buffered_bytes: u64,
    /// What of it is in memory, in camera time; `None` for nothing, or when the camera tells no time.
    pub buffered: Option<Span>,
}

/// Why a guest cannot be taken up, or told what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GuestError {
    /// Its local id is that of another camera here.
    #[error(
        "camera {camera} of recorder {role} cannot be recorded as {local}: another camera here has that id"
    )]
    Taken {
        /// The recorder that it belongs to.
        role: RoleId,
        /// Its id there.
        camera: CameraId,
        /// The id that it was to have.
        local: CameraId,
    },
    /// There is no such guest.
    #[error("recorder {role} has no camera {camera} that is a guest here")]
    Unknown {
        /// The recorder.
        role: RoleId,
        /// The camera's id there.
        camera: CameraId,
    },
    /// The ledgers cannot be read, or the recorder ends.
    #[error("the guests cannot be taken up: {0}")]
    Books(String),
}

/// A guest by its recorder and its id there.
pub(crate) type Key = (RoleId, CameraId);

/// All guests of a recorder. They are taken up and let go under the lock of the settings, one change after another.
#[derive(Debug)]
pub(crate) struct Guests {
    kept: Mutex<BTreeMap<Key, Kept>>,
    /// When a recorder was known to run last, before this one.
    pub(crate) alive: OnceLock<Option<WallTime>>,
    /// Ids here of all that this recorder ever kept since it started.
    seen: Mutex<BTreeSet<CameraId>>,
    pub(crate) news: Arc<News>,
    pub(crate) tries: Semaphore,
}

/// A guest that is there.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) guest: Guest,
    pub(crate) camera: Arc<CameraState>,
    pub(crate) keeper: Keeper,
}

impl Default for Guests {
    fn default() -> Self {
        Self {
            kept: Mutex::default(),
            alive: OnceLock::new(),
            seen: Mutex::default(),
            news: Arc::default(),
            tries: Semaphore::new(TRIES_MAX),
        }
    }
}

impl Guests {
    /// Those that are there; the lock is never held over a wait.
    pub(crate) fn kept(&self) -> MutexGuard<'_, BTreeMap<Key, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a guest is taken up; whether it is for the first time since the start.
    pub(crate) fn note(&self, local: CameraId) -> bool {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(local)
    }

    /// Their ids here.
    pub(crate) fn locals(&self) -> Vec<CameraId> {
        self.kept().values().map(|kept| kept.guest.local).collect()
    }
}

#[cfg(test)]
mod tests;
