//! Cameras as the API shows them.

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use keepwatch_model::{CameraId, GapReason, WallTime};
use keepwatch_web::Problem;
use serde::Serialize;

use super::{Page, query};
use crate::{CameraState, Connection, Node};

/// A camera whose last durable record is older than this is not being recorded, whatever its session says: twice
/// the longest record and its way to the disk.
const DURABLE_AGE_MAX: Duration = Duration::from_secs(6);

#[derive(Serialize)]
pub(super) struct Camera {
    id: CameraId,
    name: String,
    /// Whether its frames reach the disk: measured there, not at the connection.
    recording: bool,
    /// End of what is on disk; `null` when nothing is.
    durable_until: Option<WallTime>,
    connection: &'static str,
    since: WallTime,
    /// Why it is not recorded, as in coverage.
    reason: Option<GapReason>,
    /// The reason as a sentence, with the device's own words where there are some.
    detail: Option<String>,
    frames: u64,
    lost_packets: u64,
    bad_packets: u64,
    sessions: u64,
    durable_bytes: u64,
}

/// Whether frames of `camera` reach the disk.
pub(super) fn is_recording(node: &Node, camera: &CameraState) -> bool {
    let fresh = camera.durable_at().is_some_and(|at| node.clock().mono().since(at) < DURABLE_AGE_MAX);
    fresh && camera.connection().0 == Connection::Recording
}

fn show(node: &Node, camera: &CameraState) -> Camera {
    let (connection, since, words) = camera.connection();
    let (connection, reason) = match connection {
        Connection::Unwanted => ("unwanted", None),
        Connection::Waiting(reason) => ("waiting", Some(reason)),
        Connection::Connecting => ("connecting", None),
        Connection::Connected(reason) => ("connected", Some(reason)),
        Connection::Recording => ("recording", None),
    };
    let detail = match (reason, words) {
        (Some(reason), Some(words)) => Some(format!("{}: {words}", reason.sentence())),
        (Some(reason), None) => Some(reason.sentence().to_owned()),
        (None, words) => words,
    };
    let counters = camera.counters();
    Camera {
        id: camera.id,
        name: camera.config().name.clone(),
        recording: is_recording(node, camera),
        durable_until: camera.ledger().held_until(),
        connection,
        since,
        reason,
        detail,
        frames: counters.frames.load(Ordering::Relaxed),
        lost_packets: counters.lost_packets.load(Ordering::Relaxed),
        bad_packets: counters.bad_packets.load(Ordering::Relaxed),
        sessions: counters.sessions.load(Ordering::Relaxed),
        durable_bytes: counters.durable_bytes.load(Ordering::Relaxed),
    }
}

/// `GET /api/v1/cameras`
pub(super) async fn list(State(node): State<Node>) -> Json<Page<Camera>> {
    Json(Page::whole(node.cameras().iter().map(|camera| show(&node, camera)).collect()))
}

/// `GET /api/v1/cameras/{id}`
pub(super) async fn one(State(node): State<Node>, Path(id): Path<String>) -> Result<Json<Camera>, Problem> {
    let camera = query::camera(&node, &id)?;
    Ok(Json(show(&node, &camera)))
}
