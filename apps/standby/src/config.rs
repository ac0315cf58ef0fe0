//! What a standby is told to do by the configuration file.

use std::time::Duration;

use keepwatch_recording::failover::{Capacity, Setup};

/// Cameras that are recorded for others unless it is said: as many as one recorder has been shown to record.
const CAMERAS_DEFAULT: usize = 64;
/// What all of them may send, in bits per second, unless it is said: two thirds of what one line of 1 Gbit/s carries.
const RATE_DEFAULT: u64 = 600_000_000;

/// Memory of all pre-buffers together unless it is said: 22 seconds of sixty-four cameras of 4 Mbit/s, with what their records take
/// beside that, and a fifth.
const PREBUFFER_BYTES_DEFAULT: u64 = 1 << 30;

/// The `[standby]` of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandbyConfig {
    /// How primaries are watched, unless that is edited.
    pub setup: Setup,
    /// What can be recorded for others, beside what the node records itself.
    pub capacity: Capacity,
    /// How often a failover of each primary is tested; `None` for an operator only.
    pub drill_every: Option<Duration>,
    /// Most memory of all pre-buffers together.
    pub prebuffer_bytes_max: u64,
    /// The watched recorder that decides which of several standbys covers, by its name, address or role; `None`: this node.
    pub coordinator: Option<String>,
}

impl Default for StandbyConfig {
    fn default() -> Self {
        Self {
            prebuffer_bytes_max: PREBUFFER_BYTES_DEFAULT,
            coordinator: None,
            drill_every: None,
            setup: Setup::default(),
            capacity: Capacity { cameras: CAMERAS_DEFAULT, bits_per_second: RATE_DEFAULT },
        }
    }
}
