//! Which frames of a track were taken, so that those that come again in a later replay are known.
//!
//! A frame is known by its time. Within one `PLAY` the same time twice is two frames: metadata share marks, and so do
//! frames of devices that count seconds. Only where times go back within it, and the server does not say that the
//! recording did, are frames with the same time and the same RTP time the same: the footage begins anew.

use std::collections::VecDeque;

use keepwatch_model::{TICKS_PER_SECOND, WallTime};

/// Two frames of a track whose times differ by no more are the same one: servers round times to milliseconds, and
/// no camera takes two pictures within half of one.
const SAME_TICKS: i64 = TICKS_PER_SECOND / 2000;

/// Times kept: nine minutes of 30 frames a second without a clean point.
pub(super) const RECENT_MAX: usize = 16_384;

/// One pass through the footage: from the beginning of a `PLAY`, or from where its times went back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Pass(u64);

impl Pass {
    const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// A frame that was taken.
#[derive(Clone, Copy, Debug)]
struct Entry {
    ticks: i64,
    /// Its RTP time when it was met last.
    timestamp: i64,
    /// In which pass it was met last: one frame that was taken accounts for one that comes again.
    met: Pass,
}

/// Times of frames that were taken.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// In ascending order of their times.
    entries: VecDeque<Entry>,
    /// All frames before this one are settled; only of later ones is it known which were taken.
    horizon: Option<i64>,
    /// The horizon when the `PLAY` began: what lies before it came in an earlier one.
    settled: Option<i64>,
    /// The pass that the `PLAY` began with.
    play: Pass,
    /// The first pass of the footage that is played, as far as the server says.
    footage: Pass,
    pass: Pass,
}

impl Taken {
    /// A new `PLAY` begins; frames before `clean_ticks` are not asked for any more.
    pub(super) fn begin(&mut self, clean_ticks: Option<i64>) {
        self.horizon = self.horizon.max(clean_ticks);
        self.settled = self.horizon;
        if let Some(horizon) = self.horizon {
            let settled = self.entries.partition_point(|entry| entry.ticks < horizon);
            self.entries.drain(..settled);
        }
        self.pass = self.pass.next();
        self.play = self.pass;
        self.footage = self.pass;
    }

    /// Times went back within a `PLAY`; `said` is whether the server says that footage ends there and other begins.
    pub(super) const fn go_back(&mut self, said: bool) {
        self.pass = self.pass.next();
        if said {
            self.footage = self.pass;
        }
    }

    /// Whether a frame of this time was taken before, and did not come again yet.
    pub(super) fn meets(&mut self, time: WallTime, timestamp: i64) -> bool {
        let ticks = time.ticks();
        if self.settled.is_some_and(|settled| ticks < settled.saturating_sub(SAME_TICKS)) {
            return true;
        }
        let (low, high) = (ticks.saturating_sub(SAME_TICKS), ticks.saturating_add(SAME_TICKS));
        let begin = self.entries.partition_point(|entry| entry.ticks < low);
        let (pass, footage, play) = (self.pass, self.footage, self.play);
        let again = |entry: &&mut Entry| {
            let anew = footage <= entry.met && entry.met < pass;
            entry.met < play || (anew && entry.timestamp == timestamp)
        };
        let mut near = self.entries.range_mut(begin..).take_while(|entry| entry.ticks <= high);
        let Some(met) = near.find(again) else { return false };
        (met.met, met.timestamp) = (pass, timestamp);
        true
    }

    /// Keeps in mind that a frame was taken.
    pub(super) fn insert(&mut self, time: WallTime, timestamp: i64) {
        let entry = Entry { ticks: time.ticks(), timestamp, met: self.pass };
        let at = self.entries.partition_point(|held| held.ticks <= entry.ticks);
        self.entries.insert(at, entry);
        if self.entries.len() > RECENT_MAX
            && let Some(first) = self.entries.pop_front()
        {
            self.horizon = self.horizon.max(Some(first.ticks.saturating_add(1)));
        }
    }
}
