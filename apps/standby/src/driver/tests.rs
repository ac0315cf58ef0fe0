//! The driver with a world that does as it is told: primaries that answer or do not, and a recorder that notes what it is
//! wished to do.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use keepwatch_cluster::Memory;
use keepwatch_model::{EventCode, GapReason, Span, Subject, TICKS_PER_SECOND};
use keepwatch_recorder::config::{CameraConfig, WeeklySpan};
use keepwatch_recorder::guests::{Duty, Guest};
use keepwatch_recording::failover::{CameraReport, Capacity, Claim, Demand, Health, Missed, Report};
use keepwatch_recording::peer::{
    Backup, CameraBackup, CameraCheck, CameraMissing, Check, Contents, Hello, Missing, NodePublic, PROTOCOL,
    RecordedSpan, Restore, Restored, Superseded, VERSION, own_version,
};
use keepwatch_settings::Key;
use keepwatch_settings::standby::{FormerRow, StandbyBook};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use keepwatch_recording::failover::Recorded;

use super::*;
use crate::capacity::{Allowance, Bound};
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
    /// What it answers was altered on its way.
    Forged,
}

/// What a camera lacks by the books of its primary.
#[derive(Clone, Copy, Debug, Default)]
struct Lack {
    filled_ms: u64,
    left_ms: u64,
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
    /// So many changes of cameras are refused.
    refuses: usize,
    /// Changes of cameras never come to an end.
    hangs: bool,
    /// So many times, when it is told who is watched, the driver panics.
    driver_panics: usize,
    /// The driver panics when it tells of this.
    panics_at: Option<EventCode>,
    /// What each camera of a primary lacks by its books.
    lacks: Lack,
    /// Of which times that was asked.
    accounts: Vec<Span>,
    /// Cameras that no primary records.
    missing: BTreeSet<CameraId>,
    /// What each camera sends.
    bits_per_second: u64,
    /// What backups say of these cameras cannot be used.
    unreadable: BTreeSet<CameraId>,
    /// The schedules of these ask for no recording at present.
    unscheduled: BTreeSet<CameraId>,
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
                Conduct::Forged => {
                    let recorded = RecordedSpan::NotWanted;
                    let twice = CameraCheck { camera: camera(1), bits_per_second: 0, recorded };
                    let version = VERSION.to_owned();
                    let cameras = vec![twice, twice];
                    let check = Check { role: self.role, epoch: 1, version, protocol: PROTOCOL, cameras };
                    Checked::of(self.role, &check)
                }
                Conduct::Answers | Conduct::Confused => {
                    let until = Clock::new().wall();
                    let world = self.world.lock();
                    let cameras = world.cameras.get(&self.role).copied().unwrap_or(0);
                    let minute = until.plus(-60 * TICKS_PER_SECOND);
                    let from = world.since.get(&self.role).copied().unwrap_or(minute);
                    let recorded = Recorded::Durable { from, until };
                    let cameras = (1..=cameras).map(|number| CameraReport {
                        camera: camera(number),
                        demand: Demand { bits_per_second: world.bits_per_second },
                        recorded: if world.missing.contains(&camera(number)) {
                            Recorded::Missing(GapReason::DiskGone)
                        } else {
                            recorded
                        },
                    });
                    let report = Report { epoch: 1, version: own_version(), cameras: cameras.collect() };
                    Ok(Checked { report, version: VERSION.to_owned() })
                }
            }
        })
    }

    fn missing(&mut self, window: Span, _: WallTime, _: Duration) -> Answer<'_, Result<Missing, Failure>> {
        self.world.lock().accounts.push(window);
        let account = self.account();
        Box::pin(async { Ok(account) })
    }

    fn backup(&mut self, _: Duration) -> Answer<'_, Result<Backup, Failure>> {
        Box::pin(async move {
            let world = self.world.lock();
            let conduct = world.conduct.get(&self.role).copied().unwrap_or_default();
            let cameras = world.cameras.get(&self.role).copied().unwrap_or(0);
            match conduct {
                Conduct::Answers => Ok(backup(self.role, cameras)),
                Conduct::Confused => Ok(backup(EAST, cameras)),
                Conduct::Forged => {
                    let mut forged = serde_json::to_value(backup(self.role, cameras)).unwrap();
                    let contents = forged["contents"].as_str().unwrap().replace("north", "forge");
                    forged["contents"] = contents.into();
                    Ok(serde_json::from_value(forged).unwrap())
                }
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

impl Wire {
    fn account(&self) -> Missing {
        let world = self.world.lock();
        let cameras = (1..=world.cameras.get(&self.role).copied().unwrap_or(0)).map(|number| CameraMissing {
            camera: camera(number),
            filled_ms: world.lacks.filled_ms,
            left_ms: world.lacks.left_ms,
        });
        Missing { role: self.role, cameras: cameras.collect() }
    }
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
        let (refuses, hangs) = {
            let mut world = self.lock();
            let refuses = world.refuses > 0;
            world.refuses = world.refuses.saturating_sub(1);
            (refuses, world.hangs)
        };
        let set = move || {
            let mut world = self.lock();
            world
                .duties
                .retain(|(of, camera), _| *of != role || guests.iter().any(|guest| guest.camera == *camera));
            world.guests.insert(role, guests);
        };
        match (refuses, hangs) {
            (true, _) => Box::pin(async { Err("the disk of the books is away".to_owned()) }),
            (false, true) => Box::pin(std::future::pending()),
            (false, false) => {
                set();
                Box::pin(async { Ok(()) })
            }
        }
    }

    fn set_duty(&self, role: RoleId, camera: CameraId, duty: Duty) -> bool {
        let mut world = self.lock();
        let known =
            world.guests.get(&role).is_some_and(|guests| guests.iter().any(|guest| guest.camera == camera));
        if known {
            world.duties.insert((role, camera), duty);
        }
        known
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
        let panics = {
            let mut world = self.lock();
            let panics = world.driver_panics > 0;
            world.driver_panics = world.driver_panics.saturating_sub(1);
            panics
        };
        assert!(!panics, "a fault of the driver");
        self.lock().watched = primaries;
    }

    fn try_guest(&self, _: RoleId, _: CameraId) -> Answer<'_, bool> {
        Box::pin(async { true })
    }

    fn read_camera(&self, camera: &CameraBackup, local: CameraId) -> Result<CameraConfig, String> {
        let world = self.lock();
        if world.unreadable.contains(&camera.id) {
            return Err("its address is none".to_owned());
        }
        let url = format!("rtsp://192.0.2.1/{}", camera.id).parse().unwrap();
        let mut config = CameraConfig::new(local, url);
        if world.unscheduled.contains(&camera.id) {
            config.schedule = vec![a_minute_in_days()];
        }
        Ok(config)
    }

    fn add_event(&self, code: EventCode, _: Subject, text: String) {
        let panics = self.lock().panics_at == Some(code);
        assert!(!panics, "a fault of the driver");
        self.lock().events.push((code, text));
    }
}

/// A minute of the week that is days away.
fn a_minute_in_days() -> WeeklySpan {
    let minutes = Clock::new().wall().ticks() / TICKS_PER_SECOND / 60;
    // 1970 began on a Thursday.
    let from_minute = u32::try_from((minutes + 3 * 1440 + 5_000).rem_euclid(10_080)).unwrap();
    WeeklySpan { from_minute, to_minute: from_minute + 1 }
}

/// Room for so many cameras, whatever they send.
fn room_for(cameras: usize) -> Allowance {
    Allowance { capacity: Capacity { cameras, bits_per_second: u64::MAX }, bound: Bound::Configuration }
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
        let coordination =
            Coordination::new(Arc::new(Memory::new()), node_key, crate::coordination::Own::default(), None);
        let tools = Tools {
            clock,
            lines: Arc::new(world.clone()),
            recorder,
            keeper,
            claims: Claims::new(Arc::new(coordination.clone()), RoleId([9; 16]), inputs.clone()),
            coordination,
            farewells: Farewells::default(),
            inputs: inputs.clone(),
        };
        let setup = Setup::new(CHECK, Duration::from_secs(600), 3).unwrap();
        let capacity = room_for(100);
        let empty = Lists {
            setup,
            edited: false,
            capacity,
            coordinator: None,
            drill_every: None,
            primaries: Vec::new(),
        };
        let (shown, lists) = watch::channel(Arc::new(empty));
        let beginning = Arc::new(Beginning::new(tools, book.clone(), Arc::new(shown)));
        let driver = beginning.first().await.unwrap();
        let (stop, stopped) = watch::channel(false);
        let running = tokio::spawn(beginning.supervise(driver, receiver, stopped));
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
        self.enter(role, 1).await.unwrap();
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

    /// A recorder that plays `role` in `epoch` let the standby in.
    async fn enter(&self, role: RoleId, epoch: u64) -> Result<(), RegisterRefusal> {
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
            epoch,
            covered: Vec::new(),
            alone: Vec::new(),
            covered_since: None,
            report: None,
            drill: None,
        };
        let (answer, answered) = oneshot::channel();
        self.inputs.send(Input::Registered(Box::new(row), answer)).await.unwrap();
        // Lost with a driver that panics.
        answered.await.unwrap_or(Ok(()))
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

    /// A record of a camera is on disk, which ends at this moment.
    async fn record(&self, role: RoleId, number: usize) {
        let event = Event::Durable { role, camera: camera(number), until: Clock::new().wall() };
        self.inputs.send(Input::Happened(event)).await.unwrap();
    }

    async fn drill(&self, role: RoleId) -> Result<(), DrillRefusal> {
        let (answer, answered) = oneshot::channel();
        self.inputs.send(Input::Drill(role, answer)).await.unwrap();
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
    let since = primary(&bench.lists.borrow(), NORTH).cover.as_ref().unwrap().since;
    let (world, data) = bench.end().await;
    // Nothing that the recorder was wished to do outlives the process.
    world.lock().duties.clear();
    world.lock().guests.clear();
    world.lock().conduct.insert(NORTH, Conduct::Silent);
    let bench = Bench::start(world, data).await;
    bench.wait_duty(NORTH, Duty::Record).await;
    let lists = bench.wait("cover", |lists| !lists.primaries.is_empty()).await;
    let cover = primary(&lists, NORTH).cover.clone().unwrap();
    assert_eq!(cover.since, since, "it is the same failover");
    let reports = bench.book.reports(None, 10).unwrap().lines;
    assert_eq!(reports.len(), 1, "{reports:?}");
    // Stopped by an operator: the mode is kept, and nothing is recorded.
    bench.command(Command::Stop(NORTH)).await.unwrap();
    bench.wait_duty(NORTH, Duty::Rest).await;
    let (_, data) = bench.end().await;
    let book = StandbyBook::open(data.path(), Key::new([1; 32])).unwrap();
    let row = &book.primaries().unwrap().rows[0];
    assert!(!row.automatic && row.covered.is_empty() && row.report.is_none(), "{row:?}");
    let report = crate::report::Report::read(&book.reports(None, 1).unwrap().lines[0].document).unwrap();
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

/// What was altered is not used, the primary is covered as if it had said nothing, and the others are watched as before.
#[tokio::test(flavor = "multi_thread")]
async fn forged_answers_count_as_none_and_disturb_no_other_primary() {
    let bench = bench().await;
    bench.register(NORTH, 2).await;
    bench.register(EAST, 1).await;
    bench.world.lock().conduct.insert(NORTH, Conduct::Forged);
    bench.wait("failover", |lists| primary(lists, NORTH).cover.is_some()).await;
    let lists = bench.lists.borrow().clone();
    assert!(matches!(primary(&lists, NORTH).view.health, Health::Failed { why: Missed::Unusable, .. }));
    assert_eq!(primary(&lists, NORTH).name, "north");
    assert_eq!(
        (primary(&lists, EAST).view.health, primary(&lists, EAST).cover.is_some()),
        (Health::Normal, false)
    );
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_was_altered_is_not_kept() {
    let bench = bench().await;
    bench.register(NORTH, 1).await;
    bench.world.lock().conduct.insert(NORTH, Conduct::Forged);
    let (_, data) = {
        let keeper = Keeper::new(bench.book.clone(), Arc::new(bench.world.clone()), || Clock::new().wall());
        let mut forged = serde_json::to_value(backup(NORTH, 1)).unwrap();
        forged["contents"] = forged["contents"].as_str().unwrap().replace("north", "forge").into();
        let refused = keeper.keep(NORTH, serde_json::from_value(forged).unwrap()).await.unwrap_err();
        assert!(refused.contains("digest"), "{refused}");
        bench.end().await
    };
    let book = StandbyBook::open(data.path(), Key::new([1; 32])).unwrap();
    assert_eq!(book.backups(NORTH).unwrap().len(), 1);
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
    bench.wait_world("farewell", |world| world.farewells == [NORTH] && world.watched.is_empty()).await;
    assert_eq!(bench.command(Command::Failover(NORTH)).await, Err(Refusal::Unknown));
    let (_, data) = bench.end().await;
    let book = StandbyBook::open(data.path(), Key::new([1; 32])).unwrap();
    assert_eq!(book.primaries().unwrap().rows, []);
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

/// What a failover would not record is not tested away.
#[tokio::test(flavor = "multi_thread")]
async fn a_drill_fails_for_what_a_failover_would_not_record_and_leaves_out_what_is_not_to_be_recorded() {
    let bench = bench().await;
    bench.world.lock().unreadable.insert(camera(2));
    bench.world.lock().unscheduled.insert(camera(3));
    bench.register(NORTH, 4).await;
    bench.inputs.send(Input::Measured(room_for(2))).await.unwrap();
    assert_eq!(bench.drill(NORTH).await, Ok(()));
    bench.record(NORTH, 1).await;
    let ended = |lists: &Lists| primary(lists, NORTH).drilled.is_some();
    let lists = bench.wait("end of the drill", ended).await;
    let drilled = primary(&lists, NORTH).drilled.clone().unwrap();
    assert_eq!(drilled.cameras, 3, "one is not to be recorded at present");
    let unfit = BTreeMap::from([(camera(2), drill::Unfit::Unreadable), (camera(4), drill::Unfit::NoRoom)]);
    assert_eq!(drilled.failed, unfit);
    let told = bench.world.lock().events.iter().any(|(code, text)| {
        *code == EventCode::DrillFailed
            && text.contains("2 of 3 cameras would not be recorded: cam2 (what the backup")
            && text.contains("cam4 (this")
    });
    assert!(told, "{:?}", bench.world.lock().events);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_takes_no_room_from_what_is_recorded() {
    let bench = bench().await;
    bench.register(NORTH, 2).await;
    bench.register(EAST, 2).await;
    bench.inputs.send(Input::Measured(room_for(3))).await.unwrap();
    bench.world.lock().conduct.insert(NORTH, Conduct::Gone);
    bench.wait("failover", |lists| primary(lists, NORTH).cover.is_some()).await;
    assert_eq!(bench.drill(EAST).await, Err(DrillRefusal::Full));
    bench.inputs.send(Input::Measured(room_for(4))).await.unwrap();
    assert_eq!(bench.drill(EAST).await, Ok(()));
    bench.end().await;
}

/// Sends all others to rest: with footage only.
#[tokio::test(flavor = "multi_thread")]
async fn a_cover_is_claimed_when_footage_of_every_camera_that_is_to_be_recorded_is_on_disk() {
    let bench = bench().await;
    bench.world.lock().unscheduled.insert(camera(3));
    bench.register(NORTH, 3).await;
    bench.world.lock().conduct.insert(NORTH, Conduct::Gone);
    bench.wait_duty(NORTH, Duty::Record).await;
    bench.record(NORTH, 1).await;
    let cover = |lists: &Lists| primary(lists, NORTH).cover.clone().map(|cover| cover.view);
    let lists = bench.wait("footage", |lists| cover(lists).is_some_and(|cover| cover.recorded == 1)).await;
    let view = cover(&lists).unwrap();
    assert_eq!((view.claim, view.lacks), (Claim::Asked, vec![camera(2)]));
    bench.record(NORTH, 2).await;
    bench.wait("claim", |lists| cover(lists).is_some_and(|cover| cover.claim == Claim::Held)).await;
    assert!(!bench.codes().contains(&EventCode::FailoverConfirmed), "that it is had at last is no news");
    bench.end().await;
}

/// Somebody else covers it, or nobody does: what its disks would hold is missed all the same.
#[tokio::test(flavor = "multi_thread")]
async fn who_takes_a_role_is_told_of_all_that_was_missed_whoever_recorded_it() {
    let bench = bench().await;
    bench.register(NORTH, 2).await;
    assert_eq!(primary(&bench.lists.borrow(), NORTH).lacking_since, None);
    bench.command(Command::Choose(NORTH, Mode::Manual)).await.unwrap();
    let before = Clock::new().wall();
    bench.world.lock().conduct.insert(NORTH, Conduct::Gone);
    let failed = |lists: &Lists| primary(lists, NORTH).since.is_some();
    let lists = bench.wait("failure", failed).await;
    let north = primary(&lists, NORTH);
    assert!(north.cover.is_none() && north.lacking_since == north.since);
    assert!(north.lacking_since.unwrap() >= before);
    let (world, data) = bench.end().await;
    // This process has not heard it: what it lacks began when its configuration was fetched last.
    let bench = Bench::start(world, data).await;
    let lists = bench.wait("failure", |lists| !lists.primaries.is_empty() && failed(lists)).await;
    let north = primary(&lists, NORTH);
    assert_eq!(north.lacking_since, Some(north.backup.as_ref().unwrap().checked));
    assert!(north.lacking_since < north.since);
    bench.end().await;

    // A camera that was covered alone is missing since then.
    let bench = self::bench().await;
    bench.register(NORTH, 2).await;
    bench.world.lock().missing.insert(camera(2));
    bench.wait("cover", |lists| primary(lists, NORTH).view.covered_alone == [camera(2)]).await;
    let lists = bench.wait("begin", |lists| primary(lists, NORTH).lacking_since.is_some()).await;
    let alone_since = primary(&lists, NORTH).lacking_since;
    bench.world.lock().conduct.insert(NORTH, Conduct::Gone);
    let lists = bench.wait("failover", |lists| primary(lists, NORTH).cover.is_some()).await;
    assert_eq!(primary(&lists, NORTH).lacking_since, alone_since);
    bench.end().await;
}

/// A later failover, by hand, was not noticed by anybody before.
#[tokio::test(flavor = "multi_thread")]
async fn a_report_does_not_say_that_it_was_noticed_in_an_earlier_failure() {
    let bench = bench().await;
    bench.register(NORTH, 1).await;
    bench.command(Command::Choose(NORTH, Mode::Manual)).await.unwrap();
    bench.world.lock().missing.insert(camera(1));
    let records_nothing =
        |lists: &Lists| matches!(primary(lists, NORTH).view.health, Health::RecordsNothing { .. });
    bench.wait("failure", records_nothing).await;
    bench.world.lock().missing.clear();
    bench.wait("repair", |lists| primary(lists, NORTH).view.health == Health::Normal).await;
    let repaired = Clock::new().wall();
    bench.world.lock().conduct.insert(NORTH, Conduct::Gone);
    bench.wait("failed check", |lists| !primary(lists, NORTH).view.health.answers()).await;
    bench.command(Command::Failover(NORTH)).await.unwrap();
    let written = async || loop {
        if let Some(line) = bench.book.reports(None, 1).unwrap().lines.pop() {
            return crate::report::Report::read(&line.document).unwrap();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let report = tokio::time::timeout(PATIENCE, written()).await.unwrap();
    assert!(report.detected.is_none_or(|at| at >= repaired), "{report:?}");
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

impl Bench {
    /// Waits until the world is as `done` says.
    async fn wait_world(&self, what: &str, done: impl Fn(&World) -> bool) {
        let waited = tokio::time::timeout(PATIENCE, async {
            while !done(&self.world.lock()) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        assert!(waited.await.is_ok(), "no {what}: {:?}", self.world.lock());
    }
}

/// What the recorder cannot take up at the moment when it is told, it can a few seconds later.
#[tokio::test(flavor = "multi_thread")]
async fn cameras_that_the_recorder_refused_are_recorded_when_it_takes_them() {
    let bench = bench().await;
    bench.world.lock().refuses = 2;
    bench.world.lock().conduct.insert(EAST, Conduct::Answers);
    bench.register(NORTH, 2).await;
    bench.world.lock().conduct.insert(NORTH, Conduct::Gone);
    bench.wait_duty(NORTH, Duty::Record).await;
    let complaints =
        bench.world.lock().events.iter().filter(|(_, text)| text.contains("books is away")).count();
    assert_eq!(complaints, 1, "the same refusal is told once");
    bench.end().await;
}

/// Cameras are changed under a lock of the recorder, which may be held for as long as a disk takes.
#[tokio::test(flavor = "multi_thread")]
async fn a_failover_does_not_wait_for_cameras_that_are_being_changed() {
    let bench = bench().await;
    bench.register(NORTH, 2).await;
    bench
        .wait_world("cameras", |world| world.guests.get(&NORTH).is_some_and(|guests| guests.len() == 2))
        .await;
    bench.world.lock().hangs = true;
    bench.world.lock().cameras.insert(NORTH, 3);
    let three = |lists: &Lists| primary(lists, NORTH).backup.as_ref().is_some_and(|line| line.cameras == 3);
    bench.wait("backup", three).await;
    bench.world.lock().conduct.insert(NORTH, Conduct::Gone);
    let recorded = |world: &World| {
        (1..=2).all(|number| world.duties.get(&(NORTH, camera(number))) == Some(&Duty::Record))
    };
    bench.wait_world("recording", recorded).await;
    bench.end().await;
}

/// It was repaired without one of them, and the newest backup is of that.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_finds_what_it_covers_in_older_backups() {
    let bench = bench().await;
    bench.register(NORTH, 2).await;
    bench.world.lock().conduct.insert(NORTH, Conduct::Gone);
    bench.wait_duty(NORTH, Duty::Record).await;
    {
        let mut world = bench.world.lock();
        world.conduct.insert(NORTH, Conduct::Answers);
        world.cameras.insert(NORTH, 1);
        world.since.insert(NORTH, Clock::new().wall());
    }
    let second = |lists: &Lists| primary(lists, NORTH).backup.as_ref().is_some_and(|line| line.number == 2);
    bench.wait("backup", second).await;
    let (world, data) = bench.end().await;
    world.lock().duties.clear();
    world.lock().guests.clear();
    let bench = Bench::start(world, data).await;
    let both = |world: &World| {
        (1..=2).all(|number| world.duties.get(&(NORTH, camera(number))) == Some(&Duty::Record))
    };
    bench.wait_world("recording", both).await;
    assert_eq!(bench.book.primaries().unwrap().rows[0].covered, [camera(1), camera(2)]);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_camera_is_recorded_after_a_restart_before_its_primary_is_heard() {
    let bench = bench().await;
    bench.register(NORTH, 2).await;
    bench.world.lock().missing.insert(camera(2));
    bench.wait("cover", |lists| primary(lists, NORTH).view.covered_alone == [camera(2)]).await;
    bench.wait_world("recording", |world| world.duties.get(&(NORTH, camera(2))) == Some(&Duty::Record)).await;
    let (world, data) = bench.end().await;
    world.lock().duties.clear();
    world.lock().guests.clear();
    world.lock().conduct.insert(NORTH, Conduct::Silent);
    let bench = Bench::start(world, data).await;
    bench.wait_world("recording", |world| world.duties.get(&(NORTH, camera(2))) == Some(&Duty::Record)).await;
    assert_eq!(bench.world.lock().duties.get(&(NORTH, camera(1))), Some(&Duty::Rest));
    bench.end().await;
}

/// The primary may answer and not notice for a quarter of a minute that its footage does not grow.
#[tokio::test(flavor = "multi_thread")]
async fn room_in_the_pre_buffer_reaches_back_to_what_is_noticed_last_and_grows_with_the_rate() {
    let bench = bench().await;
    bench.register(NORTH, 1).await;
    let (answer, answered) = oneshot::channel();
    let change = Change { prebuffer: Some(true), ..Change::default() };
    bench.inputs.send(Input::Changed(NORTH, change, answer)).await.unwrap();
    answered.await.unwrap().unwrap();
    let room = |world: &World| world.guests.get(&NORTH)?.first()?.buffer;
    bench.wait_world("pre-buffer", |world| room(world).is_some()).await;
    let before = room(&bench.world.lock()).unwrap();
    assert!(before.age_max >= Duration::from_secs(15) + 4 * CHECK, "{before:?}");
    // 4 Mbit/s, half as much again, and a group of pictures of ten seconds behind the oldest second that is needed.
    let bytes = 500_000 * 3 / 2 * (before.age_max.as_secs() + 10);
    assert!(before.bytes_max > bytes, "{before:?}");
    bench.world.lock().bits_per_second = 16_000_000;
    let grown = |world: &World| room(world).is_some_and(|now| now.bytes_max > 3 * before.bytes_max);
    bench.wait_world("larger pre-buffer", grown).await;
    bench.world.lock().bits_per_second = 1_000_000;
    let checks = bench.world.lock().checks[&NORTH];
    bench.wait_world("checks", |world| world.checks[&NORTH] > checks + 2).await;
    assert!(grown(&bench.world.lock()), "it only grows");
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_that_panics_is_begun_anew_and_what_it_recorded_goes_on() {
    let bench = bench().await;
    bench.register(NORTH, 2).await;
    bench.world.lock().conduct.insert(NORTH, Conduct::Gone);
    bench.wait_duty(NORTH, Duty::Record).await;
    bench.wait("failover", |lists| primary(lists, NORTH).cover.is_some()).await;
    // Once while it runs, and twice while it is begun anew.
    bench.world.lock().driver_panics = 3;
    bench.enter(EAST, 1).await.unwrap();
    bench.wait_world("panic", |world| world.driver_panics == 0).await;
    bench.register(EAST, 1).await;
    assert!(bench.codes().contains(&EventCode::StandbyUnusable));
    let lists = bench.wait("failover", |lists| primary(lists, NORTH).cover.is_some()).await;
    assert_eq!(primary(&lists, NORTH).cover.as_ref().unwrap().view.cameras, 2);
    bench.wait_duty(NORTH, Duty::Record).await;
    bench.command(Command::Stop(NORTH)).await.unwrap();
    bench.wait_duty(NORTH, Duty::Rest).await;
    bench.end().await;
}

/// What ended it badly is kept, and would do so each time.
#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_the_driver_cannot_take_up_is_left_out_and_the_others_are_watched() {
    let bench = bench().await;
    bench.register(NORTH, 1).await;
    bench.register(EAST, 1).await;
    bench.world.lock().conduct.insert(EAST, Conduct::Gone);
    bench.wait_duty(EAST, Duty::Record).await;
    let (world, data) = bench.end().await;
    world.lock().panics_at = Some(EventCode::FailoverStarted);
    let bench = Bench::start(world, data).await;
    bench.world.lock().panics_at = None;
    let lists = bench.wait("lists", |lists| !lists.primaries.is_empty()).await;
    assert_eq!(lists.primaries.iter().map(|primary| primary.view.role).collect::<Vec<_>>(), [NORTH]);
    bench.world.lock().conduct.insert(NORTH, Conduct::Gone);
    bench.wait_duty(NORTH, Duty::Record).await;
    let told =
        bench.world.lock().events.iter().filter(|(code, _)| *code == EventCode::StandbyUnusable).count();
    assert_eq!(told, 1);
    // The next process tries again.
    let (world, data) = bench.end().await;
    let bench = Bench::start(world, data).await;
    bench.wait("both", |lists| lists.primaries.len() == 2).await;
    bench.end().await;
}

#[test]
fn an_attempt_that_ends_in_a_panic_is_told_as_one_that_failed() {
    let (inputs, mut told) = mpsc::channel(1);
    let attempt = carry::Attempt { role: NORTH, camera: camera(1), inputs, told: false };
    drop(attempt);
    let event = Event::Tried { role: NORTH, camera: camera(1), received: false };
    assert!(matches!(told.try_recv(), Ok(Input::Happened(said)) if said == event));
}

/// A machine that was replaced and is switched on again must not push out the one that plays its role.
#[tokio::test(flavor = "multi_thread")]
async fn a_recorder_that_was_replaced_is_not_registered_in_the_place_of_the_one_that_plays_its_role() {
    let bench = bench().await;
    bench.register(NORTH, 1).await;
    assert_eq!(bench.book.primaries().unwrap().rows.len(), 1, "it is kept when that is answered");
    bench.enter(NORTH, 3).await.unwrap();
    let refused = bench.enter(NORTH, 2).await.unwrap_err();
    assert_eq!(refused.code, "superseded");
    assert_eq!(bench.book.primaries().unwrap().rows[0].epoch, 3);
    bench.enter(NORTH, 3).await.unwrap();
    bench.end().await;
}

#[tokio::test]
async fn whoever_registers_waits_for_farewells_that_are_under_way() {
    let farewells = Farewells::default();
    farewells.ended().await;
    let (first, second) = (farewells.begin(), farewells.begin());
    drop(first);
    let waiting = tokio::spawn({
        let farewells = farewells.clone();
        async move { farewells.ended().await }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    drop(second);
    waiting.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_by_the_schedule_tests_what_was_tested_longest_ago_and_gives_way_to_a_failover() {
    let bench = bench().await;
    bench.register(NORTH, 1).await;
    bench.register(EAST, 1).await;
    let schedule = async |every: Duration| bench.inputs.send(Input::Drills(Some(every))).await.unwrap();
    let drills = |lists: &Lists| -> Vec<RoleId> {
        lists.primaries.iter().filter(|primary| primary.drilling).map(|primary| primary.view.role).collect()
    };
    let day = Duration::from_secs(86_400);
    for role in [NORTH, EAST] {
        schedule(day).await;
        bench.wait("drill", |lists| drills(lists) == [role]).await;
        let event = Event::Durable { role, camera: camera(1), until: WallTime::from_ticks(TICKS_PER_SECOND) };
        bench.inputs.send(Input::Happened(event)).await.unwrap();
        let passed =
            |lists: &Lists| primary(lists, role).drilled.as_ref().is_some_and(|told| told.failed.is_empty());
        bench.wait("drill that passed", passed).await;
    }
    // Both were tested today.
    schedule(day).await;
    let lists = bench.wait("schedule", |lists| lists.drill_every == Some(day)).await;
    assert_eq!(drills(&lists), []);
    let tested = primary(&lists, NORTH).drilled.clone();
    schedule(Duration::ZERO).await;
    bench.wait("drill", |lists| drills(lists) == [NORTH]).await;
    bench.world.lock().conduct.insert(EAST, Conduct::Gone);
    bench.wait("failover", |lists| primary(lists, EAST).cover.is_some()).await;
    schedule(Duration::ZERO).await;
    let lists = bench.wait("end of the drill", |lists| drills(lists).is_empty()).await;
    assert_eq!(primary(&lists, NORTH).drilled, tested, "it says nothing");
    bench.end().await;
}

/// What the primary lacks is in its own books; it fetches that later, and the standby may be restarted meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_report_says_what_the_primary_missed_and_what_is_left_of_it_until_nothing_is() {
    let bench = bench().await;
    bench.register(NORTH, 1).await;
    bench.world.lock().conduct.insert(NORTH, Conduct::Gone);
    bench.wait_duty(NORTH, Duty::Record).await;
    {
        let mut world = bench.world.lock();
        world.conduct.insert(NORTH, Conduct::Answers);
        world.since.insert(NORTH, Clock::new().wall().plus(-2 * TICKS_PER_SECOND));
        world.lacks = Lack { filled_ms: 0, left_ms: 9_000 };
    }
    bench
        .wait("repair", |lists| primary(lists, NORTH).cover.as_ref().is_some_and(|cover| cover.view.normal))
        .await;
    let until = Clock::new().wall().plus(TICKS_PER_SECOND);
    let event = Event::Durable { role: NORTH, camera: camera(1), until };
    bench.inputs.send(Input::Happened(event)).await.unwrap();
    bench.command(Command::Failback(NORTH)).await.unwrap();
    bench.wait("end", |lists| primary(lists, NORTH).cover.is_none()).await;
    let told = async |bench: &Bench, missed: u64, left: u64| {
        let read = || {
            let line = bench.book.reports(None, 1).unwrap().lines.pop()?;
            let camera = *crate::report::Report::read(&line.document)?.cameras.get(&camera(1))?;
            Some((camera.missed_ms?, camera.left_ms?))
        };
        let waited = async {
            while read() != Some((missed, left)) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        assert!(tokio::time::timeout(PATIENCE, waited).await.is_ok(), "{:?}", read());
    };
    told(&bench, 9_000, 9_000).await;
    let window = bench.world.lock().accounts[0];
    let ended = Clock::new().wall();
    assert!(window.to <= ended && window.from < ended.plus(-15 * TICKS_PER_SECOND), "{window:?}");
    let (world, data) = bench.end().await;
    world.lock().lacks = Lack { filled_ms: 9_000, left_ms: 0 };
    let bench = Bench::start(world, data).await;
    told(&bench, 9_000, 0).await;
    bench.end().await;
}
