//! The task that owns the machine: tells it what happened, looks at its deadlines, and has carried out what it decides.
//!
//! Nothing here waits for a primary, a disk or the database: each primary has lines of its own, the recorder is told what is
//! wished and carries it out by itself, and what must outlive a restart is written behind.

mod account;
mod carry;
mod drill;
mod follow;
mod primary;
mod schedules;
mod show;
mod supervise;
mod told;
mod watched;
mod writing;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use keepwatch_model::{CameraId, Machine, MonoTime, RoleId, WallTime};
use keepwatch_recorder::Clock;
use keepwatch_recording::failover::{Action, Command, Event, Mode, Refusal, Registration, Setup, Standby};
use keepwatch_recording::peer::Missing;
use keepwatch_settings::standby::PrimaryRow;
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::task::JoinSet;

pub(crate) use self::account::ACCOUNTS_MAX;
use self::account::Account;
use self::drill::DrillSchedule;
pub use self::drill::{DrillRefusal, Drilled};
use self::primary::Primary;
pub(crate) use self::primary::buffer_time;
pub(crate) use self::supervise::{Beginning, TakingUp};
use self::watched::registration;
pub(crate) use self::writing::Writing;
use crate::backups::{Fetched, Keeper};
use crate::capacity::Allowance;
use crate::claims::Claims;
use crate::coordination::Coordination;
use crate::farewells::Farewells;
use crate::lists::Lists;
use crate::opened::Known;
use crate::world::{Checked, Failure, Lines, Recorder, RegisterRefusal};

/// Inputs that wait: more than all primaries and operators say while the task is busy.
pub(crate) const INPUTS_MAX: usize = 1024;

/// What the lists are told at most: five times a second.
const SHOW_INTERVAL: Duration = Duration::from_millis(200);

/// How long the start waits for the recorder to take up what is to be recorded.
const SETTLE_PATIENCE: Duration = Duration::from_secs(5);

/// What happens.
#[derive(Debug)]
pub(crate) enum Input {
    /// A check came to its end.
    Checked {
        /// Whose.
        role: RoleId,
        /// The check's.
        check: u64,
        /// What was answered.
        answer: Result<Checked, Failure>,
    },
    /// A configuration was fetched, or could not be.
    BackedUp {
        /// Whose.
        role: RoleId,
        /// What it says.
        result: Result<Box<Fetched>, String>,
    },
    /// A primary told what it lacks of a failover, or could not be asked.
    Accounted {
        /// Whose.
        role: RoleId,
        /// The number of the report.
        report: u64,
        /// What it said.
        result: Result<Missing, String>,
    },
    /// Something that the machine is told as it is.
    Happened(Event),
    /// A recorder let this standby in: it is watched when that is answered, and kept.
    Registered(Box<PrimaryRow>, oneshot::Sender<Result<(), RegisterRefusal>>),
    /// Another recorder plays a role, and is watched in its place.
    Replaced(Box<PrimaryRow>),
    /// An operator wants something.
    Asked(Command, oneshot::Sender<Result<(), Refusal>>),
    /// An operator changed something of a primary.
    Changed(RoleId, Change, oneshot::Sender<Result<(), Refusal>>),
    /// An operator wants to see whether a failover would work.
    Drill(RoleId, oneshot::Sender<Result<(), DrillRefusal>>),
    /// Failovers are to be tested so often; `None` when an operator asks only.
    Drills(Option<Duration>),
    /// The setup is another; whether it was edited.
    SetUp(Setup, bool),
    /// What can be recorded is another.
    Measured(Allowance),
}

/// What an operator changes of a primary; `None` leaves it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    /// Who starts its failover.
    pub(crate) mode: Option<Mode>,
    /// The lowest is covered first.
    pub(crate) priority: Option<u8>,
    /// Whether its cameras are received ahead of a failover.
    pub(crate) prebuffer: Option<bool>,
}

/// What the driver works with.
#[derive(Clone)]
pub(crate) struct Tools {
    /// Both clocks.
    pub(crate) clock: Clock,
    /// The lines to primaries.
    pub(crate) lines: Arc<dyn Lines>,
    /// The recorder beside it.
    pub(crate) recorder: Arc<dyn Recorder>,
    /// Who keeps backups.
    pub(crate) keeper: Keeper,
    /// Who asks for covers.
    pub(crate) claims: Claims,
    /// Who decides about them.
    pub(crate) coordination: Coordination,
    /// Recorders that are told that they are watched no more.
    pub(crate) farewells: Farewells,
    /// Where inputs are sent.
    pub(crate) inputs: mpsc::Sender<Input>,
}

/// The driver of a standby.
pub(crate) struct Driver {
    tools: Tools,
    machine: Standby,
    /// Whether the setup was edited rather than read from the configuration file.
    edited: bool,
    capacity: Allowance,
    drills: DrillSchedule,
    primaries: BTreeMap<RoleId, Primary>,
    writing: Writing,
    /// Attempts to receive a camera, farewells, and who waits for what is to be kept.
    tasks: JoinSet<()>,
    lists: Arc<watch::Sender<Arc<Lists>>>,
    /// When the lists are to be told, if they are not as they were.
    show_at: Option<MonoTime>,
    /// When schedules are looked at next.
    schedules_at: MonoTime,
    actions: Vec<Action>,
}

impl Driver {
    /// A driver of `machine` that watches nobody yet; the lists are told to `lists`.
    pub(crate) fn new(
        tools: Tools,
        machine: Standby,
        capacity: Allowance,
        edited: bool,
        writing: Writing,
        lists: Arc<watch::Sender<Arc<Lists>>>,
    ) -> Self {
        let schedules_at = tools.clock.mono();
        Self {
            tools,
            machine,
            edited,
            capacity,
            drills: DrillSchedule::default(),
            primaries: BTreeMap::new(),
            writing,
            tasks: JoinSet::new(),
            lists,
            show_at: None,
            schedules_at,
            actions: Vec::new(),
        }
    }

    /// Watches primaries from here on as they were kept, and goes on with what was recorded. That comes first, all of it at once.
    /// `at` says with which of them it is busy, for whoever finds that it panicked.
    pub(crate) async fn take_up(&mut self, kept: Vec<Known>, at: &TakingUp) {
        let covered = |known: &Known| !(known.row.covered.is_empty() && known.row.alone.is_empty());
        let (covered, others): (Vec<Known>, Vec<Known>) = kept.into_iter().partition(covered);
        for known in covered {
            at.begin(&known.row);
            self.take_up_one(known);
        }
        at.end();
        // Others are watched soon, whatever holds up the recorder.
        let settled = async {
            for primary in self.primaries.values_mut() {
                primary.settled().await;
            }
        };
        if tokio::time::timeout(SETTLE_PATIENCE, settled).await.is_err() {
            tracing::error!("the recorder is slow to take up the cameras that were covered; they follow");
        }
        for known in others {
            at.begin(&known.row);
            self.take_up_one(known);
        }
        at.end();
    }

    fn take_up_one(&mut self, known: Known) {
        let Known { row, last, report, open } = known;
        let now = self.tools.clock.mono();
        let cameras = last.as_ref().map(|last| last.demands.clone()).unwrap_or_default();
        let (covered, alone) = (row.covered.clone(), row.alone.clone());
        let registration = Registration { covered, alone, ..registration(&row, cameras) };
        let role = row.role;
        let mut primary = Primary::new(row, &self.machine.setup(), &self.tools);
        primary.report = report;
        primary.accounts = open.into_iter().map(|report| Account::open(report, now)).collect();
        if let Some(last) = last {
            primary.backed_up(last, &[]);
        }
        self.primaries.insert(role, primary);
        self.tell(now, Event::Registered(registration));
    }

    /// Runs until `stopped`; what is to be kept is kept when it returns.
    pub(crate) async fn run(
        mut self,
        inputs: Arc<Mutex<mpsc::Receiver<Input>>>,
        mut stopped: watch::Receiver<bool>,
    ) {
        let mut inputs = inputs.lock().await;
        self.show();
        loop {
            let clock = self.tools.clock;
            let deadline = self.machine.deadline().map(|(at, _)| at);
            let drills = self.drill_deadline().into_iter().chain(self.drills.look_at).min();
            let at = [deadline, self.show_at, drills, self.account_deadline(), Some(self.schedules_at)];
            let at = at.into_iter().flatten().min();
            let timer = async {
                match at {
                    Some(at) => tokio::time::sleep_until(clock.instant(at).into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                input = inputs.recv() => match input {
                    Some(input) => self.take(input),
                    None => break,
                },
                () = self.writing.done() => {}
                () = timer => {}
                _ = stopped.wait_for(|stopped| *stopped) => break,
                Some(_) = self.tasks.join_next(), if !self.tasks.is_empty() => {}
            }
            let now = clock.mono();
            if self.machine.deadline().is_some_and(|(at, _)| at <= now) {
                self.machine.timeout(now, &mut self.actions);
                self.carry_out(now);
            }
            if self.schedules_at <= now {
                self.look_at_schedules(now);
            }
            self.end_drills(now);
            self.look_for_drills(now);
            self.look_at_accounts(now);
            if self.show_at.is_some_and(|at| at <= now) {
                self.show();
            }
            self.writing.begin();
        }
        self.writing.finish().await;
    }

    fn take(&mut self, input: Input) {
        let now = self.tools.clock.mono();
        self.show_soon(now);
        match input {
            Input::Checked { role, check, answer } => self.checked(now, role, check, answer),
            Input::BackedUp { role, result } => self.backed_up(now, role, result),
            Input::Accounted { role, report, result } => self.accounted(role, report, result),
            Input::Happened(event) => {
                if let Event::Durable { role, camera, until } = event {
                    self.recorded(role, camera, until);
                    self.drilled(role, camera);
                }
                self.tell(now, event);
            }
            Input::Registered(row, answer) => self.registered(now, *row, answer),
            Input::Replaced(row) => self.replaced(now, *row),
            Input::Asked(command, answer) => {
                let result = self.machine.command(now, command, &mut self.actions);
                self.carry_out(now);
                self.show();
                // Whoever asked may have gone.
                let _ = answer.send(result);
            }
            Input::Changed(role, change, answer) => {
                let result = self.change(now, role, change);
                self.show();
                let _ = answer.send(result);
            }
            Input::Drill(role, answer) => {
                let result = self.drill(now, role, false);
                self.show();
                let _ = answer.send(result);
            }
            Input::Drills(every) => {
                self.set_drills(every);
                self.show();
            }
            Input::SetUp(setup, edited) => {
                self.edited = edited;
                self.tell(now, Event::SetUp(setup));
                for primary in self.primaries.values_mut() {
                    primary.set_prebuffer(primary.row.prebuffer, &setup);
                }
                self.show();
            }
            Input::Measured(capacity) => {
                self.capacity = capacity;
                self.tell(now, Event::Measured(capacity.capacity));
                self.show();
            }
        }
    }

    /// Tells the machine what happened, and has carried out what it decides.
    fn tell(&mut self, now: MonoTime, event: Event) {
        self.machine.handle(now, event, &mut self.actions);
        self.carry_out(now);
    }

    fn checked(&mut self, now: MonoTime, role: RoleId, check: u64, answer: Result<Checked, Failure>) {
        let Some(primary) = self.primaries.get_mut(&role) else { return };
        match answer {
            Ok(Checked { report, version }) => {
                (primary.detail, primary.heard) = (None, true);
                if primary.row.version != version {
                    primary.row.version = version;
                    self.writing.primary(Some(&primary.row), role);
                }
                primary.reported(&report.cameras);
                self.tell(now, Event::Answered { role, check, report });
            }
            Err(Failure { missed, text }) => {
                primary.detail = Some(text);
                self.tell(now, Event::Missed { role, check, why: missed });
            }
        }
    }

    fn change(&mut self, now: MonoTime, role: RoleId, change: Change) -> Result<(), Refusal> {
        if !self.primaries.contains_key(&role) {
            return Err(Refusal::Unknown);
        }
        if let Some(mode) = change.mode {
            let chosen = self.machine.command(now, Command::Choose(role, mode), &mut self.actions);
            self.carry_out(now);
            chosen?;
        }
        let Some(primary) = self.primaries.get_mut(&role) else { return Err(Refusal::Unknown) };
        if let Some(prebuffer) = change.prebuffer {
            primary.set_prebuffer(prebuffer, &self.machine.setup());
        }
        if let Some(priority) = change.priority {
            primary.row.priority = priority;
        }
        self.writing.primary(Some(&primary.row), role);
        let registration = registration(&primary.row, primary.demands());
        self.tell(now, Event::Registered(registration));
        Ok(())
    }

    /// More footage of a covered camera is on disk.
    fn recorded(&mut self, role: RoleId, camera: CameraId, until: WallTime) {
        let Some(primary) = self.primaries.get_mut(&role) else { return };
        let from = || self.tools.recorder.durable_from(role, camera);
        if let Some(report) = &mut primary.report
            && report.recorded(camera, from, until)
        {
            self.writing.report(report);
        }
    }

    fn show_soon(&mut self, now: MonoTime) {
        if self.show_at.is_none() {
            self.show_at = Some(now + SHOW_INTERVAL);
        }
    }
}
