//! What is in a backup of a primary's configuration, and what differs between two. Names of settings, never what is set: a backup
//! holds passwords, and nobody needs to read them to choose one.

use axum::Json;
use axum::extract::{Path, Query, State};
use keepwatch_model::{CameraId, RoleId, WallTime};
use keepwatch_recording::peer::{Contents, Difference};
use keepwatch_settings::standby::BackupLine;
use keepwatch_web::Problem;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::commands::{problem, role_of};
use crate::Standby;

/// With which backup one is compared.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct SinceQuery {
    /// The number of the earlier one.
    since: u64,
}

/// What a backup holds.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[cfg_attr(test, derive(Deserialize), serde(deny_unknown_fields))]
pub(super) struct BackupContents {
    /// Its number, from 1, for each primary.
    number: u64,
    /// When the primary made it.
    #[schema(value_type = String, format = DateTime)]
    taken: WallTime,
    /// When the configuration was last found to be still that.
    #[schema(value_type = String, format = DateTime)]
    checked: WallTime,
    /// The primary's name.
    name: String,
    /// Its version.
    version: String,
    /// The epoch in which it played its role.
    epoch: u64,
    /// The newest revision of what is edited in its console; 0 before the first.
    revision: u64,
    /// Age at which footage of a camera without its own setting is deleted; `null` for no such age.
    retention: Option<String>,
    /// Its cameras.
    cameras: Vec<BackupCamera>,
    /// Names of those who may watch over RTSP.
    rtsp_users: Vec<String>,
}

/// A camera in a backup.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[cfg_attr(test, derive(Deserialize), serde(deny_unknown_fields))]
struct BackupCamera {
    /// Its id at the primary.
    #[schema(value_type = String)]
    camera: CameraId,
    /// The names of its settings; a password is one of them.
    settings: Vec<String>,
}

/// What differs in a backup from an earlier one.
#[derive(Debug, Default, PartialEq, Serialize, ToSchema)]
#[cfg_attr(test, derive(Deserialize), serde(deny_unknown_fields))]
pub(super) struct BackupChanges {
    /// Whose number is this.
    number: u64,
    /// Compared with this one.
    since: u64,
    /// Cameras that only `number` has.
    #[schema(value_type = Vec<String>)]
    added: Vec<CameraId>,
    /// Cameras that only `since` has.
    #[schema(value_type = Vec<String>)]
    removed: Vec<CameraId>,
    /// Cameras that both have, with other settings.
    changed: Vec<BackupCameraChange>,
    /// Other settings that differ: `version`, `name`, `retention`, `users` or `rtsp_users`.
    settings: Vec<String>,
}

/// A camera that is set otherwise.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[cfg_attr(test, derive(Deserialize), serde(deny_unknown_fields))]
struct BackupCameraChange {
    /// Its id at the primary.
    #[schema(value_type = String)]
    camera: CameraId,
    /// The names of the settings that differ.
    settings: Vec<String>,
}

/// What a backup of a primary's configuration holds, without its secrets.
#[utoipa::path(get, path = "/api/v1/failover/primaries/{role}/backups/{number}", operation_id = "primaryBackup", tag = "failover",
    params(("role" = String, Path, description = "The role of the primary."), ("number" = u64, Path, description = "Its number.")),
    responses((status = 200, body = BackupContents)))]
pub(super) async fn show(
    State(standby): State<Standby>,
    Path((role, number)): Path<(String, String)>,
) -> Result<Json<BackupContents>, Problem> {
    let (role, number) = (role_of(&role)?, number_of(&number)?);
    let (line, contents) = read(&standby, role, number).await?;
    Ok(Json(BackupContents::of(line, contents)))
}

/// What differs in a backup from an earlier one.
#[utoipa::path(get, path = "/api/v1/failover/primaries/{role}/backups/{number}/changes", operation_id = "primaryBackupChanges",
    tag = "failover",
    params(("role" = String, Path, description = "The role of the primary."), ("number" = u64, Path, description = "Its number."),
        SinceQuery),
    responses((status = 200, body = BackupChanges)))]
pub(super) async fn changes(
    State(standby): State<Standby>,
    Path((role, number)): Path<(String, String)>,
    Query(SinceQuery { since }): Query<SinceQuery>,
) -> Result<Json<BackupChanges>, Problem> {
    let (role, number) = (role_of(&role)?, number_of(&number)?);
    let (_, earlier) = read(&standby, role, since).await?;
    let (_, later) = read(&standby, role, number).await?;
    Ok(Json(BackupChanges::between((since, &earlier), (number, &later))))
}

async fn read(standby: &Standby, role: RoleId, number: u64) -> Result<(BackupLine, Contents), Problem> {
    standby.backup(role, number).await.map_err(|error| problem(role, error))
}

fn number_of(text: &str) -> Result<u64, Problem> {
    text.parse().map_err(|_| {
        let shown: String = text.chars().take(64).collect();
        Problem::not_found("backup_unknown", format!("{shown:?} is no number of a backup"))
    })
}

impl BackupContents {
    fn of(line: BackupLine, contents: Contents) -> Self {
        let BackupLine { number, taken, checked, .. } = line;
        let cameras = contents.cameras.iter().map(|camera| {
            let password = camera.password.is_some().then(|| "password".to_owned());
            let settings = camera.settings.keys().cloned().chain(password).collect();
            BackupCamera { camera: camera.id, settings }
        });
        Self {
            number,
            taken,
            checked,
            cameras: cameras.collect(),
            name: contents.name,
            version: contents.version,
            epoch: contents.epoch,
            revision: contents.revision,
            retention: contents.retention,
            rtsp_users: contents.rtsp_users.into_iter().map(|user| user.user).collect(),
        }
    }
}

impl BackupChanges {
    fn between((since, earlier): (u64, &Contents), (number, later): (u64, &Contents)) -> Self {
        let mut changes = Self { number, since, ..Self::default() };
        for difference in earlier.differences(later) {
            match difference {
                Difference::Added(camera) => changes.added.push(camera),
                Difference::Removed(camera) => changes.removed.push(camera),
                Difference::Changed { camera, settings } => {
                    changes.changed.push(BackupCameraChange { camera, settings });
                }
                Difference::Setting(name) => changes.settings.push(name.to_owned()),
            }
        }
        changes
    }
}
