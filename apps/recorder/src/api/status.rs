//! Health and status of the node.

use std::net::SocketAddr;

use axum::Json;
use axum::extract::State;
use keepwatch_model::WallTime;
use keepwatch_store::{DiskState, DiskStatus};
use keepwatch_web::Caller;
use serde::Serialize;

use super::cameras::is_recording;
use super::query;
use crate::{Connection, Node, Serving};

/// Answered without a login: whether everything that should be recorded is.
#[derive(Serialize)]
pub(super) struct Health {
    status: &'static str,
}

#[derive(Serialize)]
pub(super) struct Status {
    name: String,
    version: &'static str,
    started: WallTime,
    now: WallTime,
    cameras: usize,
    recording: usize,
    frame_to_disk_p99_ms: Option<u64>,
    recovery: RecoveryStatus,
    disks: Vec<Disk>,
    rtsp: Rtsp,
    /// Fingerprint of the certificate that the node shows over TLS.
    certificate: Option<String>,
}

/// Where the node can be watched over RTSP.
#[derive(Serialize)]
struct Rtsp {
    listening: Vec<String>,
    listening_tls: Vec<String>,
    certificate: Option<String>,
}

impl From<Serving> for Rtsp {
    fn from(serving: Serving) -> Self {
        let text = |addresses: Vec<SocketAddr>| addresses.iter().map(ToString::to_string).collect();
        Self {
            listening: text(serving.listening),
            listening_tls: text(serving.listening_tls),
            certificate: serving.certificate.map(|certificate| certificate.to_string()),
        }
    }
}

#[derive(Serialize)]
struct RecoveryStatus {
    clean: bool,
    records_recovered: u64,
    truncated_bytes: u64,
    elapsed_ms: u128,
}

#[derive(Serialize)]
struct Disk {
    path: String,
    id: Option<String>,
    state: &'static str,
    detail: Option<String>,
    slow: bool,
    size_bytes: u64,
    used_bytes: u64,
    protected_bytes: u64,
    queued_bytes: u64,
}

impl From<DiskStatus> for Disk {
    fn from(disk: DiskStatus) -> Self {
        let (state, detail) = match disk.state {
            DiskState::Online => ("online", None),
            DiskState::Gone { why, .. } => ("gone", Some(why)),
            DiskState::ReadOnly => ("read_only", Some("made by a later version".to_owned())),
            DiskState::Full => ("full", Some("all footage on it is protected".to_owned())),
            DiskState::Foreign { owner } => ("foreign", Some(format!("holds footage of recorder {owner}"))),
        };
        Self {
            path: disk.path.display().to_string(),
            id: disk.id.map(|id| id.to_string()),
            state,
            detail,
            slow: disk.slow,
            size_bytes: disk.size_bytes,
            used_bytes: disk.used_bytes,
            protected_bytes: disk.protected_bytes,
            queued_bytes: disk.queued_bytes,
        }
    }
}

/// `GET /api/v1/health`
pub(super) async fn health(State(node): State<Node>) -> Json<Health> {
    let well = node.cameras().iter().all(|camera| {
        camera.main().connection().0 == Connection::Unwanted || is_recording(&node, camera.main())
    });
    Json(Health { status: if well { "ok" } else { "degraded" } })
}

/// `GET /api/v1/status`
pub(super) async fn status(State(node): State<Node>, caller: Caller) -> Json<Status> {
    let cameras = query::cameras(&node, &caller.identity);
    // The machine concerns those who have a role everywhere; others are shown none of it.
    let everywhere = caller.identity.grants.role.is_some();
    let disks = if everywhere { node.store().disks() } else { Vec::new() };
    let serving = if everywhere { node.serving() } else { Serving::default() };
    let recovery = node.recovery();
    Json(Status {
        name: node.name(),
        version: env!("CARGO_PKG_VERSION"),
        started: node.started(),
        now: node.clock().wall(),
        cameras: cameras.len(),
        recording: cameras.iter().filter(|camera| is_recording(&node, camera.main())).count(),
        frame_to_disk_p99_ms: node.frame_to_disk_p99_ms(),
        recovery: RecoveryStatus {
            clean: recovery.clean,
            records_recovered: recovery.records_recovered,
            truncated_bytes: recovery.truncated_bytes,
            elapsed_ms: recovery.elapsed.as_millis(),
        },
        disks: disks.into_iter().map(Disk::from).collect(),
        rtsp: serving.into(),
        certificate: node.fingerprint().map(|fingerprint| fingerprint.to_string()),
    })
}
