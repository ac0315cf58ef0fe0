//! Decides what becomes of each frame of a replay, so that one range of footage is taken exactly once.
//!
//! A replay begins before its range, may go on behind it, may break off anywhere, repeats what was taken when it is
//! asked again, and need not tell the truth about its times (ONVIF Streaming, "Playback"). This machine judges frames
//! by their marks, or by RTP time where there are none; it says when to connect, from where, when to hang up, and
//! what was missing in the end. It sees times of frames and no frames. Everything that a server can do without end is
//! bounded.

mod report;
#[cfg(test)]
mod tests;
mod track;

use std::time::Duration;

use keepwatch_media::replay::{ClockRange, FrameMark};
use keepwatch_model::{Machine, MonoTime, Span, TICKS_PER_SECOND, WallTime};

pub use report::{End, GiveUp, Report};
use track::Track;

/// Footage asked for behind the range: what comes of it proves that the range is over, without waiting for silence.
const WIDENED_TICKS: i64 = 2 * TICKS_PER_SECOND;
/// A replay that brings nothing for so long has no more, or is stuck.
pub const IDLE_MAX: Duration = Duration::from_secs(10);
/// The same near the end of the range, or where the server said that a section ends.
pub const END_IDLE_MAX: Duration = Duration::from_secs(2);
/// A replay that brings frames but none that is wanted for so long is hung up: it began somewhere else.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Frames of one replay that may come in a row without one that is wanted: the longest group of pictures, and more.
pub const UNWANTED_MAX: u32 = 20_000;
/// How often the times of one replay may go back.
pub const STEPS_BACK_MAX: u32 = 16;
/// Replays in a row that bring nothing new, until the fetch is given up.
pub const ATTEMPTS_MAX: u32 = 5;
/// Replays in a row that end in silence without anything new, until the server is believed to have no more.
const SILENT_MAX: u32 = 2;
/// First wait after a replay broke off.
pub const BACKOFF_MIN: Duration = Duration::from_millis(500);
/// Longest wait.
pub const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// How far the tracks of a replay lie apart at most, when it is taken up again: a track that is silent for longer
/// does not hold up the others.
const APART_TICKS: i64 = 10 * TICKS_PER_SECOND;
/// Holes that are told; footage with more of them is not worth a list.
pub const HOLES_MAX: usize = 4096;
/// How long tracks that are not steady may take to catch up, when the steady ones are over: cameras send sound up to
/// half a second behind the picture.
pub const SETTLE_MAX: Duration = Duration::from_secs(1);
/// A millisecond, to which many servers round.
const MILLI_TICKS: i64 = TICKS_PER_SECOND / 1_000;
/// How near the end of the range silence need not last long to be judged.
const NEAR_END_TICKS: i64 = TICKS_PER_SECOND;

/// A track of a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchTrack {
    /// Ticks of its RTP clock in a second.
    pub clock_rate: u32,
    /// Whether the fetch is over when it is: so for pictures, which come at a steady pace, and not for sound, which
    /// may have been switched off, nor for metadata.
    pub steady: bool,
}

/// What is known of a frame when it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchFrame {
    /// Its track, by its position in the list that the fetch was made with.
    pub track: usize,
    /// Its mark, if the server sends them.
    pub mark: Option<FrameMark>,
    /// Its RTP time in ticks of the track's clock, extended to 64 bits.
    pub timestamp: i64,
    /// Whether decoding can start here.
    pub key: bool,
    /// Packets lost before it.
    pub lost: u32,
}

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is wanted, and comes for the first time.
    Take {
        /// When it was taken, by the clock of who recorded it.
        time: WallTime,
    },
    /// It lies before the range; frames of the range may need it to be decoded.
    Lead {
        /// When it was taken.
        time: WallTime,
    },
    /// It was taken before.
    Repeated,
    /// It lies behind the range.
    Beyond,
    /// The fetch is over, waits, or has no such track.
    Ignored,
}

/// Why a replay could not begin, or ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The connection could not be made, or broke.
    Connection,
    /// The server ended the session, as some do at the end of their footage.
    Closed,
    /// The server has nothing of the range.
    NoFootage,
    /// Asking again would change nothing: no replay, no login, no such recording.
    Refused,
}

/// One replay of a fetch, by its number: news of one that was hung up is told from news of the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attempt(u64);

/// What can happen to a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It is to begin.
    Begin,
    /// The server agreed to play.
    Playing {
        /// Which replay begins, by [`Action::Connect`].
        attempt: Attempt,
        /// Where it says that it begins. Frames without marks are placed by that; where a server sends neither, they
        /// are placed as if it began where it was asked to, which it may not have done.
        from: Option<WallTime>,
    },
    /// The replay could not begin, or ended without being asked to.
    Ended {
        /// Which one, by [`Action::Connect`].
        attempt: Attempt,
        /// Why.
        loss: Loss,
    },
    /// It is no longer wanted.
    Cancel,
}

/// What a fetch asks of its shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Connect, and replay.
    Connect {
        /// What news of this replay is told with.
        attempt: Attempt,
        /// What to replay.
        range: ClockRange,
    },
    /// End the connection, or the attempt to make one.
    HangUp,
    /// It is over; [`Fetch::report`] has the rest.
    Over(End),
}

/// Where a fetch stands.
///
/// ```text
///        Begin             Playing            range over
///  New ────────► Connecting ──────► Playing ─────────────► Over
///                 ▲   │ Ended          │ Ended, silent, lies  ▲
///                 │   ▼                ▼                      │ nothing new
///                 └─ Waiting ◄─────────┴──────────────────────┘ too often
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    New,
    Connecting,
    Playing {
        /// When the last frame came.
        heard: MonoTime,
        /// When the last one came that was wanted.
        wanted: MonoTime,
        /// Since when only tracks that are not steady are waited for.
        settling: Option<MonoTime>,
    },
    Waiting {
        until: MonoTime,
    },
    Over,
}

/// How much of a range is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    /// Some steady track goes on.
    None,
    /// All steady tracks are over, and others may still have something.
    Steady,
    /// Nothing more comes.
    All,
}

impl Ends {
    /// A track that never brought anything, and is not steady, is not waited for.
    fn of(tracks: &[Track]) -> Self {
        let steady = |track: &&Track| track.config().steady;
        let of_steady = tracks.iter().filter(steady).all(Track::is_finished);
        if of_steady && tracks.iter().all(|track| track.is_finished() || !track.was_heard()) {
            return Self::All;
        }
        if of_steady && tracks.iter().any(|track| steady(&track)) { Self::Steady } else { Self::None }
    }
}

/// Fetches one range of some tracks from one server.
#[derive(Debug)]
pub struct Fetch {
    range: Span,
    tracks: Vec<Track>,
    /// The track by which it is judged what is missing: the first that is steady.
    leading: usize,
    state: State,
    /// Where the replay begins.
    begins: WallTime,
    /// Whether this replay brought anything new.
    progressed: bool,
    /// Frames in a row that were not wanted.
    unwanted: u32,
    /// How often times went back in this replay.
    steps_back: u32,
    /// Replays in a row that brought nothing new, and how many of them ended in silence.
    fruitless: u32,
    silent: u32,
    /// A verdict on the replay that a frame brought about; acted on at the next timeout.
    due: Option<Due>,
    report: Report,
}

/// What a frame brought about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Complete,
    Hopeless(GiveUp),
}

impl Fetch {
    /// A fetch of `range`, by the clock of who recorded it. Its tracks are [described](Self::describe) later.
    pub fn new(range: Span) -> Self {
        Self {
            range,
            tracks: Vec::new(),
            leading: 0,
            state: State::New,
            begins: range.from,
            progressed: false,
            unwanted: 0,
            steps_back: 0,
            fruitless: 0,
            silent: 0,
            due: None,
            report: Report::default(),
        }
    }

    /// The server tells which tracks it has, before it plays. Returns whether they are those that it told before; what
    /// was taken could not be told from what comes otherwise.
    pub fn describe(&mut self, tracks: &[FetchTrack]) -> bool {
        if !self.tracks.is_empty() {
            return self.tracks.iter().map(Track::config).eq(tracks.iter().copied());
        }
        self.leading = tracks.iter().position(|track| track.steady).unwrap_or(0);
        self.tracks = tracks.iter().copied().map(Track::new).collect();
        true
    }

    /// Something came at `now`, and may become a frame: a large one takes its time where little is read in a second.
    pub const fn stir(&mut self, now: MonoTime) {
        if let State::Playing { heard, .. } = &mut self.state {
            *heard = now;
        }
    }

    /// What it did so far.
    pub const fn report(&self) -> &Report {
        &self.report
    }

    /// Up to where the first steady track was taken; `None` before its first frame.
    pub fn reached(&self) -> Option<WallTime> {
        self.tracks.get(self.leading)?.end().map(|end| end.min(self.range.to))
    }

    /// Judges a frame that came at `now`. What follows of it is done by [`timeout`](Machine::timeout), which is to be
    /// called when [`deadline`](Machine::deadline) has come, at the latest when all that had arrived was judged.
    pub fn frame(&mut self, now: MonoTime, frame: &FetchFrame) -> Verdict {
        let State::Playing { heard, wanted, .. } = &mut self.state else { return Verdict::Ignored };
        let Some(track) = self.tracks.get_mut(frame.track).filter(|_| self.due.is_none()) else {
            return Verdict::Ignored;
        };
        *heard = now;
        let (verdict, told) = track.frame(frame, self.range, self.begins);
        let add = |count: &mut u64| *count = count.saturating_add(1);
        match verdict {
            Verdict::Take { .. } => {
                *wanted = now;
                self.progressed = true;
                self.unwanted = 0;
                add(&mut self.report.taken);
            }
            Verdict::Lead { .. } => add(&mut self.report.lead),
            Verdict::Repeated => add(&mut self.report.repeated),
            Verdict::Beyond => add(&mut self.report.beyond),
            Verdict::Ignored => {}
        }
        if !matches!(verdict, Verdict::Take { .. }) {
            self.unwanted = self.unwanted.saturating_add(1);
        }
        self.report.lost_packets = self.report.lost_packets.saturating_add(u64::from(frame.lost));
        if frame.mark.is_none() {
            add(&mut self.report.unmarked);
        }
        if told.went_back {
            add(&mut self.report.steps_back);
            self.steps_back = self.steps_back.saturating_add(1);
        }
        if frame.track == self.leading {
            self.note_hole(verdict, told.hole);
        }
        let ends = Ends::of(&self.tracks);
        if let State::Playing { settling, .. } = &mut self.state {
            *settling = settling.or((ends == Ends::Steady).then_some(now));
        }
        self.due = if ends == Ends::All {
            Some(Due::Complete)
        } else if self.steps_back > STEPS_BACK_MAX {
            Some(Due::Hopeless(GiveUp::TimesGoBack))
        } else if self.unwanted > UNWANTED_MAX {
            Some(Due::Hopeless(GiveUp::OtherFootage))
        } else {
            None
        };
        verdict
    }

    /// Keeps in mind what is missing before a frame of the leading track.
    fn note_hole(&mut self, verdict: Verdict, hole: Option<Span>) {
        let Verdict::Take { time } = verdict else { return };
        // Pictures come before those they depend on are shown: what seemed missing came after all.
        let filled = self.report.holes.spans().iter().rfind(|hole| hole.contains(time));
        if let Some(filled) = filled.and_then(|hole| Span::new(time, hole.to)) {
            self.report.holes.remove(filled);
        }
        if let Some(hole) = hole.filter(|_| self.report.holes.spans().len() < HOLES_MAX) {
            self.report.holes.insert(hole);
        }
    }

    /// Whether only tracks that are not steady are waited for.
    const fn is_settling(&self) -> bool {
        matches!(self.state, State::Playing { settling: Some(_), .. })
    }

    /// Whether the server said that a section of the leading track ends with its last frame.
    fn section_ended(&self) -> bool {
        self.tracks.get(self.leading).is_some_and(Track::section_ended)
    }

    /// How far the leading track is from the end of the range.
    fn left_ticks(&self) -> i64 {
        self.range.to.ticks_since(self.reached().unwrap_or(self.range.from))
    }

    /// How long silence must last to be judged.
    fn idle_max(&self) -> Duration {
        let near = self.left_ticks() <= NEAR_END_TICKS;
        if near || self.section_ended() { END_IDLE_MAX } else { IDLE_MAX }
    }

    /// From where to ask: the clean point at or before it is where the server begins, so that what comes again is
    /// known again.
    fn resume(&self) -> WallTime {
        let latest = |track: &Track| track.latest();
        let Some(leading) = self.tracks.get(self.leading).and_then(latest) else { return self.range.from };
        let earliest = self.tracks.iter().filter(|track| !track.is_finished()).filter_map(latest).min();
        let from = earliest.unwrap_or(leading).max(leading.plus(-APART_TICKS)).min(leading);
        // Pictures shown before the last one may not have come, where they depend on it.
        from.plus(-track::REORDER_TICKS).max(self.range.from)
    }

    /// The replay that was asked for last.
    const fn attempt(&self) -> Attempt {
        Attempt(self.report.attempts)
    }

    /// As [`resume`](Self::resume), where frames come without marks: the server may begin at the clean point before and
    /// say that it begins where it was asked to. So it is asked for a clean point, whose time is known.
    fn resume_clean(&self) -> WallTime {
        let resume = self.resume();
        let clean = self.tracks.get(self.leading).and_then(|track| track.clean_before(resume));
        clean.filter(|clean| self.report.unmarked > 0 && *clean > self.range.from).unwrap_or(resume)
    }

    fn connect(&mut self, out: &mut Vec<Action>) {
        self.begins = self.resume_clean();
        // A time that is rounded down lies before the clean point that is meant.
        let round_up = if self.report.unmarked > 0 { MILLI_TICKS - 1 } else { 0 };
        let range = ClockRange {
            from: whole_millis(self.begins.plus(round_up)),
            to: Some(whole_millis(self.range.to.plus(WIDENED_TICKS))),
        };
        self.report.attempts = self.report.attempts.saturating_add(1);
        self.state = State::Connecting;
        out.push(Action::Connect { attempt: self.attempt(), range });
    }

    fn over(&mut self, end: End, out: &mut Vec<Action>) {
        // Of what is left of the range it is known that the server has nothing.
        if matches!(end, End::Complete | End::NoFootage) {
            let from = self.reached().unwrap_or(self.range.from);
            let left = Span::new(from, self.range.to);
            if let Some(left) = left.filter(|left| left.ticks() > crate::pace::PAUSE_TICKS_MAX) {
                self.report.holes.insert(left);
            }
        }
        self.state = State::Over;
        out.push(Action::Over(end));
    }

    /// A replay ended; asks for another one, unless too many brought nothing new.
    fn retry(&mut self, now: MonoTime, why: GiveUp, out: &mut Vec<Action>) {
        self.due = None;
        self.unwanted = 0;
        self.steps_back = 0;
        if std::mem::take(&mut self.progressed) {
            self.fruitless = 0;
            self.silent = 0;
        } else {
            self.fruitless = self.fruitless.saturating_add(1);
        }
        if self.fruitless >= ATTEMPTS_MAX {
            return self.over(End::GivenUp(why), out);
        }
        let wait = BACKOFF_MIN.saturating_mul(1 << self.fruitless.min(8)).min(BACKOFF_MAX);
        self.state = State::Waiting { until: now + wait };
    }

    /// The replay is silent, or was ended by the server.
    fn fall_silent(&mut self, now: MonoTime, out: &mut Vec<Action>) {
        // No further frame fits in.
        let frame_ticks = self.tracks.get(self.leading).map_or(0, Track::frame_ticks);
        if self.reached().is_some() && self.left_ticks() < frame_ticks / 2 {
            return self.over(End::Complete, out);
        }
        if !self.progressed {
            self.silent = self.silent.saturating_add(1);
        }
        // Asked again from the last frames on, it says the same again.
        if self.silent > 0 && self.section_ended() {
            return self.over(End::Complete, out);
        }
        if self.silent >= SILENT_MAX {
            return self.over(End::Silent, out);
        }
        self.retry(now, GiveUp::Connection, out);
    }
}

impl Machine for Fetch {
    type Event = Event;
    type Action = Action;

    fn handle(&mut self, now: MonoTime, event: Event, out: &mut Vec<Action>) {
        match (self.state, event) {
            // Late news of a replay that was hung up.
            (_, Event::Playing { attempt, .. } | Event::Ended { attempt, .. })
                if attempt != self.attempt() => {}
            (State::New, Event::Begin) => self.connect(out),
            (State::Connecting, Event::Playing { from, .. }) => {
                // A server that begins behind where it was asked to is believed, one that begins long before is
                // placed by its marks, if it has any.
                let near = |from: &WallTime| from.ticks_since(self.begins).saturating_abs() < MILLI_TICKS;
                self.begins = from.filter(|from| !near(from)).unwrap_or(self.begins);
                self.tracks.iter_mut().for_each(Track::begin);
                self.state = State::Playing { heard: now, wanted: now, settling: None };
            }
            (State::Connecting | State::Playing { .. }, Event::Ended { loss, .. }) => {
                match (loss, self.due) {
                    (_, Some(Due::Complete)) => self.over(End::Complete, out),
                    (_, None) if self.is_settling() => self.over(End::Complete, out),
                    (_, Some(Due::Hopeless(why))) => self.retry(now, why, out),
                    (Loss::Closed, None) if matches!(self.state, State::Playing { .. }) => {
                        self.fall_silent(now, out)
                    }
                    (Loss::Connection | Loss::Closed, None) => self.retry(now, GiveUp::Connection, out),
                    (Loss::NoFootage, None) => self.over(End::NoFootage, out),
                    (Loss::Refused, None) => self.over(End::GivenUp(GiveUp::Refused), out),
                }
            }
            (State::Connecting | State::Playing { .. }, Event::Cancel) => {
                out.push(Action::HangUp);
                self.over(End::Cancelled, out);
            }
            (State::New | State::Waiting { .. }, Event::Cancel) => self.over(End::Cancelled, out),
            // News twice.
            (State::New | State::Waiting { .. }, Event::Playing { .. } | Event::Ended { .. })
            | (State::Waiting { .. } | State::Connecting | State::Playing { .. }, Event::Begin)
            | (State::Playing { .. }, Event::Playing { .. })
            | (State::Over, Event::Begin | Event::Playing { .. } | Event::Ended { .. } | Event::Cancel) => {}
        }
    }

    fn deadline(&self) -> Option<(MonoTime, &'static str)> {
        match self.state {
            // How long an attempt to connect may take is known to who makes it.
            State::New | State::Connecting | State::Over => None,
            State::Waiting { until } => Some((until, "ask again")),
            State::Playing { heard, .. } if self.due.is_some() => Some((heard, "the replay is decided")),
            State::Playing { settling: Some(since), .. } => {
                Some((since + SETTLE_MAX, "only sound or metadata is missing"))
            }
            State::Playing { heard, wanted, settling: None } => {
                let idle = heard + self.idle_max();
                let patience = wanted + PATIENCE;
                Some(if idle <= patience {
                    (idle, "nothing comes")
                } else {
                    (patience, "nothing wanted comes")
                })
            }
        }
    }

    fn timeout(&mut self, now: MonoTime, out: &mut Vec<Action>) {
        if self.deadline().is_none_or(|(at, _)| now < at) {
            return;
        }
        match (self.state, self.due) {
            (State::New | State::Connecting | State::Over, _) => {}
            (State::Waiting { .. }, _) => self.connect(out),
            (State::Playing { .. }, Some(Due::Complete))
            | (State::Playing { settling: Some(_), .. }, None) => {
                out.push(Action::HangUp);
                self.over(End::Complete, out);
            }
            (State::Playing { .. }, Some(Due::Hopeless(why))) => {
                out.push(Action::HangUp);
                self.retry(now, why, out);
            }
            (State::Playing { heard, .. }, None) if now.since(heard) >= self.idle_max() => {
                out.push(Action::HangUp);
                self.fall_silent(now, out);
            }
            (State::Playing { .. }, None) => {
                out.push(Action::HangUp);
                self.retry(now, GiveUp::OtherFootage, out);
            }
        }
    }
}

/// Times that every server understands: whole milliseconds, not later.
const fn whole_millis(time: WallTime) -> WallTime {
    WallTime::from_ticks(time.ticks().div_euclid(MILLI_TICKS) * MILLI_TICKS)
}
