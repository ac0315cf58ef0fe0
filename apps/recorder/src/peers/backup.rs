//! The configuration in force as a backup, and a camera of a backup as the recorder is told of it.

use keepwatch_model::CameraId;
use keepwatch_recording::peer::{
    Backup, CameraBackup, Contents, PROTOCOL, Password, RtspUserBackup, VERSION,
};
use keepwatch_web::{Auth, Problem};
use serde_json::{Map, Value};

use super::answers::bits_per_second;
use crate::Node;
use crate::config::{CameraConfig, CameraSet, RtspUser, Secret, units};
use crate::settings::{CameraWish, FieldError, entry_of_file};

/// What a backup of a camera has places of its own for, and what is no setting.
const APART: [&str; 3] = ["id", "password", "revision"];

/// What a camera is told by: the keys that this version knows. Others are of a later one, and a camera is covered without.
const KEYS: [&str; 18] = [
    "name",
    "url",
    "sub_url",
    "onvif",
    "edge",
    "sub",
    "events",
    "user",
    "transport",
    "certificate",
    "audio",
    "metadata",
    "retention",
    "schedule",
    "recording",
    "pre_alarm",
    "post_alarm",
    "alarm_on",
];

impl Node {
    /// The whole configuration in force, with the passwords of the cameras.
    pub(super) fn backup(&self, auth: &Auth) -> Result<Backup, Problem> {
        let (config, revision) = self.in_force();
        let (role, epoch) = self.peers().role();
        let contents = Contents {
            version: VERSION.to_owned(),
            protocol: PROTOCOL,
            role,
            epoch,
            taken: self.clock().wall(),
            name: config.name.clone(),
            revision,
            retention: config.retention.map(units::show_duration),
            cameras: config.cameras.iter().map(|camera| self.back_up(camera)).collect(),
            users: auth.kept_users(),
            rtsp_users: config.rtsp.users.iter().map(back_up_user).collect(),
        };
        Backup::of(&contents).map_err(|error| Problem::internal(format!("no backup can be made: {error}")))
    }

    fn back_up(&self, camera: &CameraConfig) -> CameraBackup {
        let state = self.camera(camera.id);
        CameraBackup {
            id: camera.id,
            bits_per_second: state.map_or(0, |state| bits_per_second(&state)),
            password: camera.password.as_ref().map(|password| Password::new(password.expose().to_owned())),
            settings: settings(camera),
        }
    }
}

/// The texts of a camera by their keys, without id and password.
fn settings(camera: &CameraConfig) -> std::collections::BTreeMap<String, Value> {
    let entry = serde_json::to_value(entry_of_file(camera)).unwrap_or_default();
    let Value::Object(object) = entry else { return std::collections::BTreeMap::new() };
    object.into_iter().filter(|(key, _)| !APART.contains(&key.as_str())).collect()
}

fn back_up_user(user: &RtspUser) -> RtspUserBackup {
    RtspUserBackup {
        user: user.user.clone(),
        password: Password::new(user.password.expose().to_owned()),
        cameras: match &user.cameras {
            CameraSet::All => None,
            CameraSet::Only(cameras) => Some(cameras.clone()),
        },
    }
}

/// The camera `of` a backup as a recorder is told of it, under the id `id`.
///
/// # Errors
/// When its settings break the rules of the configuration.
pub fn camera_config(of: &CameraBackup, id: CameraId) -> Result<CameraConfig, Vec<FieldError>> {
    let password = of.password.as_ref().map(|password| Secret::new(password.expose().to_owned()));
    Ok(wish(of, id)?.draft.with_password(password))
}

/// What is asked for to have that camera; its password stays what it is.
pub(super) fn wish(of: &CameraBackup, id: CameraId) -> Result<CameraWish, Vec<FieldError>> {
    let known = of.settings.iter().filter(|(key, _)| KEYS.contains(&key.as_str()));
    let mut object: Map<String, Value> = known.map(|(key, value)| (key.clone(), value.clone())).collect();
    object.insert("id".to_owned(), Value::from(id.as_str()));
    CameraWish::read(&object)
}
