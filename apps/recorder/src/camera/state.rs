//! What everyone may know of a camera, and all cameras by id.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use keepwatch_model::{CameraId, StreamId, WallTime};
use keepwatch_recording::ledger::Ledger;

use super::stream::StreamState;
use crate::config::CameraConfig;

/// One camera as everyone sees it. Whether it is recorded is said of its main stream; a sub stream stands beside it.
#[derive(Debug)]
pub struct CameraState {
    /// Its id.
    pub id: CameraId,
    config: RwLock<Arc<CameraConfig>>,
    main: Arc<StreamState>,
    /// Set once it is recorded or something of it is held, and kept from then on.
    sub: OnceLock<Arc<StreamState>>,
}

impl CameraState {
    pub(crate) fn new(config: CameraConfig, main: Ledger, now: WallTime) -> Self {
        Self {
            id: config.id,
            main: Arc::new(StreamState::new(config.id, StreamId::MAIN, main, now)),
            sub: OnceLock::new(),
            config: RwLock::new(Arc::new(config)),
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

    /// Its main stream.
    pub fn main(&self) -> &Arc<StreamState> {
        &self.main
    }

    /// One of its streams; `None` when it has none of that id.
    pub fn stream(&self, id: StreamId) -> Option<&Arc<StreamState>> {
        match id {
            StreamId::MAIN => Some(&self.main),
            StreamId::SUB => self.sub.get(),
            StreamId(_) => None,
        }
    }

    /// Its streams, the main one first.
    pub fn streams(&self) -> impl Iterator<Item = &Arc<StreamState>> {
        std::iter::once(&self.main).chain(self.sub.get())
    }

    /// Whether a stream of it is to be recorded, whatever the schedule.
    pub fn wants(&self, id: StreamId) -> bool {
        match id {
            StreamId::MAIN => true,
            StreamId::SUB => self.config().source.has_sub(),
            StreamId(_) => false,
        }
    }

    /// Its sub stream, with this ledger if it is not known yet.
    pub(crate) fn take_up_sub(&self, ledger: Ledger, now: WallTime) -> &Arc<StreamState> {
        self.sub.get_or_init(|| Arc::new(StreamState::new(self.id, StreamId::SUB, ledger, now)))
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

    pub(crate) fn stream(&self, id: CameraId, stream: StreamId) -> Option<Arc<StreamState>> {
        self.find(id)?.stream(stream).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<CameraState>> {
        self.cameras.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    pub(crate) fn streams(&self) -> Vec<Arc<StreamState>> {
        self.all().iter().flat_map(|camera| camera.streams().cloned().collect::<Vec<_>>()).collect()
    }

    pub(crate) fn insert(&self, camera: Arc<CameraState>) {
        self.cameras.write().unwrap_or_else(PoisonError::into_inner).insert(camera.id, camera);
    }

    pub(crate) fn remove(&self, id: CameraId) {
        self.cameras.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }
}
