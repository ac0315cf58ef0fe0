//! Cameras as the API shows them.

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use keepwatch_model::{CameraId, GapReason, TICKS_PER_SECOND, WallTime};
use keepwatch_web::{Caller, Page, Problem};
use serde::Serialize;

use super::query;
use crate::{CameraState, Connection, Learned, Listening, Node, StreamState};

/// A camera whose last durable record is older than this is not being recorded, whatever its session says: twice
/// the longest record and its way to the disk.
const DURABLE_AGE_MAX: Duration = Duration::from_secs(6);

/// A camera; what is said of it as a whole is said of its main stream.
#[derive(Serialize)]
pub(super) struct Camera {
    id: CameraId,
    name: String,
    #[serde(flatten)]
    main: Stream,
    /// How far its clock is ahead of the recorder's.
    clock_offset_ms: Option<i64>,
    /// Whether its events are heard at its pull point; `null` when nobody listens there.
    events: Option<&'static str>,
    /// Why its events are not heard.
    events_detail: Option<String>,
    /// Its streams, the main one first.
    streams: Vec<NamedStream>,
}

#[derive(Serialize)]
struct NamedStream {
    /// `main` or `sub`.
    stream: String,
    #[serde(flatten)]
    stream_state: Stream,
    /// What is recorded, the video first.
    tracks: Vec<&'static str>,
    /// What the camera offers and is not recorded, and why.
    left_out: Vec<String>,
    /// How its media came: `tcp` or `udp`.
    transport: Option<&'static str>,
    /// The certificate that it showed; `null` without TLS.
    certificate: Option<String>,
    /// How far its clock is ahead of the recorder's, by its sender reports.
    clock_offset_ms: Option<i64>,
}

#[derive(Serialize)]
struct Stream {
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

/// Whether frames of `stream` reach the disk.
pub(super) fn is_recording(node: &Node, stream: &StreamState) -> bool {
    let fresh = stream.durable_at().is_some_and(|at| node.clock().mono().since(at) < DURABLE_AGE_MAX);
    fresh && stream.connection().0 == Connection::Recording
}

fn show(node: &Node, camera: &CameraState) -> Camera {
    let (events, events_detail) = match camera.listening() {
        None => (None, None),
        Some(Listening::Heard) => (Some("heard"), None),
        Some(Listening::Waiting(why)) => (Some("waiting"), Some(why)),
    };
    Camera {
        id: camera.id,
        name: camera.config().name.clone(),
        main: show_stream(node, camera.main()),
        clock_offset_ms: camera.clock_offset_ticks().map(milliseconds),
        events,
        events_detail,
        streams: camera.streams().map(|stream| show_named(node, stream)).collect(),
    }
}

fn show_named(node: &Node, stream: &StreamState) -> NamedStream {
    let Learned { tracks, left_out, certificate, transport } = stream.learned();
    NamedStream {
        stream: stream.id.to_string(),
        stream_state: show_stream(node, stream),
        tracks,
        left_out,
        certificate: certificate.map(|certificate| certificate.to_string()),
        transport,
        clock_offset_ms: stream.clock_offset_ticks().map(milliseconds),
    }
}

/// Ticks as milliseconds, to the nearest.
fn milliseconds(ticks: i64) -> i64 {
    ticks.saturating_add(TICKS_PER_SECOND / 2_000).div_euclid(TICKS_PER_SECOND / 1_000)
}

fn show_stream(node: &Node, stream: &StreamState) -> Stream {
    let (connection, since, words) = stream.connection();
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
    let counters = stream.counters();
    Stream {
        recording: is_recording(node, stream),
        durable_until: stream.ledger().held_until(),
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
pub(super) async fn list(State(node): State<Node>, caller: Caller) -> Json<Page<Camera>> {
    let cameras = query::cameras(&node, &caller.identity);
    Json(Page::whole(cameras.iter().map(|camera| show(&node, camera)).collect()))
}

/// `GET /api/v1/cameras/{id}`
pub(super) async fn one(State(node): State<Node>, Path(id): Path<String>) -> Result<Json<Camera>, Problem> {
    let camera = query::camera(&node, &id)?;
    Ok(Json(show(&node, &camera)))
}
