//! What operators ask for: carried out, or refused with the reason.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use keepwatch_model::RoleId;
use keepwatch_recording::failover::{Command, Refusal};
use keepwatch_settings::standby::BookError;
use keepwatch_web::{Action, Caller, Problem};

use crate::{DrillRefusal, Standby, StandbyError};

/// Starts the failover of a primary by hand: of all cameras when it failed, else of those that it does not record.
#[utoipa::path(post, path = "/api/v1/failover/primaries/{role}/failover", operation_id = "startFailover", tag = "failover",
    params(("role" = String, Path, description = "The role of the primary.")), responses((status = 204)))]
pub(super) async fn failover(
    State(standby): State<Standby>,
    caller: Caller,
    Path(role): Path<String>,
) -> Result<StatusCode, Problem> {
    command(&standby, &caller, &role, Command::Failover, Action::FailoverStarted, "started the failover")
        .await
}

/// Ends a failover at once; the primary's mode becomes `manual`.
#[utoipa::path(post, path = "/api/v1/failover/primaries/{role}/stop", operation_id = "stopFailover", tag = "failover",
    params(("role" = String, Path, description = "The role of the primary.")), responses((status = 204)))]
pub(super) async fn stop(
    State(standby): State<Standby>,
    caller: Caller,
    Path(role): Path<String>,
) -> Result<StatusCode, Problem> {
    command(&standby, &caller, &role, Command::Stop, Action::FailoverStopped, "stopped the failover").await
}

/// Gives the role back to the repaired primary. Each camera is recorded here until the primary's footage overlaps.
#[utoipa::path(post, path = "/api/v1/failover/primaries/{role}/failback", operation_id = "failBack", tag = "failover",
    params(("role" = String, Path, description = "The role of the primary.")), responses((status = 204)))]
pub(super) async fn failback(
    State(standby): State<Standby>,
    caller: Caller,
    Path(role): Path<String>,
) -> Result<StatusCode, Problem> {
    command(&standby, &caller, &role, Command::Failback, Action::FailbackStarted, "gave the role back").await
}

/// Tests a failover without stopping the primary: each of its cameras is recorded here until a record of it is on disk. What came
/// of it stands in the lists.
#[utoipa::path(post, path = "/api/v1/failover/primaries/{role}/drill", operation_id = "drillFailover", tag = "failover",
    params(("role" = String, Path, description = "The role of the primary.")), responses((status = 204)))]
pub(super) async fn drill(
    State(standby): State<Standby>,
    caller: Caller,
    Path(role): Path<String>,
) -> Result<StatusCode, Problem> {
    let role = role_of(&role)?;
    standby.drill(role).await.map_err(|error| problem(role, error))?;
    caller.enter(Action::FailoverDrilled, format!("primary:{role}"), "").durable().await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn command(
    standby: &Standby,
    caller: &Caller,
    role: &str,
    command: fn(RoleId) -> Command,
    action: Action,
    what: &str,
) -> Result<StatusCode, Problem> {
    // Not asked whether the audit log can be written: footage must not be lost because a disk is full.
    let role = role_of(role)?;
    standby.command(command(role)).await.map_err(|error| problem(role, error))?;
    caller.enter(action, format!("primary:{role}"), what).durable().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The role that a path names.
pub(super) fn role_of(text: &str) -> Result<RoleId, Problem> {
    text.parse().map_err(|_| unknown(text))
}

fn unknown(role: &str) -> Problem {
    let shown: String = role.chars().take(64).collect();
    Problem::not_found("primary_unknown", format!("no primary {shown:?}; GET /api/v1/failover lists them"))
}

/// Why a command was not carried out.
pub(super) fn problem(role: RoleId, error: StandbyError) -> Problem {
    let code = match error {
        StandbyError::Refused(Refusal::Unknown) | StandbyError::Drill(DrillRefusal::Unknown) => {
            return unknown(&role.to_string());
        }
        StandbyError::Drill(DrillRefusal::Running) => "failover_running",
        StandbyError::Drill(DrillRefusal::UnderWay) => "drill_under_way",
        StandbyError::Drill(DrillRefusal::NoCameras) => "cameras_unknown",
        StandbyError::Drill(DrillRefusal::Full) => "standby_full",
        StandbyError::Refused(Refusal::Running) => "failover_running",
        StandbyError::Refused(Refusal::NotRunning) => "failover_not_running",
        StandbyError::Refused(Refusal::Normal) => "primary_normal",
        StandbyError::Refused(Refusal::NotRepaired) => "primary_not_repaired",
        StandbyError::Refused(Refusal::UnderWay) => "failover_under_way",
        StandbyError::Refused(Refusal::Full) => "standby_full",
        StandbyError::Ending => return Problem::unavailable("node_ending", error.to_string()),
        StandbyError::NoBackup(_) => return Problem::not_found("backup_unknown", error.to_string()),
        StandbyError::BackupUnusable(..) => "backup_unusable",
        StandbyError::Book(_) => return unkept(error),
    };
    Problem::conflict(code, error.to_string())
}

/// Why something could not be kept.
pub(super) fn unkept(error: StandbyError) -> Problem {
    match error {
        StandbyError::Book(error @ BookError::Full) => Problem::conflict("primaries_full", error.to_string()),
        error @ (StandbyError::Book(_)
        | StandbyError::Refused(_)
        | StandbyError::Drill(_)
        | StandbyError::NoBackup(_)
        | StandbyError::BackupUnusable(..)
        | StandbyError::Ending) => Problem::unavailable("standby_unkept", error.to_string()),
    }
}
