//! What an operator sets, and what a standby can do.

use std::time::Duration;

use keepwatch_model::{CameraId, RoleId};
use thiserror::Error;

use super::watch::STILL_MAX;

/// Shortest *Check Interval*: below it, a busy primary would be called dead.
const CHECK_INTERVAL_MIN: Duration = Duration::from_millis(200);
/// Longest *Check Interval*: a failure that is noticed later is not worth a standby.
const CHECK_INTERVAL_MAX: Duration = Duration::from_secs(300);
/// Largest *Auto Failover Threshold*.
const THRESHOLD_MAX: u32 = 100;
/// Shortest and longest *Setup Backup Interval*.
const BACKUP_INTERVAL_MIN: Duration = Duration::from_secs(10);
/// See [`BACKUP_INTERVAL_MIN`].
const BACKUP_INTERVAL_MAX: Duration = Duration::from_secs(7 * 86_400);

/// Longest time until a configuration that could not be fetched is asked for again.
const BACKUP_RETRY: Duration = Duration::from_secs(30);

/// The *Setup* of a standby, for all of its primaries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    check_interval: Duration,
    setup_backup_interval: Duration,
    auto_failover_threshold: u32,
}

/// A setting is out of its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SetupError {
    /// The *Check Interval*.
    #[error("check interval of {0:?}: it is between 200 ms and 5 minutes")]
    CheckInterval(Duration),
    /// The *Setup Backup Interval*.
    #[error("setup backup interval of {0:?}: it is between 10 seconds and 7 days")]
    BackupInterval(Duration),
    /// The *Auto Failover Threshold*.
    #[error("auto failover threshold of {0}: it is between 1 and 100 consecutive failures")]
    Threshold(u32),
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            check_interval: Duration::from_secs(1),
            setup_backup_interval: Duration::from_secs(600),
            auto_failover_threshold: 3,
        }
    }
}

impl Setup {
    /// A setup, each value in its range.
    pub fn new(check: Duration, backup: Duration, threshold: u32) -> Result<Self, SetupError> {
        if !(CHECK_INTERVAL_MIN..=CHECK_INTERVAL_MAX).contains(&check) {
            return Err(SetupError::CheckInterval(check));
        }
        if !(BACKUP_INTERVAL_MIN..=BACKUP_INTERVAL_MAX).contains(&backup) {
            return Err(SetupError::BackupInterval(backup));
        }
        if !(1..=THRESHOLD_MAX).contains(&threshold) {
            return Err(SetupError::Threshold(threshold));
        }
        Ok(Self { check_interval: check, setup_backup_interval: backup, auto_failover_threshold: threshold })
    }

    /// How often each primary is asked. An answer that takes longer is none.
    pub fn check_interval(&self) -> Duration {
        self.check_interval
    }

    /// How often the configuration of each primary is fetched.
    pub fn setup_backup_interval(&self) -> Duration {
        self.setup_backup_interval
    }

    /// A configuration that could not be fetched, or may be another one than before, is fetched after so long.
    pub(super) fn backup_retry(&self) -> Duration {
        self.setup_backup_interval.min(BACKUP_RETRY)
    }

    /// Consecutive failed checks after which a failover starts by itself in [`Mode::Auto`].
    pub fn auto_failover_threshold(&self) -> u32 {
        self.auto_failover_threshold
    }

    /// The longest time between a failure and the start of its failover: what the console says below the setup.
    pub fn takes_over_after_max(&self) -> Duration {
        self.check_interval.saturating_mul(self.auto_failover_threshold.saturating_add(1))
    }

    /// The longest time between the last picture of a camera on a disk of its primary and its cover, when the primary answers all
    /// the while and says nothing: its footage must be seen not to grow first. What a pre-buffer has to reach back for.
    pub fn notices_stillness_after_max(&self) -> Duration {
        STILL_MAX.saturating_add(self.takes_over_after_max())
    }
}

/// Who starts the failover of a primary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The standby, after the threshold.
    #[default]
    Auto,
    /// An operator only.
    Manual,
}

/// Product version and protocol of a recorder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Of the product.
    pub major: u32,
    /// Of the product.
    pub minor: u32,
    /// Of what recorders say to each other.
    pub protocol: u32,
}

/// A primary on the *Monitoring* list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The role that it plays, and that Replace moves to another recorder.
    pub role: RoleId,
    /// Grows with each Replace: who plays the role in an earlier epoch plays it no more.
    pub epoch: u64,
    /// Who starts its failover.
    pub mode: Mode,
    /// Which of several failed primaries is covered first: the lowest.
    pub priority: u8,
    /// Its cameras and what each takes, from its last backup.
    pub cameras: Vec<(CameraId, Demand)>,
    /// A failover of it runs, of these cameras: it goes on after a restart of the standby.
    pub covered: Vec<CameraId>,
    /// These are covered while it lives: that goes on, too.
    pub alone: Vec<CameraId>,
}

/// What recording one camera takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// All of its streams, in bits per second.
    pub bits_per_second: u64,
}

/// What a standby can record beside what it records already, measured or set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Cameras.
    pub cameras: usize,
    /// The least of what network and disks take, in bits per second.
    pub bits_per_second: u64,
}

impl Capacity {
    /// Takes one camera away from what is left, if it fits.
    pub fn take(&mut self, demand: Demand) -> bool {
        let fits = self.cameras > 0 && self.bits_per_second >= demand.bits_per_second;
        if fits {
            self.cameras -= 1;
            self.bits_per_second -= demand.bits_per_second;
        }
        fits
    }
}
