//! The standby role: a node that watches other recorders and records in the place of one that does not.
//!
//! [`keepwatch_recording::failover`] decides; this is its shell. One task owns the machine (`driver`), each primary has two
//! kept connections of its own (`lines`), so that no check waits for another, and the recorder beside it records the
//! cameras of primaries as guests of its own. What must outlive a restart is kept in `standby.db`.

pub mod api;
mod backups;
mod claims;
mod config;
mod coordination;
mod driver;
mod former;
mod lines;
mod lists;
mod neighbours;
mod replace;
mod report;
mod scans;
mod setup;
mod world;

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use keepwatch_cluster::{Database, DatabaseError};
use keepwatch_model::{EventCode, RoleId, Subject};
use keepwatch_recorder::Node;
use keepwatch_recorder::peers::ScanWish;
use keepwatch_recording::failover::{Command, Event, Refusal, Setup};
use keepwatch_recording::peer::{Hello, NodePublic, own_version};
use keepwatch_settings::standby::{BackupLine, BookError, FormerRow, PrimaryRow, StandbyBook};
use keepwatch_settings::{Key, KeyError};
use keepwatch_tls::NodeKey;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

pub use crate::config::StandbyConfig;
pub use crate::coordination::node_routes;
pub use crate::driver::{DrillRefusal, Drilled};
pub use crate::lists::{Cover, Lists, Monitored};

use crate::backups::{Fetched, Keeper};
use crate::claims::Claims;
use crate::coordination::{Coordination, holder_of};
use crate::driver::{Change, Driver, INPUTS_MAX, Input, Tools, Writing};
use crate::neighbours::{Beside, Neighbours};
use crate::report::Report;
use crate::scans::{ScanState, Scans};
use crate::setup::SetupBook;
use crate::world::{Lines, Recorder, RegisterRefusal, RegisterWish};

/// Why a standby cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// What it keeps cannot be read.
    #[error(transparent)]
    Book(#[from] BookError),
    /// The coordination cannot be read.
    #[error(transparent)]
    Coordination(#[from] DatabaseError),
    /// The node has no identity for other nodes.
    #[error("the standby cannot speak to other nodes: {0}")]
    Neighbours(String),
    /// Reading was interrupted.
    #[error("the start of the standby was interrupted")]
    Interrupted,
}

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum StandbyError {
    /// The state of things does not allow it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// No drill begins.
    #[error(transparent)]
    Drill(#[from] DrillRefusal),
    /// It cannot be kept.
    #[error(transparent)]
    Book(#[from] BookError),
    /// The node ends.
    #[error("the node ends")]
    Ending,
}

/// A running standby; cheap to clone.
#[derive(Clone)]
pub struct Standby {
    inner: Arc<Inner>,
}

struct Inner {
    book: StandbyBook,
    setup: SetupBook,
    node: Node,
    role: RoleId,
    coordination: Coordination,
    lines: Arc<dyn Lines>,
    key: Arc<NodeKey>,
    scans: Scans,
    port: Arc<AtomicU16>,
    inputs: mpsc::Sender<Input>,
    lists: watch::Receiver<Arc<Lists>>,
    /// A recorder was replaced.
    replaced: Notify,
    stop: watch::Sender<bool>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl fmt::Debug for Standby {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Standby").field("role", &self.inner.role).finish_non_exhaustive()
    }
}

/// What is read before the first decision.
struct Opened {
    book: StandbyBook,
    coord: Database,
    primaries: Vec<Known>,
    last_report: u64,
    setup: (SetupBook, Setup, bool),
}

/// A primary as it was kept.
struct Known {
    row: PrimaryRow,
    /// Its last backup, or why that cannot be used.
    last: Result<Option<Fetched>, String>,
    /// That of the failover that ran.
    report: Option<Report>,
}

impl Standby {
    /// Starts the standby beside `node`, and goes on with the failovers that ran when it ended.
    ///
    /// # Errors
    /// When what it keeps cannot be read; recording does not depend on it.
    pub async fn start(node: Node, config: StandbyConfig) -> Result<Self, StartError> {
        let beside: Arc<dyn Recorder> = Arc::new(Beside::new(node.clone()));
        node.set_prebuffer_bytes_max(config.prebuffer_bytes_max);
        let clock = node.clock();
        let data = node.data();
        let opened = {
            let beside = Arc::clone(&beside);
            tokio::task::spawn_blocking(move || {
                let key = key(&data).map_err(BookError::from)?;
                let book = StandbyBook::open(&data, key)?;
                let keeper = Keeper::new(book.clone(), beside, move || clock.wall());
                let coord = Database::open(&data)?;
                let setup = SetupBook::open(book.clone(), config.setup)?;
                let mut primaries = Vec::new();
                for row in book.primaries()? {
                    let (last, report) = (keeper.last(row.role), report_of(&book, &row)?);
                    primaries.push(Known { row, last, report });
                }
                let last_report = book.last_report()?;
                Ok::<_, StartError>(Opened { book, coord, primaries, last_report, setup })
            })
        };
        let opened = opened.await.map_err(|_| StartError::Interrupted)??;
        let Opened { book, coord, primaries, last_report, setup: (setup_book, setup, edited) } = opened;
        let port = Arc::new(AtomicU16::new(0));
        let neighbours = Neighbours::new(&node, Arc::clone(&port)).await.map_err(StartError::Neighbours)?;
        let node_key = neighbours.key();
        let public = node_key.public().map_err(|error| StartError::Neighbours(error.to_string()))?;
        let holder = holder_of(NodePublic(public.bytes()));
        let (role, lines): (RoleId, Arc<dyn Lines>) = (neighbours.role(), Arc::new(neighbours));

        let (inputs, receiver) = mpsc::channel(INPUTS_MAX);
        let coordination = Coordination::new(Arc::new(coord), Arc::clone(&node_key), config.coordinator);
        let tools = Tools {
            clock,
            lines: Arc::clone(&lines),
            recorder: Arc::clone(&beside),
            keeper: Keeper::new(book.clone(), beside, move || clock.wall()),
            claims: Claims::new(Arc::new(coordination.clone()), holder, inputs.clone()),
            coordination: coordination.clone(),
            inputs: inputs.clone(),
        };
        let machine = keepwatch_recording::failover::Standby::new(own_version(), setup, config.capacity);
        let empty =
            Lists { setup, edited, capacity: config.capacity, coordinator: None, primaries: Vec::new() };
        let (shown, lists) = watch::channel(Arc::new(empty));
        let writing = Writing::new(book.clone(), last_report);
        let mut driver = Driver::new(tools, machine, config.capacity, edited, writing, shown);
        for Known { row, last, report } in primaries {
            let last = last.unwrap_or_else(|why| {
                let text = format!("the last backup of primary {:?} cannot be used: {why}", row.name);
                node.add_event(EventCode::SetupBackupFailed, Subject::Node, text);
                None
            });
            driver.take_up(row, last, report).await;
        }
        driver.tell_watched();
        let told = lists.clone();
        node.show_in_status("failover", move || api::text(&told.borrow()));
        let (stop, stopped) = watch::channel(false);
        let tasks = vec![
            tokio::spawn(driver.run(receiver, stopped.clone())),
            tokio::spawn(hear(node.clone(), inputs.clone(), stopped.clone())),
        ];
        let telling = stopped;
        let inner = Inner {
            book,
            setup: setup_book,
            node,
            role,
            coordination,
            lines,
            key: node_key,
            scans: Scans::default(),
            port,
            inputs,
            lists,
            replaced: Notify::new(),
            stop,
            tasks: Mutex::new(tasks),
        };
        let standby = Self { inner: Arc::new(inner) };
        let telling = tokio::spawn(former::run(standby.clone(), telling));
        standby.tasks().push(telling);
        Ok(standby)
    }

    /// Takes up what changed in the configuration file.
    ///
    /// # Errors
    /// When the setup that was edited cannot be forgotten, which the file's takes the place of.
    pub async fn apply(&self, config: StandbyConfig) -> Result<(), StandbyError> {
        self.inner.node.set_prebuffer_bytes_max(config.prebuffer_bytes_max);
        self.inner.coordination.choose(config.coordinator);
        let setup = self.inner.setup.clone();
        let changed = tokio::task::spawn_blocking(move || setup.file_says(config.setup));
        if let Some(setup) = changed.await.map_err(|_| StandbyError::Ending)?? {
            self.tell(Input::SetUp(setup, false)).await?;
        }
        self.tell(Input::Measured(config.capacity)).await
    }

    /// Ends it; what it records for others is ended with the recorder, and goes on after a restart.
    pub async fn stop(&self) {
        self.inner.stop.send_replace(true);
        let tasks = std::mem::take(&mut *self.tasks());
        for task in tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a task of the standby ended badly");
            }
        }
    }

    fn tasks(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.inner.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This node answers others at `port` from here on; before that, it cannot register anywhere.
    pub fn answers_at(&self, port: u16) {
        self.inner.port.store(port, Ordering::Relaxed);
    }

    /// How everything stands.
    pub fn lists(&self) -> Arc<Lists> {
        Arc::clone(&self.inner.lists.borrow())
    }

    /// Carries out what an operator asks for.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn command(&self, command: Command) -> Result<(), StandbyError> {
        let (answer, answered) = oneshot::channel();
        self.tell(Input::Asked(command, answer)).await?;
        Ok(answered.await.map_err(|_| StandbyError::Ending)??)
    }

    /// Begins a drill: every camera of a primary is recorded until a record of it is on disk.
    pub(crate) async fn drill(&self, role: RoleId) -> Result<(), StandbyError> {
        let (answer, answered) = oneshot::channel();
        self.tell(Input::Drill(role, answer)).await?;
        Ok(answered.await.map_err(|_| StandbyError::Ending)??)
    }

    pub(crate) async fn change(&self, role: RoleId, change: Change) -> Result<(), StandbyError> {
        let (answer, answered) = oneshot::channel();
        self.tell(Input::Changed(role, change, answer)).await?;
        Ok(answered.await.map_err(|_| StandbyError::Ending)??)
    }

    /// Changes the setup; it is kept when this returns.
    pub(crate) async fn edit_setup(&self, setup: Setup) -> Result<(), StandbyError> {
        let book = self.inner.setup.clone();
        tokio::task::spawn_blocking(move || book.edit(setup)).await.map_err(|_| StandbyError::Ending)??;
        self.tell(Input::SetUp(setup, true)).await
    }

    /// Registers recorders, all at once; each has its own result, in the order of `wishes`.
    pub(crate) async fn register(
        &self,
        wishes: Vec<RegisterWish>,
    ) -> Vec<Result<(RoleId, String), RegisterRefusal>> {
        let count = wishes.len();
        let mut under_way = JoinSet::new();
        for (position, wish) in wishes.into_iter().enumerate() {
            let standby = self.clone();
            under_way.spawn(async move { (position, standby.register_one(wish).await) });
        }
        let interrupted = || refusal("interrupted", "it was interrupted; try again");
        let mut results: Vec<_> = (0..count).map(|_| Err(interrupted())).collect();
        while let Some(ended) = under_way.join_next().await {
            if let Ok((position, result)) = ended
                && let Some(place) = results.get_mut(position)
            {
                *place = result;
            }
        }
        results
    }

    async fn register_one(&self, wish: RegisterWish) -> Result<(RoleId, String), RegisterRefusal> {
        let inner = &self.inner;
        let address = wish.address;
        let hello = inner.lines.register(wish).await?;
        self.fence(&hello, address).await?;
        let row = PrimaryRow {
            role: hello.role,
            key: hello.key.to_string(),
            address,
            name: hello.name.clone(),
            mac: hello.mac,
            version: hello.version,
            automatic: true,
            priority: 0,
            prebuffer: false,
            epoch: hello.epoch,
            covered: Vec::new(),
            covered_since: None,
            report: None,
            drill: None,
        };
        let (book, kept) = (inner.book.clone(), row.clone());
        let written = tokio::task::spawn_blocking(move || {
            // One that is known keeps what was set of it, and what runs.
            let known = book.primaries()?.into_iter().find(|known| known.role == kept.role);
            let row = known.map_or(kept.clone(), |known| PrimaryRow {
                key: kept.key,
                address: kept.address,
                name: kept.name,
                mac: kept.mac,
                version: kept.version,
                ..known
            });
            book.put_primary(&row)
        });
        let unkept = |why: String| refusal("unkept", why);
        written.await.map_err(|error| unkept(error.to_string()))?.map_err(|error| {
            let code = if matches!(error, BookError::Full) { "primaries_full" } else { "unkept" };
            refusal(code, error.to_string())
        })?;
        let text = format!("recorder {:?} at {address} is watched from here on", row.name);
        inner.node.add_event(EventCode::PrimaryRegistered, Subject::Node, text);
        let registered = (row.role, row.name.clone());
        self.tell(Input::Registered(Box::new(row))).await.map_err(|error| unkept(error.to_string()))?;
        Ok(registered)
    }

    /// Whoever was replaced does not get its role back by being registered again; it is told so, in its own log as well.
    async fn fence(&self, hello: &Hello, address: SocketAddr) -> Result<(), RegisterRefusal> {
        let lists = self.lists();
        let plays = lists.primaries.iter().find(|primary| primary.view.role == hello.role);
        let Some(plays) = plays.filter(|plays| hello.epoch < plays.view.epoch) else { return Ok(()) };
        let former = FormerRow { role: hello.role, key: hello.key.to_string(), address };
        let book = self.inner.book.clone();
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || book.put_former(&former)).await {
            tracing::error!(%error, "a recorder that was replaced is not told");
        }
        self.inner.replaced.notify_one();
        let (name, epoch) = (&plays.name, plays.view.epoch);
        let detail = format!(
            "{:?} was replaced: {name:?} plays its role in epoch {epoch}; set it up anew as another recorder, then register it",
            hello.name
        );
        Err(refusal("superseded", detail))
    }

    /// Begins to look for recorders; `Err` with the number of the scan that runs.
    pub(crate) fn begin_scan(&self, wish: ScanWish) -> Result<u64, u64> {
        let clock = self.inner.node.clock();
        self.inner.scans.begin(Arc::clone(&self.inner.key), wish, move || clock.wall())
    }

    /// How a scan stands.
    pub(crate) fn scan(&self, id: u64) -> Option<ScanState> {
        self.inner.scans.state(id)
    }

    /// Ends a scan; whether there is such a one.
    pub(crate) fn stop_scan(&self, id: u64) -> bool {
        self.inner.scans.stop(id)
    }

    /// The backups of a primary, the newest first.
    pub(crate) async fn backups(&self, role: RoleId) -> Result<Vec<BackupLine>, StandbyError> {
        let watched = self.inner.lists.borrow().primaries.iter().any(|primary| primary.view.role == role);
        if !watched {
            return Err(Refusal::Unknown.into());
        }
        let book = self.inner.book.clone();
        let read = tokio::task::spawn_blocking(move || book.backups(role));
        Ok(read.await.map_err(|_| StandbyError::Ending)??)
    }

    /// At most `limit` reports with a number below `before`, the newest first.
    pub(crate) async fn reports(
        &self,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Report>, StandbyError> {
        let book = self.inner.book.clone();
        let read = tokio::task::spawn_blocking(move || book.reports(before, limit));
        let lines = read.await.map_err(|_| StandbyError::Ending)??;
        Ok(lines.into_iter().filter_map(|line| Report::read(&line.document)).collect())
    }

    async fn tell(&self, input: Input) -> Result<(), StandbyError> {
        self.inner.inputs.send(input).await.map_err(|_| StandbyError::Ending)
    }
}

/// Tells the driver what of the guests is on disk.
async fn hear(node: Node, inputs: mpsc::Sender<Input>, mut stopped: watch::Receiver<bool>) {
    let mut events = node.guest_events();
    loop {
        let event = tokio::select! {
            event = events.recv() => event,
            _ = stopped.wait_for(|stopped| *stopped) => return,
        };
        let keepwatch_recorder::guests::GuestEvent::Durable { role, camera, until } = event;
        if inputs.send(Input::Happened(Event::Durable { role, camera, until })).await.is_err() {
            return;
        }
    }
}

/// The report of the failover that ran when the standby ended.
fn report_of(book: &StandbyBook, row: &PrimaryRow) -> Result<Option<Report>, BookError> {
    let Some(number) = row.report else { return Ok(None) };
    let lines = book.reports(number.checked_add(1), 1)?;
    let line = lines.into_iter().find(|line| line.number == number);
    Ok(line.and_then(|line| Report::read(&line.document)))
}

/// The key that backups are sealed with: that of the passwords, which is made where there is none.
fn key(data: &std::path::Path) -> Result<Key, KeyError> {
    let find = || Key::find(data, std::env::var_os("CREDENTIALS_DIRECTORY").as_deref());
    if let Some(key) = find()? {
        return Ok(key);
    }
    match Key::make(data) {
        Ok(key) => Ok(key),
        // Somebody else made one at the same moment.
        Err(error) => find()?.ok_or(error),
    }
}

pub(crate) fn refusal(code: &str, detail: impl Into<String>) -> RegisterRefusal {
    RegisterRefusal { code: code.to_owned(), detail: detail.into() }
}
