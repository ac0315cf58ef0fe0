//! The drill: a failover of all cameras of a primary that lives, for as long as it takes to have a record of each on disk.
//!
//! The primary is not touched, and a failover that begins meanwhile is not held up: it records the same cameras. A standby that
//! was never tested counts as none. Drills are asked for by an operator, or begin by themselves every so often.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use keepwatch_model::{CameraId, EventCode, MonoTime, RoleId, Subject, WallTime, ticks_from_duration};
use keepwatch_recording::failover::{Capacity, Health};
use serde::{Deserialize, Serialize};

use super::Driver;

/// How long a camera may take to have a record on disk: it is dialled, gives a key frame, and a group of pictures ends.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often is looked for a drill that is due.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);

/// When failovers are tested by themselves.
#[derive(Debug, Default)]
pub(super) struct DrillSchedule {
    /// How often each primary's is; `None` for never.
    pub(super) every: Option<Duration>,
    /// When it is looked which is due.
    pub(super) look_at: Option<MonoTime>,
}

/// A drill that runs.
#[derive(Debug)]
pub(super) struct Drill {
    at: WallTime,
    pub(super) until: MonoTime,
    cameras: usize,
    waiting: BTreeSet<CameraId>,
    /// Those that were not to be waited for.
    failed: BTreeMap<CameraId, Unfit>,
    /// Nobody waits for it: it gives way to a failover.
    scheduled: bool,
}

/// What came of a drill.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drilled {
    /// When it began.
    pub at: WallTime,
    /// Cameras that were to be recorded: those whose schedules asked for it.
    pub cameras: usize,
    /// Those that were not, and why.
    pub failed: BTreeMap<CameraId, Unfit>,
}

/// Why a failover would not record a camera.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unfit {
    /// No record of it came to the disk in time.
    NoRecord,
    /// What the backup says of it cannot be used here.
    Unreadable,
    /// This standby has no room for so many.
    NoRoom,
}

impl Drilled {
    /// How many cameras of how many failed, which and why; `None` when none did.
    pub(crate) fn complaint(&self) -> Option<String> {
        let why = |unfit: Unfit| match unfit {
            Unfit::NoRecord => "no footage came to the disk in time",
            Unfit::Unreadable => "what the backup says of it cannot be used here",
            Unfit::NoRoom => "this standby has no room for so many",
        };
        let of = |unfit: Unfit| {
            let cameras: Vec<String> = (self.failed.iter())
                .filter(|(_, failed)| **failed == unfit)
                .map(|(camera, _)| camera.to_string())
                .collect();
            (!cameras.is_empty()).then(|| format!("{} ({})", cameras.join(", "), why(unfit)))
        };
        let told = [Unfit::NoRecord, Unfit::Unreadable, Unfit::NoRoom].into_iter().filter_map(of);
        let told: Vec<String> = told.collect();
        let (failed, all) = (self.failed.len(), self.cameras);
        (failed > 0).then(|| format!("{failed} of {all} cameras would not be recorded: {}", told.join("; ")))
    }
}

/// Why no drill begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DrillRefusal {
    /// No such primary.
    #[error("it is not on the Monitoring list")]
    Unknown,
    /// Its cameras are recorded already.
    #[error("its failover is running, which shows more than a drill; wait for its end")]
    Running,
    /// One after another.
    #[error("a drill of it is under way")]
    UnderWay,
    /// Nothing is known of its cameras.
    #[error(
        "no camera of it is known that can be recorded here and is to be at present; see its last backup"
    )]
    NoCameras,
    /// What is recorded comes first.
    #[error(
        "what this standby records leaves no room for all of its cameras; Stop a failover, or wait for its end"
    )]
    Full,
}

impl Driver {
    /// Begins a drill.
    pub(super) fn drill(&mut self, now: MonoTime, role: RoleId, scheduled: bool) -> Result<(), DrillRefusal> {
        let runs = self.machine.failovers().any(|cover| cover.role == role);
        let at = self.tools.clock.wall();
        let wanted = self.machine.wanted(role);
        let (mut room, idle) = self.room_for_drills();
        let primary = self.primaries.get_mut(&role).ok_or(DrillRefusal::Unknown)?;
        if runs {
            return Err(DrillRefusal::Running);
        }
        if primary.drill.is_some() {
            return Err(DrillRefusal::UnderWay);
        }
        let (recordable, cameras) = (primary.recordable(), wanted.len());
        let (mut waiting, mut failed) = (BTreeSet::new(), BTreeMap::new());
        for (camera, demand) in wanted {
            // As a failover would: what is configured takes room, readable or not.
            if !room.take(demand) {
                failed.insert(camera, Unfit::NoRoom);
            } else if !recordable.contains(&camera) {
                failed.insert(camera, Unfit::Unreadable);
            } else {
                waiting.insert(camera);
            }
        }
        if !idle && failed.values().any(|unfit| *unfit == Unfit::NoRoom) {
            return Err(DrillRefusal::Full);
        }
        if waiting.is_empty() && failed.is_empty() {
            return Err(DrillRefusal::NoCameras);
        }
        primary.set_drilled(&waiting);
        let nothing_to_try = waiting.is_empty();
        primary.drill = Some(Drill { at, until: now + PATIENCE, cameras, waiting, failed, scheduled });
        if nothing_to_try {
            self.end_drill(role);
        }
        Ok(())
    }

    /// What can be recorded beside what is, for failovers and for other drills; and whether nothing is.
    fn room_for_drills(&self) -> (Capacity, bool) {
        let mut room = self.machine.room();
        let mut idle = room == self.capacity.capacity;
        for primary in self.primaries.values() {
            let Some(drill) = &primary.drill else { continue };
            idle = false;
            for (_, demand) in primary.demands().iter().filter(|(camera, _)| drill.waiting.contains(camera)) {
                // What is beyond the room is refused above.
                let _ = room.take(*demand);
            }
        }
        (room, idle)
    }

    /// Tests failovers so often from here on; the first look is at once.
    pub(super) fn set_drills(&mut self, every: Option<Duration>) {
        self.drills = DrillSchedule { every, look_at: every.map(|_| self.tools.clock.mono()) };
    }

    /// Begins the drill that is due for the longest, one at a time and never while this standby records for anybody.
    pub(super) fn look_for_drills(&mut self, now: MonoTime) {
        let Some(every) = self.drills.every else { return };
        if self.drills.look_at.is_some_and(|at| at > now) {
            return;
        }
        self.drills.look_at = Some(now + LOOK_INTERVAL);
        let covers = self.machine.failovers().next().is_some()
            || self.machine.monitoring().any(|view| !view.covered_alone.is_empty());
        if covers || self.primaries.values().any(|primary| primary.drill.is_some()) {
            return;
        }
        let wall = self.tools.clock.wall();
        let well =
            self.machine.monitoring().filter(|view| view.health == Health::Normal && view.missing.is_empty());
        let due = well.filter_map(|view| {
            let primary = self.primaries.get(&view.role)?;
            let last = primary.drilled.as_ref().map(|drilled| drilled.at);
            // One that is to come was tested under a clock that was set back since: nobody knows when.
            let due = last.is_none_or(|at| at > wall || wall.ticks_since(at) >= ticks_from_duration(every));
            due.then_some((last, view.role))
        });
        // One of which nothing is to be recorded at present must not keep the others from being tested.
        let mut due: Vec<_> = due.collect();
        due.sort_unstable();
        for (_, role) in due {
            if self.drill(now, role, true).is_ok() {
                return;
            }
        }
    }

    /// A failover begins: it is not to share lines and disks with drills that nobody waits for. They are due again afterwards.
    pub(super) fn give_up_drills(&mut self) {
        for primary in self.primaries.values_mut() {
            if primary.drill.take_if(|drill| drill.scheduled).is_some() {
                primary.set_drilled(&BTreeSet::new());
            }
        }
    }

    /// When the next drill is over at the latest.
    pub(super) fn drill_deadline(&self) -> Option<MonoTime> {
        self.primaries.values().filter_map(|primary| Some(primary.drill.as_ref()?.until)).min()
    }

    /// A record of a camera is on disk.
    pub(super) fn drilled(&mut self, role: RoleId, camera: CameraId) {
        let Some(primary) = self.primaries.get_mut(&role) else { return };
        let Some(drill) = &mut primary.drill else { return };
        if !drill.waiting.remove(&camera) {
            return;
        }
        let waiting = drill.waiting.clone();
        primary.set_drilled(&waiting);
        if waiting.is_empty() {
            self.end_drill(role);
        }
    }

    /// Ends the drills whose time is over.
    pub(super) fn end_drills(&mut self, now: MonoTime) {
        let over = |drill: &Drill| drill.until <= now;
        let ended = self.primaries.iter().filter(|(_, primary)| primary.drill.as_ref().is_some_and(over));
        let ended: Vec<RoleId> = ended.map(|(role, _)| *role).collect();
        for role in ended {
            self.end_drill(role);
        }
    }

    fn end_drill(&mut self, role: RoleId) {
        let Some(primary) = self.primaries.get_mut(&role) else { return };
        let Some(Drill { at, cameras, waiting, mut failed, .. }) = primary.drill.take() else { return };
        primary.set_drilled(&BTreeSet::new());
        failed.extend(waiting.into_iter().map(|camera| (camera, Unfit::NoRecord)));
        let drilled = Drilled { at, cameras, failed };
        let name = &primary.row.name;
        let (code, text) = match drilled.complaint() {
            None => (
                EventCode::DrillPassed,
                format!("a failover of primary {name:?} would record all of its {cameras} cameras"),
            ),
            Some(why) => {
                (EventCode::DrillFailed, format!("a failover of primary {name:?} would not be whole: {why}"))
            }
        };
        self.tools.recorder.add_event(code, Subject::Node, text);
        primary.row.drill = serde_json::to_string(&drilled).ok();
        primary.drilled = Some(drilled);
        self.writing.primary(Some(&primary.row), role);
    }
}
