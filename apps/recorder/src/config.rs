//! What a recorder is told to do: domain types, made from the configuration file by the program, and from what is edited
//! in the console; and the rules of the values that stand in both.

mod address;
mod alarm;
pub mod camera;
mod schedule;
pub mod text;
pub mod units;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use alarm::{AlarmConfig, Trigger};
pub use keepwatch_media::fingerprint::{Fingerprint, FingerprintError};
use keepwatch_model::CameraId;
use keepwatch_recording::schedule::Schedule;
pub use keepwatch_rtsp::Secret;
use keepwatch_store::DiskLogin;
pub use keepwatch_store::DiskRole;
pub use keepwatch_tls::Files as TlsFiles;
use url::Url;

pub(crate) use schedule::show as show_schedule;

/// Least bits in a second that the filling of gaps can be limited to: below, a large key frame would take so long that it could
/// not be told from silence.
pub const BACKFILL_RATE_MIN: u64 = 1_000_000;

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
    /// Most bytes of all export archives together, kept in `data`; `None`: 10 GiB, or a tenth of that file system if that is
    /// less.
    pub exports_bytes_max: Option<u64>,
    /// The cameras, ids distinct.
    pub cameras: Vec<CameraConfig>,
    /// What others may watch over RTSP.
    pub rtsp: RtspConfig,
}

/// The RTSP server: who may watch which camera, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RtspConfig {
    /// Addresses without encryption; empty means none.
    pub listen: Vec<SocketAddr>,
    /// Addresses with TLS; empty means none.
    pub listen_tls: Vec<SocketAddr>,
    /// What is shown over TLS; `None`: a certificate that the node makes for itself and keeps in its data directory.
    pub tls: Option<TlsFiles>,
    /// Who may watch; names distinct.
    pub users: Vec<RtspUser>,
}

/// A user of the RTSP server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RtspUser {
    /// The name to log in with.
    pub user: String,
    /// The password to log in with.
    pub password: Secret,
    /// What the user may watch.
    pub cameras: CameraSet,
}

/// Some or all cameras.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CameraSet {
    /// All, also those that are added later.
    All,
    /// These.
    Only(BTreeSet<CameraId>),
}

impl CameraSet {
    /// Whether `camera` is among them.
    pub fn contains(&self, camera: CameraId) -> bool {
        match self {
            Self::All => true,
            Self::Only(cameras) => cameras.contains(&camera),
        }
    }
}

/// A place for footage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskConfig {
    /// A directory (its container is a file inside), a block device, or the address of a LUN.
    pub path: PathBuf,
    /// Bytes of the container; `None` takes all but 5 % of the file system, or the whole device.
    pub size_bytes: Option<u64>,
    /// The operator has confirmed that what another recorder left on it may be overwritten, or that it replaces a
    /// disk that will not return.
    pub take_over: bool,
    /// What it is for.
    pub role: DiskRole,
    /// How to log in to the target of a LUN; `None` does not.
    pub login: Option<DiskLogin>,
    /// What stands on it is shown, and nothing is written to it.
    pub read_only: bool,
}

impl DiskConfig {
    /// All of what is at `path`, nothing confirmed.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            size_bytes: None,
            take_over: false,
            role: DiskRole::Recordings,
            login: None,
            read_only: false,
        }
    }

    /// It in the words of the store.
    pub fn for_store(&self) -> keepwatch_store::DiskConfig {
        keepwatch_store::DiskConfig {
            adopt_foreign: self.take_over,
            role: self.role,
            login: self.login.clone(),
            read_only: self.read_only,
            ..keepwatch_store::DiskConfig::new(&self.path, self.size_bytes)
        }
    }
}

/// One camera to record.
#[derive(Clone, Debug, PartialEq)]
pub struct CameraConfig {
    /// Its id in paths, files and the API.
    pub id: CameraId,
    /// Its name as operators see it.
    pub name: String,
    /// Where its streams are found.
    pub source: CameraSource,
    /// User to log in with.
    pub user: Option<String>,
    /// Password to log in with.
    pub password: Option<Secret>,
    /// How its media travels.
    pub transport: MediaTransport,
    /// The certificate that it must show over TLS; `None` takes any.
    pub certificate: Option<Fingerprint>,
    /// Whether its audio is recorded.
    pub audio: bool,
    /// Whether its metadata stream is recorded.
    pub metadata: bool,
    /// Age at which its footage is deleted; `None` takes the recorder's.
    pub retention: Option<Duration>,
    /// When it is recorded; empty means always.
    pub schedule: Vec<WeeklySpan>,
    /// When it is recorded within its schedule: on alarm, or `None` always.
    pub alarm: Option<AlarmConfig>,
}

impl CameraConfig {
    /// A camera at the address of its main stream with everything else as it is when left out.
    pub fn new(id: CameraId, url: Url) -> Self {
        Self {
            id,
            name: id.to_string(),
            source: CameraSource::Rtsp { url, sub_url: None },
            user: None,
            password: None,
            transport: MediaTransport::Auto,
            certificate: None,
            audio: true,
            metadata: false,
            retention: None,
            schedule: Vec::new(),
            alarm: None,
        }
    }

    /// When its schedule asks for it.
    pub(crate) fn timetable(&self) -> Schedule {
        Schedule::new(self.schedule.iter().map(|span| (span.from_minute, span.to_minute)))
    }
}

/// Where the streams of a camera are found; addresses are without user and password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CameraSource {
    /// At given addresses.
    Rtsp {
        /// `rtsp://` or `rtsps://` address of the main stream.
        url: Url,
        /// That of the sub stream; `None` records none.
        sub_url: Option<Url>,
    },
    /// Where the camera says.
    Onvif {
        /// `http://` or `https://` address of its device service.
        url: Url,
        /// Whether a sub stream is recorded, too.
        sub: bool,
        /// Whether its events are entered into the event log.
        events: bool,
    },
    /// Nowhere from here: an edge node records it, and sends what it recorded.
    Edge {
        /// The name of the node.
        node: String,
        /// The camera's id there.
        camera: CameraId,
        /// Whether a sub stream is sent, too.
        sub: bool,
    },
}

impl CameraSource {
    /// Whether what the camera notices is entered into the event log, as far as its metadata tells.
    pub const fn enters_events(&self) -> bool {
        match self {
            Self::Rtsp { .. } => true,
            Self::Onvif { events, .. } => *events,
            Self::Edge { .. } => false,
        }
    }

    /// The edge node that records it and sends it here; `None` when this recorder receives it.
    pub fn edge_node(&self) -> Option<&str> {
        match self {
            Self::Rtsp { .. } | Self::Onvif { .. } => None,
            Self::Edge { node, .. } => Some(node),
        }
    }

    /// Whether a sub stream is to be recorded.
    pub const fn has_sub(&self) -> bool {
        match self {
            Self::Rtsp { sub_url, .. } => sub_url.is_some(),
            Self::Onvif { sub, .. } | Self::Edge { sub, .. } => *sub,
        }
    }
}

/// How media travels from a camera.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MediaTransport {
    /// Over TCP; over UDP where the camera refuses TCP.
    #[default]
    Auto,
    /// Over TCP, in the RTSP connection.
    Tcp,
    /// Over UDP.
    Udp,
}

/// A time of the week in UTC, in minutes since Monday 00:00; `from < to <= 10080`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WeeklySpan {
    /// First minute inside.
    pub from_minute: u32,
    /// First minute after.
    pub to_minute: u32,
}
