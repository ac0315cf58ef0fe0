//! What an edge node is told to do by the configuration file.

use std::collections::BTreeMap;

use keepwatch_model::CameraId;
use keepwatch_recording::edge::Delay;
use keepwatch_recording::edge::fill::Thresholds;
use keepwatch_recording::edge::limit::{SpeedLimit, WriteThrottle};

/// The `[edge]` of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EdgeConfig {
    /// How far the relay is behind the recording.
    pub delay: Delay,
    /// How fast the footage of a camera leaves, unless it is said for that one.
    pub limit: SpeedLimit,
    /// The same of single cameras.
    pub limits: BTreeMap<CameraId, SpeedLimit>,
    /// What is sent in all.
    pub throttle: WriteThrottle,
    /// When it is told how full local storage is of what is not outside yet.
    pub thresholds: Thresholds,
}

impl EdgeConfig {
    /// How fast the footage of `camera` leaves.
    pub fn limit_of(&self, camera: CameraId) -> SpeedLimit {
        self.limits.get(&camera).copied().unwrap_or(self.limit)
    }
}
