//! One track of a fetch: when its frames were taken, which of them came before, and whether more of them come.

use keepwatch_media::replay::FrameMark;
use keepwatch_model::{Span, TICKS_PER_SECOND, WallTime};

use super::course::{Course, Told, Waypoint};
use super::taken::Taken;
use super::{FetchFrame, FetchTrack, Verdict, WIDENED_TICKS};

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
    taken: Taken,
    course: Course,
    /// The time of the frame that came last in this `PLAY`.
    previous: Option<WallTime>,
    beyond: Beyond,
    /// Whether the last frame said that a section ends there.
    section_ended: bool,
    /// Whether nothing more of the range comes.
    finished: bool,
}

/// What came behind the range in this `PLAY`.
#[derive(Clone, Copy, Debug, Default)]
struct Beyond {
    /// Frames in a row.
    in_row: u32,
    /// Of those in a row, the ones so far behind that no frame of the range follows.
    late: u32,
    /// The last clean point, in ticks.
    clean_ticks: Option<i64>,
    /// Frames behind all that was asked for.
    unasked: u32,
}

impl Beyond {
    /// A frame came; returns whether none of the range follows. Pictures of the range may be sent after one behind it
    /// that they depend on, but not after one that follows a clean point.
    fn push(&mut self, ticks: i64, clean: bool, range: Span) -> bool {
        let behind = ticks.saturating_sub(range.to.ticks());
        self.in_row = self.in_row.saturating_add(1);
        self.late = self.late.saturating_add(u32::from(behind > REORDER_TICKS));
        self.unasked = self.unasked.saturating_add(u32::from(behind > WIDENED_TICKS));
        let follows_clean = self.clean_ticks.is_some_and(|clean| ticks > clean);
        if clean {
            self.clean_ticks = Some(ticks);
        }
        self.late >= BEYOND_MIN || (follows_clean && self.in_row >= BEYOND_MIN)
    }

    /// A frame of the range came after all.
    fn interrupt(&mut self, ticks: i64) {
        self.in_row = 0;
        self.late = 0;
        self.clean_ticks = self.clean_ticks.filter(|clean| ticks.saturating_add(REORDER_TICKS) >= *clean);
    }
}

/// What becomes of a frame, and what it told beside that.
#[derive(Clone, Copy, Debug)]
pub(super) struct Judgement {
    pub(super) verdict: Verdict,
    pub(super) told: Told,
    /// When it was taken.
    pub(super) time: WallTime,
    /// Whether its clock went back.
    pub(super) went_back: bool,
}

impl Track {
    pub(super) fn new(config: FetchTrack) -> Self {
        Self {
            config,
            anchor: None,
            taken: Taken::default(),
            course: Course::default(),
            previous: None,
            beyond: Beyond::default(),
            section_ended: false,
            finished: false,
        }
    }

    /// A new `PLAY` begins.
    pub(super) fn begin(&mut self) {
        self.anchor = None;
        self.previous = None;
        self.beyond = Beyond::default();
        self.course.begin();
        self.taken.begin(self.course.settled_ticks());
    }

    pub(super) const fn config(&self) -> FetchTrack {
        self.config
    }

    /// Whether anything came of it.
    pub(super) const fn was_heard(&self) -> bool {
        self.previous.is_some() || self.latest().is_some()
    }

    pub(super) const fn is_finished(&self) -> bool {
        self.finished
    }

    /// Whether it went on behind all that was asked for, so that tracks that lag behind it had their time.
    pub(super) const fn is_outrun(&self) -> bool {
        self.beyond.unasked >= BEYOND_MIN
    }

    pub(super) const fn section_ended(&self) -> bool {
        self.section_ended
    }

    /// The latest frame of the range that came, as far as its time is believed.
    pub(super) const fn latest(&self) -> Option<WallTime> {
        self.course.latest()
    }

    /// The last clean point not later than `time`, of the last two.
    pub(super) fn clean_before(&self, time: WallTime) -> Option<WallTime> {
        self.course.clean_before(time)
    }

    /// Where the latest frame ends.
    pub(super) fn end(&self) -> Option<WallTime> {
        self.latest().map(|latest| latest.plus(self.frame_ticks()))
    }

    /// How long a frame lasts.
    pub(super) fn frame_ticks(&self) -> i64 {
        self.course.frame_ticks()
    }

    /// Nothing comes behind the frame that came last.
    pub(super) fn settle(&mut self, range: Span) -> Told {
        self.course.settle(None, range)
    }

    /// Judges a frame. `begins` is where the `PLAY` begins, by which a first frame without a mark is placed.
    pub(super) fn frame(&mut self, frame: &FetchFrame, range: Span, begins: WallTime) -> Judgement {
        let time = self.place(frame, begins);
        let ticks = time.ticks();
        let discontinuity = frame.mark.is_some_and(|mark| mark.discontinuity);
        let clean = frame.key || frame.mark.is_some_and(|mark| mark.clean_point);
        let previous = self.previous.replace(time);
        let went_back = previous.is_some_and(|previous| time.plus(REORDER_TICKS) < previous);
        if went_back {
            self.taken.go_back(discontinuity);
        }
        self.section_ended = frame.mark.is_some_and(|mark| mark.ends_section);
        let (verdict, told) = if time >= range.to {
            self.finished |= self.beyond.push(ticks, clean, range);
            (Verdict::Beyond, self.course.settle(Some(ticks), range))
        } else {
            self.beyond.interrupt(ticks);
            let verdict = if time < range.from {
                Verdict::Lead { time }
            } else if self.taken.meets(time, frame.timestamp) {
                Verdict::Repeated
            } else {
                self.taken.insert(time, frame.timestamp);
                Verdict::Take { time }
            };
            let at = Waypoint { ticks, clean, said: frame.lost > 0 || discontinuity };
            (verdict, self.course.follow(at, range))
        };
        self.finished |= frame.mark.is_some_and(|mark| mark.terminal);
        Judgement { verdict, told, time, went_back }
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
}
