//! Where a stream's footage goes, and what its sessions leave behind for one another.

use keepwatch_model::{GapReason, WallTime};
use keepwatch_recording::timeline::Seam;
use keepwatch_store::{Store, StreamWriter};

use super::super::stream::StreamState;

/// What a stream's footage needs and what outlives its sessions.
pub(crate) struct Output {
    pub(crate) store: Store,
    pub(crate) writer: StreamWriter,
    /// Where the last run ended; `None` before the first.
    pub(crate) seam: Option<Seam>,
    /// How long the pictures of the last session lasted, in ticks; `None` when it is not known.
    pub(crate) usual_ticks: Option<i64>,
}

impl Output {
    /// The output of `stream`, behind what is already held of it.
    pub(crate) fn new(store: &Store, stream: &StreamState) -> Self {
        let held_until = stream.ledger().held_until();
        Self {
            store: store.clone(),
            writer: stream.writer(store),
            seam: held_until.map(|label| Seam { label, camera: None, at: None, unbroken: false }),
            usual_ticks: None,
        }
    }
}

/// What the session's supervisor must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// The dial succeeded and pictures were asked for.
    Connected,
    /// Pictures come, but none to start decoding at.
    KeyFrameMissing,
    /// The store does not take what comes.
    StoreRefused(GapReason),
}

/// What follows a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Footage that should be there.
    Missing(GapReason),
    /// Nothing that anyone asked for.
    Unscheduled,
}

impl Ending {
    /// Enters into the ledger of `stream` what follows from `at` on.
    pub(crate) fn enter(self, stream: &StreamState, at: WallTime) {
        let mut ledger = stream.account();
        match self {
            Self::Missing(reason) => ledger.missing_from(at, reason),
            Self::Unscheduled => ledger.unscheduled_from(at),
        }
    }
}
