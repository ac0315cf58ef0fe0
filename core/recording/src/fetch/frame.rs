//! Frames of a fetch, and what becomes of them.

use keepwatch_media::replay::FrameMark;
use keepwatch_model::WallTime;

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
