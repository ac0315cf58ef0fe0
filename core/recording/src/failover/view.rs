//! What the *Monitoring* and the *Failover* lists show.

use keepwatch_model::{CameraId, MonoTime, RoleId, WallTime};

use super::cover::{Cause, Claim, Phase};
use super::setup::{Demand, Mode};
use super::standby::{Primary, Standby};
use super::watch::{Camera, Health};

/// A row of the *Monitoring* list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrimaryView {
    /// The role.
    pub role: RoleId,
    /// The epoch in which it is played.
    pub epoch: u64,
    /// Who starts its failover.
    pub mode: Mode,
    /// How it is.
    pub health: Health,
    /// Its version is not the standby's.
    pub version_differs: bool,
    /// A failover is due, and this standby can record no more.
    pub waits: bool,
    /// Another standby covers it.
    pub left_to_other: bool,
    /// How many cameras it has that are wanted.
    pub cameras: usize,
    /// Those that it does not record.
    pub missing: Vec<CameraId>,
    /// Those that are covered while the primary lives.
    pub covered_alone: Vec<CameraId>,
}

/// A row of the *Failover* list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoverView {
    /// The role that is covered.
    pub role: RoleId,
    /// Since when.
    pub since: MonoTime,
    /// Who started it.
    pub cause: Cause,
    /// Whether the coordination knows of it.
    pub claim: Claim,
    /// The repaired primary answers: Failback can be asked for.
    pub normal: bool,
    /// Failback or Replace is under way.
    pub returning: bool,
    /// Cameras that are covered.
    pub cameras: usize,
    /// Those of which footage is on the standby's disk.
    pub recorded: usize,
    /// Cameras that are not recorded here, or not any more: with these it claims nothing. Cameras that their primary did not record
    /// before either are not among them.
    pub lacks: Vec<CameraId>,
}

impl Standby {
    /// The *Monitoring* list.
    pub fn monitoring(&self) -> impl Iterator<Item = PrimaryView> {
        let threshold = self.setup().auto_failover_threshold();
        self.primaries.iter().map(move |(role, primary)| {
            let cameras = &primary.watch.cameras;
            let missing = cameras.iter().filter(|(_, camera)| camera.is_missing(threshold));
            PrimaryView {
                role: *role,
                epoch: primary.epoch,
                mode: primary.mode,
                health: primary.watch.health,
                version_differs: primary.watch.version_differs,
                waits: primary.waits,
                left_to_other: primary.left.is_some() && !primary.waits,
                cameras: cameras.values().filter(|camera| camera.is_wanted()).count(),
                missing: missing.map(|(camera, _)| *camera).collect(),
                covered_alone: primary.alone.keys().copied().collect(),
            }
        })
    }

    /// The cameras of a primary that its running failover records, for the next start.
    pub fn covered(&self, role: RoleId) -> Vec<CameraId> {
        let cover = self.primaries.get(&role).and_then(|primary| primary.cover.as_ref());
        cover.map(|cover| cover.cameras.keys().copied().collect()).unwrap_or_default()
    }

    /// The cameras of a primary that are to be recorded at present, and what each takes.
    pub fn wanted(&self, role: RoleId) -> Vec<(CameraId, Demand)> {
        let Some(primary) = self.primaries.get(&role) else { return Vec::new() };
        let wanted = |(camera, known): &(&CameraId, &Camera)| {
            known.is_wanted() && !primary.unscheduled.contains(camera)
        };
        let cameras = primary.watch.cameras.iter().filter(wanted);
        cameras.map(|(camera, known)| (*camera, known.demand)).collect()
    }

    /// Where the footage of a camera ends that its primary was last known to hold.
    pub fn held_until(&self, role: RoleId, camera: CameraId) -> Option<WallTime> {
        self.primaries.get(&role)?.watch.cameras.get(&camera).and_then(Camera::held_until)
    }

    /// The *Failover* list.
    pub fn failovers(&self) -> impl Iterator<Item = CoverView> {
        let row = |(role, primary): (&RoleId, &Primary)| {
            let cover = primary.cover.as_ref()?;
            Some(CoverView {
                role: *role,
                since: cover.since,
                cause: cover.cause,
                claim: cover.claim,
                normal: primary.watch.health == Health::Normal,
                returning: matches!(cover.phase, Phase::Returning(_)),
                cameras: cover.cameras.len(),
                recorded: cover.cameras.values().filter(|camera| camera.was_recorded()).count(),
                lacks: cover.lacks.clone(),
            })
        };
        self.primaries.iter().filter_map(row)
    }
}
