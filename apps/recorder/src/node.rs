//! A running recorder: opens the store, starts the cameras, keeps the books, ends in order.

mod books;
mod difference;
mod edit;
mod guests;
mod ledgers;
mod open;
mod others;
mod shown;
mod signing;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use keepwatch_media::fingerprint::Fingerprint;
use keepwatch_model::{CameraId, EventCode, GapReason, StreamId, Subject, WallTime};
use keepwatch_recording::ledger::Ledger;
use keepwatch_store::{EventLog, Recovery, Store, StoreError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};

pub(crate) use self::books::settle;
use self::books::{enter_ledgers, keep_books};
use self::difference::{all_cameras, list, needs_restart};
pub(crate) use self::edit::Configured;
use self::ledgers::Whose;
use self::open::open;
use self::shown::ShownCameras;
use self::signing::Signing;
use crate::api::Feed;
use crate::bookkeeper::Bookkeeper;
use crate::camera::{CameraState, CameraTask, Context, Ending, Registry};
use crate::certificate::Certificate;
use crate::clock::Clock;
use crate::config::{CameraConfig, RecorderConfig, RtspConfig};
use crate::export::EXPORTS_MAX;
use crate::given_up::GivenUp;
use crate::guests::Guests;
use crate::jobs::Jobs;
use crate::peers::Peers;
use crate::picture::Desk;
use crate::replenish::{self, Replenishing};
use crate::scan::FoundCameras;
use crate::searches::Searches;
use crate::serve::{self, Access, READS_MAX, Servers, Serving};
use crate::settings::{Book, Changing, Edited};
use crate::watch::Watch;

/// Cameras that are tried at a time: a person adds them one after another.
const PROBES_MAX: usize = 4;

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
    /// Cameras of the configuration file have the ids of cameras that are edited in the console.
    #[error(
        "the configuration file and {} both have a camera {}; rename it in the file, or remove it in the console",
        database.display(),
        list(cameras)
    )]
    CameraTwice {
        /// The ids.
        cameras: Vec<CameraId>,
        /// The database of the settings.
        database: std::path::PathBuf,
    },
    /// Cameras of the configuration file have the ids of guests.
    #[error(
        "this standby records cameras of other recorders as {}; rename those of the configuration file",
        list(.0)
    )]
    CameraOfGuest(Vec<CameraId>),
    /// Reading the store, or applying a changed configuration, was interrupted.
    #[error("opening the store or changing the cameras was interrupted")]
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

/// What a change did to a camera.
enum Change {
    /// It goes on; `touched` says whether a stream of it was restarted.
    Goes { id: CameraId, task: CameraTask, touched: bool },
    /// It is ended.
    Gone(CameraId),
}

/// A running recorder; cheap to clone.
#[derive(Clone)]
pub struct Node {
    inner: Arc<Inner>,
}

struct Inner {
    context: Context,
    /// What is shown over TLS.
    certificate: Arc<Certificate>,
    started: WallTime,
    recovery: Recovery,
    cameras: Arc<Registry>,
    bookkeeper: Arc<Bookkeeper>,
    /// Without the cameras that are edited in the console.
    config: Mutex<RecorderConfig>,
    /// What is edited in the console.
    book: Arc<Book>,
    /// Running cameras; the lock is held while one is started or ended, so that changes come one after another.
    tasks: tokio::sync::Mutex<BTreeMap<CameraId, CameraTask>>,
    /// Cameras of other recorders.
    guests: Guests,
    /// Cameras of read-only disks.
    shown: ShownCameras,
    housekeeping: Mutex<Option<(watch::Sender<bool>, JoinHandle<()>)>>,
    exports: Arc<Semaphore>,
    reads: Arc<Semaphore>,
    watch: Arc<Watch>,
    jobs: Jobs,
    pictures: Desk,
    signing: Signing,
    peers: Peers,
    replenishing: Replenishing,
    access: watch::Sender<Arc<Access>>,
    scans: Searches<FoundCameras>,
    probes: Arc<Semaphore>,
    feed: Feed,
    /// The RTSP server; `None` before the start and after the end.
    servers: Mutex<Option<Servers>>,
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
        let (store, recovery, events, bookkeeper, book, peers) = tokio::task::spawn_blocking({
            let cameras = Arc::clone(&cameras);
            let config = config.clone();
            move || open(&config, clock, cameras)
        })
        .await
        .map_err(|_| NodeError::Interrupted)??;
        let reads = Arc::new(Semaphore::new(READS_MAX));
        let jobs = Jobs::open(&config.data, config.exports_bytes_max, clock.wall());
        let node = Self {
            inner: Arc::new(Inner {
                started: clock.wall(),
                watch: Arc::new(Watch::new(&store, &reads)),
                certificate: Arc::new(Certificate::new(
                    config.rtsp.tls.clone(),
                    config.data.clone(),
                    config.name.clone(),
                    move || clock.wall(),
                    Arc::clone(&events),
                )),
                context: Context { clock, store, events },
                recovery,
                cameras,
                bookkeeper,
                book: Arc::new(book),
                config: Mutex::new(RecorderConfig { cameras: Vec::new(), ..config.clone() }),
                tasks: tokio::sync::Mutex::default(),
                guests: Guests::default(),
                shown: ShownCameras::default(),
                housekeeping: Mutex::new(None),
                exports: Arc::new(Semaphore::new(EXPORTS_MAX)),
                reads,
                jobs,
                pictures: Desk::new(),
                signing: Signing::new(config.data.clone()),
                peers,
                replenishing: Replenishing::default(),
                access: watch::Sender::default(),
                scans: Searches::default(),
                probes: Arc::new(Semaphore::new(PROBES_MAX)),
                feed: Feed::default(),
                servers: Mutex::default(),
            }),
        };
        node.tell_start();
        node.tell_peers();
        // Nobody waits for it: until it is open its fingerprint is told as not known.
        drop(tokio::task::spawn_blocking({
            let node = node.clone();
            move || node.open_signing_key()
        }));
        let alive = node.inner.context.store.last_heartbeat()?;
        let _ = node.inner.guests.alive.set(alive);
        let edited = (*node.inner.book.edited()).clone();
        node.tell_settings(None, &edited);
        node.inner.book.set(Edited::default());
        node.change_cameras(config, edited, alive).await?;
        node.inner.serve();
        let (stop, stopped) = watch::channel(false);
        let inner = Arc::clone(&node.inner);
        let handle = tokio::spawn(async move {
            let certificate = inner.certificate.keep_current(stopped.clone());
            let filling = replenish::run(Self { inner: Arc::clone(&inner) }, stopped.clone());
            let showing = shown::keep_shown(Arc::clone(&inner), stopped.clone());
            tokio::join!(keep_books(Arc::clone(&inner), stopped), certificate, filling, showing);
        });
        *node.inner.housekeeping.lock().unwrap_or_else(PoisonError::into_inner) = Some((stop, handle));
        Ok(node)
    }

    /// Applies the difference to a changed configuration: a camera that did not change is not touched. Once begun it is
    /// brought to its end, also when nobody waits for it any more; [`stop`](Self::stop) waits.
    ///
    /// # Errors
    /// When the index cannot be read, or a camera is both in the file and edited in the console; then nothing was changed.
    pub async fn apply(&self, config: RecorderConfig) -> Result<Applied, NodeError> {
        let node = self.clone();
        let applied = tokio::spawn(async move { node.change_and_tell(config).await });
        applied.await.map_err(|_| NodeError::Interrupted)?
    }

    async fn change_and_tell(&self, config: RecorderConfig) -> Result<Applied, NodeError> {
        let book = Arc::clone(&self.inner.book);
        let changing = book.changing.lock().await;
        if *changing == Changing::Closed {
            return Err(NodeError::Interrupted);
        }
        let edited = self.read_settings(&config).await?;
        // The recorder runs: a camera that is added again was not missed because it was down.
        let applied = self.change_cameras(config, edited, Some(self.inner.context.clock.wall())).await?;
        let text = format!(
            "configuration applied: {} cameras added, {} removed, {} changed",
            applied.added.len(),
            applied.removed.len(),
            applied.changed.len()
        );
        self.event(EventCode::ConfigApplied, text);
        self.inner.certificate.take_up().await;
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
        drop(self.inner.servers().take());
        self.inner.watch.close();
        // A change that has begun is waited for; none begins from here on.
        *self.inner.book.changing.lock().await = Changing::Closed;
        self.inner.jobs.stop(self.inner.context.clock.wall()).await;
        let tasks = std::mem::take(&mut *self.inner.tasks.lock().await);
        // All at once: each may say farewell to its camera.
        let ends: Vec<_> = tasks
            .into_values()
            .map(|task| tokio::spawn(task.stop(Ending::Missing(GapReason::RecorderDown))))
            .collect();
        self.end_guests().await;
        for end in ends {
            let _ = end.await;
        }
        self.event(EventCode::NodeStopped, "the node was asked to stop".to_owned());
        if let Some((stop, handle)) = housekeeping {
            stop.send_replace(true);
            let _ = handle.await;
        }
        settle(&self.inner.cameras.streams()).await;
        let inner = self.inner;
        let _ = tokio::task::spawn_blocking(move || {
            enter_ledgers(&inner);
            inner.context.store.clone().close();
            inner.context.events.log().flush();
        })
        .await;
    }

    /// The clocks it decides by.
    pub fn clock(&self) -> Clock {
        self.inner.context.clock
    }

    /// When it started.
    pub fn started(&self) -> WallTime {
        self.inner.started
    }

    /// The store, to read.
    pub fn store(&self) -> &Store {
        &self.inner.context.store
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

    /// Where it can be watched over RTSP.
    pub fn serving(&self) -> Serving {
        self.inner.servers().as_ref().map(Servers::serving).unwrap_or_default()
    }

    /// What it shows over TLS: the operator's certificate, or its own, which is made where there is none. It is kept up to
    /// date while the node runs.
    ///
    /// # Errors
    /// When the files cannot be read, do not belong together, or cannot be made.
    pub async fn identity(&self) -> Result<keepwatch_tls::CurrentIdentity, keepwatch_tls::IdentityError> {
        self.inner.certificate.open().await
    }

    /// By what clients know its certificate; `None` until it was opened.
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.inner.certificate.fingerprint()
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
        self.inner.context.events.log()
    }

    /// The 99th percentile of the time from a frame's label to its being on disk, in milliseconds, since the start.
    pub fn frame_to_disk_p99_ms(&self) -> Option<u64> {
        self.inner.bookkeeper.frame_to_disk_p99_ms()
    }

    /// What the store had to give up.
    pub(crate) fn given_up(&self) -> &GivenUp {
        self.inner.bookkeeper.given_up()
    }

    /// A place among those that make an export; `None` when all are taken.
    pub(crate) fn export_place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.inner.exports).try_acquire_owned().ok()
    }

    /// What all who watch over HTTP share.
    pub(crate) fn watch(&self) -> &Arc<Watch> {
        &self.inner.watch
    }

    /// A place among those that read records to show footage, when it is free; recording comes first.
    pub async fn read_place(&self) -> Option<OwnedSemaphorePermit> {
        // It is never closed.
        Arc::clone(&self.inner.reads).acquire_owned().await.ok()
    }

    /// Exports that are made in the background.
    pub(crate) fn jobs(&self) -> &Jobs {
        &self.inner.jobs
    }

    /// Where single pictures are made.
    pub(crate) fn pictures(&self) -> &Desk {
        &self.inner.pictures
    }

    /// Enters an event.
    pub fn add_event(&self, code: EventCode, subject: Subject, text: String) {
        self.inner.context.events.add(self.inner.context.clock.wall(), code, subject, text);
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
        edited: Edited,
        alive: Option<WallTime>,
    ) -> Result<Applied, NodeError> {
        let inner = &self.inner;
        let mut tasks = inner.tasks.lock().await;
        let (old, old_edited) = (inner.config().clone(), inner.book.edited());
        let wanted = all_cameras(&config, &edited);
        let running = all_cameras(&old, &old_edited);
        let added: Vec<CameraId> = wanted.keys().filter(|id| !running.contains_key(id)).copied().collect();
        // Sub streams that are wanted and were not known until now need their ledgers, too.
        let fresh = |id: &&CameraId| {
            let known = inner.cameras.find(**id).is_some_and(|camera| camera.stream(StreamId::SUB).is_some());
            wanted.get(*id).is_some_and(|camera| camera.source.has_sub()) && !known
        };
        let to_take_up: Vec<CameraConfig> = wanted
            .keys()
            .filter(|id| added.contains(id) || fresh(id))
            .filter_map(|id| wanted.get(id).cloned())
            .collect();
        let mut ledgers = self.take_up(to_take_up, alive).await?;

        let mut applied =
            Applied { added, needs_restart: needs_restart(&old, &config), ..Applied::default() };
        // All at once: each may say farewell to its camera, and wait for its disk.
        let mut changes = JoinSet::new();
        for (id, before) in running {
            let Some(camera) = inner.cameras.find(id) else { continue };
            match wanted.get(&id) {
                Some(after) if *after == before => {}
                Some(after) => {
                    camera.configure(after.clone());
                    if let Some(ledger) = ledgers.remove(&(id, StreamId::SUB)) {
                        camera.take_up_sub(ledger, inner.context.clock.wall());
                    }
                    let Some(task) = tasks.remove(&id) else { continue };
                    let context = inner.context.clone();
                    changes.spawn(async move {
                        let (task, touched) = task.change(&context, &camera, &before).await;
                        // A sub stream that is wanted again a moment later begins behind all that was recorded of it.
                        let ended = camera.stream(StreamId::SUB).filter(|_| !camera.wants(StreamId::SUB));
                        if let (Some(sub), true) = (ended, touched) {
                            settle(std::slice::from_ref(sub)).await;
                        }
                        Change::Goes { id, task, touched }
                    });
                }
                None => {
                    let task = tasks.remove(&id);
                    changes.spawn(async move {
                        if let Some(task) = task {
                            task.stop(Ending::Unscheduled).await;
                        }
                        settle(&camera.streams().cloned().collect::<Vec<_>>()).await;
                        Change::Gone(id)
                    });
                }
            }
        }
        while let Some(change) = changes.join_next().await {
            match change {
                Ok(Change::Goes { id, task, touched }) => {
                    tasks.insert(id, task);
                    applied.changed.extend(touched.then_some(id));
                }
                Ok(Change::Gone(id)) => applied.removed.push(id),
                Err(error) => tracing::error!(%error, "the change of a camera ended badly"),
            }
        }
        // In the order of their names, not in that of their farewells.
        applied.changed.sort_unstable();
        applied.removed.sort_unstable();
        if !applied.removed.is_empty() {
            // The last words of a camera that goes are entered while it is still known.
            let books = Arc::clone(inner);
            let _ = tokio::task::spawn_blocking(move || enter_ledgers(&books)).await;
        }
        for id in &applied.removed {
            inner.cameras.remove(*id);
        }
        for (id, camera) in wanted.into_iter().filter(|(id, _)| applied.added.contains(id)) {
            let now = inner.context.clock.wall();
            let main = ledgers.remove(&(id, StreamId::MAIN)).unwrap_or_default();
            let camera = Arc::new(CameraState::new(camera, main, now));
            if let Some(sub) = ledgers.remove(&(id, StreamId::SUB)) {
                camera.take_up_sub(sub, now);
            }
            inner.cameras.insert(Arc::clone(&camera));
            tasks.insert(id, CameraTask::start(&inner.context, &camera));
        }
        // What needs a restart is not in force, and is compared with again at the next change.
        *inner.config.lock().unwrap_or_else(PoisonError::into_inner) = RecorderConfig {
            cameras: config.cameras,
            retention: config.retention,
            rtsp: RtspConfig { users: config.rtsp.users, ..old.rtsp },
            ..old
        };
        inner.book.set(edited);
        inner.refresh_guests();
        inner.tell_access();
        inner.learn_tracks();
        Ok(applied)
    }

    /// The ledgers that this recorder left behind of the streams of `cameras`.
    async fn take_up(
        &self,
        cameras: Vec<CameraConfig>,
        alive: Option<WallTime>,
    ) -> Result<BTreeMap<(CameraId, StreamId), Ledger>, NodeError> {
        if cameras.is_empty() {
            return Ok(BTreeMap::new());
        }
        let inner = Arc::clone(&self.inner);
        let ledgers = tokio::task::spawn_blocking(move || ledgers::read(&inner, &cameras, alive, Whose::Own));
        Ok(ledgers.await.map_err(|_| NodeError::Interrupted)??)
    }
}

impl Inner {
    /// Starts the RTSP server.
    fn serve(&self) {
        let config = self.config().clone();
        let shared = serve::Shared {
            store: self.context.store.clone(),
            clock: self.context.clock,
            cameras: Arc::clone(&self.cameras),
            access: self.access.subscribe(),
            certificate: Arc::clone(&self.certificate),
            reads: Arc::clone(&self.reads),
        };
        *self.servers() = Some(Servers::start(&shared, &config.rtsp));
    }

    fn servers(&self) -> std::sync::MutexGuard<'_, Option<Servers>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn config(&self) -> std::sync::MutexGuard<'_, RecorderConfig> {
        self.config.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
