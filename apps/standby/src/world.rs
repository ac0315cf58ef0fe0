//! What a standby needs of the world: lines to its primaries, and the recorder beside it. The driver knows no more of either
//! than stands here, so that its tests have neither sockets nor disks.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use keepwatch_model::{CameraId, EventCode, RoleId, Span, Subject, WallTime};
use keepwatch_recorder::config::CameraConfig;
use keepwatch_recorder::guests::{Duty, Guest};
use keepwatch_recorder::peers::Approach;
use keepwatch_recording::failover::{Missed, Report};
use keepwatch_recording::peer::{
    Backup, CameraBackup, Check, Hello, Missing, NodePublic, Restore, Restored, Superseded,
};
use keepwatch_settings::standby::{FormerRow, PrimaryRow};

/// An answer that is on its way.
pub(crate) type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Why a primary gave no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// As the machine counts it.
    pub(crate) missed: Missed,
    /// For operators.
    pub(crate) text: String,
}

/// What a primary answered to a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checked {
    /// What the machine is told.
    pub(crate) report: Report,
    /// Its version in full.
    pub(crate) version: String,
}

impl Checked {
    /// What an answer of the primary `role` says.
    pub(crate) fn of(role: RoleId, check: &Check) -> Result<Self, Failure> {
        let report = check.report(role);
        let report = report.map_err(|error| Failure { missed: Missed::Unusable, text: error.to_string() })?;
        Ok(Self { report, version: check.version.clone() })
    }
}

/// A kept connection to a primary.
pub(crate) trait Line: Send {
    /// Asks whether its pictures reach its disks. May be given up at any time.
    fn check(&mut self, patience: Duration) -> Answer<'_, Result<Checked, Failure>>;

    /// Fetches its configuration.
    fn backup(&mut self, patience: Duration) -> Answer<'_, Result<Backup, Failure>>;

    /// Asks what it lacks of `window`, by a clock that shows `clock`.
    fn missing(
        &mut self,
        window: Span,
        clock: WallTime,
        patience: Duration,
    ) -> Answer<'_, Result<Missing, Failure>>;
}

/// How to reach primaries.
pub(crate) trait Lines: Send + Sync {
    /// A connection to a primary, which is made when it is first used.
    fn line(&self, primary: &PrimaryRow) -> Result<Box<dyn Line>, Failure>;

    /// Registers this standby at a recorder: both know each other's keys from then on.
    fn register(&self, wish: RegisterWish) -> Answer<'_, Result<Hello, RegisterRefusal>>;

    /// Asks who is at an address.
    fn ask(&self, address: SocketAddr) -> Answer<'_, Result<Hello, RegisterRefusal>>;

    /// Registers this standby at a recorder, which then takes the role of another one.
    fn replace(
        &self,
        wish: RegisterWish,
        restore: Restore,
    ) -> Answer<'_, Result<(Hello, Restored), RegisterRefusal>>;

    /// Tells a recorder that was replaced who plays its role. An answer says that it needs not be told again.
    fn supersede(&self, former: &FormerRow, told: Superseded) -> Answer<'_, Result<(), Failure>>;

    /// Is watched by this standby no more, as far as it can be told.
    fn deregister(&self, primary: &PrimaryRow) -> Answer<'_, Result<(), Failure>>;
}

/// A recorder that is to be watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RegisterWish {
    /// Where it is.
    pub(crate) address: SocketAddr,
    /// How to log in there, and who is meant.
    pub(crate) approach: Approach,
}

/// Why a recorder is not watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RegisterRefusal {
    /// Stable, in snake case.
    pub(crate) code: String,
    /// What happened and what to do.
    pub(crate) detail: String,
}

/// The recorder beside the standby.
pub(crate) trait Recorder: Send + Sync {
    /// The cameras that it has without those of primaries.
    fn own_cameras(&self) -> BTreeSet<CameraId>;

    /// The cameras of a primary that may have to be recorded, all of them. What cannot be taken up is told.
    fn set_guests(&self, role: RoleId, guests: Vec<Guest>) -> Answer<'_, Result<(), String>>;

    /// What is done with one of them; whether it is there.
    fn set_duty(&self, role: RoleId, camera: CameraId, duty: Duty) -> bool;

    /// Brings to disk what the pre-buffer has of it in `span`, in camera time: the primary lost that.
    fn save(&self, role: RoleId, camera: CameraId, span: Span);

    /// Its pictures before `until` (camera time) are on a disk of the primary, or here: the pre-buffer needs them no more.
    fn trim(&self, role: RoleId, camera: CameraId, until: WallTime);

    /// Where the unbroken footage of it on disk here begins, in camera time.
    fn durable_from(&self, role: RoleId, camera: CameraId) -> Option<WallTime>;

    /// The recorders that are watched, by their keys: they may ask for what was recorded for them.
    fn set_watched(&self, primaries: BTreeMap<NodePublic, RoleId>);

    /// Whether a picture of it can be received.
    fn try_guest(&self, role: RoleId, camera: CameraId) -> Answer<'_, bool>;

    /// How a camera of a backup is reached and what of it is recorded, as one that has the id `local` here.
    fn read_camera(&self, camera: &CameraBackup, local: CameraId) -> Result<CameraConfig, String>;

    /// Enters an event.
    fn add_event(&self, code: EventCode, subject: Subject, text: String);
}
