//! The whole configuration of a recorder, as a standby keeps it and gives it to the recorder that takes the role.
//!
//! What is said travels as the very text that its digest was made of: a backup that was cut off or altered on its way, or
//! where it is kept, is found out before anything of it is used, and one of another version of the program can be kept and
//! given back unread.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};

use keepwatch_model::{CameraId, RoleId, WallTime};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::{CAMERAS_MAX, NAME_BYTES_MAX, PROTOCOL, Password, VERSION, VERSION_BYTES_MAX, bounds, version};
use crate::failover::{Demand, Version};

/// The form of [`Backup`] and [`Contents`].
pub const FORMAT: u32 = 1;

/// Longest text of a configuration: as many cameras and users as a recorder may have.
const CONTENTS_BYTES_MAX: usize = 6 << 20;
/// Longest value of a camera: an address.
const VALUE_BYTES_MAX: usize = 2048;
/// Most settings of a camera: more than there are keys.
const SETTINGS_MAX: usize = 64;
/// Most sentences about what was not taken over, and longest of them in bytes.
pub const LEFT_MAX: usize = 100;
/// See [`LEFT_MAX`].
pub const LEFT_BYTES_MAX: usize = 2048;
/// Most entries of a schedule.
const SCHEDULE_MAX: usize = 200;
/// Most users of the RTSP server.
const RTSP_USERS_MAX: usize = 1000;

/// A configuration with its digest.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    /// [`FORMAT`].
    pub format: u32,
    /// SHA-256 of the UTF-8 of `contents`, in hexadecimal digits.
    #[serde(deserialize_with = "bounds::text::<_, 64>")]
    digest: String,
    /// [`Contents`] as JSON.
    #[serde(deserialize_with = "bounds::text::<_, CONTENTS_BYTES_MAX>")]
    contents: String,
}

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contents {
    /// Version of the program that made it, like `0.1.0`.
    #[serde(deserialize_with = "bounds::text::<_, VERSION_BYTES_MAX>")]
    pub version: String,
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// The role that the recorder played.
    pub role: RoleId,
    /// In which epoch.
    pub epoch: u64,
    /// When it was taken, by the recorder's clock.
    pub taken: WallTime,
    /// The recorder's name.
    #[serde(deserialize_with = "bounds::text::<_, NAME_BYTES_MAX>")]
    pub name: String,
    /// The newest revision of what is edited in the console; 0 before the first.
    pub revision: u64,
    /// Age at which footage of a camera without its own setting is deleted, like `30 days`.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "bounds::optional::<_, VALUE_BYTES_MAX>"
    )]
    pub retention: Option<String>,
    /// All cameras in force, ids distinct.
    #[serde(deserialize_with = "bounds::list::<_, _, CAMERAS_MAX>")]
    pub cameras: Vec<CameraBackup>,
    /// Users with the hashes of their passwords, and tokens: the text of the recorder's own file, whose form is its own.
    #[serde(default)]
    pub users: Value,
    /// Who may watch over RTSP.
    #[serde(default, deserialize_with = "bounds::list::<_, _, RTSP_USERS_MAX>")]
    pub rtsp_users: Vec<RtspUserBackup>,
}

/// A camera: the keys of `[[camera]]`, with the texts that stand there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CameraBackup {
    /// Its id at the recorder.
    pub id: CameraId,
    /// All of its streams, in bits per second; 0 while it is not known.
    #[serde(default)]
    pub bits_per_second: u64,
    /// Its password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Password>,
    /// Its other settings, by their keys: which there are is known to who reads the configuration.
    pub settings: BTreeMap<String, Value>,
}

/// A user of the RTSP server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RtspUserBackup {
    /// The name to log in with.
    #[serde(deserialize_with = "bounds::text::<_, VALUE_BYTES_MAX>")]
    pub user: String,
    /// The password to log in with.
    pub password: Password,
    /// What the user may watch; `None` is all.
    #[serde(default)]
    pub cameras: Option<BTreeSet<CameraId>>,
}

/// What a standby asks the recorder for that is to take a role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restore {
    /// The epoch in which it is to play the role: later than every earlier one.
    pub epoch: u64,
    /// The configuration of the recorder that played it.
    pub backup: Backup,
    /// For how long that one has not recorded, and the standby in its place, in milliseconds: so much counts as missing, and is
    /// fetched. 0 for nothing.
    #[serde(default)]
    pub missed_ms: u64,
}

/// What a standby tells a recorder that was replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Superseded {
    /// The role that it played.
    pub role: RoleId,
    /// In which epoch another recorder plays it.
    pub epoch: u64,
    /// The name of that one.
    #[serde(deserialize_with = "bounds::text::<_, NAME_BYTES_MAX>")]
    pub name: String,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// The role that is played from here on.
    pub role: RoleId,
    /// In this epoch.
    pub epoch: u64,
    /// Cameras that were taken over.
    pub cameras: usize,
    /// What was not taken over, a sentence each.
    #[serde(default, deserialize_with = "bounds::texts::<_, LEFT_MAX, LEFT_BYTES_MAX>")]
    pub left: Vec<String>,
}

/// A backup that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BackupError {
    /// A later version made it.
    #[error("the backup has format {0}, and this version reads {FORMAT}")]
    Format(u32),
    /// It was cut off, altered or damaged.
    #[error("the backup does not match its digest: it was cut off or altered; use another one")]
    Digest,
    /// What it holds is no configuration.
    #[error("the backup holds no configuration: {0}")]
    Form(String),
    /// A camera is there twice.
    #[error("camera {0} is in the backup twice")]
    Twice(CameraId),
    /// It is larger than one that is made.
    #[error("a backup has at most {CONTENTS_BYTES_MAX} bytes")]
    TooLong,
}

/// What differs between two backups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Difference {
    /// Only the later one has the camera.
    Added(CameraId),
    /// Only the earlier one has it.
    Removed(CameraId),
    /// Both have it, with other settings.
    Changed {
        /// Which.
        camera: CameraId,
        /// The names of the settings that differ; a password is one of them.
        settings: Vec<String>,
    },
    /// Another setting, by its name.
    Setting(&'static str),
}

impl Backup {
    /// A backup of `contents`.
    ///
    /// # Errors
    /// When it is one that would not be read.
    pub fn of(contents: &Contents) -> Result<Self, BackupError> {
        contents.check()?;
        let contents =
            serde_json::to_string(contents).map_err(|error| BackupError::Form(error.to_string()))?;
        if contents.len() > CONTENTS_BYTES_MAX {
            return Err(BackupError::TooLong);
        }
        Ok(Self { format: FORMAT, digest: digest(&contents), contents })
    }

    /// What it holds, if nothing of it was altered.
    ///
    /// # Errors
    /// When something was, or it is none of this version's.
    pub fn open(&self) -> Result<Contents, BackupError> {
        if self.format != FORMAT {
            return Err(BackupError::Format(self.format));
        }
        if self.digest != digest(&self.contents) {
            return Err(BackupError::Digest);
        }
        // The parser's own words may quote a password.
        let form = |error: serde_json::Error| {
            BackupError::Form(format!("line {}, column {}", error.line(), error.column()))
        };
        let contents: Contents = serde_json::from_str(&self.contents).map_err(form)?;
        contents.check()?;
        Ok(contents)
    }

    /// SHA-256 of its contents, in hexadecimal digits.
    pub fn digest(&self) -> &str {
        &self.digest
    }
}

impl CameraBackup {
    /// Whether an edge node records it and sends it to the recorder: while that one is away it goes on, so nobody need cover it.
    pub fn is_sent(&self) -> bool {
        self.settings.get("edge").is_some_and(|edge| !edge.is_null())
    }

    /// The names of the settings that differ in `other`.
    fn differing(&self, other: &Self) -> Vec<String> {
        let names: BTreeSet<&String> = self.settings.keys().chain(other.settings.keys()).collect();
        let mut names: Vec<String> = names
            .into_iter()
            .filter(|name| self.settings.get(*name) != other.settings.get(*name))
            .cloned()
            .collect();
        names.extend((self.password != other.password).then(|| "password".to_owned()));
        names
    }
}

impl fmt::Debug for Backup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Backup({})", self.digest)
    }
}

impl Contents {
    /// What the program that made it was; `None` when it does not say.
    pub fn version(&self) -> Option<Version> {
        version(&self.version, self.protocol)
    }

    /// It was made by exactly this version.
    pub fn is_of_this_version(&self) -> bool {
        self.version == VERSION && self.protocol == PROTOCOL
    }

    /// Its cameras, and what each takes.
    pub fn demands(&self) -> Vec<(CameraId, Demand)> {
        let demand = |camera: &CameraBackup| Demand { bits_per_second: camera.bits_per_second };
        self.cameras.iter().map(|camera| (camera.id, demand(camera))).collect()
    }

    /// What differs in the later backup `other`: nothing, when both would restore the same.
    pub fn differences(&self, other: &Self) -> Vec<Difference> {
        let by_id = |contents: &Self| -> BTreeMap<CameraId, CameraBackup> {
            // How much a camera sends at the moment is no setting of it.
            let still = |camera: &CameraBackup| CameraBackup { bits_per_second: 0, ..camera.clone() };
            contents.cameras.iter().map(|camera| (camera.id, still(camera))).collect()
        };
        let (before, after) = (by_id(self), by_id(other));
        let mut found: Vec<Difference> = before
            .keys()
            .chain(after.keys())
            .collect::<BTreeSet<_>>()
            .into_iter()
            .filter_map(|id| match (before.get(id), after.get(id)) {
                (Some(before), Some(after)) => (before != after)
                    .then(|| Difference::Changed { camera: *id, settings: before.differing(after) }),
                (Some(_), None) => Some(Difference::Removed(*id)),
                (None, _) => Some(Difference::Added(*id)),
            })
            .collect();
        let settings = [
            ("version", self.version != other.version || self.protocol != other.protocol),
            ("name", self.name != other.name),
            ("retention", self.retention != other.retention),
            ("users", self.users != other.users),
            ("rtsp_users", self.rtsp_users != other.rtsp_users),
        ];
        let differing = settings.into_iter().filter(|(_, differs)| *differs);
        found.extend(differing.map(|(name, _)| Difference::Setting(name)));
        found
    }

    fn check(&self) -> Result<(), BackupError> {
        let mut ids = BTreeSet::new();
        if let Some(twice) = self.cameras.iter().find(|camera| !ids.insert(camera.id)) {
            return Err(BackupError::Twice(twice.id));
        }
        let too_long = |camera: &&CameraBackup| {
            let texts = camera.settings.values().filter_map(Value::as_str);
            let entries = camera.settings.values().filter_map(Value::as_array);
            camera.settings.len() > SETTINGS_MAX
                || texts.map(str::len).any(|bytes| bytes > VALUE_BYTES_MAX)
                || entries.map(Vec::len).any(|entries| entries > SCHEDULE_MAX)
        };
        match self.cameras.iter().find(too_long) {
            Some(camera) => {
                Err(BackupError::Form(format!("camera {} has settings that are none", camera.id)))
            }
            None => Ok(()),
        }
    }
}

fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().fold(String::with_capacity(64), |mut digits, byte| {
        // Writing to a text does not fail.
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}
