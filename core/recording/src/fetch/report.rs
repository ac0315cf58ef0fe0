//! How a fetch ended, and what it did.

use keepwatch_model::SpanSet;

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
