//! How the failovers stand, and the setup.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use keepwatch_model::{CameraId, RoleId, WallTime};
use keepwatch_recording::failover::{self, Health, Missed, Setup};
use keepwatch_settings::standby::BackupLine;
use keepwatch_web::{Action, Caller, FieldError, Problem};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::capacity::Bound;
use crate::lists::{Lists, Monitored};
use crate::{Drilled, Standby};

/// The standby: its setup, the recorders that it watches, and the failovers that run.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[cfg_attr(test, derive(Deserialize), serde(deny_unknown_fields))]
pub(crate) struct Failover {
    /// The setup in force.
    setup: FailoverSetup,
    /// The longest time between a failure and the start of its failover.
    takes_over_after_ms: u64,
    /// What it can record.
    capacity: FailoverCapacity,
    /// The watched recorder that decides which of several standbys covers; `null`: this node.
    coordinator: Option<Coordinator>,
    /// How often a failover of each primary is tested, in seconds; `null` when an operator asks only.
    drill_every_s: Option<u64>,
    /// The *Monitoring* list.
    monitoring: Vec<Primary>,
    /// The *Failover* list.
    failovers: Vec<RunningFailover>,
}

/// The setup of a standby.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[cfg_attr(test, derive(Deserialize), serde(deny_unknown_fields))]
struct FailoverSetup {
    /// How often each primary is asked; an answer that takes longer is none.
    check_interval_ms: u64,
    /// How often the configuration of each primary is fetched.
    setup_backup_interval_s: u64,
    /// Consecutive failed checks after which a failover starts by itself in mode `auto`.
    auto_failover_threshold: u32,
    /// It was edited here, and holds until the configuration file changes; else it is the file's.
    edited: bool,
}

/// A recorder that decides which of several standbys covers.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[cfg_attr(test, derive(Deserialize), serde(deny_unknown_fields))]
struct Coordinator {
    /// As the configuration names it.
    name: String,
    /// Why it cannot be asked; `null` while nothing is known against it.
    problem: Option<String>,
}

/// What a standby can record beside what it records itself.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[cfg_attr(test, derive(Deserialize), serde(deny_unknown_fields))]
struct FailoverCapacity {
    /// Cameras.
    cameras: usize,
    /// All of their streams together.
    bits_per_second: u64,
    /// What bounds that: the configuration file, the line that cameras come in by, or the disks as they were measured.
    bound: CapacityBound,
}

/// What bounds how much a standby can record.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
#[cfg_attr(test, derive(Deserialize))]
#[serde(rename_all = "snake_case")]
enum CapacityBound {
    Configuration,
    Line,
    Disks,
}

/// A recorder that is watched.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[cfg_attr(test, derive(Deserialize), serde(deny_unknown_fields))]
struct Primary {
    /// The role that it plays.
    #[schema(value_type = String)]
    role: RoleId,
    /// Its name.
    name: String,
    /// Where it is asked.
    address: String,
    /// The hardware address of its network interface, as it says.
    mac: Option<String>,
    /// Who starts its failover.
    mode: FailoverMode,
    /// Which of several failed primaries is covered first: the lowest.
    priority: u8,
    /// Grows with each Replace.
    epoch: u64,
    /// How it is.
    state: PrimaryState,
    /// Since when it fails; `null` while it does not.
    #[schema(value_type = Option<String>, format = DateTime)]
    since: Option<WallTime>,
    /// Checks that failed in a row, while they are fewer than the threshold.
    missed: u32,
    /// Why the last check failed; `null` after an answer.
    why: Option<MissedCheck>,
    /// The same in words.
    detail: Option<String>,
    /// Its version.
    version: String,
    /// That is another one than the standby's: it is covered, and cannot be replaced or restored.
    version_differs: bool,
    /// A failover is due, and the standby can record no more.
    waits: bool,
    /// Another standby covers it.
    left_to_other: bool,
    /// Its cameras that are to be recorded.
    cameras: usize,
    /// What all of its cameras send.
    bits_per_second: u64,
    /// Those that it does not record.
    #[schema(value_type = Vec<String>)]
    missing: Vec<CameraId>,
    /// Those that are covered while it lives.
    #[schema(value_type = Vec<String>)]
    covered_alone: Vec<CameraId>,
    /// Its last backup; `null` before the first.
    last_backup: Option<Backup>,
    /// Why its configuration cannot be fetched, or not all of its cameras can be recorded; `null` when all is well.
    backup_problem: Option<String>,
    /// Whether its cameras are received ahead of a failover.
    prebuffer: bool,
    /// A drill runs.
    drilling: bool,
    /// What came of the last drill; `null` before the first: what was never tested counts as none.
    tested: Option<Drill>,
    /// Memory that the pre-buffer takes at most, or would take; over the network it takes `bits_per_second`, all the time.
    prebuffer_bytes: u64,
}

/// What came of a drill: whether a failover would record the cameras.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[cfg_attr(test, derive(Deserialize), serde(deny_unknown_fields))]
struct Drill {
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    at: WallTime,
    /// It would record all of them.
    passed: bool,
    /// What is wrong, in words; `null` when it passed.
    detail: Option<String>,
    /// Cameras that were to be recorded: those whose schedules asked for it.
    cameras: usize,
    /// Those that were not: no record came to the disk in time, the backup says of them what cannot be used here, or there is no
    /// room. `detail` says which is which.
    #[schema(value_type = Vec<String>)]
    failed: Vec<CameraId>,
}

/// What is known of a backup.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[cfg_attr(test, derive(Deserialize), serde(deny_unknown_fields))]
pub(super) struct Backup {
    /// Its number, from 1, for each primary.
    number: u64,
    /// When the primary made it.
    #[schema(value_type = String, format = DateTime)]
    taken: WallTime,
    /// When the configuration was last found to be still that.
    #[schema(value_type = String, format = DateTime)]
    checked: WallTime,
    /// How many cameras are in it.
    cameras: u64,
}

/// A failover that runs.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[cfg_attr(test, derive(Deserialize), serde(deny_unknown_fields))]
struct RunningFailover {
    /// The role that is covered.
    #[schema(value_type = String)]
    role: RoleId,
    /// Its name.
    name: String,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    since: WallTime,
    /// Who started it.
    cause: FailoverCause,
    /// Whether the coordination knows of it.
    claim: FailoverClaim,
    /// The repaired primary answers: Failback can be asked for.
    normal: bool,
    /// Failback or Replace is under way.
    returning: bool,
    /// Cameras that are covered.
    cameras: usize,
    /// Those of which footage is on disk here.
    recorded: usize,
    /// Cameras that are not recorded here, or not any more. While there are any, the cover is left to a standby that records all of
    /// them. Cameras that the primary did not record before it failed either are not among them.
    #[schema(value_type = Vec<String>)]
    lacks: Vec<CameraId>,
}

/// Who starts a failover: the standby after the threshold, or an operator only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum FailoverMode {
    Auto,
    Manual,
}

/// How a primary is: not heard yet, answering, missed lately, failed, or answering without recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[cfg_attr(test, derive(Deserialize))]
#[serde(rename_all = "snake_case")]
enum PrimaryState {
    Unheard,
    Normal,
    Missed,
    Failed,
    RecordsNothing,
}

/// Why a check failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[cfg_attr(test, derive(Deserialize))]
#[serde(rename_all = "snake_case")]
enum MissedCheck {
    Late,
    Disconnected,
    Unusable,
    Superseded,
}

/// Who started a failover; `restart`: it ran before the standby was restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[cfg_attr(test, derive(Deserialize))]
#[serde(rename_all = "snake_case")]
enum FailoverCause {
    Threshold,
    Operator,
    Restart,
}

/// Whether the coordination gave the cover to this standby, is asked, or cannot be asked; `incomplete`: it is not claimed, because
/// not all cameras are recorded here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[cfg_attr(test, derive(Deserialize))]
#[serde(rename_all = "snake_case")]
enum FailoverClaim {
    Asked,
    Held,
    Unconfirmed,
    Incomplete,
}

/// A setup to be taken up.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FailoverSetupBody {
    /// How often each primary is asked: 200 to 300,000.
    check_interval_ms: u64,
    /// How often the configuration of each primary is fetched: 10 to 604,800.
    setup_backup_interval_s: u64,
    /// Consecutive failed checks after which a failover starts by itself: 1 to 100.
    auto_failover_threshold: u32,
}

/// The lists of the standby.
#[utoipa::path(get, path = "/api/v1/failover", operation_id = "failover", tag = "failover",
    responses((status = 200, body = Failover)))]
pub(super) async fn show(State(standby): State<Standby>) -> Json<Failover> {
    Json(Failover::from(&*standby.lists()))
}

/// Changes the setup. It holds until the configuration file says something else than it does at this moment.
#[utoipa::path(put, path = "/api/v1/failover/setup", operation_id = "setUpFailover", tag = "failover",
    request_body = FailoverSetupBody, responses((status = 204)))]
pub(super) async fn set_up(
    State(standby): State<Standby>,
    caller: Caller,
    Json(body): Json<FailoverSetupBody>,
) -> Result<StatusCode, Problem> {
    caller.require_audit()?;
    let setup = Setup::new(
        Duration::from_millis(body.check_interval_ms),
        Duration::from_secs(body.setup_backup_interval_s),
        body.auto_failover_threshold,
    )
    .map_err(|error| {
        let field = match error {
            failover::SetupError::CheckInterval(_) => "check_interval_ms",
            failover::SetupError::BackupInterval(_) => "setup_backup_interval_s",
            failover::SetupError::Threshold(_) => "auto_failover_threshold",
        };
        Problem::invalid(vec![FieldError::new(field, error.to_string())])
    })?;
    standby.edit_setup(setup).await.map_err(super::commands::unkept)?;
    let detail = format!(
        "check interval {} ms, setup backup interval {} s, auto failover threshold {}",
        body.check_interval_ms, body.setup_backup_interval_s, body.auto_failover_threshold
    );
    caller.enter(Action::FailoverSetUp, "failover", detail).durable().await?;
    Ok(StatusCode::NO_CONTENT)
}

impl From<&Lists> for Failover {
    fn from(lists: &Lists) -> Self {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let setup = &lists.setup;
        Self {
            setup: FailoverSetup {
                check_interval_ms: millis(setup.check_interval()),
                setup_backup_interval_s: setup.setup_backup_interval().as_secs(),
                auto_failover_threshold: setup.auto_failover_threshold(),
                edited: lists.edited,
            },
            takes_over_after_ms: millis(setup.takes_over_after_max()),
            capacity: FailoverCapacity {
                cameras: lists.capacity.capacity.cameras,
                bits_per_second: lists.capacity.capacity.bits_per_second,
                bound: match lists.capacity.bound {
                    Bound::Configuration => CapacityBound::Configuration,
                    Bound::Line => CapacityBound::Line,
                    Bound::Disks => CapacityBound::Disks,
                },
            },
            coordinator: lists.coordinator.clone().map(|(name, problem)| Coordinator { name, problem }),
            drill_every_s: lists.drill_every.map(|every| every.as_secs()),
            monitoring: lists.primaries.iter().map(Primary::from).collect(),
            failovers: lists.primaries.iter().filter_map(running).collect(),
        }
    }
}

impl From<&Monitored> for Primary {
    fn from(primary: &Monitored) -> Self {
        let view = &primary.view;
        let (state, missed, why) = match view.health {
            Health::Unheard => (PrimaryState::Unheard, 0, None),
            Health::Normal => (PrimaryState::Normal, 0, None),
            Health::Missed { misses, why } => (PrimaryState::Missed, misses, Some(why)),
            Health::Failed { why, .. } => (PrimaryState::Failed, 0, Some(why)),
            Health::RecordsNothing { .. } => (PrimaryState::RecordsNothing, 0, None),
        };
        Self {
            role: view.role,
            name: primary.name.clone(),
            address: primary.address.to_string(),
            mac: primary.mac.clone(),
            mode: view.mode.into(),
            priority: primary.priority,
            epoch: view.epoch,
            state,
            since: primary.since,
            missed,
            why: why.map(MissedCheck::from),
            detail: primary.detail.clone(),
            version: primary.version.clone(),
            version_differs: view.version_differs,
            waits: view.waits,
            left_to_other: view.left_to_other,
            cameras: view.cameras,
            bits_per_second: primary.bits_per_second,
            missing: view.missing.clone(),
            covered_alone: view.covered_alone.clone(),
            last_backup: primary.backup.clone().map(Backup::from),
            backup_problem: primary.backup_problem.clone(),
            drilling: primary.drilling,
            tested: primary.drilled.clone().map(Drill::from),
            prebuffer: primary.prebuffer,
            prebuffer_bytes: primary.prebuffer_bytes,
        }
    }
}

/// The row of the *Failover* list of a primary that is covered.
fn running(primary: &Monitored) -> Option<RunningFailover> {
    let cover = primary.cover.as_ref()?;
    let view = &cover.view;
    Some(RunningFailover {
        role: view.role,
        name: primary.name.clone(),
        since: cover.since,
        cause: match view.cause {
            failover::Cause::Threshold => FailoverCause::Threshold,
            failover::Cause::Operator => FailoverCause::Operator,
            failover::Cause::Restart => FailoverCause::Restart,
        },
        claim: match view.claim {
            failover::Claim::Asked => FailoverClaim::Asked,
            failover::Claim::Held => FailoverClaim::Held,
            failover::Claim::Unconfirmed => FailoverClaim::Unconfirmed,
            failover::Claim::Incomplete => FailoverClaim::Incomplete,
        },
        normal: view.normal,
        returning: view.returning,
        cameras: view.cameras,
        recorded: view.recorded,
        lacks: view.lacks.clone(),
    })
}

impl From<Drilled> for Drill {
    fn from(drilled: Drilled) -> Self {
        let detail = drilled.complaint();
        let Drilled { at, cameras, failed } = drilled;
        Self { at, passed: failed.is_empty(), detail, cameras, failed: failed.into_keys().collect() }
    }
}

impl From<BackupLine> for Backup {
    fn from(line: BackupLine) -> Self {
        let BackupLine { number, taken, checked, cameras } = line;
        Self { number, taken, checked, cameras }
    }
}

impl From<failover::Mode> for FailoverMode {
    fn from(mode: failover::Mode) -> Self {
        match mode {
            failover::Mode::Auto => Self::Auto,
            failover::Mode::Manual => Self::Manual,
        }
    }
}

impl From<FailoverMode> for failover::Mode {
    fn from(mode: FailoverMode) -> Self {
        match mode {
            FailoverMode::Auto => Self::Auto,
            FailoverMode::Manual => Self::Manual,
        }
    }
}

impl From<Missed> for MissedCheck {
    fn from(why: Missed) -> Self {
        match why {
            Missed::Late => Self::Late,
            Missed::Disconnected => Self::Disconnected,
            Missed::Unusable => Self::Unusable,
            Missed::Superseded => Self::Superseded,
        }
    }
}
