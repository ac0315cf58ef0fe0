//! Which recorders are watched, and their backups.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use keepwatch_model::RoleId;
use keepwatch_recorder::peers::{Approach, resolve};
use keepwatch_recording::failover::Command;
use keepwatch_recording::peer::{Password, Restored};
use keepwatch_web::{Action, Caller, FieldError, Problem};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::commands::{problem, role_of, unkept};
use super::lists::{Backup, FailoverMode};
use crate::driver::Change;
use crate::replace::ReplaceError;
use crate::world::{RegisterRefusal, RegisterWish};
use crate::{Standby, StandbyError};

/// Most recorders that are registered in one request: as many as are watched.
const ITEMS_MAX: usize = keepwatch_settings::standby::PRIMARIES_MAX;

/// Recorders that are to be watched.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RegisterBody {
    /// Each is registered by itself: that one is refused does not hold up the others.
    items: Vec<RegisterItem>,
}

/// A recorder that is to be watched, and a login of it: `user` and `password`, or `token`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RegisterItem {
    /// Its host, with a port unless that is 8443.
    #[schema(example = "192.0.2.7:8443")]
    address: String,
    /// The name of an administrator there.
    #[serde(default)]
    user: Option<String>,
    /// That user's password, which is not kept.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    password: Option<Password>,
    /// A token that it gave out (`keepwatch standby token`).
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    token: Option<Password>,
    /// On purpose beside the standby that it is registered at already.
    #[serde(default)]
    beside: bool,
    /// The key that it must have, or the first 16 digits of it or more: nothing is sent to anybody else. A token says by itself who made
    /// it.
    #[serde(default)]
    #[schema(example = "5f0c1b2a99d04e31")]
    key: Option<String>,
}

/// What became of each, in the order of the request.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[cfg_attr(test, derive(Deserialize), serde(deny_unknown_fields))]
pub(super) struct Registrations {
    items: Vec<Registration>,
}

/// What became of a recorder that was to be watched.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[cfg_attr(test, derive(Deserialize), serde(deny_unknown_fields))]
pub(super) struct Registration {
    /// The address as it was sent.
    address: String,
    /// It is watched.
    registered: bool,
    /// Its role; `null` when it is not watched.
    #[schema(value_type = Option<String>)]
    role: Option<RoleId>,
    /// Its name; `null` when it is not watched.
    name: Option<String>,
    /// Why it is not: `login_refused`, `version_differs`, `registered_elsewhere`, `unreachable` and others.
    code: Option<String>,
    /// The same in words, and what to do.
    detail: Option<String>,
}

/// What is to be changed of a primary; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PrimaryBody {
    /// Who starts its failover. It cannot be changed while one runs.
    #[serde(default)]
    mode: Option<FailoverMode>,
    /// Which of several failed primaries is covered first: the lowest.
    #[serde(default)]
    priority: Option<u8>,
    /// Whether its cameras are received ahead of a failover.
    #[serde(default)]
    prebuffer: Option<bool>,
}

/// The recorder that is to take a role.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReplaceBody {
    /// Where it is: address and port, or a name; port 8443 when left out.
    #[schema(example = "192.0.2.9:8443")]
    address: String,
    /// An administrator there; with `password`, without `token`.
    #[serde(default)]
    user: Option<String>,
    /// That user's password; it is not kept.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    password: Option<Password>,
    /// A token that was made there and works once.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    token: Option<Password>,
    /// The key that it must have, or the first 16 digits of it or more.
    #[serde(default)]
    key: Option<String>,
    /// The number of the backup that it gets; the newest when left out.
    #[serde(default)]
    backup: Option<u64>,
}

/// What came of Replace.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[cfg_attr(test, derive(Deserialize), serde(deny_unknown_fields))]
pub(super) struct Replaced {
    /// In which epoch the role is played from here on.
    epoch: u64,
    /// Cameras that were taken over.
    cameras: usize,
    /// What was not taken over, a sentence each.
    left: Vec<String>,
}

/// The backups of a primary.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[cfg_attr(test, derive(Deserialize), serde(deny_unknown_fields))]
pub(super) struct Backups {
    /// The newest first.
    items: Vec<Backup>,
}

/// Puts recorders on the *Monitoring* list.
#[utoipa::path(post, path = "/api/v1/failover/primaries", operation_id = "registerPrimaries", tag = "failover",
    request_body = RegisterBody, responses((status = 200, body = Registrations)))]
pub(super) async fn register(
    State(standby): State<Standby>,
    caller: Caller,
    Json(body): Json<RegisterBody>,
) -> Result<Json<Registrations>, Problem> {
    caller.require_audit()?;
    if body.items.is_empty() || body.items.len() > ITEMS_MAX {
        let detail = format!("there are {} of them; register 1 to {ITEMS_MAX} at a time", body.items.len());
        return Err(Problem::invalid(vec![FieldError::new("items", detail)]));
    }
    let (mut wishes, mut errors) = (Vec::new(), Vec::new());
    for (position, item) in body.items.into_iter().enumerate() {
        match read(item).await {
            Ok(wish) => wishes.push(wish),
            Err((field, detail)) => {
                errors.push(FieldError::new(format!("items[{position}].{field}"), detail));
            }
        }
    }
    if !errors.is_empty() {
        return Err(Problem::invalid(errors));
    }
    let asked: Vec<String> = wishes.iter().map(|(address, _)| address.clone()).collect();
    let results = standby.register(wishes.into_iter().map(|(_, wish)| wish).collect()).await;
    let mut items = Vec::new();
    for (address, result) in asked.into_iter().zip(results) {
        if let Ok((role, name)) = &result {
            let detail = format!("put {name:?} at {address} on the Monitoring list");
            caller.enter(Action::PrimaryRegistered, format!("primary:{role}"), detail).durable().await?;
        }
        items.push(Registration::new(address, result));
    }
    Ok(Json(Registrations { items }))
}

impl Registration {
    fn new(address: String, result: Result<(RoleId, String), RegisterRefusal>) -> Self {
        let registered = result.is_ok();
        match result {
            Ok((role, name)) => {
                Self { address, registered, role: Some(role), name: Some(name), code: None, detail: None }
            }
            Err(RegisterRefusal { code, detail }) => {
                Self { address, registered, role: None, name: None, code: Some(code), detail: Some(detail) }
            }
        }
    }
}

/// What is asked for, or the field that is wrong and why.
async fn read(item: RegisterItem) -> Result<(String, RegisterWish), (&'static str, String)> {
    let RegisterItem { address: text, user, password, token, beside, key } = item;
    let approach = Approach { beside, ..Approach::read(user, password, token, key)? };
    let address = resolve(text.clone()).await.map_err(|why| ("address", why))?;
    Ok((text, RegisterWish { address, approach }))
}

/// Changes mode, priority or pre-buffer of a primary.
#[utoipa::path(put, path = "/api/v1/failover/primaries/{role}", operation_id = "changePrimary", tag = "failover",
    params(("role" = String, Path, description = "The role of the primary.")), request_body = PrimaryBody,
    responses((status = 204)))]
pub(super) async fn change(
    State(standby): State<Standby>,
    caller: Caller,
    Path(role): Path<String>,
    Json(body): Json<PrimaryBody>,
) -> Result<StatusCode, Problem> {
    caller.require_audit()?;
    let role = role_of(&role)?;
    let change =
        Change { mode: body.mode.map(Into::into), priority: body.priority, prebuffer: body.prebuffer };
    standby.change(role, change).await.map_err(|error| problem(role, error))?;
    let mut words = Vec::new();
    words.extend(body.mode.map(|mode| match mode {
        FailoverMode::Auto => "mode Auto".to_owned(),
        FailoverMode::Manual => "mode Manual".to_owned(),
    }));
    words.extend(body.priority.map(|priority| format!("priority {priority}")));
    words.extend(body.prebuffer.map(|on| format!("pre-buffer {}", if on { "on" } else { "off" })));
    caller.enter(Action::PrimaryChanged, format!("primary:{role}"), words.join(", ")).durable().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Takes a primary off the *Monitoring* list. Its footage and its backups stay.
#[utoipa::path(delete, path = "/api/v1/failover/primaries/{role}", operation_id = "removePrimary", tag = "failover",
    params(("role" = String, Path, description = "The role of the primary.")), responses((status = 204)))]
pub(super) async fn remove(
    State(standby): State<Standby>,
    caller: Caller,
    Path(role): Path<String>,
) -> Result<StatusCode, Problem> {
    caller.require_audit()?;
    let role = role_of(&role)?;
    standby.command(Command::Deregister(role)).await.map_err(|error| problem(role, error))?;
    caller.enter(Action::PrimaryRemoved, format!("primary:{role}"), "").durable().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Has another recorder take the role of a failed one, with a backup of its configuration. What this standby records goes on
/// until the new recorder's footage overlaps; what it recorded comes to the new one.
#[utoipa::path(post, path = "/api/v1/failover/primaries/{role}/replace", operation_id = "replacePrimary", tag = "failover",
    params(("role" = String, Path, description = "The role of the primary.")), request_body = ReplaceBody,
    responses((status = 200, body = Replaced)))]
pub(super) async fn replace(
    State(standby): State<Standby>,
    caller: Caller,
    Path(role): Path<String>,
    Json(body): Json<ReplaceBody>,
) -> Result<Json<Replaced>, Problem> {
    caller.require_audit()?;
    let role = role_of(&role)?;
    let invalid =
        |(field, detail): (&'static str, String)| Problem::invalid(vec![FieldError::new(field, detail)]);
    let ReplaceBody { address, user, password, token, key, backup } = body;
    let by = RegisterItem { address, user, password, token, beside: false, key };
    let (address, wish) = read(by).await.map_err(invalid)?;
    let restored = standby.replace(role, wish, backup).await.map_err(|error| match error {
        ReplaceError::Standby(error) => problem(role, error),
        ReplaceError::Other(RegisterRefusal { code, detail }) => {
            Problem::new(StatusCode::CONFLICT, code, "The other recorder does not take the role", detail)
        }
    })?;
    let words = format!("has its role played by {address} in epoch {}", restored.epoch);
    caller.enter(Action::PrimaryReplaced, format!("primary:{role}"), words).durable().await?;
    let Restored { epoch, cameras, left, .. } = restored;
    Ok(Json(Replaced { epoch, cameras, left }))
}

/// The backups of a primary's configuration, which are kept when it changed.
#[utoipa::path(get, path = "/api/v1/failover/primaries/{role}/backups", operation_id = "primaryBackups", tag = "failover",
    params(("role" = String, Path, description = "The role of the primary.")), responses((status = 200, body = Backups)))]
pub(super) async fn backups(
    State(standby): State<Standby>,
    Path(role): Path<String>,
) -> Result<Json<Backups>, Problem> {
    let role = role_of(&role)?;
    let lines = standby.backups(role).await.map_err(|error| match error {
        StandbyError::Refused(_)
        | StandbyError::Drill(_)
        | StandbyError::NoBackup(_)
        | StandbyError::BackupUnusable(..) => problem(role, error),
        StandbyError::Book(_) | StandbyError::Ending => unkept(error),
    })?;
    Ok(Json(Backups { items: lines.into_iter().map(Backup::from).collect() }))
}
