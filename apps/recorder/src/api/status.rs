//! Health and status of the node.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::http::HeaderMap;
use axum::http::header::UPGRADE;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use keepwatch_model::{RoleId, WallTime};
use keepwatch_store::{DiskRole, DiskState, DiskStatus};
use keepwatch_web::{Caller, Identity, Place, Problem};
use serde::Serialize;
use utoipa::ToSchema;

use super::cameras::is_recording;
use super::query;
use super::socket;
use crate::{CameraState, Connection, Node, Serving};

/// Answered without a login: whether everything that should be recorded is.
#[derive(Clone, Serialize, ToSchema)]
pub(super) struct Health {
    /// Whether every camera that its schedule asks for is recorded, and all that is edited in the console can be used.
    #[schema(value_type = super::words::HealthState)]
    status: &'static str,
}

#[derive(Clone, Serialize, ToSchema)]
/// The node and its disks.
pub(super) struct Status {
    /// Its name.
    name: String,
    /// The role under which it records, as coverage names it.
    #[schema(value_type = String)]
    role: RoleId,
    /// Its version.
    version: &'static str,
    /// When it started.
    #[schema(value_type = String, format = DateTime)]
    started: WallTime,
    /// Its idea of the time; not in the status socket, where signs of life have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    now: Option<WallTime>,
    /// How many cameras there are.
    cameras: usize,
    /// How many are recorded at the moment.
    recording: usize,
    /// 99 of 100 frames since the start were on disk so many milliseconds after their label, or sooner; `null` before the
    /// first.
    frame_to_disk_p99_ms: Option<u64>,
    /// What the last start found.
    recovery: RecoveryStatus,
    /// Where footage is kept.
    disks: Vec<Disk>,
    /// Where cameras can be watched over RTSP.
    rtsp: Rtsp,
    /// Fingerprint of the certificate that the node shows over TLS.
    certificate: Option<String>,
    /// Fingerprint of the key that the node signs exports with; `null` when it cannot be had.
    signing_key: Option<String>,
    /// What is edited in the console.
    settings: SettingsStatus,
}

/// What is edited in the console, as a whole.
#[derive(Clone, Serialize, ToSchema)]
struct SettingsStatus {
    /// The revision in force; 0 before the first.
    revision: u64,
    /// Why not all of it can be used; `null` when all is well.
    problem: Option<String>,
}

/// Where the node can be watched over RTSP.
#[derive(Clone, Serialize, ToSchema)]
struct Rtsp {
    /// Addresses without TLS.
    listening: Vec<String>,
    /// Addresses with TLS.
    listening_tls: Vec<String>,
    /// The fingerprint of the certificate that is shown there.
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

#[derive(Clone, Serialize, ToSchema)]
/// What the last start found.
struct RecoveryStatus {
    /// Whether the store had been closed.
    clean: bool,
    /// Records that the index did not know.
    records_recovered: u64,
    /// Bytes of torn records.
    truncated_bytes: u64,
    /// How long it took.
    elapsed_ms: u64,
}

#[derive(Clone, Serialize, ToSchema)]
/// A disk.
struct Disk {
    /// Its configured path.
    path: String,
    /// Its id; `null` when it could not be read.
    id: Option<String>,
    /// What it is for.
    #[schema(value_type = super::words::DiskRoleName)]
    role: &'static str,
    /// How it stands.
    #[schema(value_type = super::words::DiskStateName)]
    state: &'static str,
    /// Why it stands so.
    detail: Option<String>,
    /// Whether it does not keep up with its cameras.
    slow: bool,
    /// Bytes of all extents.
    size_bytes: u64,
    /// Bytes of the extents in use.
    used_bytes: u64,
    /// Bytes of the extents that cannot be overwritten.
    protected_bytes: u64,
    /// Bytes in memory that wait to be written.
    queued_bytes: u64,
    /// How fast it makes footage durable, as it was measured last; `null` when it never was.
    write_bytes_per_second: Option<u64>,
    /// Bytes that it was given to write since the start.
    written_bytes: u64,
    /// Bytes of media among them.
    media_bytes: u64,
}

/// How a disk stands, in a word, and why.
pub fn disk_state(state: DiskState) -> (&'static str, Option<String>) {
    match state {
        DiskState::Online => ("online", None),
        DiskState::Gone { why, .. } => ("gone", Some(why)),
        DiskState::ReadOnly { why, .. } => ("read_only", Some(why)),
        DiskState::Full => ("full", Some("all footage on it is protected".to_owned())),
        DiskState::Foreign { owner } => ("foreign", Some(format!("holds footage of recorder {owner}"))),
    }
}

impl From<DiskStatus> for Disk {
    fn from(disk: DiskStatus) -> Self {
        let (state, detail) = disk_state(disk.state);
        Self {
            path: disk.path.display().to_string(),
            id: disk.id.map(|id| id.to_string()),
            role: match disk.role {
                DiskRole::Recordings => "recordings",
                DiskRole::Edge => "edge",
                DiskRole::Second => "second",
            },
            state,
            detail,
            slow: disk.slow,
            size_bytes: disk.size_bytes,
            used_bytes: disk.used_bytes,
            protected_bytes: disk.protected_bytes,
            queued_bytes: disk.queued_bytes,
            write_bytes_per_second: disk.write_rate.map(|rate| rate.bytes_per_second),
            written_bytes: disk.written_bytes,
            media_bytes: disk.media_bytes,
        }
    }
}

/// Whether all that should be recorded is.
#[utoipa::path(get, path = "/api/v1/health", operation_id = "health", tag = "node", security(()),
    responses((status = 200, body = Health)))]
pub(super) async fn health(State(node): State<Node>) -> Json<Health> {
    let well = node.cameras().iter().all(|camera| {
        let main = camera.main();
        let unwanted =
            matches!(main.connection().0, Connection::Unwanted | Connection::Armed) || main.is_quiet();
        unwanted || is_recording(&node, camera.main())
    });
    // Cameras of settings that cannot be used are not even there to be looked at.
    let well = well && node.settings_state().1.is_none();
    Json(Health { status: if well { "ok" } else { "degraded" } })
}

/// How the node stands, as a snapshot or, with an upgrade to a WebSocket, as it changes.
#[utoipa::path(get, path = "/api/v1/status", operation_id = "status", tag = "node",
    responses((status = 200, body = Status),
        (status = 101, description = "A WebSocket (RFC 6455): messages of the form `StatusMessage`.")))]
pub(super) async fn status(
    State(node): State<Node>,
    caller: Caller,
    connection: Option<Extension<Place>>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    match upgrade {
        Ok(upgrade) => socket::serve(node, caller, connection.map(|Extension(place)| place), upgrade),
        Err(rejection) if headers.contains_key(UPGRADE) => {
            let detail = format!("this is no upgrade to a WebSocket: {rejection}");
            Err(Problem::bad_request("upgrade_invalid", detail))
        }
        Err(_) => {
            let cameras = query::cameras(&node, &caller.identity);
            Ok(Json(node_status(&node, &cameras, Sight::of(&caller.identity))).into_response())
        }
    }
}

impl Status {
    /// Without the time.
    pub(super) fn untimed(&self) -> Self {
        Self { now: None, ..self.clone() }
    }

    /// Without what counts up all the time.
    pub(super) fn still(&self) -> Self {
        let disks = self.disks.iter().cloned();
        let disks = disks.map(|disk| Disk {
            queued_bytes: 0,
            used_bytes: 0,
            written_bytes: 0,
            media_bytes: 0,
            ..disk
        });
        let disks = disks.collect();
        Self { frame_to_disk_p99_ms: None, disks, ..self.untimed() }
    }
}

/// How much of the node somebody may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// The machine, too: those who have a role everywhere.
    Machine,
    /// What concerns their cameras.
    Cameras,
}

impl Sight {
    /// What a user may see.
    pub(super) fn of(identity: &Identity) -> Self {
        if identity.grants.role.is_some() { Self::Machine } else { Self::Cameras }
    }
}

/// How the node stands for somebody who may see these cameras.
pub(super) fn node_status(node: &Node, cameras: &[Arc<CameraState>], sight: Sight) -> Status {
    let everywhere = sight == Sight::Machine;
    let disks = if everywhere { node.store().disks() } else { Vec::new() };
    let serving = if everywhere { node.serving() } else { Serving::default() };
    let recovery = node.recovery();
    let (revision, problem) = node.settings_state();
    Status {
        name: node.name(),
        role: node.store().role(),
        version: env!("CARGO_PKG_VERSION"),
        started: node.started(),
        now: Some(node.clock().wall()),
        cameras: cameras.len(),
        recording: cameras.iter().filter(|camera| is_recording(node, camera.main())).count(),
        frame_to_disk_p99_ms: node.frame_to_disk_p99_ms(),
        recovery: RecoveryStatus {
            clean: recovery.clean,
            records_recovered: recovery.records_recovered,
            truncated_bytes: recovery.truncated_bytes,
            elapsed_ms: u64::try_from(recovery.elapsed.as_millis()).unwrap_or(u64::MAX),
        },
        disks: disks.into_iter().map(Disk::from).collect(),
        rtsp: serving.into(),
        signing_key: node.signing_fingerprint().map(|fingerprint| fingerprint.to_string()),
        certificate: node.fingerprint().map(|fingerprint| fingerprint.to_string()),
        settings: SettingsStatus { revision, problem: problem.filter(|_| everywhere) },
    }
}
