//! Which of the things that a camera notices are told: a state when it changes, an event when it happens, and never more
//! than an operator can read.
//!
//! A camera may tell the same by several ways at once, late, repeat what it said, or chatter. Only names, conditions and
//! times come in here, no messages.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use keepwatch_model::{MonoTime, WallTime};

/// Most states of one subject that are remembered of one camera: cameras have some ten rules, and names come from
/// outside, some with the number of each object that walks by.
const STATES_MAX: usize = 256;
/// Most lines of one subject of one camera that are told at once.
const BURST_MAX: u32 = 20;
/// Time after which one line more may be told: ten in a minute, 14,400 in a day of a camera that never rests.
const LINE_INTERVAL: Duration = Duration::from_secs(6);
/// The same event within this time was told twice: by a pull point and in the metadata track.
const TWICE_WITHIN: Duration = Duration::from_secs(3);
/// Events that are remembered for that.
const RECENT_MAX: usize = 32;
/// A state may be told by a second way so much later: a pull waits twenty seconds at most, and may be repeated. After that
/// the camera's clock may have been set back, and the state is believed.
const LATE_MAX: Duration = Duration::from_secs(60);

/// What is said of something noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It is so.
    Active,
    /// It is not so, or not any more.
    Inactive,
    /// It happened, and has no end.
    Momentary,
}

/// What a notice is about. Each has lines of its own, so that a camera that chatters about one does not silence another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// The camera itself: it was tampered with, or gets no picture.
    Camera,
    /// Motion.
    Motion,
    /// Anything else.
    Other,
}

/// Something that a camera says.
#[derive(Clone, Copy, Debug)]
pub struct Notice<'a> {
    /// What it is about.
    pub subject: Subject,
    /// What tells it from others: topic and source.
    pub name: &'a str,
    /// What is said of it.
    pub condition: Condition,
    /// When it became so, by the camera's clock.
    pub camera_time: WallTime,
}

/// A line to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Lines about the same subject that were not told since the last one, because there were too many.
    pub left_out: u32,
}

/// What one camera noticed.
#[derive(Debug, Default)]
pub struct Notices {
    subjects: BTreeMap<Subject, Told>,
}

impl Notices {
    /// Takes what a camera says at `now`; returns the line to tell, if it is one.
    pub fn look(&mut self, now: MonoTime, notice: &Notice<'_>) -> Option<Line> {
        self.subjects.entry(notice.subject).or_default().look(now, notice)
    }
}

/// What was told of one subject.
#[derive(Debug)]
struct Told {
    /// By name, what was told last.
    states: BTreeMap<String, Known>,
    /// Events that happened lately.
    recent: VecDeque<(MonoTime, String)>,
    lines: u32,
    refilled: MonoTime,
    left_out: u32,
}

/// A state that was told.
#[derive(Clone, Copy, Debug)]
struct Known {
    active: bool,
    /// When it was told.
    at: MonoTime,
    /// When it became so, by the camera's clock.
    camera_time: WallTime,
}

impl Known {
    /// Whether news that it was `active` at `camera_time`, which come at `now`, are older than what was told. Camera times
    /// are told in whole seconds by some: of the same time, an end follows a beginning.
    fn outdates(self, now: MonoTime, active: bool, camera_time: WallTime) -> bool {
        let older = if active { camera_time <= self.camera_time } else { camera_time < self.camera_time };
        older && now.since(self.at) < LATE_MAX
    }
}

impl Default for Told {
    fn default() -> Self {
        Self {
            states: BTreeMap::new(),
            recent: VecDeque::new(),
            lines: BURST_MAX,
            refilled: MonoTime::ZERO,
            left_out: 0,
        }
    }
}

impl Told {
    fn look(&mut self, now: MonoTime, notice: &Notice<'_>) -> Option<Line> {
        let active = match notice.condition {
            Condition::Momentary => return self.happened(now, notice.name),
            Condition::Active => true,
            Condition::Inactive => false,
        };
        let known = self.states.get(notice.name);
        // What was never active need not be said to be inactive.
        if known.is_some_and(|known| known.active) == active
            || known.is_some_and(|known| known.outdates(now, active, notice.camera_time))
        {
            return None;
        }
        // A change that there is no line for is not noted: it is told when it is said again.
        let line = self.line(now)?;
        if !self.states.contains_key(notice.name) && self.states.len() >= STATES_MAX {
            self.forget_one();
        }
        self.states
            .insert(notice.name.to_owned(), Known { active, at: now, camera_time: notice.camera_time });
        Some(line)
    }

    /// Forgets what was told longest ago: of what is over, which is remembered for late news only, else of all.
    fn forget_one(&mut self) {
        let oldest = self.states.iter().min_by_key(|(_, known)| (known.active, known.at));
        if let Some(name) = oldest.map(|(name, _)| name.clone()) {
            self.states.remove(&name);
        }
    }

    fn happened(&mut self, now: MonoTime, name: &str) -> Option<Line> {
        while self.recent.front().is_some_and(|(at, _)| now.since(*at) >= TWICE_WITHIN) {
            self.recent.pop_front();
        }
        if self.recent.iter().any(|(_, recent)| recent == name) {
            return None;
        }
        let line = self.line(now)?;
        if self.recent.len() >= RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back((now, name.to_owned()));
        Some(line)
    }

    fn line(&mut self, now: MonoTime) -> Option<Line> {
        while self.lines < BURST_MAX && now.since(self.refilled) >= LINE_INTERVAL {
            self.lines += 1;
            self.refilled = self.refilled + LINE_INTERVAL;
        }
        if self.lines == BURST_MAX {
            self.refilled = now;
        }
        if self.lines == 0 {
            self.left_out = self.left_out.saturating_add(1);
            return None;
        }
        self.lines -= 1;
        Some(Line { left_out: std::mem::take(&mut self.left_out) })
    }
}

#[cfg(test)]
mod tests;
