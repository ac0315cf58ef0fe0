//! Decides what becomes of each frame of a replay, so that one range of footage is taken exactly once.
//!
//! A replay begins before its range, may go on behind it, may break off anywhere, repeats what was taken when it is
//! asked again, and need not tell the truth about its times (ONVIF Streaming, "Playback"). This machine judges frames
//! by their marks, or by RTP time where there are none; it says when to connect, from where, when to hang up, and
//! what was missing in the end. It sees times of frames and no frames. Everything that a server can do without end is
//! bounded.

mod action;
mod course;
mod event;
mod frame;
mod report;
mod silence;
mod taken;
#[cfg(test)]
mod tests;
mod track;

use std::time::Duration;

use keepwatch_media::replay::ClockRange;
use keepwatch_model::{Machine, MonoTime, Span, SpanSet, TICKS_PER_SECOND, WallTime};

pub use action::Action;
pub use event::{Attempt, Event, Loss};
pub use frame::{FetchFrame, FetchTrack, Verdict};
pub use report::{End, GiveUp, HOLES_MAX, Report};
pub use silence::PACED_IDLE_MAX;
use track::{Judgement, Track};

/// Footage asked for behind the range: what comes of it proves that the range is over, without waiting for silence.
const WIDENED_TICKS: i64 = 2 * TICKS_PER_SECOND;
/// A replay that brings nothing for so long has no more, or is stuck.
pub const IDLE_MAX: Duration = Duration::from_secs(10);
/// The same near the end of the range.
pub const END_IDLE_MAX: Duration = Duration::from_secs(2);
/// A replay that brings frames, but none that is wanted and none nearer to those than before, is hung up after so
/// long: it began somewhere else.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Frames of one replay that may come in a row without one that is wanted: the longest group of pictures, and more.
pub const UNWANTED_MAX: u32 = 20_000;
/// How often the times of one replay may go back.
pub const STEPS_BACK_MAX: u32 = 16;
/// Replays in a row that bring nothing new, until the fetch is given up.
pub const ATTEMPTS_MAX: u32 = 5;
/// First wait after a replay broke off.
pub const BACKOFF_MIN: Duration = Duration::from_millis(500);
/// Longest wait.
pub const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// How far the tracks of a replay lie apart at most, when it is taken up again: a track that is silent for longer
/// does not hold up the others.
const APART_TICKS: i64 = 10 * TICKS_PER_SECOND;
/// How long nothing may come of tracks that are not steady, when the steady ones are over: cameras send sound up to
/// half a second behind the picture.
pub const SETTLE_MAX: Duration = Duration::from_secs(1);
/// A millisecond, to which many servers round.
const MILLI_TICKS: i64 = TICKS_PER_SECOND / 1_000;

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
        /// When the last one came that was wanted, or nearer to those that are.
        wanted: MonoTime,
        /// The latest frame of the leading track that was not wanted.
        nearest: Option<WallTime>,
        /// Whether only tracks that are not steady are waited for.
        settling: bool,
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
    /// A track that never brought anything, and is not steady, is not waited for; nor is one that lags too far behind
    /// a server that goes on for ever.
    fn of(tracks: &[Track]) -> Self {
        let steady = |track: &&Track| track.config().steady;
        let of_steady = tracks.iter().filter(steady).all(Track::is_finished);
        let any_steady = tracks.iter().any(|track| steady(&track));
        let outrun = any_steady && tracks.iter().filter(steady).all(Track::is_outrun);
        let of_others = tracks.iter().all(|track| track.is_finished() || !track.was_heard());
        match of_steady {
            true if of_others || outrun => Self::All,
            true if any_steady => Self::Steady,
            true | false => Self::None,
        }
    }
}

/// Fetches one range of some tracks from one server.
#[derive(Debug)]
pub struct Fetch {
    range: Span,
    /// Where the server says that it has footage; `None` when it does not say.
    sections: Option<SpanSet>,
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
    /// Replays in a row that brought nothing new.
    fruitless: u32,
    /// Where the next replay, or the one that runs, is to begin.
    beginning: Beginning,
    /// The first frame of the leading track that this replay brought anew, and when it came.
    first: Option<(MonoTime, WallTime)>,
    /// Whether the server plays in real time, by the last replay that brought enough to tell.
    paced: bool,
    /// A verdict on the replay that a frame brought about; acted on at the next timeout.
    due: Option<Due>,
    report: Report,
}

/// Where a replay is to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beginning {
    /// Before the last frames, of which some may not have come.
    Overlapping,
    /// Behind the last frame, where a gap may lie: from there the server goes on with the footage behind it.
    Ahead,
    /// So many ticks behind the last frame: for so long a server was listened to that plays in real time, and has
    /// nothing there.
    Behind(i64),
    /// Where the server says that it has more.
    Section(WallTime),
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
            sections: None,
            tracks: Vec::new(),
            leading: 0,
            state: State::New,
            begins: range.from,
            progressed: false,
            unwanted: 0,
            steps_back: 0,
            fruitless: 0,
            beginning: Beginning::Overlapping,
            first: None,
            paced: false,
            due: None,
            report: Report::default(),
        }
    }

    /// The server says where it has footage, in all or in the range. What it says is not believed against what it
    /// sends; but where it falls silent, it is asked for the next section rather than given up.
    pub fn expect(&mut self, sections: SpanSet) {
        self.sections = Some(sections);
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
        let State::Playing { heard, wanted, nearest, settling } = &mut self.state else {
            return Verdict::Ignored;
        };
        let Some(track) = self.tracks.get_mut(frame.track).filter(|_| self.due.is_none()) else {
            return Verdict::Ignored;
        };
        *heard = now;
        let Judgement { verdict, told, time, went_back } = track.frame(frame, self.range, self.begins);
        self.report.count(frame, verdict, went_back);
        if frame.track == self.leading {
            self.report.tell(told);
            if matches!(verdict, Verdict::Take { .. }) {
                self.report.fill(time, track.frame_ticks());
                if told.holes != [None; 2] {
                    // How a gap passes says nothing of how footage does.
                    self.first = None;
                }
                let (came, first) = *self.first.get_or_insert((now, time));
                let ticks = time.ticks_since(first);
                if ticks >= silence::PACED_TICKS_MIN {
                    self.paced = silence::is_real_time(now.since(came), ticks);
                }
            }
        }
        match verdict {
            Verdict::Take { .. } => {
                *wanted = now;
                self.progressed = true;
                self.unwanted = 0;
            }
            // However slowly what precedes the wanted frames is read: they come nearer.
            Verdict::Lead { .. } | Verdict::Repeated
                if frame.track == self.leading && nearest.is_none_or(|nearest| nearest < time) =>
            {
                *wanted = now;
                *nearest = Some(time);
                self.unwanted = self.unwanted.saturating_add(1);
            }
            Verdict::Lead { .. } | Verdict::Repeated | Verdict::Beyond | Verdict::Ignored => {
                self.unwanted = self.unwanted.saturating_add(1);
            }
        }
        self.steps_back = self.steps_back.saturating_add(u32::from(went_back));
        let ends = Ends::of(&self.tracks);
        *settling = ends == Ends::Steady;
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

    /// Whether only tracks that are not steady are waited for.
    const fn is_settling(&self) -> bool {
        matches!(self.state, State::Playing { settling: true, .. })
    }

    /// How far the leading track is from the end of the range.
    fn left_ticks(&self) -> i64 {
        self.range.to.ticks_since(self.reached().unwrap_or(self.range.from))
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
        self.begins = match self.beginning {
            // Without marks, what comes could not be placed.
            Beginning::Ahead if self.report.unmarked == 0 => self.reached().unwrap_or(self.range.from),
            Beginning::Behind(ticks) => self.reached().unwrap_or(self.range.from).plus(ticks),
            Beginning::Section(from) => from,
            Beginning::Ahead | Beginning::Overlapping => self.resume_clean(),
        };
        self.first = None;
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
            self.settle();
            let from = self.reached().unwrap_or(self.range.from);
            let left = Span::new(from, self.range.to);
            if let Some(left) = left.filter(|left| left.ticks() > crate::pace::PAUSE_TICKS_MAX) {
                self.report.holes.insert(left);
            }
        }
        self.state = State::Over;
        out.push(Action::Over(end));
    }

    /// The frame that came last was the last one: its time is believed, whatever it is.
    fn settle(&mut self) {
        if let Some(leading) = self.tracks.get_mut(self.leading) {
            self.report.tell(leading.settle(self.range));
        }
    }

    /// A replay ended; asks for another one, unless too many brought nothing new.
    fn retry(&mut self, now: MonoTime, why: GiveUp, out: &mut Vec<Action>) {
        self.due = None;
        self.unwanted = 0;
        self.steps_back = 0;
        if std::mem::take(&mut self.progressed) {
            self.fruitless = 0;
            self.beginning = Beginning::Overlapping;
        } else {
            self.fruitless = self.fruitless.saturating_add(1);
        }
        if self.fruitless >= ATTEMPTS_MAX {
            return self.over(End::GivenUp(why), out);
        }
        let wait = BACKOFF_MIN.saturating_mul(1 << self.fruitless.min(8)).min(BACKOFF_MAX);
        self.state = State::Waiting { until: now + wait };
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
                self.state = State::Playing { heard: now, wanted: now, nearest: None, settling: false };
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
            State::Playing { heard, wanted, settling, .. } => {
                // Where nothing comes at all, how long that may last is another question.
                let patience = wanted + if heard > wanted { PATIENCE } else { self.idle_max().max(PATIENCE) };
                let (idle, why) = if settling {
                    (heard + SETTLE_MAX, "only sound or metadata is missing")
                } else {
                    (heard + self.idle_max(), "nothing comes")
                };
                Some(if idle <= patience { (idle, why) } else { (patience, "nothing wanted comes") })
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
            (State::Playing { .. }, Some(Due::Complete)) | (State::Playing { settling: true, .. }, None) => {
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
