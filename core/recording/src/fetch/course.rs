//! Up to where the footage of a track goes on, by times that may be wrong.
//!
//! A step ahead is believed when the next frame does not take it back, so that one wrong time moves nothing. Where
//! times come back to before a step that was believed, it was wrong after all: the course goes on as if it had never
//! been, and the hole that it told of is withdrawn.

use std::collections::VecDeque;

use keepwatch_model::{Span, WallTime};

use super::track::REORDER_TICKS;
use crate::pace::{FRAME_TICKS_MAX, PAUSE_TICKS_MAX, Pace};

/// Steps that can be taken back, counted from the last: each return to one of them is a step back, and a replay that
/// goes back more often is given up.
const STEPS_MAX: usize = super::STEPS_BACK_MAX as usize;

/// How many frames long a step ahead is at least.
const STEP_FRAMES_MIN: i64 = 4;

/// What the course takes from a frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waypoint {
    /// Its time.
    pub(super) ticks: i64,
    /// Whether decoding can start there.
    pub(super) clean: bool,
    /// Whether something is missing before it, by the word of the server or by the numbers of its packets.
    pub(super) said: bool,
}

/// What a frame tells of the footage before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// Of this nothing is known any more.
    pub(super) withdrawn: Option<Span>,
    /// Footage that is missing.
    pub(super) holes: [Option<Span>; 2],
}

/// What is believed.
#[derive(Clone, Copy, Debug, Default)]
struct Belief {
    /// The latest frame inside the range.
    latest: Option<WallTime>,
    /// How the frames up to the latest follow each other, of those before the range too.
    pace: Option<Pace>,
    /// Whether two frames were seen, so that their distance is known.
    measured: bool,
    /// Clean points: the one before the last, and the last.
    clean: (Option<i64>, Option<i64>),
}

impl Belief {
    /// How far a frame lies ahead, when that is more than frames lie apart.
    fn is_step(&self, ticks: i64, range: Span) -> bool {
        match self.pace {
            None => ticks.saturating_sub(range.from.ticks()) > PAUSE_TICKS_MAX,
            Some(pace) => {
                let step = ticks.saturating_sub(pace.max_pts);
                step > REORDER_TICKS && step > pace.frame_ticks.saturating_mul(STEP_FRAMES_MIN)
            }
        }
    }

    fn advance(&mut self, at: Waypoint, range: Span) {
        let time = WallTime::from_ticks(at.ticks);
        if range.contains(time) {
            self.latest = Some(self.latest.map_or(time, |latest| latest.max(time)));
        }
        let step = self.pace.map_or(0, |pace| at.ticks.saturating_sub(pace.max_pts));
        let mut pace = Pace::advanced(self.pace, at.ticks);
        if !self.measured && step > 0 {
            pace.frame_ticks = step.min(FRAME_TICKS_MAX);
            self.measured = true;
        }
        self.pace = Some(pace);
        if at.clean && self.clean.1.is_none_or(|last| at.ticks > last) {
            self.clean = (self.clean.1, Some(at.ticks));
        }
    }

    /// What is missing before a frame. `frame_ticks` is how long frames last.
    fn hole_before(&self, at: Waypoint, frame_ticks: i64, range: Span) -> Option<Span> {
        let max_pts = self.pace.map_or(range.from.ticks(), |pace| pace.max_pts);
        let before = Pace::known(max_pts, frame_ticks);
        // Where the server itself says that something is missing, less than a pause is believed.
        let step = at.ticks.saturating_sub(before.max_pts);
        let said = at.said && self.pace.is_some() && step > frame_ticks.saturating_mul(2);
        if !said && !before.pauses(at.ticks) {
            return None;
        }
        let from = self.pace.map_or(range.from, |pace| WallTime::from_ticks(pace.end_pts()));
        Span::new(from.max(range.from), WallTime::from_ticks(at.ticks).min(range.to))
    }
}

/// A step that was believed.
#[derive(Clone, Copy, Debug)]
struct Step {
    before: Belief,
    /// Where it led.
    to_ticks: i64,
}

/// Up to where the footage of a track goes on.
#[derive(Debug, Default)]
pub(super) struct Course {
    belief: Belief,
    /// A frame ahead that no other one has confirmed.
    ahead: Option<Waypoint>,
    /// The last steps that were believed.
    steps: VecDeque<Step>,
}

impl Course {
    /// A new `PLAY` begins, and says again what is ahead, if it is true.
    pub(super) fn begin(&mut self) {
        self.ahead = None;
    }

    /// The latest frame inside the range.
    pub(super) const fn latest(&self) -> Option<WallTime> {
        self.belief.latest
    }

    /// How long a frame lasts.
    pub(super) fn frame_ticks(&self) -> i64 {
        self.belief.pace.map_or(Pace::advanced(None, 0).frame_ticks, |pace| pace.frame_ticks)
    }

    /// The last clean point not later than `time`, of the last two.
    pub(super) fn clean_before(&self, time: WallTime) -> Option<WallTime> {
        let (before, last) = self.belief.clean;
        [last, before].into_iter().flatten().map(WallTime::from_ticks).find(|clean| *clean <= time)
    }

    /// The clean point before the last one: no frame before it comes any more.
    pub(super) const fn settled_ticks(&self) -> Option<i64> {
        self.belief.clean.0
    }

    /// A frame of the range, or before it, came.
    pub(super) fn follow(&mut self, at: Waypoint, range: Span) -> Told {
        let mut told = Told::default();
        if let Some(ahead) = self.ahead.take()
            && at.ticks.saturating_add(REORDER_TICKS) >= ahead.ticks
        {
            told.holes[0] = self.believe(ahead, Some(at.ticks), range);
        }
        told.withdrawn = self.come_back(at.ticks, range);
        if self.belief.is_step(at.ticks, range) {
            self.ahead = Some(at);
        } else {
            if self.belief.measured {
                told.holes[1] = self.belief.hole_before(at, self.frame_ticks(), range);
            }
            self.belief.advance(at, range);
        }
        told
    }

    /// A frame behind the range came, or nothing comes behind what came last: what is ahead was no mistake.
    pub(super) fn settle(&mut self, beyond_ticks: Option<i64>, range: Span) -> Told {
        let hole = self.ahead.take().and_then(|ahead| self.believe(ahead, beyond_ticks, range));
        Told { withdrawn: None, holes: [hole, None] }
    }

    /// Takes the step to `ahead`, which was followed by a frame at `next`; returns what is missing before it.
    fn believe(&mut self, ahead: Waypoint, next: Option<i64>, range: Span) -> Option<Span> {
        let before = self.belief;
        // One frame says nothing of how far it is to the next: a slow camera steps as far after this one.
        let distance = next.map(|next| next.saturating_sub(ahead.ticks)).filter(|distance| *distance > 0);
        let distance = distance.unwrap_or_else(|| self.frame_ticks()).min(FRAME_TICKS_MAX);
        let frame_ticks = if before.measured { self.frame_ticks() } else { distance };
        let hole = before.hole_before(ahead, frame_ticks, range);
        if self.steps.len() >= STEPS_MAX {
            self.steps.pop_front();
        }
        self.steps.push_back(Step { before, to_ticks: ahead.ticks });
        self.belief.advance(ahead, range);
        if let Some(pace) = self.belief.pace.as_mut().filter(|_| !before.measured) {
            pace.frame_ticks = frame_ticks;
        }
        hole
    }

    /// Takes back the steps that a frame comes back from; returns of what nothing is known any more.
    fn come_back(&mut self, ticks: i64, range: Span) -> Option<Span> {
        let max_pts = self.belief.pace?.max_pts;
        let late = ticks.saturating_add(REORDER_TICKS);
        if late >= max_pts {
            return None;
        }
        let follows = |step: &Step| {
            let begin = step.before.pace.map_or(i64::MIN, |pace| pace.max_pts);
            begin <= late && late < step.to_ticks
        };
        let step = self.steps.iter().rposition(follows)?;
        let before = self.steps.get(step)?.before;
        self.steps.truncate(step);
        self.belief = before;
        let from = before.pace.map_or(range.from, |pace| WallTime::from_ticks(pace.end_pts()));
        Span::new(from.max(range.from), WallTime::from_ticks(max_pts))
    }
}
