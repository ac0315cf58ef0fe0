//! What the standby shows: its setup, the *Monitoring* list and the *Failover* list, at one moment.

use std::net::SocketAddr;
use std::time::Duration;

use keepwatch_model::WallTime;
use keepwatch_recording::failover::{CoverView, PrimaryView, Setup};
use keepwatch_settings::standby::BackupLine;

use crate::capacity::Allowance;
use crate::driver::Drilled;

/// All that is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lists {
    /// The setup in force.
    pub setup: Setup,
    /// It was edited, rather than read from the configuration file.
    pub edited: bool,
    /// What can be recorded beside what the node records itself.
    pub capacity: Allowance,
    /// The recorder that decides which of several standbys covers, as the configuration names it, and why it cannot be asked;
    /// `None`: this node decides.
    pub coordinator: Option<(String, Option<String>)>,
    /// How often a failover of each primary is tested; `None` for an operator only.
    pub drill_every: Option<Duration>,
    /// The primaries, by their roles.
    pub primaries: Vec<Monitored>,
}

/// A primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Monitored {
    /// What the machine knows.
    pub view: PrimaryView,
    /// Since when it fails; `None` while it does not.
    pub since: Option<WallTime>,
    /// Its failover; `None` while none runs.
    pub cover: Option<Cover>,
    /// Since when it may not have recorded all of its cameras; `None` while it does.
    pub lacking_since: Option<WallTime>,
    /// Its name.
    pub name: String,
    /// Where it is.
    pub address: SocketAddr,
    /// The hardware address of its network interface.
    pub mac: Option<String>,
    /// The lowest is covered first.
    pub priority: u8,
    /// Its version.
    pub version: String,
    /// Whether its cameras are received ahead of a failover.
    pub prebuffer: bool,
    /// Memory that this takes, or would take.
    pub prebuffer_bytes: u64,
    /// What all of its cameras send.
    pub bits_per_second: u64,
    /// Its last backup.
    pub backup: Option<BackupLine>,
    /// Why its configuration cannot be fetched, or not be used in full.
    pub backup_problem: Option<String>,
    /// Why the last check failed.
    pub detail: Option<String>,
    /// A drill runs.
    pub drilling: bool,
    /// What came of the last drill; `None` before the first.
    pub drilled: Option<Drilled>,
}

impl Monitored {
    /// Whether any of its cameras is recorded here.
    pub(crate) fn covers(&self) -> bool {
        self.cover.is_some() || !self.view.covered_alone.is_empty()
    }
}

/// A failover that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cover {
    /// Since when.
    pub since: WallTime,
    /// What the machine knows.
    pub view: CoverView,
}
