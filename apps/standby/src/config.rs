//! What a standby is told to do by the configuration file.

use std::time::Duration;

use keepwatch_recording::failover::Setup;

/// Memory of all pre-buffers together unless it is said: 22 seconds of sixty-four cameras of 4 Mbit/s, with what their records take
/// beside that, and a fifth.
const PREBUFFER_BYTES_DEFAULT: u64 = 1 << 30;

/// The `[standby]` of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandbyConfig {
    /// How primaries are watched, unless that is edited.
    pub setup: Setup,
    /// What bounds how much is recorded for others, beside what the node records itself.
    pub limits: Limits,
    /// How often a failover of each primary is tested; `None` for an operator only.
    pub drill_every: Option<Duration>,
    /// Most memory of all pre-buffers together.
    pub prebuffer_bytes_max: u64,
    /// The watched recorder that decides which of several standbys covers, by its name, address or role; `None`: this node.
    pub coordinator: Option<String>,
}

/// What the configuration file says of how much is recorded for others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Most cameras, where that is set.
    pub cameras: Option<usize>,
    /// Most of all of their streams together, in bits per second, where that is set.
    pub bits_per_second: Option<u64>,
}

impl Default for StandbyConfig {
    fn default() -> Self {
        Self {
            prebuffer_bytes_max: PREBUFFER_BYTES_DEFAULT,
            coordinator: None,
            drill_every: None,
            setup: Setup::default(),
            limits: Limits::default(),
        }
    }
}
