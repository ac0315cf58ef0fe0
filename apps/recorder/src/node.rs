//! A running recorder: opens the store, starts the cameras, keeps the books, ends in order.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use keepwatch_model::{
    CameraId, EventCode, GapReason, Span, State, StreamId, Subject, TICKS_PER_SECOND, UnknownReason,
    WallTime, ticks_from_duration,
};
use keepwatch_recording::ledger::{Ledger, Row};
use keepwatch_recording::schedule::Schedule;
use keepwatch_store::{DiskState, EventLog, Recovery, Store, StoreConfig, StoreError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinHandle;

use crate::bookkeeper::Bookkeeper;
use crate::camera::{CameraState, CameraTask, Ending, Registry};
use crate::clock::{Clock, StepWatch};
use crate::config::{CameraConfig, RecorderConfig, RtspConfig};
use crate::events::Events;
use crate::export::EXPORTS_MAX;
use crate::rows;

/// Time between two entries into the books: what the reasons of gaps may be behind after a crash.
const BOOKS_INTERVAL: Duration = Duration::from_secs(1);
/// Longest wait for the last records to reach the disk when the node ends.
const SETTLE_MAX: Duration = Duration::from_secs(10);
/// Time between two looks for footage that has reached the end of its retention.
const RETENTION_INTERVAL: Duration = Duration::from_secs(60);

/// Why a recorder could not start.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The data directory cannot be made.
    #[error("data directory {}: {source}", path.display())]
    Data {
        /// The directory.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Opening the store was interrupted.
    #[error("opening the store was interrupted")]
    Interrupted,
}

/// What applying a changed configuration did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Cameras that were started.
    pub added: Vec<CameraId>,
    /// Cameras that were ended.
    pub removed: Vec<CameraId>,
    /// Cameras that were restarted because something of theirs changed.
    pub changed: Vec<CameraId>,
    /// Settings that differ and take effect when the node starts anew.
    pub needs_restart: Vec<&'static str>,
}

/// A running recorder; cheap to clone.
#[derive(Clone)]
pub struct Node {
    inner: Arc<Inner>,
}

struct Inner {
    clock: Clock,
    started: WallTime,
    store: Store,
    recovery: Recovery,
    cameras: Arc<Registry>,
    events: Arc<Events>,
    bookkeeper: Arc<Bookkeeper>,
    config: Mutex<RecorderConfig>,
    /// Running cameras; the lock is held while one is started or ended, so that changes come one after another.
    tasks: tokio::sync::Mutex<BTreeMap<CameraId, CameraTask>>,
    housekeeping: Mutex<Option<(watch::Sender<bool>, JoinHandle<()>)>>,
    exports: Arc<Semaphore>,
}

impl Node {
    /// Opens the store, takes up the ledgers and starts the cameras.
    ///
    /// # Errors
    /// When the data directory or the store cannot be opened. A disk that is gone is no error while another is
    /// there, and a camera that cannot be reached never is.
    pub async fn start(config: RecorderConfig) -> Result<Self, NodeError> {
        let clock = Clock::new();
        let cameras = Arc::new(Registry::default());
        let (store, recovery, events, bookkeeper) = tokio::task::spawn_blocking({
            let cameras = Arc::clone(&cameras);
            let config = config.clone();
            move || open(&config, clock, cameras)
        })
        .await
        .map_err(|_| NodeError::Interrupted)??;
        let node = Self {
            inner: Arc::new(Inner {
                clock,
                started: clock.wall(),
                store,
                recovery,
                cameras,
                events,
                bookkeeper,
                config: Mutex::new(RecorderConfig { cameras: Vec::new(), ..config.clone() }),
                tasks: tokio::sync::Mutex::default(),
                housekeeping: Mutex::new(None),
                exports: Arc::new(Semaphore::new(EXPORTS_MAX)),
            }),
        };
        node.tell_start();
        let alive = node.inner.store.last_heartbeat()?;
        node.change_cameras(config, alive).await?;
        let (stop, stopped) = watch::channel(false);
        let handle = tokio::spawn(keep_books(Arc::clone(&node.inner), stopped));
        *node.inner.housekeeping.lock().unwrap_or_else(PoisonError::into_inner) = Some((stop, handle));
        Ok(node)
    }

    /// Applies the difference to a changed configuration: a camera that did not change is not touched.
    ///
    /// # Errors
    /// When the index cannot be read; then nothing was changed.
    pub async fn apply(&self, config: RecorderConfig) -> Result<Applied, NodeError> {
        // The recorder runs: a camera that is added again was not missed because it was down.
        let applied = self.change_cameras(config, Some(self.inner.clock.wall())).await?;
        let text = format!(
            "configuration applied: {} cameras added, {} removed, {} changed",
            applied.added.len(),
            applied.removed.len(),
            applied.changed.len()
        );
        self.event(EventCode::ConfigApplied, text);
        Ok(applied)
    }

    /// Enters into the event log that a changed configuration was refused, and why.
    pub fn config_refused(&self, why: &str) {
        self.event(
            EventCode::ConfigRefused,
            format!("the changed configuration was refused, the old one stays: {why}"),
        );
    }

    /// Ends all cameras, brings what they sent to the disk and closes the books.
    pub async fn stop(self) {
        let housekeeping = self.inner.housekeeping.lock().unwrap_or_else(PoisonError::into_inner).take();
        let tasks = std::mem::take(&mut *self.inner.tasks.lock().await);
        // All at once: each may say farewell to its camera.
        let ends: Vec<_> = tasks
            .into_values()
            .map(|task| tokio::spawn(task.stop(Ending::Missing(GapReason::RecorderDown))))
            .collect();
        for end in ends {
            let _ = end.await;
        }
        self.event(EventCode::NodeStopped, "the node was asked to stop".to_owned());
        if let Some((stop, handle)) = housekeeping {
            stop.send_replace(true);
            let _ = handle.await;
        }
        settle(&self.inner.cameras.all()).await;
        let inner = self.inner;
        let _ = tokio::task::spawn_blocking(move || {
            enter_ledgers(&inner);
            inner.store.clone().close();
            inner.events.log().flush();
        })
        .await;
    }

    /// The clocks it decides by.
    pub fn clock(&self) -> Clock {
        self.inner.clock
    }

    /// When it started.
    pub fn started(&self) -> WallTime {
        self.inner.started
    }

    /// The store, to read.
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// What was found when the store was opened.
    pub fn recovery(&self) -> &Recovery {
        &self.inner.recovery
    }

    /// Its name as operators see it.
    pub fn name(&self) -> String {
        self.inner.config().name.clone()
    }

    /// Who may watch over RTSP at the moment, and the addresses the server was started with.
    pub fn rtsp(&self) -> RtspConfig {
        self.inner.config().rtsp.clone()
    }

    /// Its cameras by id.
    pub fn cameras(&self) -> Vec<Arc<CameraState>> {
        self.inner.cameras.all()
    }

    /// One camera; `None` when it is not configured.
    pub fn camera(&self, id: CameraId) -> Option<Arc<CameraState>> {
        self.inner.cameras.find(id)
    }

    /// The event log, to read.
    pub fn event_log(&self) -> &EventLog {
        self.inner.events.log()
    }

    /// The 99th percentile of the time from a frame's label to its being on disk, in milliseconds, since the start.
    pub fn frame_to_disk_p99_ms(&self) -> Option<u64> {
        self.inner.bookkeeper.frame_to_disk_p99_ms()
    }

    /// A place among those that make an export; `None` when all are taken.
    pub(crate) fn export_place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.inner.exports).try_acquire_owned().ok()
    }

    /// Enters an event.
    pub fn add_event(&self, code: EventCode, subject: Subject, text: String) {
        self.inner.events.add(self.inner.clock.wall(), code, subject, text);
    }

    /// What `camera` holds on disks that are not there, configured or not. Reads the index, so it blocks.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn absent(&self, camera: CameraId, window: Span) -> Result<keepwatch_model::SpanSet, StoreError> {
        let present: Vec<_> = self
            .inner
            .store
            .disks()
            .into_iter()
            .filter(|disk| !matches!(disk.state, DiskState::Gone { .. } | DiskState::Foreign { .. }))
            .filter_map(|disk| disk.id)
            .collect();
        // The rows of a long window are many, and mostly no disk is away.
        if self.inner.store.registered_disks()?.iter().all(|disk| present.contains(disk)) {
            return Ok(keepwatch_model::SpanSet::new());
        }
        let rows = self.inner.store.runs(camera, StreamId::MAIN, window)?;
        Ok(rows.into_iter().filter(|row| !present.contains(&row.disk)).map(|row| row.label).collect())
    }

    fn event(&self, code: EventCode, text: String) {
        tracing::info!(%code, "{text}");
        self.add_event(code, Subject::Node, text);
    }

    fn tell_start(&self) {
        self.event(
            EventCode::NodeStarted,
            format!("the node started, version {}", env!("CARGO_PKG_VERSION")),
        );
        let recovery = &self.inner.recovery;
        if !recovery.clean {
            let text = format!(
                "the store had not been closed and was recovered in {} ms: {} records more than the index knew, {} bytes of unfinished records dropped",
                recovery.elapsed.as_millis(),
                recovery.records_recovered,
                recovery.truncated_bytes
            );
            self.event(EventCode::StoreRecovered, text);
        }
    }

    /// Applies the difference; `alive` is when a recorder is known to have run last.
    async fn change_cameras(
        &self,
        config: RecorderConfig,
        alive: Option<WallTime>,
    ) -> Result<Applied, NodeError> {
        let inner = &self.inner;
        let mut tasks = inner.tasks.lock().await;
        let old = inner.config().clone();
        let wanted: BTreeMap<CameraId, CameraConfig> =
            config.cameras.iter().map(|camera| (camera.id, effective(camera, &config))).collect();
        let running: BTreeMap<CameraId, CameraConfig> =
            old.cameras.iter().map(|camera| (camera.id, effective(camera, &old))).collect();
        let added: Vec<CameraId> = wanted.keys().filter(|id| !running.contains_key(id)).copied().collect();
        let mut ledgers =
            self.take_up(added.iter().filter_map(|id| wanted.get(id).cloned()).collect(), alive).await?;

        let mut applied =
            Applied { added, needs_restart: needs_restart(&old, &config), ..Applied::default() };
        for (id, before) in &running {
            match wanted.get(id) {
                Some(after) if after == before => {}
                Some(after) => {
                    let Some(camera) = inner.cameras.find(*id) else { continue };
                    camera.configure(after.clone());
                    // A name or a retention time concerns no session: the camera is not touched.
                    if needs_session(before, after) {
                        if let Some(task) = tasks.remove(id) {
                            task.stop(Ending::Missing(GapReason::ConnectionLost)).await;
                        }
                        settle(std::slice::from_ref(&camera)).await;
                        tasks.insert(*id, inner.start_camera(camera));
                        applied.changed.push(*id);
                    }
                }
                None => {
                    if let Some(task) = tasks.remove(id) {
                        task.stop(Ending::Unscheduled).await;
                    }
                    if let Some(camera) = inner.cameras.find(*id) {
                        settle(&[camera]).await;
                    }
                    applied.removed.push(*id);
                }
            }
        }
        if !applied.removed.is_empty() {
            // The last words of a camera that goes are entered while it is still known.
            let books = Arc::clone(inner);
            let _ = tokio::task::spawn_blocking(move || enter_ledgers(&books)).await;
        }
        for id in &applied.removed {
            inner.cameras.remove(*id);
        }
        for (id, camera) in wanted.into_iter().filter(|(id, _)| applied.added.contains(id)) {
            let ledger = ledgers.remove(&id).unwrap_or_default();
            let camera = Arc::new(CameraState::new(camera, ledger, inner.clock.wall()));
            inner.cameras.insert(Arc::clone(&camera));
            tasks.insert(id, inner.start_camera(camera));
        }
        // What needs a restart is not in force, and is compared with again at the next change.
        *inner.config.lock().unwrap_or_else(PoisonError::into_inner) = RecorderConfig {
            cameras: config.cameras,
            retention: config.retention,
            rtsp: RtspConfig { users: config.rtsp.users, ..old.rtsp },
            ..old
        };
        Ok(applied)
    }

    /// The ledgers that this recorder left behind of `cameras`.
    async fn take_up(
        &self,
        cameras: Vec<CameraConfig>,
        alive: Option<WallTime>,
    ) -> Result<BTreeMap<CameraId, Ledger>, NodeError> {
        if cameras.is_empty() {
            return Ok(BTreeMap::new());
        }
        let inner = Arc::clone(&self.inner);
        let ledgers = tokio::task::spawn_blocking(move || inner.read_ledgers(&cameras, alive));
        Ok(ledgers.await.map_err(|_| NodeError::Interrupted)??)
    }
}

impl Inner {
    fn config(&self) -> std::sync::MutexGuard<'_, RecorderConfig> {
        self.config.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start_camera(&self, camera: Arc<CameraState>) -> CameraTask {
        CameraTask::start(camera, Arc::clone(&self.events), self.clock, self.store.clone())
    }

    fn read_ledgers(
        &self,
        cameras: &[CameraConfig],
        alive: Option<WallTime>,
    ) -> Result<BTreeMap<CameraId, Ledger>, StoreError> {
        let mut stored: BTreeMap<CameraId, Vec<_>> = BTreeMap::new();
        for row in self.store.ledger_load()? {
            stored.entry(row.camera).or_default().extend(rows::from_stored(&row, self.store.role()));
        }
        let mut ledgers = BTreeMap::new();
        for camera in cameras {
            let rows = stored.remove(&camera.id).unwrap_or_default();
            // What was stored is settled up to its last step, or to where frames were on their way; only what came later
            // must be asked of the disks.
            let on_its_way = |row: &&Row| row.state == State::Unknown { reason: UnknownReason::NotYet };
            let from = rows.iter().find(on_its_way).or(rows.last()).map_or(WallTime::MIN, |row| row.from);
            let window = Span { from, to: WallTime::MAX };
            let mut held = Vec::new();
            for stretch in self.store.held(camera.id, StreamId::MAIN, window)? {
                let gap = stretch.gap_before.filter(|_| rows.is_empty());
                held.extend(gap.and_then(|gap| {
                    Some((Span::new(gap.from, stretch.span.from)?, State::Gap { reason: gap.reason }))
                }));
                let state = State::Held {
                    origin: stretch.origin,
                    recorder: stretch.recorder,
                    replaces: stretch.replaces,
                };
                held.push((stretch.span, state));
            }
            let schedule =
                Schedule::new(camera.schedule.iter().map(|span| (span.from_minute, span.to_minute)));
            let mut ledger = Ledger::restore(rows, held, alive, self.clock.wall(), &schedule);
            for (id, stream, span) in &self.recovery.vanished {
                if (*id, *stream) == (camera.id, StreamId::MAIN) {
                    // As the bookkeeper does while the node runs: without a retention time, space is the retention.
                    let oldest =
                        camera.retention.map(|age| self.clock.wall().plus(-ticks_from_duration(age)));
                    let early = oldest.is_some_and(|oldest| span.to > oldest);
                    let gap = State::Gap { reason: GapReason::Overwritten };
                    ledger.overwritten(*span, if early { gap } else { State::Expired });
                }
            }
            ledgers.insert(camera.id, ledger);
        }
        Ok(ledgers)
    }
}

type OpenedStore = (Store, Recovery, Arc<Events>, Arc<Bookkeeper>);

fn open(config: &RecorderConfig, clock: Clock, cameras: Arc<Registry>) -> Result<OpenedStore, NodeError> {
    std::fs::create_dir_all(&config.data)
        .map_err(|source| NodeError::Data { path: config.data.clone(), source })?;
    let events = Arc::new(Events::new(EventLog::open(&config.data)?));
    let bookkeeper = Arc::new(Bookkeeper::new(clock, cameras, Arc::clone(&events)));
    let disks = config
        .disks
        .iter()
        .map(|disk| keepwatch_store::DiskConfig {
            adopt_foreign: disk.take_over,
            ..keepwatch_store::DiskConfig::new(&disk.path, disk.size_bytes)
        })
        .collect();
    let store_config =
        StoreConfig { buffer_bytes_max: config.buffer_bytes_max, ..StoreConfig::new(&config.data, disks) };
    let (store, recovery) = Store::open(store_config, Arc::clone(&bookkeeper) as _)?;
    Ok((store, recovery, events, bookkeeper))
}

/// Waits until what the ended tasks of `cameras` queued is on disk or lost. A disk that hangs must not hold up more;
/// what it has not taken is found missing at the next start.
async fn settle(cameras: &[Arc<CameraState>]) {
    let settled = async {
        for camera in cameras {
            while camera.pending() > 0 {
                camera.progressed().await;
            }
        }
    };
    if tokio::time::timeout(SETTLE_MAX, settled).await.is_err() {
        tracing::warn!("records still wait for their disk");
    }
}

/// Whether a session under one configuration is none under the other.
fn needs_session(before: &CameraConfig, after: &CameraConfig) -> bool {
    let session =
        |camera: &CameraConfig| CameraConfig { name: String::new(), retention: None, ..camera.clone() };
    session(before) != session(after)
}

/// A camera's configuration with the recorder's retention where it has none of its own.
fn effective(camera: &CameraConfig, config: &RecorderConfig) -> CameraConfig {
    CameraConfig { retention: camera.retention.or(config.retention), ..camera.clone() }
}

fn needs_restart(old: &RecorderConfig, new: &RecorderConfig) -> Vec<&'static str> {
    [
        ("name", old.name != new.name),
        ("data", old.data != new.data),
        ("disk", old.disks != new.disks),
        ("buffer", old.buffer_bytes_max != new.buffer_bytes_max),
        ("rtsp_listen", old.rtsp.listen != new.rtsp.listen),
        ("rtsps_listen", old.rtsp.listen_tls != new.rtsp.listen_tls),
    ]
    .into_iter()
    .filter_map(|(name, differs)| differs.then_some(name))
    .collect()
}

/// Enters ledgers and heartbeat every second, expires footage, watches the wall clock.
async fn keep_books(inner: Arc<Inner>, mut stopped: watch::Receiver<bool>) {
    let mut steps = StepWatch::new();
    let mut retention_at = inner.clock.mono();
    loop {
        tokio::select! {
            _ = stopped.changed() => return,
            () = tokio::time::sleep(BOOKS_INTERVAL) => {}
        }
        let now = inner.clock.mono();
        if let Some(ticks) = steps.look(now, inner.clock.wall()) {
            let seconds = ticks / TICKS_PER_SECOND;
            let text = format!(
                "the recorder's clock was set by {seconds} s; footage already recorded keeps its times"
            );
            inner.events.add(inner.clock.wall(), EventCode::ClockStepped, Subject::Node, text);
        }
        let expire = now >= retention_at;
        if expire {
            retention_at = now + RETENTION_INTERVAL;
        }
        let books = Arc::clone(&inner);
        let entered = tokio::task::spawn_blocking(move || {
            if expire {
                expire_footage(&books);
            }
            enter_ledgers(&books);
        });
        if let Err(error) = entered.await {
            tracing::error!(%error, "keeping the books failed");
        }
    }
}

fn expire_footage(inner: &Inner) {
    for camera in inner.cameras.all() {
        if let Some(retention) = camera.config().retention {
            let before = inner.clock.wall().plus(-ticks_from_duration(retention));
            // What is really deleted is heard through the bookkeeper: protected footage stays held.
            inner.store.expire(camera.id, before);
        }
    }
}

fn enter_ledgers(inner: &Inner) {
    for camera in inner.cameras.all() {
        let changed = camera.ledger().changed_rows();
        let Some((from, rows)) = changed else { continue };
        let rows: Vec<_> = rows.iter().map(|row| rows::to_stored(camera.id, row)).collect();
        if let Err(error) = inner.store.ledger_replace(camera.id, from, &rows) {
            // Entered again with the next change; the footage itself does not depend on it.
            tracing::error!(camera = %camera.id, %error, "ledger not stored");
            camera.ledger().touched(from);
        }
    }
    if let Err(error) = inner.store.heartbeat(inner.clock.wall()) {
        tracing::error!(%error, "heartbeat not stored");
    }
}
