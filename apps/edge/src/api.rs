//! The relay over HTTP: how it stands, and where footage is sent.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use keepwatch_model::{CameraId, TICKS_PER_SECOND, WallTime};
use keepwatch_recorder::api::{Part, disk_state};
use keepwatch_recorder::peers::{Approach, resolve};
use keepwatch_recording::edge::Case;
use keepwatch_recording::edge::fill::percent;
use keepwatch_recording::edge::health::Alarm;
use keepwatch_recording::edge::limit::SpeedLimit;
use keepwatch_recording::peer::Password;
use keepwatch_store::DiskStatus;
use keepwatch_web::{Access, Action, Caller, FieldError, Problem, Role, Routes};
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};

use crate::alarms::{Raised, word};
use crate::config::SPEED_PERCENT_MAX;
use crate::outside::Disks;
use crate::standing::{LineStanding, Standing};
use crate::{EdgeError, Relay};

const VIEWER: Access = Access::Everywhere(Role::Viewer);
const OPERATOR: Access = Access::Everywhere(Role::Operator);
const ADMINISTRATOR: Access = Access::Everywhere(Role::Administrator);

/// All routes under `/api/v1/edge`.
pub fn routes(relay: Relay) -> Routes {
    table().with_state(relay)
}

/// What these routes add to the description of the API.
pub fn part() -> Part {
    Part { rules: table().rules().to_vec(), description: Document::openapi(), status: &[("edge", "Edge")] }
}

/// How it stands, as the status socket tells it.
pub(crate) fn text(standing: &Standing) -> String {
    serde_json::to_string(&Edge::from(standing)).expect("texts and numbers have a JSON form")
}

fn table() -> Routes<Relay> {
    Routes::new()
        .get("/api/v1/edge", VIEWER, show)
        .post("/api/v1/edge/recorder", ADMINISTRATOR, register)
        .delete("/api/v1/edge/recorder", ADMINISTRATOR, deregister)
        .put("/api/v1/edge/lines/{camera}", OPERATOR, limit)
        .delete("/api/v1/edge/lines/{camera}", OPERATOR, unlimit)
}

#[derive(OpenApi)]
#[openapi(paths(show, register, deregister, limit, unlimit), components(schemas(Edge)))]
struct Document;

/// How the relay of this node stands.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct Edge {
    /// The case of failure: 0 for none, 1 while the external storage is away, 2 to 4 for a failure of local storage.
    case: u8,
    /// The case in a sentence.
    sentence: &'static str,
    /// Whether the external storage takes footage.
    sending: bool,
    /// The recorder that footage is sent to; `null` when none is registered.
    recorder: Option<ToRecorder>,
    /// What can be done with each local storage.
    storages: Vec<LocalStorage>,
    /// How full that one is of footage that is not outside which is recorded to.
    fill: FillOf,
    /// Footage that is also kept in memory until it is outside.
    memory: Memory,
    /// What may be sent in a second of all cameras together; 0 is no limit.
    throttle_bits_per_second: u64,
    /// What is wrong at the moment.
    alarms: Vec<AlarmOf>,
    /// The disks of `[edge]` that footage is written to in place of a recorder; none where it is sent to one.
    disks: Vec<OutsideDisk>,
    /// The name of the recorder that this node is registered at although footage goes to disks: nothing is sent there.
    unused_recorder: Option<String>,
    /// Every stream of every camera that this node records.
    lines: Vec<Line>,
}

/// A local storage.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = EdgeStorage)]
struct LocalStorage {
    /// `internal` or `second`.
    place: &'static str,
    /// `writable`, `read_only` or `gone`.
    condition: &'static str,
    /// It is recorded to.
    recorded_to: bool,
}

/// How full local storage is of footage that is not outside.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = EdgeFill)]
struct FillOf {
    /// Where it is recorded to: `internal`, `second` or, when neither can be written, `memory`.
    place: &'static str,
    /// Bytes that are not outside.
    used_bytes: u64,
    /// Bytes that it holds before it overwrites.
    room_bytes: u64,
    /// The same in percent, rounded down.
    percent: u64,
    /// It warns from here on.
    warning_percent: u8,
    /// All is clear again from here on.
    all_clear_percent: u8,
    /// It has warned, and is not all clear again.
    warned: bool,
    /// Milliseconds until footage is overwritten that is not outside, at the present rates; `null` when it never is.
    overflows_in_ms: Option<u64>,
}

/// Footage in memory.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = EdgeMemory)]
struct Memory {
    /// Bytes of it.
    used_bytes: u64,
    /// Most bytes of it.
    max_bytes: u64,
}

/// Something that is wrong.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = EdgeAlarm)]
struct AlarmOf {
    /// `fill`, `overflow_ahead`, `clock`, `overload` or `never_depletes`.
    kind: &'static str,
    /// The camera it is about; `null` for the node.
    #[schema(value_type = Option<String>)]
    camera: Option<CameraId>,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    since: WallTime,
    /// What, what it costs, and what to do.
    text: String,
}

/// The recorder that footage is sent to.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = EdgeRecorder)]
struct ToRecorder {
    /// Its name.
    name: String,
    /// Where it answers nodes.
    #[schema(example = "192.0.2.7:8443")]
    address: String,
    /// Its key.
    key: String,
    /// When this node was registered there.
    #[schema(value_type = String, format = DateTime)]
    since: WallTime,
    /// When it answered last; `null` when it did not since the start.
    #[schema(value_type = Option<String>, format = DateTime)]
    answered: Option<WallTime>,
    /// Milliseconds that its clock shows more than that of this node.
    clock_ahead_ms: Option<i64>,
    /// Since when it takes nothing; `null` while it does.
    #[schema(value_type = Option<String>, format = DateTime)]
    away_since: Option<WallTime>,
    /// Why.
    trouble: Option<String>,
}

/// A disk that is the external storage, or a part of it.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = EdgeDisk)]
struct OutsideDisk {
    /// Its configured path.
    path: String,
    /// Its id; `null` while it was never seen.
    id: Option<String>,
    /// How it stands: `online`, `gone`, `read_only`, `full` or `foreign`.
    state: &'static str,
    /// Why it stands so.
    detail: Option<String>,
    /// Bytes of all extents.
    size_bytes: u64,
    /// Bytes of the extents in use; the oldest are overwritten when that is all.
    used_bytes: u64,
}

/// How a stream of a camera stands.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = EdgeLine)]
struct Line {
    /// The camera.
    #[schema(value_type = String)]
    camera: CameraId,
    /// 0 is the main stream.
    stream: u8,
    /// Whether the recorder wants it.
    wanted: bool,
    /// How old the oldest footage is that the relay has not sent, in milliseconds; `null` when there is none.
    behind_ms: Option<u64>,
    /// Footage that the relay left out and that is replenished, in milliseconds.
    backlog_ms: u64,
    /// Bytes that left since the start.
    sent_bytes: u64,
    /// Records that left since the start.
    sent_records: u64,
    /// Footage that went before it was outside, since the start, in milliseconds.
    lost_ms: u64,
    /// The speed limit, in percent of the rate that it was recorded with.
    speed_percent: u32,
    /// Most bits in a second; 0 is no limit.
    rate_bits_per_second: u64,
    /// Both were set while the node ran, in place of what the configuration says.
    limit_set: bool,
    /// Bits that are recorded in a second.
    recorded_bits_per_second: u64,
    /// Bits that were sent in a second, of the last half minute.
    sent_bits_per_second: u64,
    /// Bytes of it that are not outside, where it is recorded to.
    waiting_bytes: u64,
    /// Milliseconds until nothing is left out any more, with its limits; `null` when it never comes to that.
    depletes_in_ms: Option<u64>,
    /// Why it falls behind: `limit`, `encoder`, `throttle`, `network`, `playback`, `processor` or `storage`; `null` while it keeps up.
    cause: Option<&'static str>,
}

impl From<&Standing> for Edge {
    fn from(standing: &Standing) -> Self {
        let recorder = standing.recorder().map(|recorder| ToRecorder {
            name: recorder.name.clone(),
            address: recorder.address.to_string(),
            key: recorder.key.to_string(),
            since: recorder.since,
            answered: standing.contact.answered,
            clock_ahead_ms: standing.contact.ahead_ticks.map(|ticks| ticks / (TICKS_PER_SECOND / 1000)),
            away_since: standing.contact.away_since,
            trouble: standing.contact.trouble.clone(),
        });
        Self {
            case: standing.case.number(),
            sentence: sentence(standing.case),
            sending: standing.takes,
            recorder,
            storages: standing
                .storages
                .iter()
                .map(|(place, condition)| LocalStorage {
                    place: place.as_str(),
                    condition: condition.as_str(),
                    recorded_to: *place == standing.writes_to,
                })
                .collect(),
            fill: FillOf::from(standing),
            memory: Memory { used_bytes: standing.memory.0, max_bytes: standing.memory.1 },
            throttle_bits_per_second: standing.throttle_bits_per_second,
            alarms: standing.alarms.iter().map(AlarmOf::from).collect(),
            disks: standing
                .disks()
                .map(Disks::status)
                .unwrap_or_default()
                .into_iter()
                .map(OutsideDisk::from)
                .collect(),
            unused_recorder: standing.disks().and_then(Disks::unused).map(|recorder| recorder.name),
            lines: standing.lines.iter().map(Line::from).collect(),
        }
    }
}

impl From<DiskStatus> for OutsideDisk {
    fn from(disk: DiskStatus) -> Self {
        let (state, detail) = disk_state(disk.state);
        Self {
            path: disk.path.display().to_string(),
            id: disk.id.map(|id| id.to_string()),
            state,
            detail,
            size_bytes: disk.size_bytes,
            used_bytes: disk.used_bytes,
        }
    }
}

impl From<&Standing> for FillOf {
    fn from(standing: &Standing) -> Self {
        let fill = standing.fill;
        Self {
            place: standing.writes_to.as_str(),
            used_bytes: fill.bytes,
            room_bytes: fill.room_bytes,
            percent: if fill.bytes == 0 { 0 } else { percent(fill.bytes, fill.room_bytes) },
            warning_percent: fill.thresholds.warning_percent,
            all_clear_percent: fill.thresholds.all_clear_percent,
            warned: fill.warned,
            overflows_in_ms: fill.overflows_in.map(millis),
        }
    }
}

impl From<&Raised> for AlarmOf {
    fn from(raised: &Raised) -> Self {
        let (kind, camera) = match raised.alarm {
            Alarm::Fill => ("fill", None),
            Alarm::OverflowAhead => ("overflow_ahead", None),
            Alarm::Clock => ("clock", None),
            Alarm::Overload((camera, _)) => ("overload", Some(camera)),
            Alarm::NeverDepletes((camera, _)) => ("never_depletes", Some(camera)),
        };
        Self { kind, camera, since: raised.since, text: raised.text.clone() }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl From<&LineStanding> for Line {
    fn from(line: &LineStanding) -> Self {
        Self {
            camera: line.key.0,
            stream: line.key.1.0,
            wanted: line.wanted,
            behind_ms: line.behind.map(millis),
            backlog_ms: millis(line.backlog),
            sent_bytes: line.bytes,
            sent_records: line.records,
            lost_ms: millis(line.lost),
            speed_percent: line.limit.percent,
            rate_bits_per_second: line.limit.bits_per_second,
            limit_set: line.limit_is_set,
            recorded_bits_per_second: line.health.recorded_bits_per_second,
            sent_bits_per_second: line.health.sent_bits_per_second,
            waiting_bytes: line.waiting_bytes,
            depletes_in_ms: line.health.depletes_in.map(millis),
            cause: line.health.cause.map(word),
        }
    }
}

const fn sentence(case: Case) -> &'static str {
    match case {
        Case::Normal => "footage is recorded here and sent",
        Case::ExternalAway => "the external storage takes nothing; footage is kept here until it does",
        Case::LocalReadOnly => {
            "local storage takes no more footage; what it holds is sent, and the stream directly"
        }
        Case::LocalGone => "local storage is gone; the stream is sent directly",
        Case::Second => "the second local storage takes the footage",
    }
}

/// The recorder that is to be sent to, and a login of it: `user` and `password`, or `token`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = EdgeRegister)]
pub(crate) struct Wish {
    /// Its host, with a port unless that is 8443.
    #[schema(example = "192.0.2.7:8443")]
    address: String,
    /// The name of an administrator there.
    #[serde(default)]
    user: Option<String>,
    /// That user's password, which is not kept.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    password: Option<Password>,
    /// A token that it gave out (`keepwatch edge token`).
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    token: Option<Password>,
    /// The key that it must have, or the first 16 digits of it or more.
    #[serde(default)]
    key: Option<String>,
}

/// The recorder that is sent to.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = EdgeRegistered)]
pub(crate) struct Registered {
    /// Its name.
    name: String,
}

/// How the relay of this node stands.
#[utoipa::path(get, path = "/api/v1/edge", operation_id = "edge", tag = "edge", responses((status = 200, body = Edge)))]
pub(crate) async fn show(State(relay): State<Relay>) -> Json<Edge> {
    Json(Edge::from(relay.standing().as_ref()))
}

/// Registers this node at a recorder, and sends there what is recorded here.
#[utoipa::path(post, path = "/api/v1/edge/recorder", operation_id = "registerEdge", tag = "edge", request_body = Wish,
    responses((status = 200, body = Registered)))]
pub(crate) async fn register(
    State(relay): State<Relay>,
    caller: Caller,
    Json(wish): Json<Wish>,
) -> Result<Json<Registered>, Problem> {
    caller.require_audit()?;
    let invalid =
        |(field, detail): (&'static str, String)| Problem::invalid(vec![FieldError::new(field, detail)]);
    let Wish { address, user, password, token, key } = wish;
    let approach = Approach::read(user, password, token, key).map_err(invalid)?;
    let found = resolve(address.clone()).await.map_err(|why| invalid(("address", why)))?;
    let name = relay.register(found, &approach).await.map_err(problem)?;
    caller.enter(Action::EdgeRecorderSet, "node", format!("{name:?} at {address}")).durable().await?;
    Ok(Json(Registered { name }))
}

/// Sends nothing more to the recorder. What it has stays there.
#[utoipa::path(delete, path = "/api/v1/edge/recorder", operation_id = "deregisterEdge", tag = "edge",
    responses((status = 204)))]
pub(crate) async fn deregister(State(relay): State<Relay>, caller: Caller) -> Result<StatusCode, Problem> {
    caller.require_audit()?;
    let name = relay.deregister().await.map_err(problem)?;
    caller.enter(Action::EdgeRecorderRemoved, "node", format!("{name:?}")).durable().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// How fast the footage of a camera leaves.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = EdgeLimit)]
pub(crate) struct LimitWish {
    /// In percent of the rate that it was recorded with: 0 stops, a later value resumes.
    #[schema(maximum = 1_000_000)]
    speed_percent: u32,
    /// Most bits in a second; 0 is no limit. Another one holds from the next backup on.
    #[serde(default)]
    rate_bits_per_second: u64,
    /// It is meant, although footage that was left out never leaves with it.
    #[serde(default)]
    confirm: bool,
}

/// Sets how fast the footage of a camera leaves, in place of what the configuration says, also after a restart.
#[utoipa::path(put, path = "/api/v1/edge/lines/{camera}", operation_id = "setEdgeLimit", tag = "edge",
    params(("camera" = String, Path, description = "The id of the camera.")), request_body = LimitWish, responses((status = 204)))]
pub(crate) async fn limit(
    State(relay): State<Relay>,
    caller: Caller,
    Path(camera): Path<String>,
    Json(wish): Json<LimitWish>,
) -> Result<StatusCode, Problem> {
    let LimitWish { speed_percent, rate_bits_per_second, confirm } = wish;
    if speed_percent > SPEED_PERCENT_MAX {
        let detail = format!("write 0 to {SPEED_PERCENT_MAX}");
        return Err(Problem::invalid(vec![FieldError::new("speed_percent", detail)]));
    }
    let limit = SpeedLimit { percent: speed_percent, bits_per_second: rate_bits_per_second };
    let told = format!("{speed_percent} %, {rate_bits_per_second} bit/s");
    set(&relay, caller, &camera, Some(limit), confirm, told).await
}

/// Has the footage of a camera leave as fast as the configuration says.
#[utoipa::path(delete, path = "/api/v1/edge/lines/{camera}", operation_id = "removeEdgeLimit", tag = "edge",
    params(("camera" = String, Path, description = "The id of the camera.")), responses((status = 204)))]
pub(crate) async fn unlimit(
    State(relay): State<Relay>,
    caller: Caller,
    Path(camera): Path<String>,
) -> Result<StatusCode, Problem> {
    set(&relay, caller, &camera, None, true, "as configured".to_owned()).await
}

async fn set(
    relay: &Relay,
    caller: Caller,
    camera: &str,
    limit: Option<SpeedLimit>,
    confirmed: bool,
    told: String,
) -> Result<StatusCode, Problem> {
    caller.require_audit()?;
    let unknown = || Problem::not_found("camera_unknown", "no such camera here; GET /api/v1/edge lists them");
    let id: CameraId = camera.parse().map_err(|_| unknown())?;
    relay.set_limit(id, limit, confirmed).await.map_err(problem)?;
    caller.enter(Action::EdgeLimitSet, format!("camera:{id}"), told).durable().await?;
    Ok(StatusCode::NO_CONTENT)
}

fn problem(error: EdgeError) -> Problem {
    match error {
        EdgeError::Register(refused) => {
            let title = "The recorder does not let this node in";
            Problem::new(StatusCode::CONFLICT, refused.code().to_owned(), title, refused.to_string())
        }
        EdgeError::NoCamera(_) => Problem::not_found("camera_unknown", error.to_string()),
        EdgeError::NeverDepletes(_) => Problem::conflict("never_depletes", error.to_string()),
        EdgeError::Disks => Problem::conflict("edge_has_disks", error.to_string()),
        EdgeError::NoRecorder => Problem::conflict("edge_no_recorder", error.to_string()),
        EdgeError::Kept(_) | EdgeError::Ending => Problem::internal(error.to_string()),
    }
}
