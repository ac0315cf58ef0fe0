//! A site in virtual time: primaries that answer or do not, and a standby that is asked what it records.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use keepwatch_model::{CameraId, GapReason, Machine, MonoTime, RoleId, Span, TICKS_PER_SECOND, WallTime};
use proptest::prelude::*;

use super::*;

const VERSION: Version = Version { major: 1, minor: 2, protocol: 3 };
const SECOND: Duration = Duration::from_secs(1);
const MEGABIT: u64 = 1_000_000;

/// Camera time runs with the clock that nobody sets.
fn camera_time(now: MonoTime) -> WallTime {
    WallTime::from_ticks(i64::try_from(now.since(MonoTime::ZERO).as_millis()).unwrap() * 90)
}

fn role(number: u8) -> RoleId {
    RoleId([number; 16])
}

fn camera(number: u8) -> CameraId {
    format!("cam{number}").parse().unwrap()
}

/// A primary as it really is.
#[derive(Clone, Debug)]
struct Recorder {
    answers: bool,
    epoch: u64,
    version: Version,
    /// Since when it records a camera; `None` while it does not.
    recorded: BTreeMap<CameraId, Option<MonoTime>>,
    /// Cameras that the standby cannot receive.
    hidden: BTreeSet<CameraId>,
}

impl Recorder {
    fn report(&self, now: MonoTime) -> Report {
        let recorded = |since: &Option<MonoTime>| match since {
            Some(since) => Recorded::Durable { from: camera_time(*since), until: camera_time(now) },
            None => Recorded::Missing(GapReason::DiskGone),
        };
        let cameras = self.recorded.iter().map(|(camera, since)| CameraReport {
            camera: *camera,
            demand: Demand { bits_per_second: 4 * MEGABIT },
            recorded: recorded(since),
        });
        Report { epoch: self.epoch, version: self.version, cameras: cameras.collect() }
    }

    fn records(&mut self, now: MonoTime, yes: bool) {
        for since in self.recorded.values_mut() {
            *since = yes.then_some(now);
        }
    }
}

/// The standby, its primaries, and what it was made to do.
struct Site {
    now: MonoTime,
    standby: Standby,
    recorders: BTreeMap<RoleId, Recorder>,
    recording: BTreeSet<(RoleId, CameraId)>,
    told: Vec<(RoleId, Told)>,
    kept: BTreeSet<RoleId>,
    /// What the coordination answers.
    coordination: fn(RoleId) -> Event,
    claims: usize,
    /// It has the claim of these.
    held: BTreeSet<RoleId>,
    /// How often a backup was asked for.
    backups: usize,
    /// Attempts to receive a camera of which nothing is heard again.
    lost_tries: Option<usize>,
    /// What each primary answered last.
    reports: BTreeMap<RoleId, Report>,
    /// What rested, and whether the primary's footage overlapped by its last report.
    rests: Vec<(RoleId, CameraId, bool)>,
    /// What of the pre-buffer was brought to disk.
    saves: Vec<(RoleId, CameraId, Span)>,
    /// Up to where each pre-buffer was trimmed.
    trimmed: BTreeMap<(RoleId, CameraId), WallTime>,
}

impl Site {
    /// So many primaries with so many cameras each, watched for ten seconds.
    fn new(primaries: u8, cameras: u8) -> Self {
        Self::with(primaries, cameras, Capacity { cameras: 1_000, bits_per_second: u64::MAX })
    }

    fn with(primaries: u8, cameras: u8, capacity: Capacity) -> Self {
        let now = MonoTime::ZERO + 1_000 * SECOND;
        let mut site = Self {
            now,
            standby: Standby::new(VERSION, Setup::default(), capacity),
            recorders: BTreeMap::new(),
            recording: BTreeSet::new(),
            told: Vec::new(),
            kept: BTreeSet::new(),
            coordination: |role| Event::Claimed { role },
            claims: 0,
            held: BTreeSet::new(),
            backups: 0,
            lost_tries: None,
            reports: BTreeMap::new(),
            rests: Vec::new(),
            saves: Vec::new(),
            trimmed: BTreeMap::new(),
        };
        for number in 0..primaries {
            let all = (0..cameras).map(camera);
            let recorder = Recorder {
                answers: true,
                epoch: 1,
                version: VERSION,
                recorded: all.clone().map(|camera| (camera, Some(now))).collect(),
                hidden: BTreeSet::new(),
            };
            site.recorders.insert(role(number), recorder);
            site.register(number, Vec::new());
        }
        site.run(10 * SECOND);
        site.told.clear();
        site
    }

    fn register(&mut self, number: u8, covered: Vec<CameraId>) {
        self.take_up(number, Mode::Auto, covered, Vec::new());
    }

    fn take_up(&mut self, number: u8, mode: Mode, covered: Vec<CameraId>, alone: Vec<CameraId>) {
        let cameras = self.recorders[&role(number)].recorded.keys();
        let cameras = cameras.map(|camera| (*camera, Demand { bits_per_second: 4 * MEGABIT })).collect();
        let (epoch, priority) = (1, number);
        self.event(Event::Registered(Registration {
            role: role(number),
            epoch,
            mode,
            priority,
            cameras,
            covered,
            alone,
        }));
    }

    fn primary(&mut self, number: u8) -> &mut Recorder {
        self.recorders.get_mut(&role(number)).unwrap()
    }

    fn kill(&mut self, number: u8) {
        let now = self.now;
        self.primary(number).answers = false;
        self.primary(number).records(now, false);
    }

    /// It is back, and records from here on.
    fn repair(&mut self, number: u8) {
        let now = self.now;
        self.primary(number).answers = true;
        self.primary(number).records(now, true);
    }

    fn event(&mut self, event: Event) {
        let mut out = Vec::new();
        self.standby.handle(self.now, event, &mut out);
        self.carry_out(out);
    }

    fn replaced(&mut self, number: u8, epoch: u64) {
        self.reports.remove(&role(number));
        self.event(Event::Replaced { role: role(number), epoch });
    }

    fn command(&mut self, command: Command) -> Result<(), Refusal> {
        let mut out = Vec::new();
        let done = self.standby.command(self.now, command, &mut out);
        self.carry_out(out);
        done
    }

    fn carry_out(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Check { role, check } => {
                    let recorder = &self.recorders[&role];
                    let report = recorder.report(self.now);
                    if recorder.answers {
                        self.reports.insert(role, report.clone());
                        self.event(Event::Answered { role, check, report });
                    } else {
                        // What it said before says nothing of now.
                        self.reports.remove(&role);
                        self.event(Event::Missed { role, check, why: Missed::Disconnected });
                    }
                }
                Action::Try { .. } if self.lost_tries.is_some() => {
                    self.lost_tries = self.lost_tries.map(|lost| lost + 1);
                }
                Action::Try { role, camera } => {
                    let received = !self.recorders[&role].hidden.contains(&camera);
                    self.event(Event::Tried { role, camera, received });
                }
                Action::Record { role, camera } => {
                    assert!(self.recording.insert((role, camera)), "{camera} of {role} is recorded already");
                }
                Action::Rest { role, camera } => {
                    assert!(self.recording.remove(&(role, camera)), "{camera} of {role} is not recorded");
                    let overlaps = self.overlaps(role, camera);
                    self.rests.push((role, camera, overlaps));
                }
                Action::Claim(role) => {
                    self.claims += 1;
                    let answer = (self.coordination)(role);
                    if answer == (Event::Claimed { role }) {
                        self.held.insert(role);
                    } else {
                        self.held.remove(&role);
                    }
                    self.event(answer);
                }
                Action::Tell(role, told) => self.told.push((role, told)),
                Action::Keep(role) => {
                    self.kept.insert(role);
                }
                Action::BackUp(_) => self.backups += 1,
                Action::Save { role, camera, span } => self.saves.push((role, camera, span)),
                Action::Trim { role, camera, until } => {
                    assert!(!self.recording.contains(&(role, camera)), "what is recorded has no pre-buffer");
                    let trimmed = self.trimmed.insert((role, camera), until);
                    assert!(trimmed.is_none_or(|before| before < until), "{camera} is trimmed backwards");
                }
                Action::Release(role) => {
                    self.held.remove(&role);
                }
            }
        }
    }

    fn overlaps(&self, role: RoleId, camera: CameraId) -> bool {
        let Some(report) = self.reports.get(&role) else { return false };
        let said = report.cameras.iter().find(|said| said.camera == camera).unwrap();
        match said.recorded {
            Recorded::Durable { from, until } => until.ticks_since(from) >= TICKS_PER_SECOND,
            Recorded::Missing(_) | Recorded::NotWanted => false,
        }
    }

    /// Time passes; what is covered becomes durable every second.
    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some((at, _)) = self.standby.deadline().filter(|(at, _)| *at <= end) {
            self.now = self.now.max(at);
            for (role, camera) in self.recording.clone() {
                if !self.recorders[&role].hidden.contains(&camera) {
                    self.event(Event::Durable { role, camera, until: camera_time(self.now) });
                }
            }
            let mut out = Vec::new();
            self.standby.timeout(self.now, &mut out);
            self.carry_out(out);
        }
        self.now = end;
    }

    fn covered(&self, number: u8) -> usize {
        self.recording.iter().filter(|(of, _)| *of == role(number)).count()
    }

    fn view(&self, number: u8) -> PrimaryView {
        self.standby.monitoring().find(|view| view.role == role(number)).unwrap()
    }

    fn failover(&self, number: u8) -> Option<CoverView> {
        self.standby.failovers().find(|view| view.role == role(number))
    }

    fn was_told(&self, number: u8, told: &Told) -> bool {
        self.told.contains(&(role(number), told.clone()))
    }
}

#[test]
fn takes_over_at_the_threshold_and_not_before() {
    let mut site = Site::new(2, 4);
    site.kill(0);
    site.run(2 * SECOND);
    assert!(matches!(site.view(0).health, Health::Missed { misses: 2, .. }));
    assert_eq!(site.covered(0), 0);
    site.run(SECOND);
    assert_eq!((site.covered(0), site.covered(1)), (4, 0));
    let failover = site.failover(0).unwrap();
    assert_eq!((failover.cause, failover.claim, failover.cameras), (Cause::Threshold, Claim::Asked, 4));
    assert!(site.was_told(0, &Told::Failed(Missed::Disconnected)));
    assert!(site.kept.contains(&role(0)));
    site.run(2 * SECOND);
    let failover = site.failover(0).unwrap();
    assert_eq!((failover.claim, failover.recorded, failover.lacks), (Claim::Held, 4, Vec::new()));
}

#[test]
fn two_failures_in_a_row_are_forgotten_at_the_next_answer() {
    let mut site = Site::new(1, 1);
    for _ in 0..10 {
        site.primary(0).answers = false;
        site.run(2 * SECOND);
        site.primary(0).answers = true;
        site.run(SECOND);
        assert_eq!(site.view(0).health, Health::Normal);
    }
    assert!(site.told.is_empty());
}

/// Nobody answers while nobody asks: a suspended standby must not call its primaries dead.
#[test]
fn a_standby_that_slept_calls_nobody_dead() {
    let mut standby = Standby::new(VERSION, Setup::default(), Capacity { cameras: 10, bits_per_second: 0 });
    let mut now = MonoTime::ZERO + SECOND;
    let registration = Registration {
        role: role(0),
        epoch: 1,
        mode: Mode::Auto,
        priority: 0,
        cameras: vec![(camera(0), Demand::default())],
        covered: Vec::new(),
        alone: Vec::new(),
    };
    standby.handle(now, Event::Registered(registration), &mut Vec::new());
    for _ in 0..20 {
        now = now + 60 * SECOND;
        let mut out = Vec::new();
        standby.timeout(now, &mut out);
        assert!(out.iter().any(|action| matches!(action, Action::Check { .. })));
        assert!(
            !out.iter().any(|action| matches!(action, Action::Record { .. } | Action::Tell(..))),
            "{out:?}"
        );
    }
    // The same silence, heard by one that is awake.
    for _ in 0..4 {
        now = now + SECOND;
        standby.timeout(now, &mut Vec::new());
    }
    assert!(standby.monitoring().all(|view| matches!(view.health, Health::Failed { why: Missed::Late, .. })));
}

#[test]
fn what_comes_of_an_earlier_check_is_no_answer() {
    let mut site = Site::new(1, 1);
    site.primary(0).answers = false;
    site.run(2 * SECOND);
    let report = site.recorders[&role(0)].report(site.now);
    site.event(Event::Answered { role: role(0), check: 1, report });
    assert!(matches!(site.view(0).health, Health::Missed { misses: 2, .. }));
}

/// It is back before the threshold: no failover ran, and what it lost is in the pre-buffer alone.
#[test]
fn what_a_short_failure_cost_is_saved_before_the_pre_buffer_is_trimmed() {
    let mut site = Site::new(1, 2);
    let held = site.trimmed[&(role(0), camera(0))];
    assert_eq!(held, camera_time(site.now));
    site.kill(0);
    site.run(2 * SECOND);
    // It answers a second before it records again.
    site.primary(0).answers = true;
    site.run(SECOND);
    assert_eq!((site.trimmed[&(role(0), camera(0))], site.saves.len()), (held, 0));
    site.repair(0);
    let lacks = Span::new(held, camera_time(site.now)).unwrap();
    site.run(3 * SECOND);
    assert_eq!(site.saves, [(role(0), camera(0), lacks), (role(0), camera(1), lacks)]);
    assert_eq!(site.trimmed[&(role(0), camera(0))], camera_time(site.now));
    assert!(site.recording.is_empty());
}

#[test]
fn what_a_failover_has_on_disk_is_not_saved_again() {
    let mut site = Site::new(1, 1);
    site.kill(0);
    site.run(10 * SECOND);
    assert_eq!(site.covered(0), 1);
    site.repair(0);
    site.run(5 * SECOND);
    site.command(Command::Failback(role(0))).unwrap();
    site.run(5 * SECOND);
    assert_eq!((site.covered(0), site.saves.len()), (0, 0));
    assert_eq!(site.trimmed[&(role(0), camera(0))], camera_time(site.now));
}

#[test]
fn in_manual_mode_only_an_operator_starts_it() {
    let mut site = Site::new(1, 3);
    site.command(Command::Choose(role(0), Mode::Manual)).unwrap();
    assert_eq!(site.command(Command::Failover(role(0))), Err(Refusal::Normal));
    site.kill(0);
    site.run(60 * SECOND);
    assert_eq!(site.covered(0), 0);
    assert!(site.view(0).health.failed_since().is_some());
    site.command(Command::Failover(role(0))).unwrap();
    assert_eq!((site.covered(0), site.failover(0).unwrap().cause), (3, Cause::Operator));
    assert_eq!(site.command(Command::Failover(role(0))), Err(Refusal::Running));
}

/// N5: the mode stands while a failover runs, and Stop sets it to Manual.
#[test]
fn stop_ends_at_once_and_sets_manual() {
    let mut site = Site::new(1, 3);
    assert_eq!(site.command(Command::Stop(role(0))), Err(Refusal::NotRunning));
    site.kill(0);
    site.run(4 * SECOND);
    assert_eq!(site.command(Command::Choose(role(0), Mode::Manual)), Err(Refusal::Running));
    assert_eq!(site.command(Command::Deregister(role(0))), Err(Refusal::Running));
    site.command(Command::Stop(role(0))).unwrap();
    assert_eq!((site.covered(0), site.view(0).mode), (0, Mode::Manual));
    site.run(60 * SECOND);
    assert_eq!(site.covered(0), 0, "it does not start again by itself");
    site.command(Command::Deregister(role(0))).unwrap();
    assert_eq!(site.standby.monitoring().count(), 0);
    assert_eq!(site.command(Command::Failover(role(0))), Err(Refusal::Unknown));
}

/// N11: three primaries fail and there is room for one. Stop lets the next start, unless the waiting ones were set to Manual.
#[test]
fn capacity_decides_how_many_run_and_stop_lets_the_next_start() {
    let capacity = Capacity { cameras: 4, bits_per_second: 100 * MEGABIT };
    let mut site = Site::with(3, 4, capacity);
    for number in [2, 1, 0] {
        site.kill(number);
    }
    site.run(5 * SECOND);
    assert_eq!([0, 1, 2].map(|number| site.covered(number)), [4, 0, 0], "by priority");
    assert_eq!([1, 2].map(|number| site.view(number).waits), [true, true]);
    assert_eq!(site.told.iter().filter(|(_, told)| *told == Told::Waits).count(), 2, "told once each");
    assert_eq!(site.command(Command::Failover(role(2))), Err(Refusal::Full));
    site.command(Command::Choose(role(1), Mode::Manual)).unwrap();
    site.command(Command::Stop(role(0))).unwrap();
    assert_eq!([0, 1, 2].map(|number| site.covered(number)), [0, 0, 4]);
    site.command(Command::Stop(role(2))).unwrap();
    site.command(Command::Failover(role(1))).unwrap();
    assert_eq!([0, 1, 2].map(|number| site.covered(number)), [0, 4, 0]);
    site.event(Event::Measured(Capacity { cameras: 9, ..capacity }));
    site.command(Command::Failover(role(0))).unwrap();
    assert_eq!([0, 1, 2].map(|number| site.covered(number)), [4, 4, 0]);
}

/// Part of a primary is better than nothing of it.
#[test]
fn a_primary_larger_than_the_standby_is_covered_as_far_as_that_reaches() {
    let mut site = Site::with(1, 6, Capacity { cameras: 100, bits_per_second: 18 * MEGABIT });
    site.kill(0);
    site.run(4 * SECOND);
    assert_eq!(site.covered(0), 4);
    site.event(Event::Measured(Capacity { cameras: 5, bits_per_second: u64::MAX }));
    assert_eq!(site.covered(0), 5);
}

/// N9: the repaired primary shows Normal, and both record until its footage overlaps.
#[test]
fn failback_leaves_an_overlap_of_every_camera() {
    let mut site = Site::new(1, 3);
    site.kill(0);
    site.run(20 * SECOND);
    assert_eq!(site.command(Command::Failback(role(0))), Err(Refusal::NotRepaired));
    site.repair(0);
    let from = site.now;
    site.primary(0).recorded.insert(camera(2), None);
    site.run(SECOND);
    assert!(site.failover(0).unwrap().normal);
    assert_eq!(site.covered(0), 3, "nothing rests before an operator asks");
    site.run(10 * SECOND);
    assert_eq!(site.covered(0), 3);
    // One camera was interrupted a moment ago.
    site.primary(0).recorded.insert(camera(0), Some(from + 11_500 * SECOND / 1_000));
    site.run(SECOND);
    site.command(Command::Failback(role(0))).unwrap();
    assert_eq!(site.command(Command::Failback(role(0))), Err(Refusal::UnderWay));
    site.run(5 * SECOND);
    // The camera that the primary still does not record stays covered, alone.
    assert_eq!(site.recording, BTreeSet::from([(role(0), camera(2))]));
    assert!(site.failover(0).is_none());
    assert_eq!(site.view(0).covered_alone, [camera(2)]);
    assert!(site.was_told(0, &Told::Ended(Ended::FailedBack)));
    let soon = site.now + SECOND / 3;
    site.primary(0).recorded.insert(camera(2), Some(soon));
    site.run(SECOND);
    assert_eq!(site.covered(0), 1, "no overlap of a second yet");
    site.run(2 * SECOND);
    assert_eq!(site.covered(0), 0);
    assert!(site.was_told(0, &Told::CameraReturned(camera(2))));
}

#[test]
fn a_primary_that_fails_again_while_it_returns_is_covered_again() {
    let mut site = Site::new(1, 2);
    site.kill(0);
    site.run(10 * SECOND);
    site.repair(0);
    site.primary(0).recorded.insert(camera(1), None);
    site.run(SECOND);
    site.command(Command::Failback(role(0))).unwrap();
    site.run(SECOND);
    assert_eq!(site.recording, BTreeSet::from([(role(0), camera(1))]));
    site.kill(0);
    site.run(5 * SECOND);
    assert_eq!(site.covered(0), 2);
    assert!(!site.failover(0).unwrap().returning);
}

/// It was restarted and records nothing: Failback would end the only recording.
#[test]
fn failback_to_a_primary_that_records_nothing_ends_nothing() {
    let mut site = Site::new(1, 2);
    site.kill(0);
    site.run(10 * SECOND);
    site.primary(0).answers = true;
    site.run(SECOND);
    site.command(Command::Failback(role(0))).unwrap();
    site.run(60 * SECOND);
    assert_eq!(site.covered(0), 2);
    assert_eq!(site.command(Command::Failback(role(0))), Err(Refusal::NotRepaired));
}

/// A switch died behind it: there is nobody to be waited for, and nothing that a longer failover would record.
#[test]
fn failback_to_a_primary_whose_cameras_are_all_dead_ends_and_leaves_them_covered() {
    let mut site = Site::new(1, 2);
    site.kill(0);
    site.run(10 * SECOND);
    site.primary(0).hidden = [camera(0), camera(1)].into();
    site.primary(0).answers = true;
    site.run(SECOND);
    site.command(Command::Failback(role(0))).unwrap();
    site.run(10 * SECOND);
    assert_eq!((site.failover(0), site.view(0).covered_alone.len()), (None, 2));
    assert!(site.was_told(0, &Told::Ended(Ended::FailedBack)));
    assert_eq!(site.command(Command::Failover(role(0))), Err(Refusal::Normal), "all of it is covered");
    // The primary has them again, and here they are still dead: there is nothing that would overlap.
    site.repair(0);
    site.run(5 * SECOND);
    assert_eq!(site.covered(0), 0);
}

/// Connected but not recording: the camera is covered while its primary lives, if the standby can receive it.
#[test]
fn a_camera_that_its_primary_does_not_record_is_covered_alone() {
    let mut site = Site::new(1, 3);
    site.primary(0).recorded.insert(camera(1), None);
    site.primary(0).recorded.insert(camera(2), None);
    site.primary(0).hidden.insert(camera(2));
    site.run(2 * SECOND);
    assert_eq!(site.covered(0), 0);
    site.run(2 * SECOND);
    assert_eq!(site.recording, BTreeSet::from([(role(0), camera(1))]));
    assert!(site.failover(0).is_none());
    assert_eq!(site.view(0).missing, [camera(1), camera(2)]);
    // The other is tried again, and found.
    site.primary(0).hidden.clear();
    site.run(31 * SECOND);
    assert_eq!(site.covered(0), 2);
}

#[test]
fn a_primary_that_records_nothing_fails_as_a_whole() {
    let mut site = Site::new(1, 3);
    let now = site.now;
    site.primary(0).records(now, false);
    site.primary(0).hidden.insert(camera(2));
    site.run(4 * SECOND);
    assert!(matches!(site.view(0).health, Health::RecordsNothing { .. }));
    assert_eq!((site.failover(0).unwrap().cameras, site.covered(0)), (3, 3));
    assert!(site.was_told(0, &Told::RecordsNothing));
}

/// A dead camera is nobody's failure: neither its primary's nor the standby's to mend.
#[test]
fn cameras_that_nobody_receives_fail_no_primary() {
    let mut site = Site::new(1, 2);
    let now = site.now;
    site.primary(0).records(now, false);
    site.primary(0).hidden = [camera(0), camera(1)].into();
    site.run(120 * SECOND);
    assert_eq!((site.view(0).health, site.covered(0)), (Health::Normal, 0));
    assert_eq!(site.view(0).missing.len(), 2);
}

/// Durable means on disk: what a primary says of a camera whose footage does not grow is not believed.
#[test]
fn footage_that_does_not_grow_is_not_recorded() {
    let mut site = Site::new(1, 2);
    let stuck = camera_time(site.now);
    let mut check = 1_000;
    let start = site.now;
    while site.covered(0) == 0 && site.now < start + 60 * SECOND {
        site.now = site.now + SECOND;
        check += 1;
        let primary = site.standby.primaries.get_mut(&role(0)).unwrap();
        primary.watch.ask(check, site.now + SECOND);
        let mut report = site.recorders[&role(0)].report(site.now);
        report.cameras[0].recorded = Recorded::Durable { from: stuck.plus(-TICKS_PER_SECOND), until: stuck };
        site.event(Event::Answered { role: role(0), check, report });
    }
    assert_eq!(site.recording, BTreeSet::from([(role(0), camera(0))]));
    assert!((15..20).contains(&site.now.since(start).as_secs()));
}

#[test]
fn of_two_standbys_the_second_rests_and_takes_over_from_the_first() {
    let mut site = Site::new(1, 2);
    site.coordination = |role| Event::HeldByOther { role };
    site.kill(0);
    site.run(30 * SECOND);
    assert_eq!(site.covered(0), 0);
    assert!(site.view(0).left_to_other);
    let began = |site: &Site| site.told.iter().filter(|(_, told)| matches!(told, Told::Began(_))).count();
    assert_eq!(began(&site), 1, "it does not begin again and again");
    assert!(site.claims > 10, "and asks again and again");
    site.coordination = |role| Event::Claimed { role };
    site.run(3 * SECOND);
    assert_eq!(site.covered(0), 2);
    site.run(2 * SECOND);
    assert_eq!(site.failover(0).unwrap().claim, Claim::Held);
    assert!(!site.told.iter().any(|(_, told)| matches!(told, Told::ClaimIs(_))), "{:?}", site.told);
}

/// It was asked in the moment of another standby's look, or what that one gave back was lost on its way.
#[test]
fn one_refusal_sends_nobody_to_rest() {
    let mut site = Site::new(1, 2);
    site.kill(0);
    site.coordination = |role| Event::HeldByOther { role };
    site.run(11 * SECOND);
    assert_eq!((site.covered(0), site.failover(0).unwrap().claim), (2, Claim::Asked));
    site.coordination = |role| Event::Claimed { role };
    site.run(3 * SECOND);
    site.event(Event::HeldByOther { role: role(0) });
    site.run(2 * SECOND);
    assert_eq!((site.covered(0), site.failover(0).unwrap().claim), (2, Claim::Held));
    site.coordination = |role| Event::HeldByOther { role };
    site.event(Event::Unclaimable { role: role(0) });
    site.run(17 * SECOND);
    assert_eq!(site.covered(0), 0);
}

/// Who holds the claim sends the others to rest: it must have footage of every camera, and of every one as long as it holds it.
#[test]
fn a_claim_is_held_only_while_every_camera_is_on_disk_here() {
    let mut site = Site::new(1, 3);
    site.primary(0).hidden.insert(camera(2));
    site.kill(0);
    site.run(30 * SECOND);
    let failover = site.failover(0).unwrap();
    assert_eq!((failover.claim, failover.lacks), (Claim::Incomplete, vec![camera(2)]));
    assert!(site.claims > 3, "it looks whether another one has it");
    assert!(site.held.is_empty() && site.was_told(0, &Told::ClaimIs(Claim::Incomplete)));
    site.primary(0).hidden.clear();
    site.run(2 * SECOND);
    let failover = site.failover(0).unwrap();
    assert_eq!((failover.claim, failover.lacks, site.held.len()), (Claim::Held, vec![], 1));
    assert!(site.was_told(0, &Told::ClaimIs(Claim::Held)));
    // A moment without it is none, and for good it is.
    site.primary(0).hidden.insert(camera(1));
    site.run(10 * SECOND);
    assert_eq!((site.failover(0).unwrap().claim, site.held.len()), (Claim::Held, 1));
    site.run(10 * SECOND);
    let failover = site.failover(0).unwrap();
    assert_eq!((failover.claim, failover.lacks, site.held.len()), (Claim::Incomplete, vec![camera(1)], 0));
    assert_eq!(site.covered(0), 3, "and goes on with all that it can record");
    // Whoever has all of them takes it from here.
    site.coordination = |role| Event::HeldByOther { role };
    site.run(20 * SECOND);
    assert_eq!((site.covered(0), site.view(0).left_to_other), (0, true));
}

/// One with less room than the primary has cameras, and one that has no backup of it.
#[test]
fn who_cannot_record_all_of_a_primary_never_holds_its_claim() {
    let mut site = Site::with(1, 3, Capacity { cameras: 2, bits_per_second: u64::MAX });
    site.kill(0);
    site.run(30 * SECOND);
    let failover = site.failover(0).unwrap();
    assert_eq!((failover.cameras, failover.claim), (2, Claim::Incomplete));
    assert_eq!((failover.lacks, site.held.len()), (vec![camera(2)], 0));
    site.event(Event::Measured(Capacity { cameras: 3, bits_per_second: u64::MAX }));
    site.run(2 * SECOND);
    assert_eq!(site.failover(0).unwrap().claim, Claim::Held);

    let mut site = Site::new(1, 0);
    site.kill(0);
    site.run(30 * SECOND);
    assert_eq!((site.failover(0).unwrap().claim, site.held.len()), (Claim::Incomplete, 0));
}

/// Dead for its primary for a long time, and dead here: it is no reason to have all others recorded twice.
#[test]
fn a_camera_that_was_dead_before_holds_up_no_claim() {
    let mut site = Site::new(1, 3);
    site.primary(0).recorded.insert(camera(2), None);
    site.primary(0).hidden.insert(camera(2));
    site.run(200 * SECOND);
    site.told.clear();
    site.kill(0);
    site.run(30 * SECOND);
    let failover = site.failover(0).unwrap();
    assert_eq!((failover.claim, failover.cameras, failover.recorded), (Claim::Held, 3, 2));
    assert_eq!(failover.lacks, []);
    assert!(!site.told.iter().any(|(_, told)| matches!(told, Told::ClaimIs(_))), "{:?}", site.told);
    // When nothing is recorded here, nothing is claimed, whoever was to blame before.
    site.primary(0).hidden = [camera(0), camera(1), camera(2)].into();
    site.run(20 * SECOND);
    let failover = site.failover(0).unwrap();
    assert_eq!((failover.claim, failover.lacks.len(), site.held.len()), (Claim::Incomplete, 3, 0));
}

/// The other standby need not receive what the primary did not record either.
#[test]
fn a_camera_that_only_this_standby_records_goes_on_when_another_one_covers() {
    let mut site = Site::new(1, 3);
    site.primary(0).recorded.insert(camera(2), None);
    site.run(10 * SECOND);
    assert_eq!(site.view(0).covered_alone, [camera(2)]);
    site.coordination = |role| Event::HeldByOther { role };
    site.kill(0);
    site.rests.clear();
    site.run(30 * SECOND);
    assert_eq!(site.recording, BTreeSet::from([(role(0), camera(2))]));
    assert!(site.view(0).left_to_other && site.view(0).covered_alone == [camera(2)]);
    assert!(site.rests.iter().all(|(_, rested, _)| *rested != camera(2)), "not for a moment");
    site.coordination = |role| Event::Claimed { role };
    site.run(10 * SECOND);
    assert_eq!((site.covered(0), site.failover(0).unwrap().claim), (3, Claim::Held));
}

/// At night it gives no footage, and that is no reason to doubt who records by day.
#[test]
fn a_camera_outside_its_schedule_holds_up_no_claim() {
    let mut site = Site::new(1, 2);
    let night = |cameras: &[CameraId]| Event::Unscheduled {
        role: role(0),
        cameras: cameras.iter().copied().collect(),
    };
    site.event(night(&[camera(1)]));
    site.primary(0).hidden.insert(camera(1));
    site.kill(0);
    site.run(60 * SECOND);
    let failover = site.failover(0).unwrap();
    assert_eq!((failover.claim, failover.lacks), (Claim::Held, vec![]));
    site.event(night(&[]));
    site.run(10 * SECOND);
    assert_eq!(site.failover(0).unwrap().claim, Claim::Held, "it has just begun");
    site.run(10 * SECOND);
    assert_eq!(site.failover(0).unwrap().claim, Claim::Incomplete);
}

/// It fails at night, when none of its cameras is to be recorded: who holds a claim then has shown nothing.
#[test]
fn nobody_claims_without_footage_of_any_camera() {
    let mut site = Site::new(1, 2);
    let all = [camera(0), camera(1)];
    site.event(Event::Unscheduled { role: role(0), cameras: all.into() });
    site.primary(0).hidden = all.into();
    site.kill(0);
    site.run(120 * SECOND);
    let failover = site.failover(0).unwrap();
    assert!(
        (failover.claim, failover.lacks, site.held.len()) == (Claim::Asked, vec![], 0),
        "{:?}",
        failover.claim
    );
    assert!(
        !site.told.iter().any(|(_, told)| matches!(told, Told::ClaimIs(_))),
        "it is no failure: {:?}",
        site.told
    );
    site.event(Event::Unscheduled { role: role(0), cameras: [].into() });
    site.primary(0).hidden.clear();
    site.run(10 * SECOND);
    assert_eq!((site.failover(0).unwrap().claim, site.held.len()), (Claim::Held, 1));
}

/// No lost majority stops recording.
#[test]
fn without_coordination_it_covers_unconfirmed_and_reconciles_later() {
    let mut site = Site::new(1, 2);
    site.coordination = |role| Event::Unclaimable { role };
    site.kill(0);
    site.run(10 * SECOND);
    assert_eq!((site.covered(0), site.failover(0).unwrap().claim), (2, Claim::Unconfirmed));
    site.coordination = |role| Event::Claimed { role };
    site.run(3 * SECOND);
    assert_eq!(site.failover(0).unwrap().claim, Claim::Held);
    site.event(Event::Unclaimable { role: role(0) });
    assert_eq!((site.covered(0), site.failover(0).unwrap().claim), (2, Claim::Unconfirmed));
    site.coordination = |role| Event::HeldByOther { role };
    site.run(17 * SECOND);
    assert_eq!(site.covered(0), 0);
}

/// N10: the role moves in a new epoch, and a recorder of the old one never gets it back.
#[test]
fn replace_moves_the_role_and_the_old_recorder_stays_out() {
    let mut site = Site::new(1, 2);
    assert_eq!(site.command(Command::Replace(role(0))), Err(Refusal::Normal));
    site.kill(0);
    site.run(10 * SECOND);
    site.command(Command::Replace(role(0))).unwrap();
    assert_eq!(site.command(Command::Replace(role(0))), Err(Refusal::UnderWay));
    assert_eq!(site.command(Command::Failback(role(0))), Err(Refusal::UnderWay));
    site.command(Command::Stop(role(0))).unwrap();
    assert_eq!(site.command(Command::Deregister(role(0))), Err(Refusal::UnderWay), "somebody has its role");
    site.command(Command::Failover(role(0))).unwrap();
    site.rests.clear();
    site.replaced(0, 2);
    site.run(2 * SECOND);
    // The old one is back, in its old epoch, at the same address.
    site.repair(0);
    site.run(10 * SECOND);
    assert_eq!(site.covered(0), 2);
    assert_eq!(site.rests, [], "nothing rests before the new one was heard");
    assert!(matches!(site.view(0).health, Health::Failed { why: Missed::Superseded, .. }));
    site.primary(0).epoch = 2;
    site.primary(0).answers = false;
    site.replaced(0, 2);
    site.run(2 * SECOND);
    assert_eq!((site.covered(0), site.rests.len()), (2, 0));
    site.repair(0);
    site.run(4 * SECOND);
    assert_eq!(site.covered(0), 0);
    assert_eq!(site.view(0).epoch, 2);
    assert!(site.was_told(0, &Told::Ended(Ended::Replaced)));
}

/// A recorder that was just given cameras answers before it records them.
#[test]
fn a_new_recorder_that_needs_time_to_begin_gets_the_role_without_another_command() {
    let mut site = Site::new(1, 2);
    site.kill(0);
    site.run(10 * SECOND);
    site.command(Command::Replace(role(0))).unwrap();
    let now = site.now;
    site.primary(0).epoch = 2;
    site.primary(0).answers = true;
    site.primary(0).records(now, false);
    site.replaced(0, 2);
    site.run(20 * SECOND);
    assert!(matches!(site.view(0).health, Health::RecordsNothing { .. }));
    assert_eq!((site.covered(0), site.rests.len()), (2, 0));
    site.repair(0);
    site.run(5 * SECOND);
    assert_eq!(site.covered(0), 0);
    assert!(site.was_told(0, &Told::Ended(Ended::Replaced)));
}

#[test]
fn a_replace_that_fails_leaves_the_failover_running() {
    let mut site = Site::new(1, 2);
    site.kill(0);
    site.run(10 * SECOND);
    site.command(Command::Replace(role(0))).unwrap();
    site.event(Event::NotReplaced { role: role(0) });
    site.run(10 * SECOND);
    assert_eq!(site.covered(0), 2);
    site.command(Command::Replace(role(0))).unwrap();
}

/// The standby's own line was cut, or the primary was too busy to answer: there is nothing to repair.
#[test]
fn a_primary_that_never_stopped_needs_no_failback() {
    let mut site = Site::new(1, 2);
    site.primary(0).answers = false;
    site.run(20 * SECOND);
    assert_eq!(site.covered(0), 2);
    site.primary(0).answers = true;
    site.run(4 * SECOND);
    assert_eq!(site.covered(0), 0);
    assert!(site.was_told(0, &Told::Ended(Ended::NeverFailed)));
    assert_eq!(site.view(0).mode, Mode::Auto);
    // One that was restarted did stop, however short.
    site.kill(0);
    site.run(4 * SECOND);
    site.repair(0);
    site.run(60 * SECOND);
    assert_eq!(site.covered(0), 2);
}

#[test]
fn a_failover_goes_on_after_a_restart_of_the_standby() {
    let mut site = Site::new(1, 2);
    site.kill(0);
    site.run(10 * SECOND);
    let capacity = Capacity { cameras: 10, bits_per_second: u64::MAX };
    site.standby = Standby::new(VERSION, Setup::default(), capacity);
    site.recording.clear();
    site.register(0, vec![camera(0), camera(1)]);
    assert_eq!((site.covered(0), site.failover(0).unwrap().cause), (2, Cause::Restart), "at once");
    site.repair(0);
    site.run(60 * SECOND);
    assert_eq!(site.covered(0), 2, "and until an operator asks for Failback");
}

/// What two failovers record goes on, although each would like more than is left.
#[test]
fn a_restart_of_the_standby_ends_no_failover_for_want_of_room() {
    let capacity = Capacity { cameras: 4, bits_per_second: u64::MAX };
    let mut site = Site::with(2, 3, capacity);
    site.kill(0);
    site.kill(1);
    site.standby = Standby::new(VERSION, Setup::default(), capacity);
    site.register(0, vec![camera(0), camera(1)]);
    site.register(1, vec![camera(1)]);
    assert_eq!((site.covered(0), site.covered(1)), (3, 1));
    site.run(60 * SECOND);
    assert_eq!((site.covered(0), site.covered(1)), (3, 1));
}

/// In Manual mode nothing else would begin it again.
#[test]
fn a_restart_of_the_standby_goes_on_with_single_cameras() {
    let mut site = Site::new(1, 2);
    site.primary(0).recorded.insert(camera(1), None);
    site.run(20 * SECOND);
    assert_eq!(site.view(0).covered_alone, [camera(1)]);
    let capacity = Capacity { cameras: 10, bits_per_second: u64::MAX };
    site.standby = Standby::new(VERSION, Setup::default(), capacity);
    site.recording.clear();
    site.trimmed.clear();
    site.take_up(0, Mode::Manual, Vec::new(), vec![camera(1)]);
    assert_eq!((site.view(0).covered_alone, site.covered(0)), (vec![camera(1)], 1), "at once");
    site.run(20 * SECOND);
    assert_eq!((site.covered(0), site.failover(0)), (1, None));
    site.repair(0);
    site.run(10 * SECOND);
    assert_eq!(site.covered(0), 0, "the primary records it again");
}

/// What the first of them asked for was made before the second was there.
#[test]
fn each_camera_that_a_primary_names_for_the_first_time_asks_for_its_configuration() {
    let mut site = Site::new(1, 1);
    site.backups = 0;
    for (added, number) in [camera(1), camera(2)].into_iter().zip(1..) {
        let now = site.now;
        site.primary(0).recorded.insert(added, Some(now));
        site.run(2 * SECOND);
        assert_eq!(site.backups, number);
    }
    // Made before the second was there, and it is not asked for with every answer.
    let early = [camera(0), camera(1)].map(|camera| (camera, Demand::default()));
    site.event(Event::BackedUp { role: role(0), cameras: early.to_vec() });
    site.run(20 * SECOND);
    assert_eq!((site.backups, site.view(0).cameras), (2, 3));
}

#[test]
fn a_configuration_that_could_not_be_fetched_is_asked_for_soon() {
    let mut site = Site::new(1, 1);
    site.run(10 * SECOND);
    site.backups = 0;
    site.event(Event::NotBackedUp { role: role(0) });
    site.run(31 * SECOND);
    assert_eq!(site.backups, 1);
    site.run(60 * SECOND);
    assert_eq!(site.backups, 1, "it was fetched");
    // Whoever repaired it may have changed it.
    site.kill(0);
    site.run(700 * SECOND);
    assert_eq!(site.backups, 1, "nobody is there to be asked");
    site.repair(0);
    site.run(31 * SECOND);
    assert_eq!(site.backups, 2);
}

#[test]
fn a_camera_whose_attempt_is_lost_is_tried_again() {
    let mut site = Site::new(1, 2);
    site.lost_tries = Some(0);
    site.primary(0).recorded.insert(camera(1), None);
    site.run(60 * SECOND);
    assert_eq!((site.lost_tries, site.covered(0)), (Some(1), 0));
    site.lost_tries = None;
    site.run(90 * SECOND);
    assert_eq!(site.covered(0), 1);
}

/// It is repaired and has lost its configuration: what it said before it failed is no footage of now.
#[test]
fn a_primary_that_names_its_cameras_no_more_does_not_record_them() {
    let mut site = Site::new(1, 2);
    site.kill(0);
    site.run(10 * SECOND);
    let cameras = std::mem::take(&mut site.primary(0).recorded);
    site.primary(0).answers = true;
    site.run(20 * SECOND);
    assert_eq!(site.covered(0), 2, "{:?}", site.told);
    site.command(Command::Failback(role(0))).unwrap();
    site.run(20 * SECOND);
    assert_eq!(site.covered(0), 2);
    // One of them is configured again and recorded: that one returns.
    let now = site.now;
    site.primary(0).recorded.insert(camera(0), Some(now));
    site.run(5 * SECOND);
    assert_eq!(site.recording, BTreeSet::from([(role(0), camera(1))]));
    site.primary(0).recorded = cameras;
    site.repair(0);
    site.run(5 * SECOND);
    assert_eq!((site.covered(0), site.failover(0)), (0, None));
}

/// A camera's clock that is set back by an hour: what is lost afterwards is saved all the same.
#[test]
fn footage_is_settled_anew_behind_a_clock_that_was_set_back() {
    let mut site = Site::new(1, 1);
    let (role, camera) = (role(0), camera(0));
    let ahead = camera_time(site.now).plus(3600 * TICKS_PER_SECOND);
    let report = |site: &Site, from: WallTime, until: WallTime| Report {
        cameras: vec![CameraReport {
            camera,
            demand: Demand::default(),
            recorded: Recorded::Durable { from, until },
        }],
        ..site.recorders[&role].report(site.now)
    };
    let mut machine = Standby::new(VERSION, Setup::default(), Capacity { cameras: 1, bits_per_second: 0 });
    let registration = Registration {
        role,
        epoch: 1,
        mode: Mode::Auto,
        priority: 0,
        cameras: vec![(camera, Demand::default())],
        covered: Vec::new(),
        alone: Vec::new(),
    };
    let mut out = Vec::new();
    machine.handle(site.now, Event::Registered(registration), &mut out);
    let now = camera_time(site.now);
    let mut answer = |from: WallTime, until: WallTime| {
        site.now = site.now + SECOND;
        out.clear();
        machine.timeout(site.now, &mut out);
        let check = out
            .iter()
            .find_map(|action| if let Action::Check { check, .. } = action { Some(*check) } else { None });
        let answered = Event::Answered { role, check: check.unwrap(), report: report(&site, from, until) };
        out.clear();
        machine.handle(site.now, answered, &mut out);
        out.iter().filter(|action| matches!(action, Action::Save { .. })).count()
    };
    let seconds = |seconds: i64| now.plus(seconds * TICKS_PER_SECOND);
    assert_eq!(answer(ahead, ahead.plus(TICKS_PER_SECOND)), 0);
    assert_eq!(answer(seconds(0), seconds(1)), 0);
    assert_eq!(answer(seconds(0), seconds(2)), 0);
    assert_eq!(answer(seconds(4), seconds(5)), 1);
}

/// N15: a later mismatch is told, and cover goes on.
#[test]
fn another_version_is_told_and_covered_all_the_same() {
    let mut site = Site::new(1, 2);
    site.primary(0).version.minor += 1;
    site.run(5 * SECOND);
    assert!(site.view(0).version_differs);
    assert_eq!(site.told, [(role(0), Told::VersionDiffers)]);
    site.kill(0);
    site.run(4 * SECOND);
    assert_eq!(site.covered(0), 2);
}

/// It came back and died at once: a moment of footage is no overlap.
#[test]
fn a_primary_that_returns_for_a_moment_ends_no_cover() {
    let mut site = Site::new(1, 2);
    site.kill(0);
    site.run(10 * SECOND + SECOND / 2);
    site.repair(0);
    site.run(SECOND / 2);
    site.command(Command::Failback(role(0))).unwrap();
    site.primary(0).answers = false;
    site.rests.clear();
    site.run(2 * SECOND);
    assert_eq!((site.covered(0), site.rests.len()), (2, 0));
}

/// Its own camera that is covered alone takes no room away from it.
#[test]
fn a_larger_primary_is_covered_beside_its_own_single_camera() {
    let mut site = Site::with(1, 6, Capacity { cameras: 4, bits_per_second: u64::MAX });
    site.primary(0).recorded.insert(camera(0), None);
    site.run(4 * SECOND);
    assert_eq!(site.view(0).covered_alone, [camera(0)]);
    site.kill(0);
    site.run(4 * SECOND);
    assert_eq!((site.covered(0), site.failover(0).unwrap().cameras), (4, 4));
}

/// Another failover took the room of what had rested, and ends: what is missing of the first is recorded again.
#[test]
fn room_that_is_free_again_is_given_to_what_runs() {
    let mut site = Site::with(2, 2, Capacity { cameras: 2, bits_per_second: u64::MAX });
    site.kill(0);
    site.kill(1);
    site.run(4 * SECOND);
    assert_eq!([site.covered(0), site.covered(1)], [2, 0]);
    site.event(Event::Measured(Capacity { cameras: 3, bits_per_second: u64::MAX }));
    site.repair(0);
    site.primary(0).recorded.insert(camera(1), None);
    site.run(3 * SECOND);
    site.command(Command::Failback(role(0))).unwrap();
    site.run(3 * SECOND);
    assert_eq!([site.covered(0), site.covered(1)], [1, 2], "the second began in the room of what rests");
    site.kill(0);
    site.run(4 * SECOND);
    site.command(Command::Stop(role(1))).unwrap();
    assert_eq!([site.covered(0), site.covered(1)], [2, 0]);
}

#[test]
fn a_false_alarm_leaves_what_was_not_recorded_before_covered() {
    let mut site = Site::new(1, 3);
    site.primary(0).recorded.insert(camera(2), None);
    site.run(4 * SECOND);
    site.primary(0).answers = false;
    site.run(10 * SECOND);
    assert_eq!(site.covered(0), 3);
    site.primary(0).answers = true;
    site.rests.clear();
    site.run(5 * SECOND);
    assert_eq!(site.recording, BTreeSet::from([(role(0), camera(2))]));
    assert!(site.rests.iter().all(|(_, rested, _)| *rested != camera(2)), "not for a moment");
}

/// Whoever started it: what was left to another standby is taken over when that one is gone.
#[test]
fn an_operators_failover_that_was_left_is_taken_over_in_manual_mode_too() {
    let mut site = Site::new(1, 2);
    site.command(Command::Choose(role(0), Mode::Manual)).unwrap();
    site.kill(0);
    site.run(4 * SECOND);
    site.coordination = |role| Event::HeldByOther { role };
    site.command(Command::Failover(role(0))).unwrap();
    site.run(17 * SECOND);
    assert!(site.view(0).left_to_other && site.covered(0) == 0);
    site.coordination = |role| Event::Claimed { role };
    site.run(3 * SECOND);
    assert_eq!((site.covered(0), site.failover(0).unwrap().cause), (2, Cause::Operator));
}

/// It comes back when there is no room: nothing but the operator began it, so nothing else would begin it again.
#[test]
fn an_operators_failover_that_comes_back_without_room_begins_when_there_is() {
    let mut site = Site::with(2, 2, Capacity { cameras: 2, bits_per_second: u64::MAX });
    for number in 0..2 {
        site.command(Command::Choose(role(number), Mode::Manual)).unwrap();
        site.kill(number);
    }
    site.run(4 * SECOND);
    site.coordination = |of| match of == role(0) {
        true => Event::HeldByOther { role: of },
        false => Event::Claimed { role: of },
    };
    site.command(Command::Failover(role(0))).unwrap();
    site.run(17 * SECOND);
    site.command(Command::Failover(role(1))).unwrap();
    site.run(5 * SECOND);
    assert_eq!(([site.covered(0), site.covered(1)], site.view(0).left_to_other), ([0, 2], true));
    site.coordination = |role| Event::Claimed { role };
    site.run(10 * SECOND);
    let view = site.view(0);
    assert_eq!((site.covered(0), view.waits, view.left_to_other), (0, true, false));
    site.command(Command::Stop(role(1))).unwrap();
    site.run(5 * SECOND);
    assert_eq!(([site.covered(0), site.covered(1)], site.view(0).waits), ([2, 0], false));
    assert_eq!(site.failover(0).unwrap().cause, Cause::Operator);
}

/// It was removed there: that is no failure, and the backup tells.
#[test]
fn a_camera_that_its_primary_no_longer_names_is_asked_for_and_not_covered() {
    let mut site = Site::new(1, 2);
    site.primary(0).recorded.remove(&camera(1));
    site.backups = 0;
    site.run(60 * SECOND);
    assert_eq!((site.covered(0), site.backups), (0, 1));
    let left = vec![(camera(0), Demand::default())];
    site.event(Event::BackedUp { role: role(0), cameras: left });
    assert_eq!(site.view(0).cameras, 1);
    // One that has lost its configuration while it is covered takes nothing with it.
    site.kill(0);
    site.run(4 * SECOND);
    site.event(Event::BackedUp { role: role(0), cameras: Vec::new() });
    assert_eq!((site.view(0).cameras, site.covered(0)), (1, 1));
}

#[test]
fn a_setup_out_of_range_is_refused() {
    let day = Duration::from_secs(86_400);
    assert_eq!(Setup::new(SECOND, 600 * SECOND, 3), Ok(Setup::default()));
    assert_eq!(Setup::default().takes_over_after_max(), 4 * SECOND);
    assert_eq!(Setup::new(SECOND / 10, day, 3), Err(SetupError::CheckInterval(SECOND / 10)));
    assert_eq!(Setup::new(SECOND, 30 * day, 3), Err(SetupError::BackupInterval(30 * day)));
    assert_eq!(Setup::new(SECOND, day, 0), Err(SetupError::Threshold(0)));
}

/// Something that happens to the site, or time that passes.
#[derive(Clone, Debug)]
enum Step {
    Kill(u8),
    Hang(u8),
    Repair(u8),
    Lose(u8, u8),
    Hide(u8, u8),
    Run(u16),
    Command(u8, u8),
    Coordination(u8),
    Room(usize),
    Replaced(u8, bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        1 => (0..3u8).prop_map(Step::Kill),
        1 => (0..3u8).prop_map(Step::Hang),
        1 => (0..3u8).prop_map(Step::Repair),
        1 => (0..3u8, 0..3u8).prop_map(|(primary, camera)| Step::Lose(primary, camera)),
        1 => (0..3u8, 0..3u8).prop_map(|(primary, camera)| Step::Hide(primary, camera)),
        4 => (100..9_000u16).prop_map(Step::Run),
        3 => (0..6u8, 0..3u8).prop_map(|(command, primary)| Step::Command(command, primary)),
        1 => (0..3u8).prop_map(Step::Coordination),
        1 => (0..12usize).prop_map(Step::Room),
        1 => (0..3u8, any::<bool>()).prop_map(|(primary, done)| Step::Replaced(primary, done)),
    ];
    prop::collection::vec(step, 1..60)
}

fn apply(site: &mut Site, step: &Step) {
    match *step {
        Step::Kill(number) => site.kill(number),
        Step::Hang(number) => site.primary(number).answers = false,
        Step::Repair(number) => site.repair(number),
        Step::Lose(number, which) => {
            site.primary(number).recorded.insert(camera(which), None);
        }
        Step::Hide(number, which) => {
            site.primary(number).hidden.insert(camera(which));
        }
        Step::Run(milliseconds) => site.run(Duration::from_millis(milliseconds.into())),
        Step::Command(command, number) => {
            let role = role(number);
            let command = match command {
                0 => Command::Choose(role, Mode::Auto),
                1 => Command::Choose(role, Mode::Manual),
                2 => Command::Failover(role),
                3 => Command::Stop(role),
                4 => Command::Failback(role),
                _ => Command::Replace(role),
            };
            // A refusal is an answer; that it changes nothing is seen by what is recorded.
            let before = site.recording.clone();
            if site.command(command).is_err() {
                assert_eq!(site.recording, before);
            }
        }
        Step::Coordination(answer) => {
            site.coordination = match answer {
                0 => |role| Event::Claimed { role },
                1 => |role| Event::HeldByOther { role },
                _ => |role| Event::Unclaimable { role },
            };
        }
        Step::Room(cameras) => site.event(Event::Measured(Capacity { cameras, bits_per_second: u64::MAX })),
        Step::Replaced(number, done) => {
            let (role, epoch) = (role(number), site.primary(number).epoch + 1);
            if done {
                site.primary(number).epoch = epoch;
                site.replaced(number, epoch);
            } else {
                site.event(Event::NotReplaced { role });
            }
        }
    }
}

proptest! {
    /// Whatever happens in whatever order: what is recorded is what the lists say, no camera is begun or ended twice (the site
    /// asserts it), and a primary that is dead, in Auto mode and not another's is covered when there is room.
    #[test]
    fn what_is_recorded_is_what_the_lists_say(steps in steps()) {
        let mut site = Site::new(3, 3);
        for step in &steps {
            apply(&mut site, step);
            for number in 0..3 {
                let (view, failover) = (site.view(number), site.failover(number));
                let whole = failover.map_or(0, |failover| failover.cameras);
                prop_assert_eq!(site.covered(number), whole + view.covered_alone.len());
            }
        }
        site.event(Event::Measured(Capacity { cameras: 100, bits_per_second: u64::MAX }));
        site.coordination = |role| Event::Claimed { role };
        let modes = [0, 1, 2].map(|number| site.view(number).mode);
        for number in 0..3 {
            site.kill(number);
        }
        site.run(20 * SECOND);
        for (number, mode) in (0..3).zip(modes) {
            if mode == Mode::Auto {
                prop_assert_eq!(site.covered(number), 3, "primary {}", number);
            }
        }
    }

    /// A camera rests only when its primary's footage overlaps by what it last said, unless an operator stopped it, another
    /// standby records, or the primary never stopped.
    #[test]
    fn only_overlap_or_an_operator_ends_a_cover(steps in steps()) {
        let mut site = Site::new(3, 3);
        for step in &steps {
            site.told.clear();
            site.rests.clear();
            apply(&mut site, step);
            for (role, camera, overlaps) in &site.rests {
                let told = |told: Told| site.told.contains(&(*role, told));
                let allowed = told(Told::Ended(Ended::Stopped))
                    || told(Told::Ended(Ended::NeverFailed))
                    || told(Told::LeftToOther);
                prop_assert!(*overlaps || allowed, "{} of {} rests", camera, role);
            }
        }
    }
}
