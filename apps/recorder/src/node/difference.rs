//! What a configuration comes to: all cameras, and what a change of it cannot bring about in a running node.

use std::collections::BTreeMap;

use keepwatch_model::CameraId;

use crate::config::{CameraConfig, RecorderConfig};
use crate::settings::Edited;

/// All cameras, those of the file and those that are edited in the console.
pub(super) fn all_cameras(config: &RecorderConfig, edited: &Edited) -> BTreeMap<CameraId, CameraConfig> {
    let cameras = config.cameras.iter().chain(&edited.cameras);
    cameras.map(|camera| (camera.id, effective(camera, config))).collect()
}

pub(super) fn list(ids: &[CameraId]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// A camera's configuration with the recorder's retention where it has none of its own.
pub(super) fn effective(camera: &CameraConfig, config: &RecorderConfig) -> CameraConfig {
    CameraConfig { retention: camera.retention.or(config.retention), ..camera.clone() }
}

pub(super) fn needs_restart(old: &RecorderConfig, new: &RecorderConfig) -> Vec<&'static str> {
    [
        ("name", old.name != new.name),
        ("data", old.data != new.data),
        ("disk", old.disks != new.disks),
        ("buffer", old.buffer_bytes_max != new.buffer_bytes_max),
        ("exports_max", old.exports_bytes_max != new.exports_bytes_max),
        ("rtsp_listen", old.rtsp.listen != new.rtsp.listen),
        ("rtsps_listen", old.rtsp.listen_tls != new.rtsp.listen_tls),
        ("tls_certificate", old.rtsp.tls != new.rtsp.tls),
    ]
    .into_iter()
    .filter_map(|(name, differs)| differs.then_some(name))
    .collect()
}
