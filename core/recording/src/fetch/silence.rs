//! What a silence means: that all is there, that the server is stuck, or that it lets a gap in the footage pass in real
//! time.
//!
//! A server that falls silent is asked again from its last frames on, and then from behind them. Where it says which
//! footage it has, it is asked for the next section of that. Where it does not, and plays in real time, it is listened to for as
//! long as the rest of the range lasts, in replays that each begin where the silence of the one before was heard out.
//! Any other is believed to have no more, or said to be silent.

use std::ops::RangeInclusive;
use std::time::Duration;

use keepwatch_model::{MonoTime, Span, TICKS_PER_SECOND, duration_from_ticks, ticks_from_duration};

use super::{Action, BACKOFF_MIN, Beginning, END_IDLE_MAX, End, Fetch, GiveUp, IDLE_MAX, State, Track};

/// How much of the leading track must come before it is judged whether the server plays in real time.
pub(super) const PACED_TICKS_MIN: i64 = 5 * TICKS_PER_SECOND;
/// Real time, in hundredths of it: what a server that paces itself keeps to, give or take its buffers.
const PACED_HUNDREDTHS: RangeInclusive<i128> = 80..=125;
/// How long a server that plays in real time may be silent in one replay: longer, and the session may be dead.
pub const PACED_IDLE_MAX: Duration = Duration::from_secs(15 * 60);
/// What a replay that goes on behind a silence repeats of it: the server's clock and ours differ.
const SILENCE_OVERLAP_TICKS: i64 = 2 * TICKS_PER_SECOND;
/// Sections in a row of which a server sends nothing, until no more are asked for.
const SILENT_SECTIONS_MAX: u32 = 16;
/// How far the server's word of where its footage ends may be off.
const SECTION_SLACK_TICKS: i64 = 2 * TICKS_PER_SECOND;
/// How near the end of the range silence need not last long to be judged.
const NEAR_END_TICKS: i64 = TICKS_PER_SECOND;

impl Fetch {
    /// How long silence must last to be judged.
    pub(super) fn idle_max(&self) -> Duration {
        // The end of a section says nothing here: a server may be slow, or let the gap behind it pass in real time.
        if self.left_ticks() <= NEAR_END_TICKS {
            return END_IDLE_MAX;
        }
        match self.beginning {
            // It was silent twice already, and yet may only let a gap pass in real time.
            Beginning::Ahead | Beginning::Behind(_) if self.listens() => {
                let at = self.reached().map_or(self.begins, |reached| reached.max(self.begins));
                let left = duration_from_ticks(self.range.to.ticks_since(at));
                left.saturating_add(IDLE_MAX).min(PACED_IDLE_MAX)
            }
            Beginning::Overlapping | Beginning::Ahead | Beginning::Behind(_) | Beginning::Section(_) => {
                IDLE_MAX
            }
        }
    }

    /// The replay is silent, or was ended by the server.
    pub(super) fn fall_silent(&mut self, now: MonoTime, out: &mut Vec<Action>) {
        let fruitless = !self.progressed;
        if fruitless {
            // What came last came last twice.
            self.settle();
        }
        // No further frame fits in.
        let frame_ticks = self.tracks.get(self.leading).map_or(0, Track::frame_ticks);
        if self.reached().is_some() && self.left_ticks() < frame_ticks / 2 {
            return self.over(End::Complete, out);
        }
        match (fruitless, self.beginning) {
            (false, _) => {}
            (true, Beginning::Overlapping) => self.beginning = Beginning::Ahead,
            // Nothing more came from the last frames on, nor from behind them.
            (true, Beginning::Ahead | Beginning::Behind(_) | Beginning::Section(_)) => {
                return match self.farther(now) {
                    Some(beginning) => {
                        self.fruitless = self.fruitless.saturating_add(1);
                        self.beginning = beginning;
                        self.state = State::Waiting { until: now + BACKOFF_MIN };
                    }
                    None => self.over(if self.has_all() { End::Complete } else { End::Silent }, out),
                };
            }
        }
        self.retry(now, GiveUp::Connection, out);
    }

    /// Where to ask a server next that was silent at `now` from behind its last frame on; `None` when all was tried.
    fn farther(&self, now: MonoTime) -> Option<Beginning> {
        if self.report.unmarked > 0 {
            // What comes could not be placed.
            return None;
        }
        if let Some(sections) = &self.sections {
            let asked = match self.beginning {
                Beginning::Section(from) => from,
                Beginning::Overlapping | Beginning::Ahead | Beginning::Behind(_) => {
                    self.reached().unwrap_or(self.range.from)
                }
            };
            let next = sections.spans().iter().map(|section| section.from).find(|from| *from > asked);
            let next = next.filter(|next| *next < self.range.to && self.fruitless < SILENT_SECTIONS_MAX);
            return next.map(Beginning::Section);
        }
        let State::Playing { heard, .. } = self.state else { return None };
        let listened = ticks_from_duration(now.since(heard)).saturating_sub(SILENCE_OVERLAP_TICKS);
        let behind = match self.beginning {
            Beginning::Behind(ticks) => ticks,
            Beginning::Overlapping | Beginning::Ahead | Beginning::Section(_) => 0,
        };
        let behind = behind.saturating_add(listened);
        let goes_on = self.listens() && listened > 0 && self.left_ticks() > behind;
        goes_on.then_some(Beginning::Behind(behind))
    }

    /// Whether a silence is listened to, in place of being judged: by what it sends the server plays in real time, and
    /// it does not say where it has more.
    const fn listens(&self) -> bool {
        self.paced && self.sections.is_none() && self.report.unmarked == 0
    }

    /// Whether the server has no more by its own word.
    fn has_all(&self) -> bool {
        let reached = self.reached().unwrap_or(self.range.from).plus(SECTION_SLACK_TICKS);
        let left = Span::new(reached, self.range.to);
        let told =
            self.sections.as_ref().zip(left).is_some_and(|(sections, left)| sections.within(left).is_empty());
        self.section_ended() || told
    }

    /// Whether the server said that a section of the leading track ends with its last frame.
    fn section_ended(&self) -> bool {
        self.tracks.get(self.leading).is_some_and(Track::section_ended)
    }
}

/// Whether footage of `ticks` that came within `elapsed` was played in real time.
pub(super) fn is_real_time(elapsed: Duration, ticks: i64) -> bool {
    let elapsed = i128::from(ticks_from_duration(elapsed));
    elapsed > 0 && PACED_HUNDREDTHS.contains(&(i128::from(ticks) * 100 / elapsed))
}
