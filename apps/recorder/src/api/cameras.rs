//! Cameras as the API shows them.

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use keepwatch_model::{CameraId, GapReason, RoleId, TICKS_PER_SECOND, WallTime};
use keepwatch_web::{Caller, Page, Problem};
use serde::Serialize;
use utoipa::ToSchema;

use super::{alarms, query};
use crate::guests::Duty;
use crate::{CameraState, Connection, Learned, Listening, Node, StreamState};

/// A camera whose last durable record is older than this is not being recorded, whatever its session says: twice
/// the longest record and its way to the disk.
const DURABLE_AGE_MAX: Duration = Duration::from_secs(6);

/// A camera; what is said of it as a whole is said of its main stream.
#[derive(Clone, Serialize, ToSchema)]
pub(super) struct Camera {
    /// Its id.
    #[schema(value_type = String)]
    id: CameraId,
    /// Its name.
    name: String,
    /// Whether it is edited in the console; else it stands in the configuration file.
    editable: bool,
    /// Whose it is, of a camera that is recorded in the place of another recorder; `null` of this recorder's own.
    guest: Option<GuestCamera>,
    #[serde(flatten)]
    main: Stream,
    /// How far its clock is ahead of the recorder's.
    clock_offset_ms: Option<i64>,
    /// Whether its events are heard at its pull point; `null` when nobody listens there.
    #[schema(value_type = Option<super::words::EventsState>)]
    events: Option<&'static str>,
    /// Why its events are not heard.
    events_detail: Option<String>,
    /// How its alarms stand; `null` of a camera that is recorded all the time.
    alarm: Option<alarms::Shown>,
    /// Its streams, the main one first.
    streams: Vec<NamedStream>,
}

#[derive(Clone, Serialize, ToSchema)]
/// A camera of another recorder.
struct GuestCamera {
    /// The role of that recorder.
    #[schema(value_type = String)]
    role: RoleId,
    /// The camera's id there.
    #[schema(value_type = String)]
    camera: CameraId,
    /// What is done with it here.
    #[schema(value_type = super::words::GuestDuty)]
    duty: &'static str,
}

#[derive(Clone, Serialize, ToSchema)]
/// A stream of a camera.
struct NamedStream {
    /// `main` or `sub`.
    #[schema(value_type = super::words::StreamName)]
    stream: String,
    #[serde(flatten)]
    stream_state: Stream,
    /// What is recorded, the video first.
    #[schema(value_type = Vec<super::words::TrackName>)]
    tracks: Vec<&'static str>,
    /// What the camera offers and is not recorded, and why.
    left_out: Vec<String>,
    /// How its media came: `tcp` or `udp`.
    #[schema(value_type = Option<super::words::Carrier>)]
    transport: Option<&'static str>,
    /// The certificate that it showed; `null` without TLS.
    certificate: Option<String>,
    /// How far its clock is ahead of the recorder's, by its sender reports.
    clock_offset_ms: Option<i64>,
}

#[derive(Clone, Serialize, ToSchema)]
/// How a stream stands.
struct Stream {
    /// Whether its frames reach the disk: measured there, not at the connection.
    recording: bool,
    /// End of what is on disk; `null` when nothing is.
    #[schema(value_type = Option<String>, format = DateTime)]
    durable_until: Option<WallTime>,
    /// How its connection stands.
    #[schema(value_type = super::words::ConnectionState)]
    connection: &'static str,
    /// Since when the connection stands so.
    #[schema(value_type = String, format = DateTime)]
    since: WallTime,
    /// Why it is not recorded, as in coverage.
    #[schema(value_type = Option<super::words::GapReason>)]
    reason: Option<GapReason>,
    /// The reason as a sentence, with the device's own words where there are some.
    detail: Option<String>,
    /// Pictures queued for the disk since the node started.
    frames: u64,
    /// Packets that did not arrive, since the node started.
    lost_packets: u64,
    /// Packets that could not be understood, since the node started.
    bad_packets: u64,
    /// Sessions begun since the node started.
    sessions: u64,
    /// Bytes of footage flushed since the node started.
    durable_bytes: u64,
}

impl Stream {
    /// Without what counts up all the time.
    const fn still(mut self) -> Self {
        self.durable_until = None;
        self.frames = 0;
        self.durable_bytes = 0;
        self
    }
}

impl Camera {
    /// Without what counts up all the time: two that are equal stand alike.
    pub(super) fn still(self) -> Self {
        let streams = self.streams.into_iter();
        Self {
            main: self.main.still(),
            alarm: self.alarm.map(alarms::Shown::still),
            streams: streams
                .map(|stream| NamedStream { stream_state: stream.stream_state.still(), ..stream })
                .collect(),
            ..self
        }
    }
}

/// Whether frames of `stream` reach the disk.
pub(super) fn is_recording(node: &Node, stream: &StreamState) -> bool {
    let fresh = stream.durable_at().is_some_and(|at| node.clock().mono().since(at) < DURABLE_AGE_MAX);
    match stream.connection().0 {
        Connection::Recording => fresh,
        // What matters is how old the newest footage is, which was judged.
        Connection::Relayed => true,
        Connection::Unwanted
        | Connection::Waiting(_)
        | Connection::Connecting
        | Connection::Connected(_)
        | Connection::Buffered
        | Connection::Armed => false,
    }
}

/// Whose a camera of another recorder is. One that was let go since is recorded no more.
fn show_guest(node: &Node, role: RoleId, camera: CameraId) -> GuestCamera {
    let duty = match node.guest(role, camera).map_or(Duty::Rest, |view| view.duty) {
        Duty::Rest => "rest",
        Duty::Buffer => "buffer",
        Duty::Record => "record",
    };
    GuestCamera { role, camera, duty }
}

/// A camera as it is shown.
pub(super) fn show(node: &Node, camera: &CameraState) -> Camera {
    let (events, events_detail) = match camera.listening() {
        None => (None, None),
        Some(Listening::Heard) => (Some("heard"), None),
        Some(Listening::Waiting(why)) => (Some("waiting"), Some(why)),
    };
    Camera {
        id: camera.id,
        name: camera.config().name.clone(),
        editable: node.is_editable(camera.id),
        guest: camera.guest_of().map(|(role, camera)| show_guest(node, role, camera)),
        main: show_stream(node, camera.main()),
        clock_offset_ms: camera.clock_offset_ticks().map(milliseconds),
        events,
        events_detail,
        alarm: alarms::Shown::of(camera),
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
        // Nothing of it is on disk, and nothing should be.
        Connection::Buffered => ("connected", None),
        Connection::Armed => ("armed", None),
        Connection::Relayed => ("relayed", None),
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

/// All cameras.
#[utoipa::path(get, path = "/api/v1/cameras", operation_id = "cameras", tag = "cameras",
    responses((status = 200, body = Page<Camera>)))]
pub(super) async fn list(State(node): State<Node>, caller: Caller) -> Json<Page<Camera>> {
    let cameras = query::cameras(&node, &caller.identity);
    Json(Page::whole(cameras.iter().map(|camera| show(&node, camera)).collect()))
}

/// One camera.
#[utoipa::path(get, path = "/api/v1/cameras/{id}", operation_id = "camera", tag = "cameras",
    params(("id" = String, Path, description = "The camera.")), responses((status = 200, body = Camera)))]
pub(super) async fn one(State(node): State<Node>, Path(id): Path<String>) -> Result<Json<Camera>, Problem> {
    let camera = query::camera(&node, &id)?;
    Ok(Json(show(&node, &camera)))
}
