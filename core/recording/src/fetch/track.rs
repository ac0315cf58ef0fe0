//! One track of a fetch: when its frames were taken, which of them came before, and where footage is missing.

use std::collections::BTreeSet;

use keepwatch_media::replay::FrameMark;
use keepwatch_model::{Span, TICKS_PER_SECOND, WallTime};

use super::{FetchFrame, FetchTrack, Verdict};
use crate::pace::Pace;

/// Two frames of a track whose times differ by no more are the same one: servers round times to milliseconds, and
/// no camera takes two pictures within half of one.
const SAME_TICKS: i64 = TICKS_PER_SECOND / 2000;

/// Times kept to know frames that come again: nine minutes of 30 frames a second without a clean point.
const RECENT_MAX: usize = 16_384;

/// How far a frame may lie before one that came earlier, without its clock having gone back: the depth of
/// bidirectional prediction.
pub(super) const REORDER_TICKS: i64 = TICKS_PER_SECOND;

/// Frames behind the range, in a row, that end a track: a single wrong time ends nothing.
const BEYOND_MIN: u32 = 3;

/// What is known of a track.
#[derive(Debug)]
pub(super) struct Track {
    config: FetchTrack,
    /// A frame whose time is known, by which those without a mark are placed: its RTP time and its time. `None` at
    /// the beginning of each `PLAY`.
    anchor: Option<(i64, WallTime)>,
    /// Times of frames taken since the clean point before the last one.
    recent: BTreeSet<i64>,
    /// Clean points taken: the one before the last, and the last.
    clean: (Option<i64>, Option<i64>),
    /// All frames before this one are settled; only of later ones is it known which were taken.
    horizon: Option<i64>,
    /// The latest frame taken, in the order of time.
    latest: Option<WallTime>,
    /// The time of the frame that came last in this `PLAY`.
    previous: Option<WallTime>,
    pace: Option<Pace>,
    /// Frames behind the range in a row.
    beyond: u32,
    /// Whether the last frame said that a section ends there.
    section_ended: bool,
    /// Whether nothing more of the range comes.
    finished: bool,
}

/// What a frame told, beside its verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// Footage that is missing before it.
    pub(super) hole: Option<Span>,
    /// Whether its clock went back.
    pub(super) went_back: bool,
}

impl Track {
    pub(super) fn new(config: FetchTrack) -> Self {
        Self {
            config,
            anchor: None,
            recent: BTreeSet::new(),
            clean: (None, None),
            horizon: None,
            latest: None,
            previous: None,
            pace: None,
            beyond: 0,
            section_ended: false,
            finished: false,
        }
    }

    /// A new `PLAY` begins.
    pub(super) fn begin(&mut self) {
        self.anchor = None;
        self.previous = None;
        self.beyond = 0;
    }

    pub(super) const fn config(&self) -> FetchTrack {
        self.config
    }

    /// Whether anything came of it.
    pub(super) const fn was_heard(&self) -> bool {
        self.previous.is_some() || self.latest.is_some()
    }

    pub(super) const fn is_finished(&self) -> bool {
        self.finished
    }

    pub(super) const fn section_ended(&self) -> bool {
        self.section_ended
    }

    /// The latest frame taken.
    pub(super) const fn latest(&self) -> Option<WallTime> {
        self.latest
    }

    /// The last clean point taken that is not later than `time`, of the last two.
    pub(super) fn clean_before(&self, time: WallTime) -> Option<WallTime> {
        let (before, last) = self.clean;
        [last, before].into_iter().flatten().map(WallTime::from_ticks).find(|clean| *clean <= time)
    }

    /// Where the latest frame taken ends.
    pub(super) fn end(&self) -> Option<WallTime> {
        self.latest.map(|latest| latest.plus(self.frame_ticks()))
    }

    /// How long a frame lasts.
    pub(super) fn frame_ticks(&self) -> i64 {
        self.pace.map_or(TICKS_PER_SECOND / 25, |pace| pace.frame_ticks)
    }

    /// Judges a frame. `begins` is where the `PLAY` begins, by which a first frame without a mark is placed.
    pub(super) fn frame(&mut self, frame: &FetchFrame, range: Span, begins: WallTime) -> (Verdict, Told) {
        let time = self.place(frame, begins);
        let mut told = Told::default();
        if let Some(previous) = self.previous.replace(time) {
            told.went_back = time.plus(REORDER_TICKS) < previous;
        }
        let terminal = frame.mark.is_some_and(|mark| mark.terminal);
        self.section_ended = frame.mark.is_some_and(|mark| mark.ends_section);
        let verdict = if time >= range.to {
            self.beyond = self.beyond.saturating_add(1);
            self.finished |= self.beyond >= BEYOND_MIN;
            Verdict::Beyond
        } else {
            self.beyond = 0;
            if self.is_repeated(time) {
                Verdict::Repeated
            } else if time < range.from {
                Verdict::Lead { time }
            } else {
                told.hole = self.take(time, frame, range);
                Verdict::Take { time }
            }
        };
        self.finished |= terminal;
        (verdict, told)
    }

    /// When a frame was taken: as its mark says, or as far from a frame that is known as its RTP time is.
    fn place(&mut self, frame: &FetchFrame, begins: WallTime) -> WallTime {
        let time = match (frame.mark, self.anchor) {
            (Some(FrameMark { time, .. }), _) => time,
            (None, Some((timestamp, time))) => {
                let ticks = i128::from(frame.timestamp).saturating_sub(i128::from(timestamp))
                    * i128::from(TICKS_PER_SECOND)
                    / i128::from(self.config.clock_rate.max(1));
                time.plus(i64::try_from(ticks).unwrap_or(i64::MAX))
            }
            (None, None) => begins,
        };
        if frame.mark.is_some() || self.anchor.is_none() {
            self.anchor = Some((frame.timestamp, time));
        }
        time
    }

    /// Whether a frame of this time was taken.
    fn is_repeated(&self, time: WallTime) -> bool {
        let ticks = time.ticks();
        let settled = self.horizon.is_some_and(|horizon| ticks < horizon.saturating_sub(SAME_TICKS));
        let (low, high) = (ticks.saturating_sub(SAME_TICKS), ticks.saturating_add(SAME_TICKS));
        settled || self.recent.range(low..=high).next().is_some()
    }

    /// Keeps in mind that a frame was taken; returns what is missing before it.
    fn take(&mut self, time: WallTime, frame: &FetchFrame, range: Span) -> Option<Span> {
        let ticks = time.ticks();
        let hole = self.hole_before(time, frame, range);
        self.recent.insert(ticks);
        self.latest = Some(self.latest.map_or(time, |latest| latest.max(time)));
        self.pace = Some(Pace::advanced(self.pace, ticks));
        let clean = frame.key || frame.mark.is_some_and(|mark| mark.clean_point);
        if clean && self.clean.1.is_none_or(|last| ticks > last) {
            self.clean = (self.clean.1, Some(ticks));
            // Frames may still come that lie before this clean point; none that lie before the one before it.
            if let Some(before) = self.clean.0 {
                self.settle(before);
            }
        }
        while self.recent.len() > RECENT_MAX {
            if let Some(first) = self.recent.pop_first() {
                self.horizon = Some(first.saturating_add(1));
            }
        }
        hole
    }

    fn settle(&mut self, horizon: i64) {
        self.recent = self.recent.split_off(&horizon);
        self.horizon = Some(horizon);
    }

    /// What is missing between the latest frame and one at `time`.
    fn hole_before(&self, time: WallTime, frame: &FetchFrame, range: Span) -> Option<Span> {
        let Some(pace) = self.pace else {
            let begins_late = time.ticks_since(range.from) > crate::pace::PAUSE_TICKS_MAX;
            return begins_late.then(|| Span::new(range.from, time)).flatten();
        };
        // Where the server itself says that something is missing, less than a pause is believed.
        let said = frame.lost > 0 || frame.mark.is_some_and(|mark| mark.discontinuity);
        let step = time.ticks().saturating_sub(pace.max_pts);
        let missing = pace.pauses(time.ticks()) || (said && step > pace.frame_ticks.saturating_mul(2));
        missing.then(|| Span::new(WallTime::from_ticks(pace.end_pts()), time)).flatten()
    }
}
