//! What the driver knows of one primary beside what the machine does, and what it wishes to be done with its cameras.
//!
//! What is wished is a state, not a list of orders: a task of its own brings the recorder to it, the cameras first and then
//! what is done with them, and skips what was overtaken.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use keepwatch_model::{CameraId, EventCode, MonoTime, RoleId, Subject, WallTime};
use keepwatch_recorder::guests::{BufferLimits, Duty, Guest};
use keepwatch_recording::failover::{Demand, Setup};
use keepwatch_settings::standby::{BackupLine, PrimaryRow};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Tools;
use super::drill::{Drill, Drilled};
use crate::backups::{Camera, Fetched};
use crate::lines::Wire;
use crate::report::Report;
use crate::world::Recorder;

/// Footage that the pre-buffer holds beside what a failover takes to begin: what a primary has received and not yet on disk.
const BUFFER_SPARE: Duration = Duration::from_secs(3);
/// Rate of a camera of which none is known, in bits per second: that of a Full-HD stream.
const RATE_ASSUMED: u64 = 4_000_000;

/// A primary.
pub(super) struct Primary {
    pub(super) row: PrimaryRow,
    pub(super) wire: Wire,
    /// Why the last check failed; `None` after an answer.
    pub(super) detail: Option<String>,
    /// What is known of its last backup.
    pub(super) backup: Option<BackupLine>,
    /// Why its configuration cannot be fetched or used in full; `None` when it can.
    pub(super) backup_problem: Option<String>,
    demands: BTreeMap<CameraId, Demand>,
    cameras: BTreeMap<CameraId, Camera>,
    buffer: Option<Duration>,
    wished: watch::Sender<Wished>,
    /// How far the recorder has followed.
    followed: watch::Receiver<u64>,
    tasks: JoinSet<()>,
    /// The report of the failover that runs.
    pub(super) report: Option<Report>,
    /// The drill that runs.
    pub(super) drill: Option<Drill>,
    /// What came of the last one.
    pub(super) drilled: Option<Drilled>,
    /// When it failed, while it does.
    pub(super) failed: Option<WallTime>,
    /// Instants that are shown, as they were when they were first seen.
    pub(super) instants: BTreeMap<MonoTime, WallTime>,
}

/// What is to be done with the cameras of a primary.
#[derive(Clone, Debug, Default)]
struct Wished {
    /// Grows with each change.
    number: u64,
    guests: Arc<Vec<Guest>>,
    /// What is done with each; those that are not named rest, or are held in the pre-buffer.
    duties: BTreeMap<CameraId, Duty>,
    /// Those that are recorded for a drill.
    drilled: BTreeSet<CameraId>,
}

impl Primary {
    /// A primary that is asked from here on.
    pub(super) fn new(row: PrimaryRow, setup: &Setup, tools: &Tools) -> Self {
        let (wished, wishes) = watch::channel(Wished::default());
        let (follow, followed) = watch::channel(0);
        let mut tasks = JoinSet::new();
        tasks.spawn(bring_about(row.role, Arc::clone(&tools.recorder), wishes, follow));
        let wire = Wire::open(&row, &tools.lines, &tools.keeper, &tools.inputs);
        let drilled = row.drill.as_deref().and_then(|text| serde_json::from_str(text).ok());
        let buffer = row.prebuffer.then(|| buffer_time(setup));
        Self {
            row,
            wire,
            detail: None,
            backup: None,
            backup_problem: None,
            demands: BTreeMap::new(),
            cameras: BTreeMap::new(),
            buffer,
            wished,
            followed,
            tasks,
            report: None,
            drill: None,
            drilled,
            failed: None,
            instants: BTreeMap::new(),
        }
    }

    /// It was registered again, perhaps at another address or with another key.
    pub(super) fn registered_again(&mut self, row: PrimaryRow, tools: &Tools) {
        let PrimaryRow { key, address, name, mac, version, .. } = row;
        self.row = PrimaryRow { key, address, name, mac, version, ..self.row.clone() };
        self.wire = Wire::open(&self.row, &tools.lines, &tools.keeper, &tools.inputs);
    }

    /// Its configuration is that of `fetched`; cameras that are `covered` stay even if it names them no more.
    pub(super) fn backed_up(&mut self, fetched: Fetched, covered: &[CameraId]) {
        let Fetched { line, name, demands, cameras, problems, .. } = fetched;
        self.backup = Some(line);
        self.backup_problem = (!problems.is_empty()).then(|| problems.join("; "));
        self.row.name = name;
        self.demands = demands.into_iter().collect();
        let mut kept = std::mem::replace(&mut self.cameras, cameras);
        kept.retain(|camera, _| covered.contains(camera));
        for (camera, known) in kept {
            self.cameras.entry(camera).or_insert(known);
        }
        self.wish_guests();
    }

    /// It is watched no more: the recorder lets go of its cameras.
    pub(super) fn dismiss(mut self) {
        // The task sees the end of what is wished, and ends by itself.
        self.tasks.detach_all();
    }

    /// What its cameras take.
    pub(super) fn demands(&self) -> Vec<(CameraId, Demand)> {
        self.demands.iter().map(|(camera, demand)| (*camera, *demand)).collect()
    }

    /// The id of one of its cameras here.
    pub(super) fn local(&self, camera: CameraId) -> Option<CameraId> {
        self.cameras.get(&camera).map(|camera| camera.local)
    }

    /// Records a camera, or does so no more.
    pub(super) fn set_recorded(&self, camera: CameraId, recorded: bool) {
        self.wished.send_modify(|wished| {
            wished.number = wished.number.wrapping_add(1);
            if recorded {
                wished.duties.insert(camera, Duty::Record);
            } else {
                wished.duties.remove(&camera);
            }
        });
    }

    /// Its cameras that can be recorded here.
    pub(super) fn recordable(&self) -> BTreeSet<CameraId> {
        self.cameras.keys().copied().collect()
    }

    /// Records these cameras for a drill, and no others.
    pub(super) fn set_drilled(&self, cameras: &BTreeSet<CameraId>) {
        self.wished.send_modify(|wished| {
            wished.number = wished.number.wrapping_add(1);
            wished.drilled.clone_from(cameras);
        });
    }

    /// Receives its cameras ahead of a failover, or does so no more.
    pub(super) fn set_prebuffer(&mut self, prebuffer: bool, setup: &Setup) {
        self.row.prebuffer = prebuffer;
        self.buffer = prebuffer.then(|| buffer_time(setup));
        self.wish_guests();
    }

    /// What the pre-buffer takes while nothing failed, in bytes: whether it is switched on or not.
    pub(super) fn prebuffer_bytes(&self, setup: &Setup) -> u64 {
        self.demands
            .values()
            .map(|demand| buffer_bytes(*demand, buffer_time(setup)))
            .fold(0, u64::saturating_add)
    }

    /// Waits until the recorder has followed all that is wished.
    pub(super) async fn settled(&mut self) {
        let number = self.wished.borrow().number;
        // Its task ends with this.
        let _ = self.followed.wait_for(|followed| *followed == number).await;
    }

    fn wish_guests(&self) {
        let guest = |(camera, known): (&CameraId, &Camera)| {
            let demand = self.demands.get(camera).copied().unwrap_or_default();
            let buffer =
                self.buffer.map(|time| BufferLimits { bytes_max: buffer_bytes(demand, time), age_max: time });
            Guest {
                role: self.row.role,
                camera: *camera,
                local: known.local,
                config: known.config.clone(),
                buffer,
            }
        };
        let guests: Vec<Guest> = self.cameras.iter().map(guest).collect();
        self.wished.send_modify(|wished| {
            if *wished.guests != guests {
                wished.number = wished.number.wrapping_add(1);
                wished.guests = Arc::new(guests);
            }
        });
    }
}

/// How much footage the pre-buffer holds of a camera: what a failover takes to begin, and what the primary had not on disk.
pub(crate) fn buffer_time(setup: &Setup) -> Duration {
    setup.takes_over_after_max() + BUFFER_SPARE
}

/// Bytes of that, with half as much again for a scene that moves.
fn buffer_bytes(demand: Demand, time: Duration) -> u64 {
    let rate = if demand.bits_per_second == 0 { RATE_ASSUMED } else { demand.bits_per_second };
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    (rate / 8).saturating_mul(millis) / 1000 / 2 * 3
}

/// Brings the recorder to what is wished.
async fn bring_about(
    role: RoleId,
    recorder: Arc<dyn Recorder>,
    mut wishes: watch::Receiver<Wished>,
    follow: watch::Sender<u64>,
) {
    let mut known: Arc<Vec<Guest>> = Arc::default();
    let mut duties: BTreeMap<CameraId, Duty> = BTreeMap::new();
    while wishes.changed().await.is_ok() {
        let wished = wishes.borrow_and_update().clone();
        if known != wished.guests {
            if let Err(why) = recorder.set_guests(role, (*wished.guests).clone()).await {
                let text = format!("cameras of role {role} cannot be recorded here: {why}");
                recorder.add_event(EventCode::SetupBackupFailed, Subject::Node, text);
            }
            known = Arc::clone(&wished.guests);
        }
        for guest in known.iter() {
            let waits = match guest.buffer {
                _ if wished.drilled.contains(&guest.camera) => Duty::Record,
                Some(_) => Duty::Buffer,
                None => Duty::Rest,
            };
            let duty = wished.duties.get(&guest.camera).copied().unwrap_or(waits);
            if duties.insert(guest.camera, duty) != Some(duty) {
                recorder.set_duty(role, guest.camera, duty);
            }
        }
        duties.retain(|camera, _| known.iter().any(|guest| guest.camera == *camera));
        follow.send_replace(wished.number);
    }
    // The primary is watched no more.
    if let Err(why) = recorder.set_guests(role, Vec::new()).await {
        tracing::error!(%role, %why, "cameras of a primary cannot be let go");
    }
}
