//! What everyone may know of a camera: shared by its task, the disk writers and the API.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use keepwatch_model::{CameraId, GapReason, MonoTime, Span, State, WallTime};
use keepwatch_recording::ledger::Ledger;
use keepwatch_store::{Commit, Loss};
use tokio::sync::Notify;

use crate::config::CameraConfig;

/// How the connection to a camera stands, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// Recording is not asked for.
    Unwanted,
    /// Waiting to dial again, for this reason.
    Waiting(GapReason),
    /// Dialling.
    Connecting,
    /// Connected; nothing on disk yet, for this reason.
    Connected(GapReason),
    /// Connected and recorded.
    Recording,
}

/// One camera as everyone sees it.
#[derive(Debug)]
pub struct CameraState {
    /// Its id.
    pub id: CameraId,
    config: RwLock<Arc<CameraConfig>>,
    ledger: Mutex<Ledger>,
    status: Mutex<Status>,
    /// Monotonic nanoseconds of the last commit to disk; 0 before the first.
    durable_at_ns: AtomicU64,
    /// Records queued and neither durable nor lost.
    pending: AtomicU32,
    /// Frames, lost packets and bad packets since the start.
    counters: Counters,
    progress: Notify,
}

/// What happened since the recorder started.
#[derive(Debug, Default)]
pub struct Counters {
    /// Video frames queued for the disk.
    pub frames: AtomicU64,
    /// Packets that did not arrive, by sequence number.
    pub lost_packets: AtomicU64,
    /// Packets that could not be understood.
    pub bad_packets: AtomicU64,
    /// Sessions that were begun.
    pub sessions: AtomicU64,
    /// Bytes on disk.
    pub durable_bytes: AtomicU64,
}

#[derive(Debug)]
struct Status {
    connection: Connection,
    since: WallTime,
    detail: Option<String>,
}

impl CameraState {
    pub(crate) fn new(config: CameraConfig, ledger: Ledger, now: WallTime) -> Self {
        Self {
            id: config.id,
            config: RwLock::new(Arc::new(config)),
            ledger: Mutex::new(ledger),
            status: Mutex::new(Status { connection: Connection::Unwanted, since: now, detail: None }),
            durable_at_ns: AtomicU64::new(0),
            pending: AtomicU32::new(0),
            counters: Counters::default(),
            progress: Notify::new(),
        }
    }

    /// Its configuration as it is at the moment.
    pub fn config(&self) -> Arc<CameraConfig> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces its configuration; a running session keeps the old one.
    pub(crate) fn configure(&self, config: CameraConfig) {
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }

    /// Its ledger.
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What happened since the recorder started.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How the connection stands, since when, and the last error in the device's or the system's words.
    pub fn connection(&self) -> (Connection, WallTime, Option<String>) {
        let status = self.status();
        (status.connection, status.since, status.detail.clone())
    }

    /// When the last record became durable; `None` before the first.
    pub fn durable_at(&self) -> Option<MonoTime> {
        match self.durable_at_ns.load(Ordering::Relaxed) {
            0 => None,
            nanos => Some(MonoTime::from_nanos(nanos)),
        }
    }

    pub(crate) fn set_connection(&self, connection: Connection, now: WallTime) {
        let mut status = self.status();
        if status.connection != connection {
            status.connection = connection;
            status.since = now;
        }
        if connection == Connection::Recording {
            status.detail = None;
        }
    }

    pub(crate) fn set_detail(&self, detail: String) {
        self.status().detail = Some(detail);
    }

    /// Records that wait for the disk.
    pub(crate) fn pending(&self) -> u32 {
        self.pending.load(Ordering::Relaxed)
    }

    pub(crate) fn queued(&self) {
        self.pending.fetch_add(1, Ordering::Relaxed);
    }

    /// The store refused the record that was just counted.
    pub(crate) fn unqueued(&self) {
        self.settled();
    }

    /// A record reached the disk, or was lost on the way.
    fn settled(&self) {
        // A record whose queueing this process did not see would count below zero; there is none, so none is lost.
        let _ =
            self.pending.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |pending| pending.checked_sub(1));
        self.progress.notify_one();
    }

    pub(crate) fn durable(&self, commit: &Commit, now: MonoTime) {
        let info = &commit.info;
        let held = State::Held { origin: info.origin, recorder: info.recorder, replaces: info.replaces };
        self.ledger().held(info.label, held);
        self.durable_at_ns.store(now.as_nanos().max(1), Ordering::Relaxed);
        self.counters.durable_bytes.fetch_add(u64::from(info.media_bytes), Ordering::Relaxed);
        self.settled();
    }

    pub(crate) fn lost(&self, loss: &Loss) {
        self.ledger().lost(loss.info.label, loss.reason);
        self.settled();
    }

    pub(crate) fn reclaimed(&self, span: Span, state: State) {
        self.ledger().overwritten(span, state);
    }

    /// Waits until a record was settled since the last wait.
    pub(crate) async fn progressed(&self) {
        self.progress.notified().await;
    }

    fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All cameras by id.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    cameras: RwLock<BTreeMap<CameraId, Arc<CameraState>>>,
}

impl Registry {
    pub(crate) fn find(&self, id: CameraId) -> Option<Arc<CameraState>> {
        self.cameras.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<CameraState>> {
        self.cameras.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    pub(crate) fn insert(&self, camera: Arc<CameraState>) {
        self.cameras.write().unwrap_or_else(PoisonError::into_inner).insert(camera.id, camera);
    }

    pub(crate) fn remove(&self, id: CameraId) {
        self.cameras.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }
}
