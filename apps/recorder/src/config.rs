//! What a recorder is told to do: domain types, made from the configuration file by the program.

use std::path::PathBuf;
use std::time::Duration;

use keepwatch_model::CameraId;
pub use keepwatch_rtsp::Secret;
use url::Url;

/// Everything one recorder needs to run.
#[derive(Clone, Debug, PartialEq)]
pub struct RecorderConfig {
    /// The node's name as operators see it.
    pub name: String,
    /// Directory of the index, the event log and the users; created if missing.
    pub data: PathBuf,
    /// Where footage is kept, at least one.
    pub disks: Vec<DiskConfig>,
    /// Age at which footage of a camera without its own setting is deleted; `None` keeps it until space runs out.
    pub retention: Option<Duration>,
    /// Most bytes of footage held in memory while the disks catch up.
    pub buffer_bytes_max: u64,
    /// The cameras, ids distinct.
    pub cameras: Vec<CameraConfig>,
}

/// A place for footage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskConfig {
    /// A directory (its container is a file inside) or a block device.
    pub path: PathBuf,
    /// Bytes of the container; `None` takes all but 5 % of the file system.
    pub size_bytes: Option<u64>,
    /// The operator has confirmed that what another recorder left on it may be overwritten, or that it replaces a
    /// disk that will not return.
    pub take_over: bool,
}

/// One camera to record.
#[derive(Clone, Debug, PartialEq)]
pub struct CameraConfig {
    /// Its id in paths, files and the API.
    pub id: CameraId,
    /// Its name as operators see it.
    pub name: String,
    /// `rtsp://` address of its main stream, without user and password.
    pub url: Url,
    /// User to log in with.
    pub user: Option<String>,
    /// Password to log in with.
    pub password: Option<Secret>,
    /// Whether its audio is recorded.
    pub audio: bool,
    /// Age at which its footage is deleted; `None` takes the recorder's.
    pub retention: Option<Duration>,
    /// When it is recorded; empty means always.
    pub schedule: Vec<WeeklySpan>,
}

/// A time of the week in UTC, in minutes since Monday 00:00; `from < to <= 10080`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WeeklySpan {
    /// First minute inside.
    pub from_minute: u32,
    /// First minute after.
    pub to_minute: u32,
}
