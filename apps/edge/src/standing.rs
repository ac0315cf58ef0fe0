//! How the relay stands, for whoever looks.

use std::time::Duration;

use keepwatch_model::{Condition, Place, WallTime};
use keepwatch_recording::edge::Case;
use keepwatch_recording::edge::fill::Thresholds;
use keepwatch_recording::edge::health::LineHealth;
use keepwatch_recording::edge::limit::SpeedLimit;
use keepwatch_recording::replenish::StreamKey;

use crate::alarms::Raised;
use crate::kept::Recorder;
use crate::outside::{Disks, Storage};

/// How it stands.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) case: Case,
    pub(crate) takes: bool,
    /// Where footage is sent; `None` for nowhere.
    pub(crate) storage: Option<Storage>,
    pub(crate) contact: Contact,
    /// What can be done with each local storage.
    pub(crate) storages: Vec<(Place, Condition)>,
    /// Where recorder 2 writes.
    pub(crate) writes_to: Place,
    pub(crate) fill: Fill,
    /// Bytes of footage in memory, and the most of them.
    pub(crate) memory: (u64, u64),
    /// What may be sent in a second, in bits; 0 is no limit.
    pub(crate) throttle_bits_per_second: u64,
    pub(crate) alarms: Vec<Raised>,
    pub(crate) lines: Vec<LineStanding>,
}

impl Standing {
    /// The recorder that footage is sent to; `None` when it is sent to none.
    pub(crate) const fn recorder(&self) -> Option<&Recorder> {
        match &self.storage {
            Some(Storage::Recorder(recorder)) => Some(recorder),
            Some(Storage::Disks(_)) | None => None,
        }
    }

    /// The disks that footage is sent to; `None` when it is sent to none.
    pub(crate) const fn disks(&self) -> Option<&Disks> {
        match &self.storage {
            Some(Storage::Disks(disks)) => Some(disks),
            Some(Storage::Recorder(_)) | None => None,
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
    /// Its footage that is not outside, where recorder 2 writes.
    pub(crate) waiting_bytes: u64,
    /// Sent since the start.
    pub(crate) bytes: u64,
    pub(crate) records: u64,
    /// Given up before it was outside, since the start.
    pub(crate) lost: Duration,
    pub(crate) limit: SpeedLimit,
    /// It was set while the node ran, in place of that of the configuration.
    pub(crate) limit_is_set: bool,
    pub(crate) health: LineHealth,
}

/// How full the place is that recorder 2 writes to of footage that is not outside.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fill {
    pub(crate) bytes: u64,
    /// What it holds before it overwrites.
    pub(crate) room_bytes: u64,
    pub(crate) thresholds: Thresholds,
    /// It has been warned of, and is not all clear yet.
    pub(crate) warned: bool,
    /// When footage is overwritten that is not outside, at the present rates.
    pub(crate) overflows_in: Option<Duration>,
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
