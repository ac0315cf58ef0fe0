//! The standby: it watches its primaries, and decides what it records in their place.

use std::collections::BTreeMap;
use std::time::Duration;

use keepwatch_model::{CameraId, Machine, MonoTime, RoleId, WallTime};

use super::action::{Action, Ended, Told};
use super::cover::{Cause, Claim, Cover, Covered, Phase, Returning};
use super::event::{Event, Missed, Report};
use super::setup::{Capacity, Demand, Mode, Registration, Setup, Version};
use super::watch::{Camera, Health, Watch};

/// The coordination is asked again after so long, while it gave no answer or another standby covers.
const CLAIM_INTERVAL: Duration = Duration::from_secs(2);

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
    /// Another standby covers it.
    pub(super) left: bool,
    /// Another recorder is about to take the role.
    pub(super) replacing: bool,
    /// When the coordination is to be asked again.
    claim_at: Option<MonoTime>,
}

impl Primary {
    fn takes(&self) -> impl Iterator<Item = (CameraId, Demand)> {
        let covered = self.cover.iter().flat_map(|cover| cover.cameras.keys()).chain(self.alone.keys());
        covered.map(|camera| {
            (*camera, self.watch.cameras.get(camera).map_or(Demand::default(), |known| known.demand))
        })
    }

    pub(super) fn is_covered(&self, camera: CameraId) -> bool {
        self.alone.contains_key(&camera)
            || self.cover.as_ref().is_some_and(|cover| cover.cameras.contains_key(&camera))
    }

    /// Its cameras that the standby does not record.
    fn uncovered(&self) -> Vec<(CameraId, Demand)> {
        let cameras = self.watch.cameras.iter().filter(|(camera, _)| !self.is_covered(**camera));
        cameras.map(|(camera, known)| (*camera, known.demand)).collect()
    }

    /// A failover of it is to start by itself.
    fn is_due(&self) -> bool {
        self.mode == Mode::Auto && self.cover.is_none() && self.watch.health.failed_since().is_some()
    }
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
    capacity: Capacity,
    pub(super) primaries: BTreeMap<RoleId, Primary>,
    checks: u64,
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
    fn room(&self) -> Capacity {
        let mut room = self.capacity;
        for (_, demand) in self.primaries.values().flat_map(Primary::takes) {
            room.cameras = room.cameras.saturating_sub(1);
            room.bits_per_second = room.bits_per_second.saturating_sub(demand.bits_per_second);
        }
        room
    }

    /// Starts every failover that is due, as far as there is room: by priority, then in the order in which they failed.
    pub(super) fn start_due(&mut self, now: MonoTime, out: &mut Vec<Action>) {
        let mut due: Vec<_> = (self.primaries.iter())
            .filter(|(_, primary)| primary.is_due() && !primary.left)
            .map(|(role, primary)| (primary.priority, primary.watch.health.failed_since(), *role))
            .collect();
        due.sort_unstable();
        for (_, _, role) in due {
            if self.begin(now, role, Cause::Threshold, out) {
                continue;
            }
            if let Some(primary) = self.primaries.get_mut(&role).filter(|primary| !primary.waits) {
                primary.waits = true;
                out.push(Action::Tell(role, Told::Waits));
            }
        }
    }

    /// Covers all cameras of a primary, if there is room for them. A primary that is larger than the standby is covered as far as
    /// that reaches when nothing else is.
    pub(super) fn begin(&mut self, now: MonoTime, role: RoleId, cause: Cause, out: &mut Vec<Action>) -> bool {
        let free = self.primaries.values().all(|primary| primary.takes().next().is_none());
        let mut room = self.room();
        let Some(primary) = self.primaries.get_mut(&role) else { return false };
        let more = primary.uncovered();
        if !free && !more.iter().all(|(_, demand)| room.take(*demand)) {
            return false;
        }
        primary.waits = false;
        primary.left = false;
        primary.claim_at = Some(now + CLAIM_INTERVAL);
        let cameras = std::mem::take(&mut primary.alone);
        let (phase, claim) = (Phase::Running, Claim::Asked);
        primary.cover = Some(Cover { since: now, cause, claim, phase, cameras, never_failed: 0 });
        self.fill(role, out);
        out.extend([Action::Claim(role), Action::Keep(role), Action::Tell(role, Told::Began(cause))]);
        true
    }

    /// Records the cameras of a failover that are not, as far as there is room.
    fn fill(&mut self, role: RoleId, out: &mut Vec<Action>) {
        let mut room = self.room();
        let Some(primary) = self.primaries.get_mut(&role) else { return };
        let more = primary.uncovered();
        let Some(cover) = &mut primary.cover else { return };
        for (camera, demand) in more {
            if room.take(demand) {
                let before = primary.watch.cameras.get(&camera).and_then(Camera::held_until);
                cover.cameras.insert(camera, Covered::new(before));
                out.push(Action::Record { role, camera });
            }
        }
    }

    /// Covers one camera of a primary that lives, if there is room.
    pub(super) fn cover_alone(&mut self, role: RoleId, camera: CameraId, out: &mut Vec<Action>) -> bool {
        let mut room = self.room();
        let Some(primary) = self.primaries.get_mut(&role) else { return false };
        let Some(known) = primary.watch.cameras.get(&camera) else { return false };
        if primary.is_covered(camera) || !room.take(known.demand) {
            return false;
        }
        primary.alone.insert(camera, Covered::new(known.held_until()));
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
    /// does not record stays covered.
    pub(super) fn give_back(&mut self, role: RoleId, out: &mut Vec<Action>) {
        let threshold = self.setup.auto_failover_threshold();
        let Some(primary) = self.primaries.get_mut(&role) else { return };
        let Some(Cover { phase: Phase::Returning(why), cameras, .. }) = &mut primary.cover else { return };
        let why = *why;
        let known = &primary.watch.cameras;
        cameras.retain(|camera, covered| {
            let done = known.get(camera).is_none_or(|known| {
                !known.is_wanted() || known.held_from().is_some_and(|from| covered.overlaps(from))
            });
            if done {
                out.push(Action::Rest { role, camera: *camera });
            }
            !done
        });
        // A camera that fails the primary for good must not hold up the end, unless it is all of them.
        let kept = |camera| known.get(camera).is_some_and(|known| known.is_missing(threshold));
        if cameras.keys().all(kept) && (cameras.len() < known.len() || known.is_empty()) {
            primary.alone.append(cameras);
            primary.cover = None;
            primary.claim_at = None;
            let ended = match why {
                Returning::Failback => Ended::FailedBack,
                Returning::Replaced => Ended::Replaced,
            };
            out.extend([Action::Release(role), Action::Keep(role), Action::Tell(role, Told::Ended(ended))]);
            let stays = primary.alone.keys().map(|camera| Action::Tell(role, Told::CameraCovered(*camera)));
            out.extend(stays);
        }
    }

    /// Rests single cameras that the primary records again.
    fn give_back_alone(&mut self, role: RoleId, out: &mut Vec<Action>) {
        let Some(primary) = self.primaries.get_mut(&role) else { return };
        let known = &primary.watch.cameras;
        let before = primary.alone.len();
        primary.alone.retain(|camera, covered| {
            let done = known.get(camera).is_none_or(|known| {
                !known.is_wanted() || known.held_from().is_some_and(|from| covered.overlaps(from))
            });
            if done {
                out.extend([
                    Action::Rest { role, camera: *camera },
                    Action::Tell(role, Told::CameraReturned(*camera)),
                ]);
            }
            !done
        });
        if primary.alone.len() < before {
            out.push(Action::Keep(role));
        }
    }

    fn answered(&mut self, now: MonoTime, role: RoleId, report: &Report, out: &mut Vec<Action>) {
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
        if primary.watch.answered(now, &report.cameras) {
            out.push(Action::Tell(role, Told::Returned));
        }
        primary.left &= primary.watch.health.failed_since().is_some();
        primary.waits &= primary.watch.health.failed_since().is_some();
        for (camera, known) in &mut primary.watch.cameras {
            if known.take_try(now, threshold) {
                out.push(Action::Try { role, camera: *camera });
            }
        }
        self.look(now, role, out);
        self.end_of_false_alarm(role, threshold, out);
        self.give_back(role, out);
        self.give_back_alone(role, out);
        self.start_due(now, out);
    }

    /// Covers what a primary that answers does not record and the standby receives: all of it, or single cameras.
    fn look(&mut self, now: MonoTime, role: RoleId, out: &mut Vec<Action>) {
        let threshold = self.setup.auto_failover_threshold();
        let Some(primary) = self.primaries.get_mut(&role) else { return };
        if primary.watch.look(now, threshold) {
            out.push(Action::Tell(role, Told::RecordsNothing));
            self.run_again(role, out);
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
            self.cover_alone(role, camera, out);
        }
    }

    /// A primary that was called failed, and by its answers never stopped: it was only not heard. Its failover ends by itself, for
    /// there is nothing to repair.
    fn end_of_false_alarm(&mut self, role: RoleId, threshold: u32, out: &mut Vec<Action>) {
        let Some(primary) = self.primaries.get_mut(&role) else { return };
        let Some(cover) = primary.cover.as_mut() else { return };
        if cover.cause == Cause::Operator || cover.phase != Phase::Running || primary.replacing {
            return;
        }
        let known = &primary.watch.cameras;
        let never_failed = cover.cameras.values().any(Covered::was_held);
        let never_failed = never_failed
            && cover.cameras.iter().all(|(camera, covered)| {
                let Some(known) = known.get(camera) else { return true };
                !known.is_wanted() || covered.never_stopped(known.held_from())
            });
        cover.never_failed = if never_failed { cover.never_failed.saturating_add(1) } else { 0 };
        if cover.never_failed >= threshold {
            self.rest(role, Ended::NeverFailed, out);
        }
    }

    /// A check of the primary failed.
    fn missed(&mut self, now: MonoTime, role: RoleId, why: Missed, out: &mut Vec<Action>) {
        let threshold = self.setup.auto_failover_threshold();
        let Some(primary) = self.primaries.get_mut(&role) else { return };
        if let Some(cover) = &mut primary.cover {
            cover.never_failed = 0;
        }
        if !primary.watch.missed(now, why, threshold) {
            return;
        }
        out.push(Action::Tell(role, Told::Failed(why)));
        self.run_again(role, out);
        self.start_due(now, out);
    }

    /// The primary fails again while it takes its cameras back: those that rest are recorded again.
    fn run_again(&mut self, role: RoleId, out: &mut Vec<Action>) {
        let Some(primary) = self.primaries.get_mut(&role) else { return };
        let Some(cover) = &mut primary.cover else { return };
        cover.phase = Phase::Running;
        cover.cameras.append(&mut primary.alone);
        self.fill(role, out);
    }

    fn claimed(&mut self, now: MonoTime, role: RoleId, claim: Claim, out: &mut Vec<Action>) {
        let Some(primary) = self.primaries.get_mut(&role) else { return };
        if primary.cover.is_none() {
            // It ended while the coordination was asked, or another standby covered: does it still, is it due here.
            let begins = primary.left && primary.is_due() && self.begin(now, role, Cause::Threshold, out);
            if !begins {
                if claim == Claim::Held {
                    out.push(Action::Release(role));
                }
                return;
            }
        }
        let Some(primary) = self.primaries.get_mut(&role) else { return };
        let Some(cover) = &mut primary.cover else { return };
        primary.claim_at = (claim == Claim::Unconfirmed).then(|| now + CLAIM_INTERVAL);
        if cover.claim != claim {
            cover.claim = claim;
            out.push(Action::Tell(role, Told::ClaimIs(claim)));
        }
    }

    /// Another standby covers the primary: this one rests, and is ready to take over from it.
    fn held_by_other(&mut self, now: MonoTime, role: RoleId, out: &mut Vec<Action>) {
        let Some(primary) = self.primaries.get_mut(&role) else { return };
        primary.claim_at = Some(now + CLAIM_INTERVAL);
        let Some(cover) = primary.cover.take() else { return };
        primary.left = true;
        let rests = cover.cameras.keys().map(|camera| Action::Rest { role, camera: *camera });
        out.extend(rests);
        out.extend([Action::Keep(role), Action::Tell(role, Told::LeftToOther)]);
        self.start_due(now, out);
    }

    fn register(&mut self, now: MonoTime, registration: Registration, out: &mut Vec<Action>) {
        let Registration { role, epoch, mode, priority, cameras, covered } = registration;
        let restarted = !covered.is_empty();
        let primary = Primary {
            epoch,
            mode,
            priority,
            watch: Watch::new(now, &cameras),
            cover: None,
            alone: BTreeMap::new(),
            waits: false,
            left: false,
            replacing: false,
            claim_at: None,
        };
        // Registered twice: what runs goes on, only mode and priority change.
        if let Some(known) = self.primaries.get_mut(&role) {
            known.priority = priority;
            known.epoch = known.epoch.max(epoch);
            return;
        }
        self.primaries.insert(role, primary);
        if restarted {
            self.begin(now, role, Cause::Restart, out);
        }
    }

    fn durable(&mut self, role: RoleId, camera: CameraId, until: WallTime, out: &mut Vec<Action>) {
        let Some(primary) = self.primaries.get_mut(&role) else { return };
        let covered = (primary.cover.as_mut())
            .and_then(|cover| cover.cameras.get_mut(&camera))
            .or_else(|| primary.alone.get_mut(&camera));
        // News of what rests already.
        let Some(covered) = covered else { return };
        covered.durable(until);
        self.give_back(role, out);
        self.give_back_alone(role, out);
    }
}

impl Machine for Standby {
    type Event = Event;
    type Action = Action;

    fn handle(&mut self, now: MonoTime, event: Event, out: &mut Vec<Action>) {
        match event {
            Event::Answered { role, check, report } => {
                let Some(primary) = self.primaries.get_mut(&role) else { return };
                if !primary.watch.ends(check) {
                    return;
                }
                if report.epoch < primary.epoch {
                    self.missed(now, role, Missed::Superseded, out);
                } else {
                    self.answered(now, role, &report, out);
                }
            }
            Event::Missed { role, check, why } => {
                if self.primaries.get_mut(&role).is_some_and(|primary| primary.watch.ends(check)) {
                    self.missed(now, role, why, out);
                }
            }
            Event::BackedUp { role, cameras } => {
                if let Some(primary) = self.primaries.get_mut(&role) {
                    primary.watch.backed_up(now, &cameras);
                }
            }
            Event::Tried { role, camera, received } => {
                let Some(primary) = self.primaries.get_mut(&role) else { return };
                if let Some(known) = primary.watch.cameras.get_mut(&camera) {
                    known.tried(now, received);
                }
                self.look(now, role, out);
                self.start_due(now, out);
            }
            Event::Durable { role, camera, until } => {
                self.durable(role, camera, until, out);
                self.start_due(now, out);
            }
            Event::Claimed { role } => self.claimed(now, role, Claim::Held, out),
            Event::Unclaimable { role } => self.claimed(now, role, Claim::Unconfirmed, out),
            Event::HeldByOther { role } => self.held_by_other(now, role, out),
            Event::Measured(capacity) => {
                self.capacity = capacity;
                let running = self.primaries.iter().filter(|(_, primary)| {
                    primary.cover.as_ref().is_some_and(|cover| cover.phase == Phase::Running)
                });
                let running: Vec<RoleId> = running.map(|(role, _)| *role).collect();
                for role in running {
                    self.fill(role, out);
                }
                self.start_due(now, out);
            }
            Event::Registered(registration) => self.register(now, registration, out),
            Event::SetUp(setup) => {
                self.setup = setup;
                for primary in self.primaries.values_mut() {
                    let watch = &mut primary.watch;
                    watch.check_at = watch.check_at.min(now + setup.check_interval());
                    watch.backup_at = watch.backup_at.min(now + setup.setup_backup_interval());
                }
            }
            Event::Replaced { role, epoch } => {
                let Some(primary) = self.primaries.get_mut(&role) else { return };
                primary.replacing = false;
                primary.epoch = primary.epoch.max(epoch);
                primary.watch.health = Health::Unheard;
                if let Some(cover) = &mut primary.cover {
                    cover.phase = Phase::Returning(Returning::Replaced);
                }
                out.push(Action::Keep(role));
            }
            Event::NotReplaced { role } => {
                if let Some(primary) = self.primaries.get_mut(&role) {
                    primary.replacing = false;
                }
            }
        }
    }

    fn deadline(&self) -> Option<(MonoTime, &'static str)> {
        let of = |primary: &Primary| {
            let claim = primary.claim_at.map(|at| (at, "ask the coordination again"));
            [(primary.watch.check_at, "check"), (primary.watch.backup_at, "back up the setup")]
                .into_iter()
                .chain(claim)
                .min()
        };
        self.primaries.values().filter_map(of).min()
    }

    fn timeout(&mut self, now: MonoTime, out: &mut Vec<Action>) {
        let (check, backup) = (self.setup.check_interval(), self.setup.setup_backup_interval());
        let roles: Vec<RoleId> = self.primaries.keys().copied().collect();
        for role in roles {
            let Some(primary) = self.primaries.get_mut(&role) else { continue };
            if primary.claim_at.is_some_and(|at| at <= now) {
                // Asked again until it gives an answer, or gives the cover away because the other standby is gone.
                let asks = primary.cover.is_some() || primary.left;
                primary.claim_at = asks.then(|| now + CLAIM_INTERVAL);
                if asks {
                    out.push(Action::Claim(role));
                }
            }
            if primary.watch.backup_at <= now {
                primary.watch.backup_at = now + backup;
                if primary.watch.health.answers() || primary.watch.health == Health::Unheard {
                    out.push(Action::BackUp(role));
                }
            }
            let due = primary.watch.check_at;
            if due <= now {
                self.checks += 1;
                let late = primary.watch.ask(self.checks, now + check);
                out.push(Action::Check { role, check: self.checks });
                // A standby that slept itself did not hear: it must not call all of its primaries dead.
                if late && now.since(due) < check {
                    self.missed(now, role, Missed::Late, out);
                }
            }
        }
        self.start_due(now, out);
    }
}
