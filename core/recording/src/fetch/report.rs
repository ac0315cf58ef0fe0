//! How a fetch ended, what it did, and what it did not find.

use keepwatch_model::{Span, SpanSet, WallTime};

use super::course::Told;
use super::{FetchFrame, Verdict};

/// Holes that are told; footage with more of them is not worth a list.
pub const HOLES_MAX: usize = 4096;

/// How a fetch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All that the server has of the range was taken; what it has not is among the holes.
    Complete,
    /// The server fell silent before the end of the range, and again when it was asked again. What is left may be
    /// missing there, or not.
    Silent,
    /// The server has nothing of what is left of the range, by its own word.
    NoFootage,
    /// Not all could be taken; asking again later may help.
    GivenUp(GiveUp),
    /// It was no longer wanted.
    Cancelled,
}

/// Why a fetch was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GiveUp {
    /// The server could not be reached, or broke off, again and again.
    Connection,
    /// The server will not.
    Refused,
    /// Frames came and none was wanted: the server plays other footage than it was asked for, or the same for ever.
    OtherFootage,
    /// Times went back again and again.
    TimesGoBack,
}

/// What a fetch did, so far or in all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Frames taken.
    pub taken: u64,
    /// Frames before the range.
    pub lead: u64,
    /// Frames that came again.
    pub repeated: u64,
    /// Frames behind the range.
    pub beyond: u64,
    /// How often times went back.
    pub steps_back: u64,
    /// Packets lost on the way.
    pub lost_packets: u64,
    /// Replays asked for.
    pub attempts: u64,
    /// Frames without a mark, placed by RTP time: less certain.
    pub unmarked: u64,
    /// What the server has nothing of, inside the range; by the first track that is steady. Of what was not reached
    /// nothing is said.
    pub holes: SpanSet,
}

impl Report {
    /// Counts a frame.
    pub(super) fn count(&mut self, frame: &FetchFrame, verdict: Verdict, went_back: bool) {
        match verdict {
            Verdict::Take { .. } => self.taken = self.taken.saturating_add(1),
            Verdict::Lead { .. } => self.lead = self.lead.saturating_add(1),
            Verdict::Repeated => self.repeated = self.repeated.saturating_add(1),
            Verdict::Beyond => self.beyond = self.beyond.saturating_add(1),
            Verdict::Ignored => {}
        }
        self.lost_packets = self.lost_packets.saturating_add(u64::from(frame.lost));
        self.unmarked = self.unmarked.saturating_add(u64::from(frame.mark.is_none()));
        self.steps_back = self.steps_back.saturating_add(u64::from(went_back));
    }

    /// Keeps in mind what a frame of the leading track told.
    pub(super) fn tell(&mut self, told: Told) {
        if let Some(withdrawn) = told.withdrawn {
            self.holes.remove(withdrawn);
        }
        for hole in told.holes.into_iter().flatten() {
            if self.holes.spans().len() < HOLES_MAX {
                self.holes.insert(hole);
            }
        }
    }

    /// A frame of the leading track was taken that lasts about `frame_ticks`. Pictures come before those they depend on
    /// are shown: what seemed missing came after all.
    pub(super) fn fill(&mut self, time: WallTime, frame_ticks: i64) {
        let spans = self.holes.spans();
        let after = spans.partition_point(|hole| hole.to <= time);
        let Some(hole) = spans.get(after).copied().filter(|hole| hole.contains(time)) else { return };
        // What is shorter than a frame is no hole.
        let end = time.plus(frame_ticks);
        let from = if time.ticks_since(hole.from) < frame_ticks { hole.from } else { time };
        let to = if hole.to.ticks_since(end) < frame_ticks { hole.to } else { end };
        if let Some(filled) = Span::new(from, to) {
            self.holes.remove(filled);
        }
    }
}
