//! What an edge node is told to do by the configuration file.

use std::collections::BTreeMap;

use keepwatch_model::CameraId;
use keepwatch_recorder::config::DiskConfig;
use keepwatch_recording::edge::Delay;
use keepwatch_recording::edge::fill::Thresholds;
use keepwatch_recording::edge::limit::{SpeedLimit, WriteThrottle};

/// Fastest speed: beyond it the number is a slip, and everything else is slower.
pub const SPEED_PERCENT_MAX: u32 = 1_000_000;

/// Most bytes of footage in memory that is not sent yet, unless it is said: four cameras of 4 Mbit/s for two minutes.
pub const MEMORY_BYTES_DEFAULT: u64 = 256 << 20;

/// The `[edge]` of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdgeConfig {
    /// How far the relay is behind the recording.
    pub delay: Delay,
    /// How fast the footage of a camera leaves, unless it is said for that one.
    pub limit: SpeedLimit,
    /// The same of single cameras.
    pub limits: BTreeMap<CameraId, SpeedLimit>,
    /// What is sent in all.
    pub throttle: WriteThrottle,
    /// Most bytes of footage that is not sent yet in memory, so that a disk that fails alone costs nothing; 0 keeps none.
    pub memory_bytes: u64,
    /// The external storage, when that is disks of this node; empty when it is a recorder that this node is registered at. They hold
    /// from the next start on.
    pub disks: Vec<DiskConfig>,
    /// When it is told how full local storage is of what is not outside yet.
    pub thresholds: Thresholds,
}

impl Default for EdgeConfig {
    fn default() -> Self {
        Self {
            delay: Delay::default(),
            limit: SpeedLimit::default(),
            limits: BTreeMap::new(),
            throttle: WriteThrottle::default(),
            memory_bytes: MEMORY_BYTES_DEFAULT,
            disks: Vec::new(),
            thresholds: Thresholds::default(),
        }
    }
}

impl EdgeConfig {
    /// How fast the footage of `camera` leaves.
    pub fn limit_of(&self, camera: CameraId) -> SpeedLimit {
        self.limits.get(&camera).copied().unwrap_or(self.limit)
    }
}
