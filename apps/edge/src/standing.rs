//! How the relay stands, for whoever looks.

use std::time::Duration;

use keepwatch_model::WallTime;
use keepwatch_recording::edge::Case;
use keepwatch_recording::edge::limit::SpeedLimit;
use keepwatch_recording::replenish::StreamKey;

use crate::kept::Recorder;
use crate::outside::Storage;

/// How it stands.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) case: Case,
    pub(crate) takes: bool,
    /// Where footage is sent; `None` for nowhere.
    pub(crate) storage: Option<Storage>,
    pub(crate) contact: Contact,
    pub(crate) lines: Vec<LineStanding>,
}

impl Standing {
    /// The recorder that footage is sent to; `None` when it is sent to none.
    pub(crate) const fn recorder(&self) -> Option<&Recorder> {
        match &self.storage {
            Some(Storage::Recorder(recorder)) => Some(recorder),
            None => None,
        }
    }
}

/// How one line stands.
#[derive(Clone, Debug)]
pub(crate) struct LineStanding {
    pub(crate) key: StreamKey,
    /// The external storage wants it.
    pub(crate) wanted: bool,
    /// How old the oldest is that the relay has not sent.
    pub(crate) behind: Option<Duration>,
    /// What the relay left out.
    pub(crate) backlog: Duration,
    /// Sent since the start.
    pub(crate) bytes: u64,
    pub(crate) records: u64,
    /// Given up before it was outside, since the start.
    pub(crate) lost: Duration,
    pub(crate) limit: SpeedLimit,
}

/// What is known of the external storage.
#[derive(Clone, Debug, Default)]
pub(crate) struct Contact {
    /// When it answered last.
    pub(crate) answered: Option<WallTime>,
    /// How many ticks its clock showed more.
    pub(crate) ahead_ticks: Option<i64>,
    /// Since when it does not take anything.
    pub(crate) away_since: Option<WallTime>,
    /// Why.
    pub(crate) trouble: Option<String>,
}

impl Contact {
    pub(crate) fn answered(&mut self, now: WallTime, ahead_ticks: i64) {
        *self = Self { answered: Some(now), ahead_ticks: Some(ahead_ticks), away_since: None, trouble: None };
    }

    pub(crate) fn failed(&mut self, now: WallTime, why: String) {
        self.away_since.get_or_insert(now);
        self.trouble = Some(why);
    }
}
