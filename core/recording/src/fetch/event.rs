//! What can happen to a fetch.

use keepwatch_model::WallTime;

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
pub struct Attempt(pub(super) u64);

/// What can happen to a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It is to begin.
    Begin,
    /// The server agreed to play.
    Playing {
        /// Which replay begins, by [`Action::Connect`](super::Action::Connect).
        attempt: Attempt,
        /// Where it says that it begins. Frames without marks are placed by that; where a server sends neither, they
        /// are placed as if it began where it was asked to, which it may not have done.
        from: Option<WallTime>,
    },
    /// The replay could not begin, or ended without being asked to.
    Ended {
        /// Which one, by [`Action::Connect`](super::Action::Connect).
        attempt: Attempt,
        /// Why.
        loss: Loss,
    },
    /// It is no longer wanted.
    Cancel,
}
