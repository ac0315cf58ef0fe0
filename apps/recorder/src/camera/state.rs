//! What everyone may know of a camera, and all cameras by id.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use keepwatch_model::{CameraId, RoleId, StreamId, WallTime};
use keepwatch_recording::ledger::Ledger;
use keepwatch_recording::offset::OffsetWatch;

use super::alarm::{AlarmView, Alarms, RaiseError};
use super::context::Context;
use super::guest::GuestOf;
use super::listen::Listening;
use super::locate::Locator;
use super::snapshot::{Snapshot, Snapshots};
use super::stream::{StreamState, clock_offset_event};
use crate::clock::Clock;
use crate::config::CameraConfig;

/// What an ONVIF camera said of itself.
#[derive(Debug, Default)]
struct DeviceStatus {
    clock_offset_ticks: Option<i64>,
    offset_watch: OffsetWatch,
    listening: Option<Listening>,
}

/// One camera as everyone sees it. Whether it is recorded is said of its main stream; a sub stream stands beside it.
#[derive(Debug)]
pub struct CameraState {
    /// Its id.
    pub id: CameraId,
    config: RwLock<Arc<CameraConfig>>,
    /// The recorder that it belongs to; `None` for this one.
    guest: Option<GuestOf>,
    main: Arc<StreamState>,
    /// Where its streams are, if it says so itself.
    locator: Locator,
    snapshots: Snapshots,
    device: Mutex<DeviceStatus>,
    /// Set once it is recorded or something of it is held, and kept from then on.
    sub: OnceLock<Arc<StreamState>>,
}

impl CameraState {
    pub(crate) fn new(config: CameraConfig, main: Ledger, now: WallTime) -> Self {
        Self::of(None, config, main, now)
    }

    /// A camera of another recorder, or of this one.
    pub(crate) fn of(guest: Option<GuestOf>, config: CameraConfig, main: Ledger, now: WallTime) -> Self {
        let stream = StreamState::new(config.id, StreamId::MAIN, main, now).standing_in(guest.clone());
        Self {
            id: config.id,
            guest,
            main: Arc::new(stream),
            locator: Locator::default(),
            snapshots: Snapshots::default(),
            device: Mutex::default(),
            sub: OnceLock::new(),
            config: RwLock::new(Arc::new(config)),
        }
    }

    /// The recorder in whose place it is recorded, and its id there; `None` for a camera of this recorder.
    pub fn guest_of(&self) -> Option<(RoleId, CameraId)> {
        self.guest.as_ref().map(|guest| (guest.role, guest.camera))
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

    /// Whether its footage only waits in memory.
    pub fn is_buffered(&self) -> bool {
        self.main.is_buffered()
    }

    pub(super) fn alarms(&self) -> &Alarms {
        self.main.alarms()
    }

    /// How its alarms stand; `None` when it is recorded all the time.
    pub fn alarm_view(&self) -> Option<AlarmView> {
        self.alarms().view()
    }

    /// Raises an alarm that lasts so long, zero for a moment; `words` say who does and why.
    ///
    /// # Errors
    /// When an alarm would change nothing, or none is taken from outside.
    pub fn raise_alarm(&self, clock: Clock, words: String, lasts: Duration) -> Result<(), RaiseError> {
        self.alarms().raise(clock, words, lasts)
    }

    pub(crate) fn locator(&self) -> &Locator {
        &self.locator
    }

    /// The picture that it makes itself, or why there is none; `None` when it is not known to make any.
    pub(crate) async fn snapshot(
        &self,
        now: impl Fn() -> WallTime + Send + 'static,
    ) -> Option<Result<Snapshot, String>> {
        let config = self.config();
        let place = self.locator.snapshot(&config)?;
        Some(self.snapshots.take(&config, place, now).await)
    }

    /// How far its clock is ahead of the recorder's, in 90 kHz ticks: by the sender reports of its main stream, else as
    /// ONVIF tells it. `None` when neither does.
    pub fn clock_offset_ticks(&self) -> Option<i64> {
        self.main.clock_offset_ticks().or_else(|| self.device().clock_offset_ticks)
    }

    /// Whether its events are heard at its pull point; `None` when nobody listens there.
    pub fn listening(&self) -> Option<Listening> {
        self.device().listening.clone()
    }

    pub(crate) fn set_listening(&self, listening: impl Into<Option<Listening>>) {
        self.device().listening = listening.into();
    }

    /// ONVIF told how far its clock is ahead; an event where its sender reports do not tell, too.
    pub(crate) fn clock_told(&self, context: &Context, ticks: Option<i64>) {
        let Some(ticks) = ticks else { return };
        let change = {
            let mut device = self.device();
            device.clock_offset_ticks = Some(ticks);
            device.offset_watch.look(ticks)
        };
        if let (Some(change), None) = (change, self.main.clock_offset_ticks()) {
            let (code, text) = clock_offset_event(change);
            context.tell(&self.main, context.clock.wall(), code, text);
        }
    }

    fn device(&self) -> MutexGuard<'_, DeviceStatus> {
        self.device.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its sub stream, with this ledger if it is not known yet.
    pub(crate) fn take_up_sub(&self, ledger: Ledger, now: WallTime) -> &Arc<StreamState> {
        self.sub.get_or_init(|| {
            let stream = StreamState::new(self.id, StreamId::SUB, ledger, now);
            Arc::new(stream.standing_in(self.guest.clone()))
        })
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
