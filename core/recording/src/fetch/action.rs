//! What a fetch asks of its shell.

use keepwatch_media::replay::ClockRange;

use super::{Attempt, End};

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
    /// It is over; [`Fetch::report`](super::Fetch::report) has the rest.
    Over(End),
}
