//! The standby: it watches its primaries, and decides what it records in their place.

use std::collections::{BTreeMap, BTreeSet};

use keepwatch_model::{CameraId, MonoTime, RoleId, WallTime};

use super::action::{Action, Ended, Told};
use super::claim::LOOK_INTERVAL;
use super::cover::{Cause, Cover, Covered, Phase};
use super::event::{Missed, Report};
use super::setup::{Capacity, Demand, Mode, Registration, Setup, Version};
use super::watch::{Camera, Watch};

/// A primary on the *Monitoring* list.
#[derive(Debug)]
pub(super) struct Primary {
    pub(super) epoch: u64,
    pub(super) mode: Mode,
    pub(super) priority: u8,
    pub(super) watch: Watch,
    /// The failover of all of its cameras.
    pub(super) cover: Option<Cover>,
    /// Single cameras that it does not record, and that are covered.
    pub(super) alone: BTreeMap<CameraId, Covered>,
    /// A failover is due, and there is no room for it.
    pub(super) waits: bool,
    /// Another standby covers it, and the failover that was left to it was started so.
    pub(super) left: Option<Cause>,
    /// Another recorder is about to take the role.
    pub(super) replacing: bool,
    /// When it is to be looked at whether the claim can be had, or kept.
    pub(super) claim_at: Option<MonoTime>,
    /// Cameras whose schedules ask for no recording at present.
    pub(super) unscheduled: BTreeSet<CameraId>,
}

impl Primary {
    /// What each camera takes that the standby records.
    fn takes(&self) -> impl Iterator<Item = Demand> {
        let covered = self.cover.iter().flat_map(|cover| cover.cameras.keys()).chain(self.alone.keys());
        covered.map(|camera| self.watch.cameras.get(camera).map_or(Demand::default(), |known| known.demand))
    }

    pub(super) fn is_covered(&self, camera: CameraId) -> bool {
        is_covered(self.cover.as_ref(), &self.alone, camera)
    }

    /// Its cameras that the standby does not record.
    fn uncovered(&self) -> Vec<(CameraId, Demand)> {
        let cameras = self.watch.cameras.iter().filter(|(camera, _)| !self.is_covered(**camera));
        cameras.map(|(camera, known)| (*camera, known.demand)).collect()
    }

    /// A failover of it is to start by itself.
    pub(super) fn is_due(&self) -> bool {
        self.mode == Mode::Auto && self.cover.is_none() && self.watch.health.failed_since().is_some()
    }

    /// The failover that was left to another standby is still to run.
    pub(super) fn wants_back(&self, cause: Cause) -> bool {
        match cause {
            Cause::Threshold => self.is_due(),
            Cause::Operator | Cause::Restart => {
                !self.watch.health.answers() || self.watch.health.failed_since().is_some()
            }
        }
    }

    /// It is no longer left to another standby.
    pub(super) fn take_back(&mut self) {
        if self.left.take().is_some() {
            self.claim_at = None;
        }
    }

    /// Those of `covered` that the standby need record no more.
    fn done(&self, now: MonoTime, covered: &BTreeMap<CameraId, Covered>) -> Vec<CameraId> {
        let done = covered.iter().filter(|(camera, covered)| self.can_rest(now, **camera, covered));
        done.map(|(camera, _)| *camera).collect()
    }

    /// Whether the primary's footage and the standby's of a camera have enough in common, by an answer that stands.
    fn can_rest(&self, now: MonoTime, camera: CameraId, covered: &Covered) -> bool {
        let Some(known) = self.watch.cameras.get(&camera) else { return true };
        let heard = self.watch.health.answers() && known.is_named();
        heard && (!known.is_wanted() || known.held().is_some_and(|held| covered.overlaps(now, held)))
    }
}

fn is_covered(cover: Option<&Cover>, alone: &BTreeMap<CameraId, Covered>, camera: CameraId) -> bool {
    alone.contains_key(&camera) || cover.is_some_and(|cover| cover.cameras.contains_key(&camera))
}

/// A standby and its primaries.
///
/// Of each primary:
///
/// ```text
///              threshold, Auto            Failback; Replace done
///   Watched ─────────────────► Running ─────────────────────────► Returning
///    ▲  ▲      Failover           │ ▲                               │   │
///    │  │                         │ └───────── it fails again ──────┘   │
///    │  └──── Stop; held by other ┘                                     │
///    └──────────────────────────── its footage overlaps, all cameras ───┘
/// ```
#[derive(Debug)]
pub struct Standby {
    version: Version,
    pub(super) setup: Setup,
    pub(super) capacity: Capacity,
    pub(super) primaries: BTreeMap<RoleId, Primary>,
    pub(super) checks: u64,
}

impl Standby {
    /// A standby of this version without primaries.
    pub fn new(version: Version, setup: Setup, capacity: Capacity) -> Self {
        Self { version, setup, capacity, primaries: BTreeMap::new(), checks: 0 }
    }

    /// The setup in force.
    pub fn setup(&self) -> Setup {
        self.setup
    }

    /// What can still be recorded beside all that is.
    pub fn room(&self) -> Capacity {
        let mut room = self.capacity;
        for demand in self.primaries.values().flat_map(Primary::takes) {
            room.cameras = room.cameras.saturating_sub(1);
            room.bits_per_second = room.bits_per_second.saturating_sub(demand.bits_per_second);
        }
        room
    }

    /// Records what a running failover lacks, and starts every one that is due, as far as there is room: by priority, then in the
    /// order in which they failed.
    pub(super) fn start_due(&mut self, now: MonoTime, out: &mut Vec<Action>) {
        let running = self
            .primaries
            .iter()
            .filter(|(_, primary)| primary.cover.as_ref().is_some_and(|cover| cover.phase == Phase::Running));
        let running: Vec<RoleId> = running.map(|(role, _)| *role).collect();
        for role in running {
            self.fill(now, role, out);
        }
        let mut due: Vec<_> = (self.primaries.iter())
            .filter(|(_, primary)| primary.is_due() && primary.left.is_none())
            .map(|(role, primary)| (primary.priority, primary.watch.health.failed_since(), *role))
            .collect();
        due.sort_unstable();
        for (_, _, role) in due {
            if self.begin(now, role, Cause::Threshold, out) {
                continue;
            }
            self.wait(role, out);
        }
    }

    /// There is no room for a failover that is due.
    pub(super) fn wait(&mut self, role: RoleId, out: &mut Vec<Action>) {
        if let Some(primary) = self.primaries.get_mut(&role).filter(|primary| !primary.waits) {
            primary.waits = true;
            out.push(Action::Tell(role, Told::Waits));
        }
    }

    /// Covers all cameras of a primary, if there is room for them. A primary that is larger than the standby is covered as far as
    /// that reaches when nothing else is.
    pub(super) fn begin(&mut self, now: MonoTime, role: RoleId, cause: Cause, out: &mut Vec<Action>) -> bool {
        let mut others = self.primaries.iter().filter(|(other, _)| **other != role);
        let free = others.all(|(_, primary)| primary.takes().next().is_none());
        let mut room = self.room();
        let Some(primary) = self.primaries.get_mut(&role) else { return false };
        let more = primary.uncovered();
        if !free && !more.iter().all(|(_, demand)| room.take(*demand)) {
            return false;
        }
        self.open(now, role, cause, out);
        true
    }

    /// Goes on with what was recorded before a restart of this standby, whatever room there is: a failover with the cameras that it
    /// had (`covered`), or single ones (`alone`).
    fn resume(
        &mut self,
        now: MonoTime,
        role: RoleId,
        covered: &[CameraId],
        alone: &[CameraId],
        out: &mut Vec<Action>,
    ) {
        let Some(primary) = self.primaries.get_mut(&role) else { return };
        for camera in covered.iter().chain(alone) {
            // It may be in no backup any more.
            let known = &mut primary.watch.cameras;
            known.entry(*camera).or_insert_with(|| Camera::new(Demand::default(), now));
            let lacked = alone.contains(camera);
            if primary.alone.insert(*camera, Covered::new(now, None, lacked)).is_none() {
                out.push(Action::Record { role, camera: *camera });
            }
        }
        if !covered.is_empty() {
            self.open(now, role, Cause::Restart, out);
        }
    }

    /// Begins the failover of a primary with the cameras that are covered already, and as many more as there is room for.
    fn open(&mut self, now: MonoTime, role: RoleId, cause: Cause, out: &mut Vec<Action>) {
        let Some(primary) = self.primaries.get_mut(&role) else { return };
        primary.waits = false;
        primary.left = None;
        primary.claim_at = Some(now + LOOK_INTERVAL);
        primary.cover = Some(Cover::begun(now, cause, std::mem::take(&mut primary.alone)));
        self.fill(now, role, out);
        out.extend([Action::Keep(role), Action::Tell(role, Told::Began(cause))]);
        self.see_lacks(now, role);
    }

    /// Records the cameras of a failover that are not, as far as there is room.
    fn fill(&mut self, now: MonoTime, role: RoleId, out: &mut Vec<Action>) {
        let (mut room, setup) = (self.room(), self.setup);
        let Some(primary) = self.primaries.get_mut(&role) else { return };
        let more = primary.uncovered();
        let failed = primary.watch.health.failed_since().unwrap_or(now);
        let Some(cover) = &mut primary.cover else { return };
        let covered = cover.cameras.len();
        for (camera, demand) in more {
            if room.take(demand) {
                let known = primary.watch.cameras.get(&camera);
                let before = known.and_then(Camera::held_until);
                let lacked = known.is_some_and(|known| known.lacked(failed, &setup));
                cover.cameras.insert(camera, Covered::new(now, before, lacked));
                out.push(Action::Record { role, camera });
            }
        }
        if cover.cameras.len() > covered {
            out.push(Action::Keep(role));
        }
    }

    /// Covers one camera of a primary that lives, if there is room.
    pub(super) fn cover_alone(
        &mut self,
        now: MonoTime,
        role: RoleId,
        camera: CameraId,
        out: &mut Vec<Action>,
    ) -> bool {
        let mut room = self.room();
        let Some(primary) = self.primaries.get_mut(&role) else { return false };
        let Some(known) = primary.watch.cameras.get(&camera) else { return false };
        if primary.is_covered(camera) || !room.take(known.demand) {
            return false;
        }
        primary.alone.insert(camera, Covered::new(now, known.held_until(), true));
        out.extend([
            Action::Record { role, camera },
            Action::Keep(role),
            Action::Tell(role, Told::CameraCovered(camera)),
        ]);
        true
    }

    /// Ends all that is recorded for a primary, at once.
    pub(super) fn rest(&mut self, role: RoleId, why: Ended, out: &mut Vec<Action>) {
        let Some(primary) = self.primaries.get_mut(&role) else { return };
        let cover = primary.cover.take();
        let alone = std::mem::take(&mut primary.alone);
        let cameras = cover.iter().flat_map(|cover| cover.cameras.keys()).chain(alone.keys());
        out.extend(cameras.map(|camera| Action::Rest { role, camera: *camera }));
        if cover.is_some() {
            out.push(Action::Release(role));
        }
        primary.claim_at = None;
        out.extend([Action::Keep(role), Action::Tell(role, Told::Ended(why))]);
    }

    /// Rests the cameras of a failover that is about to end, each as soon as the primary's footage overlaps; what the primary
    /// does not record stays covered. Whether any rests.
    pub(super) fn give_back(&mut self, now: MonoTime, role: RoleId, out: &mut Vec<Action>) -> bool {
        let threshold = self.setup.auto_failover_threshold();
        let Some(primary) = self.primaries.get_mut(&role) else { return false };
        let Some(Cover { phase: Phase::Returning(ended), cameras, .. }) = &primary.cover else {
            return false;
        };
        let (ended, done) = (*ended, primary.done(now, cameras));
        out.extend(done.iter().map(|camera| Action::Rest { role, camera: *camera }));
        let Some(cover) = &mut primary.cover else { return false };
        cover.cameras.retain(|camera, _| !done.contains(camera));
        // A camera that fails the primary for good must not hold up the end, unless it is all of them.
        let known = &primary.watch.cameras;
        let lacks = |known: &Camera| !known.is_named() || known.is_missing(threshold);
        let kept = |camera| known.get(camera).is_some_and(lacks);
        let all_kept = cover.cameras.len() >= known.len() && !known.is_empty();
        // Those that nobody receives are nobody's failure; of others it is about to be said that the primary records nothing.
        let all_dead = || known.values().all(|known| known.is_named() && known.is_out_of_reach());
        if cover.cameras.keys().all(kept) && (!all_kept || all_dead()) {
            self.end(role, ended, out);
        }
        !done.is_empty()
    }

    /// Ends a failover whose cameras are back, except those that it still has: they stay covered, alone.
    fn end(&mut self, role: RoleId, ended: Ended, out: &mut Vec<Action>) {
        let Some(primary) = self.primaries.get_mut(&role) else { return };
        let Some(mut cover) = primary.cover.take() else { return };
        primary.claim_at = None;
        out.extend([Action::Release(role), Action::Keep(role), Action::Tell(role, Told::Ended(ended))]);
        let stays = cover.cameras.keys().map(|camera| Action::Tell(role, Told::CameraCovered(*camera)));
        out.extend(stays);
        cover.cameras.values_mut().for_each(Covered::left_alone);
        primary.alone.append(&mut cover.cameras);
    }

    /// Rests single cameras that the primary records again. Whether any rests.
    fn give_back_alone(&mut self, now: MonoTime, role: RoleId, out: &mut Vec<Action>) -> bool {
        let Some(primary) = self.primaries.get_mut(&role) else { return false };
        let done = primary.done(now, &primary.alone);
        primary.alone.retain(|camera, _| !done.contains(camera));
        for camera in &done {
            out.extend([
                Action::Rest { role, camera: *camera },
                Action::Tell(role, Told::CameraReturned(*camera)),
            ]);
        }
        if !done.is_empty() {
            out.push(Action::Keep(role));
        }
        !done.is_empty()
    }

    pub(super) fn answered(&mut self, now: MonoTime, role: RoleId, report: &Report, out: &mut Vec<Action>) {
        let threshold = self.setup.auto_failover_threshold();
        let Some(primary) = self.primaries.get_mut(&role) else { return };
        // Another standby moved the role and this one hears of it here.
        if report.epoch > primary.epoch {
            primary.epoch = report.epoch;
            out.push(Action::Keep(role));
        }
        let differs = report.version != self.version;
        if differs != primary.watch.version_differs {
            primary.watch.version_differs = differs;
            let told = if differs { Told::VersionDiffers } else { Told::VersionAgrees };
            out.push(Action::Tell(role, told));
        }
        let (returned, changed) = primary.watch.answered(now, &report.cameras);
        if returned {
            // Who repaired it may have changed it.
            primary.watch.backup_at = primary.watch.backup_at.min(now + self.setup.backup_retry());
            out.push(Action::Tell(role, Told::Returned));
        }
        if changed {
            out.push(Action::BackUp(role));
        }
        if primary.watch.health.failed_since().is_none() {
            primary.take_back();
            primary.waits = false;
        }
        for (camera, known) in &mut primary.watch.cameras {
            let camera = *camera;
            if known.take_try(now, threshold) {
                out.push(Action::Try { role, camera });
            }
            // What is covered is on disk here, and its pre-buffer is empty.
            let covered = is_covered(primary.cover.as_ref(), &primary.alone, camera);
            let Some((lacks, until)) = known.settle().filter(|_| !covered) else { continue };
            out.extend(lacks.map(|span| Action::Save { role, camera, span }));
            out.push(Action::Trim { role, camera, until });
        }
        self.look(now, role, out);
        self.end_of_false_alarm(role, threshold, out);
        self.give_back(now, role, out);
        self.give_back_alone(now, role, out);
        self.start_due(now, out);
    }

    /// Covers what a primary that answers does not record and the standby receives: all of it, or single cameras.
    pub(super) fn look(&mut self, now: MonoTime, role: RoleId, out: &mut Vec<Action>) {
        let threshold = self.setup.auto_failover_threshold();
        let Some(primary) = self.primaries.get_mut(&role) else { return };
        if primary.watch.look(now, threshold) {
            out.push(Action::Tell(role, Told::RecordsNothing));
            // After Replace nothing was given back that would have to be covered again: it is waited for.
            if !self.is_beginning(role) {
                self.run_again(now, role, out);
            }
        }
        let Some(primary) = self.primaries.get_mut(&role) else { return };
        if primary.mode == Mode::Manual
            || primary.cover.is_some()
            || primary.watch.health.failed_since().is_some()
        {
            return;
        }
        let counts = primary.watch.cameras.iter().filter(|(_, known)| known.counts(threshold));
        let counts: Vec<CameraId> = counts.map(|(camera, _)| *camera).collect();
        for camera in counts {
            self.cover_alone(now, role, camera, out);
        }
    }

    /// A primary that was called failed, and by its answers never stopped: it was only not heard. Its failover ends by itself, for
    /// there is nothing to repair.
    fn end_of_false_alarm(&mut self, role: RoleId, threshold: u32, out: &mut Vec<Action>) {
        let Some(primary) = self.primaries.get_mut(&role) else { return };
        let Some(cover) = primary.cover.as_mut() else { return };
        // What was known of the primary when a cover began is not known any more after a restart.
        if cover.cause != Cause::Threshold || cover.phase != Phase::Running || primary.replacing {
            return;
        }
        let known = &primary.watch.cameras;
        let never_failed = cover.cameras.values().any(Covered::was_held);
        let never_failed = never_failed
            && cover.cameras.iter().all(|(camera, covered)| {
                let Some(known) = known.get(camera) else { return true };
                known.is_named() && (!known.is_wanted() || covered.never_stopped(known.held()))
            });
        cover.never_failed = if never_failed { cover.never_failed.saturating_add(1) } else { 0 };
        if cover.never_failed < threshold {
            return;
        }
        // What it does not record, and did not before, goes on.
        let lacks = |camera: &CameraId| known.get(camera).is_some_and(Camera::is_lacking);
        let rests: Vec<CameraId> = cover.cameras.keys().copied().filter(|camera| !lacks(camera)).collect();
        cover.cameras.retain(|camera, _| !rests.contains(camera));
        out.extend(rests.into_iter().map(|camera| Action::Rest { role, camera }));
        self.end(role, Ended::NeverFailed, out);
    }

    /// A check of the primary failed.
    pub(super) fn missed(&mut self, now: MonoTime, role: RoleId, why: Missed, out: &mut Vec<Action>) {
        let threshold = self.setup.auto_failover_threshold();
        let Some(primary) = self.primaries.get_mut(&role) else { return };
        if let Some(cover) = &mut primary.cover {
            cover.never_failed = 0;
        }
        if !primary.watch.missed(now, why, threshold) {
            return;
        }
        out.push(Action::Tell(role, Told::Failed(why)));
        self.run_again(now, role, out);
        self.start_due(now, out);
    }

    /// The recorder that took the role has not begun to record: no camera of the failover rests.
    fn is_beginning(&self, role: RoleId) -> bool {
        let Some(primary) = self.primaries.get(&role) else { return false };
        primary.cover.as_ref().is_some_and(|cover| {
            cover.phase == Phase::Returning(Ended::Replaced)
                && primary.watch.cameras.keys().all(|camera| cover.cameras.contains_key(camera))
        })
    }

    /// The primary fails again while it takes its cameras back: those that rest are recorded again.
    fn run_again(&mut self, now: MonoTime, role: RoleId, out: &mut Vec<Action>) {
        let Some(primary) = self.primaries.get_mut(&role) else { return };
        let Some(cover) = &mut primary.cover else { return };
        cover.phase = Phase::Running;
        cover.cameras.append(&mut primary.alone);
        self.fill(now, role, out);
    }

    pub(super) fn register(&mut self, now: MonoTime, registration: Registration, out: &mut Vec<Action>) {
        let Registration { role, epoch, mode, priority, cameras, covered, alone } = registration;
        // Registered twice: what runs goes on as it does.
        if let Some(known) = self.primaries.get_mut(&role) {
            known.priority = priority;
            known.epoch = known.epoch.max(epoch);
            let runs = known.cover.is_some();
            if !runs && known.alone.is_empty() {
                known.mode = mode;
            }
            known.watch.backed_up(now, &cameras, runs);
            return;
        }
        let primary = Primary {
            epoch,
            mode,
            priority,
            watch: Watch::new(now, &cameras),
            cover: None,
            alone: BTreeMap::new(),
            waits: false,
            left: None,
            replacing: false,
            claim_at: None,
            unscheduled: BTreeSet::new(),
        };
        self.primaries.insert(role, primary);
        self.resume(now, role, &covered, &alone, out);
    }

    /// Footage of a covered camera is on disk. Whether that makes a camera rest.
    pub(super) fn durable(
        &mut self,
        now: MonoTime,
        role: RoleId,
        camera: CameraId,
        until: WallTime,
        out: &mut Vec<Action>,
    ) -> bool {
        let Some(primary) = self.primaries.get_mut(&role) else { return false };
        let covered = (primary.cover.as_mut())
            .and_then(|cover| cover.cameras.get_mut(&camera))
            .or_else(|| primary.alone.get_mut(&camera));
        // News of what rests already.
        let Some(covered) = covered else { return false };
        let lived = covered.is_recorded(now);
        covered.durable(now, until);
        if !lived {
            self.recorded_again(now, role, out);
        }
        let rests = self.give_back(now, role, out);
        self.give_back_alone(now, role, out) || rests
    }
}
