//! The driver with a world that does as it is told: primaries that answer or do not, and a recorder that notes what it is
//! wished to do.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use keepwatch_cluster::Memory;
use keepwatch_model::{EventCode, Span, Subject, TICKS_PER_SECOND};
use keepwatch_recorder::config::CameraConfig;
use keepwatch_recorder::guests::{Duty, Guest};
use keepwatch_recording::failover::{CameraReport, Demand, Health, Missed, Report};
use keepwatch_recording::peer::{
    Backup, CameraBackup, Contents, Hello, NodePublic, PROTOCOL, Restore, Restored, Superseded, VERSION,
    own_version,
};
use keepwatch_settings::Key;
use keepwatch_settings::standby::{FormerRow, StandbyBook};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use keepwatch_recording::failover::Recorded;

use super::*;
use crate::world::{Answer, Line, RegisterRefusal, RegisterWish};

const NORTH: RoleId = RoleId([1; 16]);
const EAST: RoleId = RoleId([2; 16]);
const CHECK: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_secs(20);

fn camera(number: usize) -> CameraId {
    format!("cam{number}").parse().unwrap()
}

/// How a primary behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Conduct {
    #[default]
    Answers,
    /// It takes questions and never answers.
    Silent,
    Gone,
    /// It answers with the configuration of another recorder.
    Confused,
}

/// The world, as far as the driver sees it.
#[derive(Debug, Default)]
struct World {
    conduct: BTreeMap<RoleId, Conduct>,
    cameras: BTreeMap<RoleId, usize>,
    checks: BTreeMap<RoleId, usize>,
    /// Since when a primary records without a break; else for a minute.
    since: BTreeMap<RoleId, WallTime>,
    guests: BTreeMap<RoleId, Vec<Guest>>,
    duties: BTreeMap<(RoleId, CameraId), Duty>,
    events: Vec<(EventCode, String)>,
    watched: BTreeMap<NodePublic, RoleId>,
    farewells: Vec<RoleId>,
    own: BTreeSet<CameraId>,
    saved: Vec<(RoleId, CameraId, Span)>,
    trimmed: BTreeMap<(RoleId, CameraId), WallTime>,
}

#[derive(Clone, Debug, Default)]
struct Shared(Arc<Mutex<World>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Wire {
    world: Shared,
    role: RoleId,
}

fn gone() -> Failure {
    Failure { missed: Missed::Disconnected, text: "it cannot be reached".to_owned() }
}

impl Line for Wire {
    fn check(&mut self, patience: Duration) -> Answer<'_, Result<Checked, Failure>> {
        Box::pin(async move {
            let conduct = {
                let mut world = self.world.lock();
                *world.checks.entry(self.role).or_default() += 1;
                world.conduct.get(&self.role).copied().unwrap_or_default()
            };
            match conduct {
                Conduct::Silent => {
                    tokio::time::sleep(patience).await;
                    Err(Failure { missed: Missed::Late, text: "it did not answer in time".to_owned() })
                }
                Conduct::Gone => Err(gone()),
                Conduct::Answers | Conduct::Confused => {
                    let until = Clock::new().wall();
                    let world = self.world.lock();
                    let cameras = world.cameras.get(&self.role).copied().unwrap_or(0);
                    let minute = until.plus(-60 * TICKS_PER_SECOND);
                    let from = world.since.get(&self.role).copied().unwrap_or(minute);
                    let recorded = Recorded::Durable { from, until };
                    let cameras = (1..=cameras).map(|number| CameraReport {
                        camera: camera(number),
                        demand: Demand::default(),
                        recorded,
                    });
                    let report = Report { epoch: 1, version: own_version(), cameras: cameras.collect() };
                    Ok(Checked { report, version: VERSION.to_owned() })
                }
            }
        })
    }

    fn backup(&mut self, _: Duration) -> Answer<'_, Result<Backup, Failure>> {
        Box::pin(async move {
            let world = self.world.lock();
            let conduct = world.conduct.get(&self.role).copied().unwrap_or_default();
            let cameras = world.cameras.get(&self.role).copied().unwrap_or(0);
            match conduct {
                Conduct::Answers => Ok(backup(self.role, cameras)),
                Conduct::Confused => Ok(backup(EAST, cameras)),
                Conduct::Silent | Conduct::Gone => Err(gone()),
            }
        })
    }
}

fn backup(role: RoleId, cameras: usize) -> Backup {
    let cameras = (1..=cameras).map(|number| CameraBackup {
        id: camera(number),
        bits_per_second: 4_000_000,
        password: None,
        settings: BTreeMap::new(),
    });
    let contents = Contents {
        version: VERSION.to_owned(),
        protocol: PROTOCOL,
        role,
        epoch: 1,
        taken: Clock::new().wall(),
        name: "north".to_owned(),
        revision: 0,
        retention: None,
        cameras: cameras.collect(),
        users: serde_json::Value::Null,
        rtsp_users: Vec::new(),
    };
    Backup::of(&contents).unwrap()
}

impl Lines for Shared {
    fn line(&self, primary: &PrimaryRow) -> Result<Box<dyn Line>, Failure> {
        Ok(Box::new(Wire { world: self.clone(), role: primary.role }))
    }

    fn register(&self, _: RegisterWish) -> Answer<'_, Result<Hello, RegisterRefusal>> {
        Box::pin(async { Err(crate::refusal("unreachable", "nobody is there")) })
    }

    fn ask(&self, _: std::net::SocketAddr) -> Answer<'_, Result<Hello, RegisterRefusal>> {
        Box::pin(async { Err(crate::refusal("unreachable", "nobody is there")) })
    }

    fn supersede(&self, _: &FormerRow, _: Superseded) -> Answer<'_, Result<(), Failure>> {
        Box::pin(async { Ok(()) })
    }

    fn replace(&self, _: RegisterWish, _: Restore) -> Answer<'_, Result<(Hello, Restored), RegisterRefusal>> {
        Box::pin(async { Err(crate::refusal("unreachable", "nobody is there")) })
    }

    fn deregister(&self, primary: &PrimaryRow) -> Answer<'_, Result<(), Failure>> {
        self.lock().farewells.push(primary.role);
        Box::pin(async { Ok(()) })
    }
}

impl Recorder for Shared {
    fn own_cameras(&self) -> BTreeSet<CameraId> {
        self.lock().own.clone()
    }

    fn set_guests(&self, role: RoleId, guests: Vec<Guest>) -> Answer<'_, Result<(), String>> {
        let mut world = self.lock();
        world
            .duties
            .retain(|(of, camera), _| *of != role || guests.iter().any(|guest| guest.camera == *camera));
        world.guests.insert(role, guests);
        Box::pin(async { Ok(()) })
    }

    fn set_duty(&self, role: RoleId, camera: CameraId, duty: Duty) {
        let mut world = self.lock();
        let known =
            world.guests.get(&role).is_some_and(|guests| guests.iter().any(|guest| guest.camera == camera));
        assert!(known, "{camera} is no guest");
        world.duties.insert((role, camera), duty);
    }

    fn save(&self, role: RoleId, camera: CameraId, span: Span) {
        self.lock().saved.push((role, camera, span));
    }

    fn trim(&self, role: RoleId, camera: CameraId, until: WallTime) {
        self.lock().trimmed.insert((role, camera), until);
    }

    fn durable_from(&self, _: RoleId, _: CameraId) -> Option<WallTime> {
        Some(WallTime::from_ticks(0))
    }

    fn set_watched(&self, primaries: BTreeMap<NodePublic, RoleId>) {
        self.lock().watched = primaries;
    }

    fn try_guest(&self, _: RoleId, _: CameraId) -> Answer<'_, bool> {
        Box::pin(async { true })
    }

    fn read_camera(&self, camera: &CameraBackup, local: CameraId) -> Result<CameraConfig, String> {
        let url = format!("rtsp://192.0.2.1/{}", camera.id).parse().unwrap();
        Ok(CameraConfig::new(local, url))
    }

    fn add_event(&self, code: EventCode, _: Subject, text: String) {
        self.lock().events.push((code, text));
    }
}

/// A driver that runs, and its world.
struct Bench {
    data: TempDir,
    world: Shared,
    book: StandbyBook,
    inputs: mpsc::Sender<Input>,
    lists: watch::Receiver<Arc<Lists>>,
    stop: watch::Sender<bool>,
    running: JoinHandle<()>,
}

impl Bench {
    async fn start(world: Shared, data: TempDir) -> Self {
        let book = StandbyBook::open(data.path(), Key::new([1; 32])).unwrap();
        let clock = Clock::new();
        let (inputs, receiver) = mpsc::channel(INPUTS_MAX);
        let recorder: Arc<dyn Recorder> = Arc::new(world.clone());
        let keeper = Keeper::new(book.clone(), Arc::clone(&recorder), move || clock.wall());
        let directory = tempfile::tempdir().unwrap();
        let node_key = Arc::new(keepwatch_tls::NodeKey::keep(directory.path()).unwrap().0);
        let coordination = Coordination::new(Arc::new(Memory::new()), node_key, None);
        let tools = Tools {
            clock,
            lines: Arc::new(world.clone()),
            recorder,
            keeper: keeper.clone(),
            claims: Claims::new(Arc::new(coordination.clone()), RoleId([9; 16]), inputs.clone()),
            coordination,
            inputs: inputs.clone(),
        };
        let setup = Setup::new(CHECK, Duration::from_secs(600), 3).unwrap();
        let capacity = Capacity { cameras: 100, bits_per_second: 1_000_000_000 };
        let machine = Standby::new(own_version(), setup, capacity);
        let empty = Lists { setup, edited: false, capacity, coordinator: None, primaries: Vec::new() };
        let (shown, lists) = watch::channel(Arc::new(empty));
        let writing = Writing::new(book.clone(), book.last_report().unwrap());
        let mut driver = Driver::new(tools, machine, capacity, false, writing, shown);
        for row in book.primaries().unwrap() {
            let last = keeper.last(row.role).unwrap();
            let report = crate::report_of(&book, &row).unwrap();
            driver.take_up(row, last, report).await;
        }
        driver.tell_watched();
        let (stop, stopped) = watch::channel(false);
        let running = tokio::spawn(driver.run(receiver, stopped));
        Self { data, world, book, inputs, lists, stop, running }
    }

    /// Ends it, as the process does, and returns what outlives it.
    async fn end(self) -> (Shared, TempDir) {
        self.stop.send_replace(true);
        self.running.await.unwrap();
        (self.world, self.data)
    }

    async fn register(&self, role: RoleId, cameras: usize) {
        self.world.lock().cameras.insert(role, cameras);
        let row = PrimaryRow {
            role,
            key: "01".repeat(32),
            address: "192.0.2.1:8443".parse().unwrap(),
            name: "north".to_owned(),
            mac: None,
            version: VERSION.to_owned(),
            automatic: true,
            priority: 0,
            prebuffer: false,
            epoch: 1,
            covered: Vec::new(),
            covered_since: None,
            report: None,
            drill: None,
        };
        self.book.put_primary(&row).unwrap();
        self.inputs.send(Input::Registered(Box::new(row))).await.unwrap();
        self.wait("its configuration", |lists| {
            lists.primaries.iter().any(|primary| primary.view.role == role && primary.backup.is_some())
        })
        .await;
        // By the next answer it names the cameras of its configuration.
        let checks = || self.world.lock().checks.get(&role).copied().unwrap_or(0);
        let before = checks();
        let answered = async {
            while checks() < before + 2 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, answered).await.unwrap();
    }

    async fn wait(&self, what: &str, done: impl Fn(&Lists) -> bool) -> Arc<Lists> {
        let mut lists = self.lists.clone();
        let found = tokio::time::timeout(PATIENCE, lists.wait_for(|lists| done(lists))).await;
        match found {
            Ok(found) => Arc::clone(&found.unwrap()),
            Err(_) => panic!("no {what} within {PATIENCE:?}: {:?}", self.lists.borrow()),
        }
    }

    async fn command(&self, command: Command) -> Result<(), Refusal> {
        let (answer, answered) = oneshot::channel();
        self.inputs.send(Input::Asked(command, answer)).await.unwrap();
        answered.await.unwrap()
    }

    /// Waits until the recorder is wished to do `duty` with all cameras of `role`.
    async fn wait_duty(&self, role: RoleId, duty: Duty) {
        let all = || {
            let world = self.world.lock();
            let cameras = world.cameras.get(&role).copied().unwrap_or(0);
            (1..=cameras).all(|number| world.duties.get(&(role, camera(number))) == Some(&duty))
        };
        let waited = tokio::time::timeout(PATIENCE, async {
            while !all() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        assert!(waited.await.is_ok(), "{:?}", self.world.lock().duties);
    }

    fn codes(&self) -> Vec<EventCode> {
        self.world.lock().events.iter().map(|(code, _)| *code).collect()
    }
}

async fn bench() -> Bench {
    Bench::start(Shared::default(), tempfile::tempdir().unwrap()).await
}

fn primary(lists: &Lists, role: RoleId) -> &crate::lists::Monitored {
    lists.primaries.iter().find(|primary| primary.view.role == role).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_falls_silent_is_recorded_and_holds_up_no_other() {
    let bench = bench().await;
    bench.register(NORTH, 3).await;
    bench.register(EAST, 2).await;
    assert_eq!(bench.world.lock().duties.get(&(NORTH, camera(1))), Some(&Duty::Rest));
    let before = bench.world.lock().checks[&EAST];
    bench.world.lock().conduct.insert(NORTH, Conduct::Silent);
    let lists = bench.wait("failover", |lists| primary(lists, NORTH).cover.is_some()).await;
    let north = primary(&lists, NORTH);
    assert!(matches!(north.view.health, Health::Failed { why: Missed::Late, .. }), "{north:?}");
    bench.wait_duty(NORTH, Duty::Record).await;
    assert_eq!(primary(&lists, EAST).view.health, Health::Normal);
    assert!(bench.world.lock().checks[&EAST] >= before + 3, "it was asked meanwhile");
    let codes = bench.codes();
    for code in [EventCode::PrimaryFailed, EventCode::FailoverStarted, EventCode::SetupBackedUp] {
        assert!(codes.contains(&code), "{code} is not among {codes:?}");
    }
    assert!(!codes.contains(&EventCode::FailoverConfirmed), "that the claim is had at once is no news");
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_goes_on_after_a_restart_before_the_primary_is_asked() {
    let bench = bench().await;
    bench.register(NORTH, 2).await;
    bench.world.lock().conduct.insert(NORTH, Conduct::Gone);
    bench.wait("failover", |lists| primary(lists, NORTH).cover.is_some()).await;
    bench.wait_duty(NORTH, Duty::Record).await;
    let since = primary(&bench.lists.borrow(), NORTH).cover.unwrap().since;
    let (world, data) = bench.end().await;
    // Nothing that the recorder was wished to do outlives the process.
    world.lock().duties.clear();
    world.lock().guests.clear();
    world.lock().conduct.insert(NORTH, Conduct::Silent);
    let bench = Bench::start(world, data).await;
    bench.wait_duty(NORTH, Duty::Record).await;
    let lists = bench.wait("cover", |lists| !lists.primaries.is_empty()).await;
    let cover = primary(&lists, NORTH).cover.unwrap();
    assert_eq!(cover.since, since, "it is the same failover");
    let reports = bench.book.reports(None, 10).unwrap();
    assert_eq!(reports.len(), 1, "{reports:?}");
    // Stopped by an operator: the mode is kept, and nothing is recorded.
    bench.command(Command::Stop(NORTH)).await.unwrap();
    bench.wait_duty(NORTH, Duty::Rest).await;
    let (_, data) = bench.end().await;
    let book = StandbyBook::open(data.path(), Key::new([1; 32])).unwrap();
    let row = &book.primaries().unwrap()[0];
    assert!(!row.automatic && row.covered.is_empty() && row.report.is_none(), "{row:?}");
    let report = crate::report::Report::read(&book.reports(None, 1).unwrap()[0].document).unwrap();
    assert_eq!(report.why.as_deref(), Some("stopped"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_that_is_removed_at_the_primary_stays_while_it_is_covered() {
    let bench = bench().await;
    bench.register(NORTH, 2).await;
    bench.world.lock().conduct.insert(NORTH, Conduct::Gone);
    bench.wait("failover", |lists| primary(lists, NORTH).cover.is_some()).await;
    bench.wait_duty(NORTH, Duty::Record).await;
    // It comes back with one camera less: it may have lost its configuration.
    {
        let mut world = bench.world.lock();
        world.conduct.insert(NORTH, Conduct::Answers);
        world.cameras.insert(NORTH, 1);
        world.since.insert(NORTH, Clock::new().wall());
    }
    bench
        .wait("backup", |lists| primary(lists, NORTH).backup.as_ref().is_some_and(|line| line.number == 2))
        .await;
    let known: Vec<CameraId> = bench.world.lock().guests[&NORTH].iter().map(|guest| guest.camera).collect();
    assert_eq!(known, [camera(1), camera(2)]);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_of_another_recorder_is_not_used() {
    let bench = bench().await;
    bench.register(NORTH, 1).await;
    {
        let mut world = bench.world.lock();
        world.conduct.insert(NORTH, Conduct::Confused);
        // Another number of cameras makes the driver fetch the configuration.
        world.cameras.insert(NORTH, 2);
    }
    let lists = bench.wait("complaint", |lists| primary(lists, NORTH).backup_problem.is_some()).await;
    assert_eq!(primary(&lists, NORTH).backup.as_ref().unwrap().number, 1);
    assert_eq!(bench.world.lock().guests[&NORTH].len(), 1);
    assert!(bench.codes().contains(&EventCode::SetupBackupFailed));
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cameras_of_two_primaries_with_one_name_have_an_id_each() {
    let bench = bench().await;
    bench.world.lock().own.insert(camera(1));
    bench.register(NORTH, 2).await;
    bench.register(EAST, 2).await;
    let locals = |role: RoleId| -> Vec<String> {
        let world = bench.world.lock();
        world.guests[&role].iter().map(|guest| guest.local.to_string()).collect()
    };
    assert_eq!(locals(NORTH), ["cam1-010101", "cam2"]);
    assert_eq!(locals(EAST), ["cam1-020202", "cam2-020202"]);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_is_taken_off_the_list_is_told_and_its_cameras_are_let_go() {
    let bench = bench().await;
    bench.register(NORTH, 1).await;
    assert_eq!(bench.world.lock().watched.values().copied().collect::<Vec<_>>(), [NORTH]);
    bench.world.lock().conduct.insert(NORTH, Conduct::Gone);
    bench.wait("failover", |lists| primary(lists, NORTH).cover.is_some()).await;
    assert_eq!(bench.command(Command::Deregister(NORTH)).await, Err(Refusal::Running));
    bench.command(Command::Stop(NORTH)).await.unwrap();
    bench.command(Command::Deregister(NORTH)).await.unwrap();
    let let_go = async {
        while !bench.world.lock().guests[&NORTH].is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, let_go).await.unwrap();
    assert_eq!(bench.lists.borrow().primaries, []);
    {
        let world = bench.world.lock();
        assert_eq!((&world.farewells[..], world.watched.len()), (&[NORTH][..], 0));
    }
    assert_eq!(bench.command(Command::Failover(NORTH)).await, Err(Refusal::Unknown));
    let (_, data) = bench.end().await;
    let book = StandbyBook::open(data.path(), Key::new([1; 32])).unwrap();
    assert_eq!(book.primaries().unwrap(), []);
    assert_eq!(book.backups(NORTH).unwrap().len(), 1, "its backups stay");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_records_every_camera_once_and_names_those_that_fail() {
    let bench = bench().await;
    bench.register(NORTH, 2).await;
    let drill = async || {
        let (answer, answered) = oneshot::channel();
        bench.inputs.send(Input::Drill(NORTH, answer)).await.unwrap();
        answered.await.unwrap()
    };
    assert_eq!(drill().await, Ok(()));
    assert_eq!(drill().await, Err(DrillRefusal::UnderWay));
    bench.wait_duty(NORTH, Duty::Record).await;
    for number in 1..=2 {
        let until = WallTime::from_ticks(TICKS_PER_SECOND);
        let event = Event::Durable { role: NORTH, camera: camera(number), until };
        bench.inputs.send(Input::Happened(event)).await.unwrap();
    }
    let passed = |lists: &Lists| {
        primary(lists, NORTH).drilled.as_ref().is_some_and(|drilled| drilled.failed.is_empty())
    };
    bench.wait("drill that passed", passed).await;
    bench.wait_duty(NORTH, Duty::Rest).await;
    assert!(bench.codes().contains(&EventCode::DrillPassed));
    assert!(!bench.codes().contains(&EventCode::FailoverStarted));
    // It is known after a restart, and a running failover is better than a drill.
    let (world, data) = bench.end().await;
    let bench = Bench::start(world, data).await;
    bench.wait("what the drill showed", |lists| !lists.primaries.is_empty() && passed(lists)).await;
    bench.world.lock().conduct.insert(NORTH, Conduct::Gone);
    bench.wait("failover", |lists| primary(lists, NORTH).cover.is_some()).await;
    let (answer, answered) = oneshot::channel();
    bench.inputs.send(Input::Drill(NORTH, answer)).await.unwrap();
    assert_eq!(answered.await.unwrap(), Err(DrillRefusal::Running));
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pre_buffer_follows_the_primary_and_saves_what_it_lost() {
    let bench = bench().await;
    bench.register(NORTH, 1).await;
    assert!(bench.world.lock().trimmed.is_empty(), "nothing is held unless it is asked for");
    let (answer, answered) = oneshot::channel();
    let change = Change { prebuffer: Some(true), ..Change::default() };
    bench.inputs.send(Input::Changed(NORTH, change, answer)).await.unwrap();
    answered.await.unwrap().unwrap();
    bench.wait_duty(NORTH, Duty::Buffer).await;
    assert!(bench.world.lock().guests[&NORTH][0].buffer.is_some());
    let until = async |done: &dyn Fn(&World) -> bool| {
        let waited = async {
            while !done(&bench.world.lock()) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waited).await.unwrap();
    };
    until(&|world| !world.trimmed.is_empty()).await;
    // It was away for a moment, and its session with the camera broke.
    bench.world.lock().since.insert(NORTH, Clock::new().wall().plus(2 * TICKS_PER_SECOND));
    until(&|world| !world.saved.is_empty()).await;
    bench.end().await;
}
