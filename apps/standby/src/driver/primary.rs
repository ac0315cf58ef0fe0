//! What the driver knows of one primary beside what the machine does, and what it wishes to be done with its cameras.
//!
//! What is wished is a state, not a list of orders: a task of its own brings the recorder to it (`follow`), and skips what
//! was overtaken.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use keepwatch_model::{CameraId, MonoTime, WallTime};
use keepwatch_recorder::guests::{BufferLimits, Duty, Guest};
use keepwatch_recording::failover::{CameraReport, Demand, Setup};
use keepwatch_recording::schedule::Schedule;
use keepwatch_settings::standby::{BackupLine, PrimaryRow};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Tools;
use super::account::Account;
use super::drill::{Drill, Drilled};
use super::follow::bring_about;
use crate::backups::{Camera, Fetched};
use crate::lines::Wire;
use crate::report::Report;
use crate::tasks::keep_up;

/// Footage that the pre-buffer holds beside what it takes to notice a failure: what a primary has received and not yet on disk.
const BUFFER_SPARE: Duration = Duration::from_secs(3);
/// The longest group of pictures that there is room for: decoding what is held begins with its first.
const GROUP_MAX: Duration = Duration::from_secs(10);
/// Memory of each second of a stream beside its bytes: a record's chunks are not full at its end, and it has a table.
const SPARE_BYTES_PER_SECOND: u64 = 100 << 10;
/// A camera that sends so much more than was known has its room in the pre-buffer made larger: a quarter.
const GROWTH_DIVISOR: u64 = 4;
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
    /// The most that each was seen to send, in bits per second, roughly: the pre-buffer is sized by it.
    peaks: BTreeMap<CameraId, u64>,
    cameras: BTreeMap<CameraId, Camera>,
    buffer: Option<Duration>,
    wished: watch::Sender<Wished>,
    /// How far the recorder has followed.
    followed: watch::Receiver<u64>,
    tasks: JoinSet<()>,
    /// The report of the failover that runs.
    pub(super) report: Option<Report>,
    /// That of the last one that was left to another standby.
    pub(super) left_report: Option<Report>,
    /// The accounts of others that are open, the newest first.
    pub(super) accounts: VecDeque<Account>,
    /// The drill that runs.
    pub(super) drill: Option<Drill>,
    /// What came of the last one.
    pub(super) drilled: Option<Drilled>,
    /// It has answered since it is watched by this process.
    pub(super) heard: bool,
    /// Since when cameras of it are recorded here without a break, single ones or all; not known across a restart.
    pub(super) recorded_since: Option<WallTime>,
    /// Cameras whose schedules ask for no recording at present.
    pub(super) unscheduled: BTreeSet<CameraId>,
    /// Instants that are shown, as they were when they were first seen.
    pub(super) instants: BTreeMap<MonoTime, WallTime>,
}

/// What is to be done with the cameras of a primary.
#[derive(Clone, Debug, Default)]
pub(super) struct Wished {
    /// Grows with each change.
    pub(super) number: u64,
    pub(super) guests: Arc<Vec<Guest>>,
    /// What is done with each; those that are not named rest, or are held in the pre-buffer.
    duties: BTreeMap<CameraId, Duty>,
    /// Those that are recorded for a drill.
    drilled: BTreeSet<CameraId>,
}

impl Wished {
    /// What is to be done with `guest`.
    pub(super) fn duty(&self, guest: &Guest) -> Duty {
        let waits = match guest.buffer {
            _ if self.drilled.contains(&guest.camera) => Duty::Record,
            Some(_) => Duty::Buffer,
            None => Duty::Rest,
        };
        self.duties.get(&guest.camera).copied().unwrap_or(waits)
    }
}

impl Primary {
    /// A primary that is asked from here on.
    pub(super) fn new(row: PrimaryRow, setup: &Setup, tools: &Tools) -> Self {
        let (wished, wishes) = watch::channel(Wished::default());
        let (follow, followed) = watch::channel(0);
        let mut tasks = JoinSet::new();
        let (role, recorder) = (row.role, Arc::clone(&tools.recorder));
        tasks.spawn(keep_up("follows what is wished of a primary's cameras", move || {
            bring_about(role, Arc::clone(&recorder), wishes.clone(), follow.clone())
        }));
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
            peaks: BTreeMap::new(),
            cameras: BTreeMap::new(),
            buffer,
            wished,
            followed,
            tasks,
            report: None,
            left_report: None,
            accounts: VecDeque::new(),
            drill: None,
            drilled,
            heard: false,
            recorded_since: None,
            unscheduled: BTreeSet::new(),
            instants: BTreeMap::new(),
        }
    }

    /// It was registered again, perhaps at another address or with another key.
    pub(super) fn registered_again(&mut self, row: PrimaryRow, tools: &Tools) {
        let PrimaryRow { key, address, name, mac, version, epoch, .. } = row;
        self.row = PrimaryRow { key, address, name, mac, version, epoch, ..self.row.clone() };
        self.wire = Wire::open(&self.row, &tools.lines, &tools.keeper, &tools.inputs);
    }

    /// Its configuration is that of `fetched`; cameras that are `covered` stay even if it names them no more.
    pub(super) fn backed_up(&mut self, fetched: Fetched, covered: &[CameraId]) {
        let Fetched { line, name, demands, cameras, problems, .. } = fetched;
        self.backup = Some(line);
        self.backup_problem = (!problems.is_empty()).then(|| problems.join("; "));
        self.row.name = name;
        self.demands = demands.into_iter().collect();
        let demands = &self.demands;
        self.peaks.retain(|camera, _| demands.contains_key(camera));
        for (camera, demand) in demands {
            grow(&mut self.peaks, *camera, demand.bits_per_second);
        }
        let mut kept = std::mem::replace(&mut self.cameras, cameras);
        kept.retain(|camera, _| covered.contains(camera));
        for (camera, known) in kept {
            self.cameras.entry(camera).or_insert(known);
        }
        self.wish_guests();
    }

    /// Takes up how much its cameras send. Room in the pre-buffer grows with it, and stays.
    pub(super) fn reported(&mut self, cameras: &[CameraReport]) {
        let mut grows = false;
        for CameraReport { camera, demand, .. } in cameras {
            if self.demands.contains_key(camera) {
                grows |= grow(&mut self.peaks, *camera, demand.bits_per_second);
            }
        }
        if grows && self.buffer.is_some() {
            self.wish_guests();
        }
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

    /// Its cameras whose schedules ask for no recording at `wall`.
    pub(super) fn closed(&self, wall: WallTime) -> BTreeSet<CameraId> {
        let closed = |known: &Camera| {
            let spans = known.config.schedule.iter().map(|span| (span.from_minute, span.to_minute));
            !Schedule::new(spans).is_open(wall)
        };
        self.cameras.iter().filter(|(_, known)| closed(known)).map(|(camera, _)| *camera).collect()
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

    /// What the pre-buffer takes at most, in bytes, while scenes are as they are: whether it is switched on or not.
    pub(super) fn prebuffer_bytes(&self, setup: &Setup) -> u64 {
        let time = buffer_time(setup);
        self.peaks
            .iter()
            .map(|(camera, rate)| bytes(*rate, self.streams(*camera), time))
            .fold(0, u64::saturating_add)
    }

    fn streams(&self, camera: CameraId) -> u64 {
        let sub = self.cameras.get(&camera).is_some_and(|camera| camera.config.source.has_sub());
        1 + u64::from(sub)
    }

    /// Waits until the recorder has followed all that is wished.
    pub(super) async fn settled(&mut self) {
        let number = self.wished.borrow().number;
        // Its task ends with this.
        let _ = self.followed.wait_for(|followed| *followed == number).await;
    }

    fn wish_guests(&self) {
        let guest = |(camera, known): (&CameraId, &Camera)| {
            let rate = self.peaks.get(camera).copied().unwrap_or_default();
            let buffer = self.buffer.map(|age_max| {
                // Half as much again, for a scene that begins to move.
                let rate = rate_of(rate).saturating_add(rate_of(rate) / 2);
                let bytes_max = bytes(rate, self.streams(*camera), age_max + GROUP_MAX);
                BufferLimits { bytes_max, age_max }
            });
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

/// How much footage the pre-buffer holds of a camera: all that its primary may turn out not to have when the failure is noticed.
pub(crate) fn buffer_time(setup: &Setup) -> Duration {
    setup.notices_stillness_after_max() + BUFFER_SPARE
}

/// Memory of that much footage of a camera with so many streams.
fn bytes(bits_per_second: u64, streams: u64, time: Duration) -> u64 {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let spare = streams.saturating_mul(SPARE_BYTES_PER_SECOND);
    (rate_of(bits_per_second) / 8).saturating_add(spare).saturating_mul(millis) / 1000
}

/// A rate that is not known is assumed.
fn rate_of(bits_per_second: u64) -> u64 {
    if bits_per_second == 0 { RATE_ASSUMED } else { bits_per_second }
}

/// Notes how much a camera sends; whether that is a good deal more than was known.
fn grow(peaks: &mut BTreeMap<CameraId, u64>, camera: CameraId, bits_per_second: u64) -> bool {
    let peak = peaks.entry(camera).or_default();
    let grows = bits_per_second > peak.saturating_add(*peak / GROWTH_DIVISOR);
    if grows {
        *peak = bits_per_second;
    }
    grows
}
