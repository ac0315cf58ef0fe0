//! The standby role: a node that watches other recorders and records in the place of one that does not.
//!
//! [`keepwatch_recording::failover`] decides; this is its shell. One task owns the machine (`driver`), each primary has two
//! kept connections of its own (`lines`), so that no check waits for another, and the recorder beside it records the
//! cameras of primaries as guests of its own. What must outlive a restart is kept in `standby.db`.

pub mod api;
mod backups;
mod capacity;
mod claims;
mod config;
mod coordination;
mod driver;
mod farewells;
mod former;
mod lines;
mod lists;
mod neighbours;
mod opened;
mod replace;
mod report;
mod scans;
mod setup;
mod tasks;
mod world;

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use keepwatch_model::{EventCode, RoleId, Subject};
use keepwatch_recorder::Node;
use keepwatch_recorder::peers::ScanWish;
use keepwatch_recorder::searches::{SearchState, Searches};
use keepwatch_recording::failover::{Command, Event, Refusal, Setup};
use keepwatch_recording::peer::{Contents, Hello, NodePublic};
use keepwatch_settings::standby::{BackupLine, BookError, FormerRow, PrimaryRow, StandbyBook};
use keepwatch_tls::NodeKey;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

pub use crate::capacity::{Allowance, Bound};
pub use crate::config::{Limits, StandbyConfig};
pub use crate::coordination::node_routes;
pub use crate::driver::{DrillRefusal, Drilled};
pub use crate::lists::{Cover, Lists, Monitored};

use crate::backups::Keeper;
use crate::capacity::Means;
use crate::claims::Claims;
use crate::coordination::{Coordination, Own, holder_of};
use crate::driver::{Beginning, Change, INPUTS_MAX, Input, Tools};
use crate::farewells::Farewells;
use crate::neighbours::{Beside, Neighbours};
use crate::report::Report;
use crate::scans::FoundRecorders;
use crate::setup::SetupBook;
use crate::tasks::keep_up;
use crate::world::{Lines, Recorder, RegisterRefusal, RegisterWish};

/// Why a standby cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// What it keeps cannot be read.
    #[error(transparent)]
    Book(#[from] BookError),
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
    /// There is no such backup.
    #[error("there is no backup {0} of it; GET its backups lists those that are kept")]
    NoBackup(u64),
    /// A backup is there, and cannot be read.
    #[error("backup {0} cannot be used: {1}")]
    BackupUnusable(u64, String),
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
    keeper: Keeper,
    setup: SetupBook,
    node: Node,
    coordination: Coordination,
    lines: Arc<dyn Lines>,
    key: Arc<NodeKey>,
    scans: Searches<FoundRecorders>,
    farewells: Farewells,
    port: Arc<AtomicU16>,
    inputs: mpsc::Sender<Input>,
    lists: watch::Receiver<Arc<Lists>>,
    /// A recorder was replaced.
    replaced: Notify,
    limits: watch::Sender<Limits>,
    stop: watch::Sender<bool>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl fmt::Debug for Standby {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Standby").field("node", &self.inner.node.name()).finish_non_exhaustive()
    }
}

impl Standby {
    /// Starts the standby beside `node`, and goes on with the failovers that ran when it ended. `line` says what the lines carry that
    /// cameras come in by, in bits per second, where that is known.
    ///
    /// # Errors
    /// When what it keeps cannot be read; recording does not depend on it.
    pub async fn start(
        node: Node,
        config: StandbyConfig,
        line: watch::Receiver<Option<u64>>,
    ) -> Result<Self, StartError> {
        let beside: Arc<dyn Recorder> = Arc::new(Beside::new(node.clone()));
        node.set_prebuffer_bytes_max(config.prebuffer_bytes_max);
        let clock = node.clock();
        let data = node.data();
        let opened = tokio::task::spawn_blocking(move || {
            let book = StandbyBook::open(&data, opened::key(&data).map_err(BookError::from)?)?;
            let setup = SetupBook::open(book.clone(), config.setup);
            Ok::<_, StartError>((book, opened::coordination(&data), setup))
        });
        let opened = opened.await.map_err(|_| StartError::Interrupted)??;
        let (book, (coord, unconfirmed), setup) = opened;
        let setup::Opened { setups, setup, edited, problem } = setup;
        if let Some(why) = problem {
            let text = format!("what the standby kept cannot be used in full: {why}");
            node.add_event(EventCode::StandbyBookDamaged, Subject::Node, text);
        }
        if let Some(why) = unconfirmed {
            let text = format!("failovers run unconfirmed, for the coordination cannot be used: {why}");
            node.add_event(EventCode::FailoverUnconfirmed, Subject::Node, text);
        }
        let port = Arc::new(AtomicU16::new(0));
        let neighbours = Neighbours::new(&node, Arc::clone(&port)).await.map_err(StartError::Neighbours)?;
        let node_key = neighbours.key();
        let public = node_key.public().map_err(|error| StartError::Neighbours(error.to_string()))?;
        let holder = holder_of(NodePublic(public.bytes()));
        let lines: Arc<dyn Lines> = Arc::new(neighbours);

        let (inputs, receiver) = mpsc::channel(INPUTS_MAX);
        let farewells = Farewells::default();
        let coordination =
            Coordination::new(coord, Arc::clone(&node_key), Own::of(&node), config.coordinator);
        let tools = Tools {
            clock,
            lines: Arc::clone(&lines),
            recorder: Arc::clone(&beside),
            keeper: Keeper::new(book.clone(), beside, move || clock.wall()),
            claims: Claims::new(Arc::new(coordination.clone()), holder, inputs.clone()),
            coordination: coordination.clone(),
            farewells: farewells.clone(),
            inputs: inputs.clone(),
        };
        let store = node.store().clone();
        let disks = tokio::task::spawn_blocking(move || store.disks());
        let disks = disks.await.map_err(|_| StartError::Interrupted)?;
        let (capacity, drill_every) =
            (Allowance::new(config.limits, Means::of(&node, *line.borrow(), &disks)), config.drill_every);
        let (limits, limited) = watch::channel(config.limits);
        let empty = Lists { setup, edited, capacity, coordinator: None, drill_every, primaries: Vec::new() };
        let (shown, lists) = watch::channel(Arc::new(empty));
        let keeper = tools.keeper.clone();
        let beginning = Arc::new(Beginning::new(tools, book.clone(), Arc::new(shown)));
        let driver = beginning.first().await?;
        let told = lists.clone();
        node.show_in_status("failover", move || api::text(&told.borrow()));
        let (stop, stopped) = watch::channel(false);
        let (ears, heard) = (node.clone(), inputs.clone());
        let ended = stopped.clone();
        let measured = {
            let (node, inputs, lists, stopped) =
                (node.clone(), inputs.clone(), lists.clone(), stopped.clone());
            keep_up("what can be recorded for others", move || {
                let (limited, line) = (limited.clone(), line.clone());
                capacity::run(node.clone(), limited, line, inputs.clone(), lists.clone(), stopped.clone())
            })
        };
        let tasks = vec![
            tokio::spawn(measured),
            tokio::spawn(beginning.supervise(driver, receiver, stopped.clone())),
            tokio::spawn(keep_up("hears what is on disk", move || {
                hear(ears.clone(), heard.clone(), ended.clone())
            })),
        ];
        let telling = stopped;
        let inner = Inner {
            book,
            keeper,
            setup: setups,
            node,
            coordination,
            lines,
            key: node_key,
            scans: Searches::default(),
            farewells,
            port,
            inputs,
            lists,
            replaced: Notify::new(),
            limits,
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
        self.inner.coordination.choose(Own::of(&self.inner.node), config.coordinator);
        let setup = self.inner.setup.clone();
        let changed = tokio::task::spawn_blocking(move || setup.file_says(config.setup));
        if let Some(setup) = changed.await.map_err(|_| StandbyError::Ending)?? {
            self.tell(Input::SetUp(setup, false)).await?;
        }
        self.inner.limits.send_replace(config.limits);
        self.tell(Input::Drills(config.drill_every)).await
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
        inner.farewells.ended().await;
        let hello = inner.lines.register(wish).await?;
        self.fence(&hello, address).await?;
        let role = hello.role;
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
            alone: Vec::new(),
            covered_since: None,
            report: None,
            drill: None,
        };
        let name = row.name.clone();
        let unkept = |error: StandbyError| refusal("unkept", error.to_string());
        let (answer, answered) = oneshot::channel();
        self.tell(Input::Registered(Box::new(row), answer)).await.map_err(unkept)?;
        answered.await.map_err(|_| unkept(StandbyError::Ending))??;
        let text = format!("recorder {name:?} at {address} is watched from here on");
        inner.node.add_event(EventCode::PrimaryRegistered, Subject::Node, text);
        Ok((role, name))
    }

    /// Whoever was replaced does not get its role back by being registered again; it is told so, in its own log as well.
    async fn fence(&self, hello: &Hello, address: SocketAddr) -> Result<(), RegisterRefusal> {
        let lists = self.lists();
        let plays = lists.primaries.iter().find(|primary| primary.view.role == hello.role);
        let Some(plays) = plays.filter(|plays| hello.epoch < plays.view.epoch) else { return Ok(()) };
        let former = FormerRow {
            role: hello.role,
            key: hello.key.to_string(),
            address,
            epoch: plays.view.epoch,
            successor: plays.name.clone(),
        };
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
        scans::begin(&self.inner.scans, Arc::clone(&self.inner.key), wish, move || clock.wall())
    }

    /// How a scan stands.
    pub(crate) fn scan(&self, id: u64) -> Option<SearchState<FoundRecorders>> {
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

    /// What is in backup `number` of a primary.
    pub(crate) async fn backup(
        &self,
        role: RoleId,
        number: u64,
    ) -> Result<(BackupLine, Contents), StandbyError> {
        let lines = self.backups(role).await?;
        let line = lines.into_iter().find(|line| line.number == number);
        let line = line.ok_or(StandbyError::NoBackup(number))?;
        let keeper = self.inner.keeper.clone();
        let read = tokio::task::spawn_blocking(move || keeper.contents(role, number));
        let contents = read.await.map_err(|_| StandbyError::Ending)?;
        Ok((line, contents.map_err(|why| StandbyError::BackupUnusable(number, why))?))
    }

    /// At most `limit` reports with a number below `before`, the newest first, and below which number there may be more. Those
    /// that cannot be read were told of at the start.
    pub(crate) async fn reports(
        &self,
        before: Option<u64>,
        limit: usize,
    ) -> Result<(Vec<Report>, Option<u64>), StandbyError> {
        let book = self.inner.book.clone();
        let read = tokio::task::spawn_blocking(move || book.reports(before, limit));
        let found = read.await.map_err(|_| StandbyError::Ending)??;
        Ok((found.lines.iter().filter_map(|line| Report::read(&line.document)).collect(), found.next))
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

pub(crate) fn refusal(code: &str, detail: impl Into<String>) -> RegisterRefusal {
    RegisterRefusal { code: code.to_owned(), detail: detail.into() }
}
