//! What a standby knows of one primary: whether it answers, and which of its cameras reach its disks.

use std::collections::BTreeMap;
use std::time::Duration;

use keepwatch_model::{CameraId, MonoTime, Span, TICKS_PER_SECOND, WallTime};

use super::event::{CameraReport, Missed, Recorded};
use super::setup::{Demand, Setup};

/// A camera whose footage is said to be on disk is believed no more when the end of it has not moved for so long: the slowest
/// camera's pictures are ten seconds apart, and a record is closed and flushed in less than three.
pub(crate) const STILL_MAX: Duration = Duration::from_secs(15);
/// A camera that could not be received is tried again after so long.
const TRY_INTERVAL: Duration = Duration::from_secs(30);

/// An attempt of which nothing is heard for so long was lost: one takes less than a minute, see the shell.
const TRY_PATIENCE: Duration = Duration::from_secs(120);

/// How a primary is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It has not been heard since the standby watches it.
    Unheard,
    /// It answers.
    Normal,
    /// So many checks in a row failed, fewer than the threshold.
    Missed {
        /// How many.
        misses: u32,
        /// Why the last did.
        why: Missed,
    },
    /// It does not answer: checks fail, as many as the threshold or more.
    Failed {
        /// When the threshold was reached.
        since: MonoTime,
        /// Why the last check failed.
        why: Missed,
    },
    /// It answers, and records none of the cameras that the standby receives.
    RecordsNothing {
        /// Since when.
        since: MonoTime,
    },
}

impl Health {
    /// All of its cameras are to be covered, and since when.
    pub fn failed_since(self) -> Option<MonoTime> {
        match self {
            Self::Failed { since, .. } | Self::RecordsNothing { since } => Some(since),
            Self::Unheard | Self::Normal | Self::Missed { .. } => None,
        }
    }

    /// The last check was answered.
    pub fn answers(self) -> bool {
        matches!(self, Self::Normal | Self::RecordsNothing { .. })
    }
}

/// What came of the attempt to receive a camera that its primary does not record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    Untried,
    Trying { since: MonoTime },
    Received,
    NotReceived { since: MonoTime },
}

/// A camera of the primary.
#[derive(Debug)]
pub(super) struct Camera {
    pub(super) demand: Demand,
    /// What the last answer that named it said; `None` before the first.
    recorded: Option<Recorded>,
    /// When the end of its footage was last seen to move.
    moved: MonoTime,
    /// Answers in a row that told of no new footage.
    misses: u32,
    reach: Reach,
    /// The last answer named it.
    named: bool,
    /// Up to here the primary holds it, or the standby does, or nobody will; `None` before the first answer.
    settled: Option<WallTime>,
}

impl Camera {
    pub(super) fn new(demand: Demand, now: MonoTime) -> Self {
        Self {
            demand,
            recorded: None,
            moved: now,
            misses: 0,
            reach: Reach::Untried,
            named: false,
            settled: None,
        }
    }

    /// Takes up what an answer says.
    fn reported(&mut self, now: MonoTime, report: &CameraReport) {
        let before = self.held_until();
        self.recorded = Some(report.recorded);
        self.named = true;
        if self.held_until() != before {
            self.moved = now;
        }
        self.demand = report.demand;
        let held = match report.recorded {
            Recorded::Durable { .. } => now.since(self.moved) < STILL_MAX,
            Recorded::NotWanted => true,
            Recorded::Missing(_) => false,
        };
        if held {
            self.misses = 0;
            self.reach = Reach::Untried;
        } else {
            self.misses = self.misses.saturating_add(1);
        }
    }

    /// Takes up where the primary's footage ends by its last answer, when that is further than before. Returns that, and what it
    /// lacks since the last time.
    pub(super) fn settle(&mut self) -> Option<(Option<Span>, WallTime)> {
        let held = self.held()?;
        // The camera's clock was set back: all that was settled is behind.
        self.settled = self.settled.filter(|settled| settled.ticks_since(held.to) <= TICKS_PER_SECOND);
        if self.settled.is_some_and(|settled| settled >= held.to) {
            return None;
        }
        let settled = self.settled.replace(held.to);
        Some((settled.and_then(|settled| Span::new(settled, held.from)), held.to))
    }

    /// The primary is to record it.
    pub(super) fn is_wanted(&self) -> bool {
        self.recorded != Some(Recorded::NotWanted)
    }

    /// The primary does not record it, by so many answers in a row as `threshold`.
    pub(super) fn is_missing(&self, threshold: u32) -> bool {
        self.misses >= threshold
    }

    /// It was missing for so long when its primary failed, at `failed`, that this is no part of that failure: for longer than it
    /// takes to see that a primary records nothing.
    pub(super) fn lacked(&self, failed: MonoTime, setup: &Setup) -> bool {
        let notices = setup.notices_stillness_after_max().saturating_add(TRY_PATIENCE);
        self.is_missing(setup.auto_failover_threshold()) && failed.since(self.moved) >= notices
    }

    /// The primary does not record it, and the standby cannot.
    pub(super) fn is_out_of_reach(&self) -> bool {
        matches!(self.reach, Reach::NotReceived { .. })
    }

    /// The primary does not record it and the standby can.
    pub(super) fn counts(&self, threshold: u32) -> bool {
        self.is_missing(threshold) && self.reach == Reach::Received
    }

    /// What the primary holds of it by now without a hole, in camera time; `None` while it does not record it.
    pub(super) fn held(&self) -> Option<Span> {
        match self.recorded {
            Some(Recorded::Durable { from, until }) if self.named && self.misses == 0 => {
                Span::new(from, until)
            }
            Some(Recorded::Durable { .. } | Recorded::Missing(_) | Recorded::NotWanted) | None => None,
        }
    }

    /// The last answer named it: what it said before says nothing of a primary that may have lost its configuration.
    pub(super) fn is_named(&self) -> bool {
        self.named
    }

    /// The primary is to record it and does not, or not by its last answer.
    pub(super) fn is_lacking(&self) -> bool {
        self.is_wanted() && self.held().is_none()
    }

    /// Where the footage ends that the primary was last known to hold.
    pub(super) fn held_until(&self) -> Option<WallTime> {
        match self.recorded {
            Some(Recorded::Durable { until, .. }) => Some(until),
            Some(Recorded::Missing(_) | Recorded::NotWanted) | None => None,
        }
    }

    /// Whether it is to be tried now; then it is being tried.
    pub(super) fn take_try(&mut self, now: MonoTime, threshold: u32) -> bool {
        let due = match self.reach {
            Reach::Untried => true,
            Reach::NotReceived { since } => now.since(since) >= TRY_INTERVAL,
            Reach::Trying { since } => now.since(since) >= TRY_PATIENCE,
            Reach::Received => false,
        };
        let due = due && self.is_missing(threshold);
        if due {
            self.reach = Reach::Trying { since: now };
        }
        due
    }

    /// What came of the attempt. Late news, when it is recorded again, is no news.
    pub(super) fn tried(&mut self, now: MonoTime, received: bool) {
        if matches!(self.reach, Reach::Trying { .. }) {
            self.reach = if received { Reach::Received } else { Reach::NotReceived { since: now } };
        }
    }
}

/// One primary under watch.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) health: Health,
    pub(super) cameras: BTreeMap<CameraId, Camera>,
    /// Its version is not the standby's.
    pub(super) version_differs: bool,
    /// Its answers name other cameras than its last backup: a backup is on its way.
    differs: bool,
    /// The check that is under way.
    asked: Option<u64>,
    /// When the check under way has failed and the next is due.
    pub(super) check_at: MonoTime,
    /// When its configuration is to be fetched again.
    pub(super) backup_at: MonoTime,
}

impl Watch {
    pub(super) fn new(now: MonoTime, cameras: &[(CameraId, Demand)]) -> Self {
        let cameras = cameras.iter().map(|(camera, demand)| (*camera, Camera::new(*demand, now))).collect();
        Self {
            health: Health::Unheard,
            cameras,
            version_differs: false,
            differs: false,
            asked: None,
            check_at: now,
            backup_at: now,
        }
    }

    /// Begins check `number`; whether the one before was not answered.
    pub(super) fn ask(&mut self, number: u64, next: MonoTime) -> bool {
        self.check_at = next;
        self.asked.replace(number).is_some()
    }

    /// Whether `number` is the check under way, which is over now. What comes of an earlier one comes too late.
    pub(super) fn ends(&mut self, number: u64) -> bool {
        let ends = self.asked == Some(number);
        if ends {
            self.asked = None;
        }
        ends
    }

    /// A check failed. Whether that makes the primary a failed one.
    pub(super) fn missed(&mut self, now: MonoTime, why: Missed, threshold: u32) -> bool {
        let misses = match self.health {
            Health::Unheard | Health::Normal => 1,
            // It answered until now: what it does not record is covered, and it is not called dead at once.
            Health::RecordsNothing { .. } => 1,
            Health::Missed { misses, .. } => misses.saturating_add(1),
            Health::Failed { since, .. } => {
                self.health = Health::Failed { since, why };
                return false;
            }
        };
        let fails = misses >= threshold;
        self.health = if fails { Health::Failed { since: now, why } } else { Health::Missed { misses, why } };
        fails
    }

    /// Another recorder plays the role: nothing that was heard says anything of it.
    pub(super) fn begin_anew(&mut self, now: MonoTime) {
        self.health = Health::Unheard;
        self.asked = None;
        for camera in self.cameras.values_mut() {
            *camera = Camera::new(camera.demand, now);
        }
    }

    /// A check was answered. Whether the primary had failed before, and whether its configuration must have changed.
    pub(super) fn answered(&mut self, now: MonoTime, reports: &[CameraReport]) -> (bool, bool) {
        let returns = matches!(self.health, Health::Failed { .. });
        if !self.health.answers() {
            self.health = Health::Normal;
        }
        let mut named: BTreeMap<CameraId, &CameraReport> =
            reports.iter().map(|report| (report.camera, report)).collect();
        let mut differs = false;
        // Cameras that are added one after another: each may be missing in the backup that the one before asked for.
        let added = named.keys().any(|camera| !self.cameras.contains_key(camera));
        for (camera, known) in &mut self.cameras {
            match named.remove(camera) {
                Some(report) => known.reported(now, report),
                // It may have been removed there, or the primary has lost its configuration: the next backup tells.
                None => (known.named, differs) = (false, true),
            }
        }
        for (camera, report) in named {
            differs = true;
            let mut known = Camera::new(report.demand, now);
            known.reported(now, report);
            self.cameras.insert(camera, known);
        }
        let changed = added || (differs && !self.differs);
        self.differs = differs;
        (returns, changed)
    }

    /// The cameras are those of a fresh backup, and those that the primary has named since it was made. While they are covered
    /// (`covered`) none is forgotten: the primary may have lost its configuration.
    pub(super) fn backed_up(&mut self, now: MonoTime, cameras: &[(CameraId, Demand)], covered: bool) {
        let configured: BTreeMap<CameraId, Demand> = cameras.iter().copied().collect();
        self.cameras.retain(|camera, known| covered || known.named || configured.contains_key(camera));
        for (camera, demand) in configured {
            self.cameras.entry(camera).or_insert_with(|| Camera::new(demand, now)).demand = demand;
        }
    }

    /// Looks whether the primary, which answers, records nothing of what the standby receives. Whether that began.
    pub(super) fn look(&mut self, now: MonoTime, threshold: u32) -> bool {
        let wanted = || self.cameras.values().filter(|camera| camera.is_wanted());
        let nothing = wanted().all(|camera| camera.is_missing(threshold));
        let nothing = nothing && wanted().any(|camera| camera.counts(threshold));
        let (health, began) = match (self.health, nothing) {
            (Health::Normal, true) => (Health::RecordsNothing { since: now }, true),
            (Health::RecordsNothing { .. }, false) => (Health::Normal, false),
            (health, _) => (health, false),
        };
        self.health = health;
        began
    }
}
