//! Whether the pictures of a recorder reach its disks: asked by each of its standbys several times a second.

use std::collections::BTreeSet;

use keepwatch_model::{CameraId, GapReason, RoleId, WallTime};
use serde::de::IntoDeserializer;
use serde::de::value::Error as ValueError;
use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

use super::{CAMERAS_MAX, VERSION_BYTES_MAX, bounds, version};
use crate::failover::{CameraReport, Demand, Recorded, Report};

/// What a primary answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// The role that it plays.
    pub role: RoleId,
    /// In which epoch.
    pub epoch: u64,
    /// Of the product, like `0.1.0`.
    #[serde(deserialize_with = "bounds::text::<_, VERSION_BYTES_MAX>")]
    pub version: String,
    /// [`PROTOCOL`](super::PROTOCOL).
    pub protocol: u32,
    /// Every camera of its own; not those that it records for others.
    #[serde(deserialize_with = "bounds::list::<_, _, CAMERAS_MAX>")]
    pub cameras: Vec<CameraCheck>,
}

/// What it says of one camera.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CameraCheck {
    /// Which.
    pub camera: CameraId,
    /// All of its streams, in bits per second; 0 while it is not known.
    #[serde(default)]
    pub bits_per_second: u64,
    /// Whether its main stream reaches the disk.
    pub recorded: RecordedSpan,
}

/// Whether a camera's pictures reach the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordedSpan {
    /// Its newest unbroken footage on disk, in camera time.
    Durable {
        /// First instant.
        from: WallTime,
        /// Where it ends by now.
        until: WallTime,
    },
    /// They do not, for this reason.
    #[serde(deserialize_with = "reason")]
    Missing(GapReason),
    /// The schedule does not ask for them.
    NotWanted,
}

/// What is said cannot be an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CheckError {
    /// The version is none.
    #[error("the version that it says is none")]
    Version,
    /// Another role answers than was asked.
    #[error("it plays role {0}, which is another one")]
    OtherRole(RoleId),
    /// A camera is named twice.
    #[error("camera {0} is named twice")]
    Twice(CameraId),
}

impl Check {
    /// What it says, as the answer of the recorder that plays `role`.
    ///
    /// # Errors
    /// When it cannot be that.
    pub fn report(&self, role: RoleId) -> Result<Report, CheckError> {
        if self.role != role {
            return Err(CheckError::OtherRole(self.role));
        }
        let version = version(&self.version, self.protocol).ok_or(CheckError::Version)?;
        let mut seen = BTreeSet::new();
        if let Some(twice) = self.cameras.iter().find(|camera| !seen.insert(camera.camera)) {
            return Err(CheckError::Twice(twice.camera));
        }
        let cameras = self.cameras.iter().copied().map(CameraReport::from).collect();
        Ok(Report { epoch: self.epoch, version, cameras })
    }
}

impl From<CameraCheck> for CameraReport {
    fn from(check: CameraCheck) -> Self {
        let CameraCheck { camera, bits_per_second, recorded } = check;
        Self { camera, demand: Demand { bits_per_second }, recorded: recorded.into() }
    }
}

impl From<RecordedSpan> for Recorded {
    fn from(span: RecordedSpan) -> Self {
        match span {
            // One that ends before it begins says where it ends.
            RecordedSpan::Durable { from, until } => Self::Durable { from: from.min(until), until },
            RecordedSpan::Missing(reason) => Self::Missing(reason),
            RecordedSpan::NotWanted => Self::NotWanted,
        }
    }
}

/// A reason; one that this version does not know is one all the same, and must not make the answer none.
fn reason<'de, D: Deserializer<'de>>(from: D) -> Result<GapReason, D::Error> {
    let text = bounds::text::<D, 64>(from)?;
    let known = GapReason::deserialize(IntoDeserializer::<ValueError>::into_deserializer(text.as_str()));
    Ok(known.unwrap_or(GapReason::CameraSilent))
}
