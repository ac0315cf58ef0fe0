//! Cameras that are edited in the console: how they are configured, changes of it, and earlier revisions.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::header::{ETAG, IF_MATCH, LOCATION};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use keepwatch_model::{CameraId, WallTime};
use keepwatch_settings::{CameraEntry, Revision, SettingsError};
use keepwatch_web::{Action, Caller, FieldError, Page, Problem};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::query;
use crate::Node;
use crate::node::Configured;
use crate::settings::{CameraWish, EditError};

/// Revisions in one page unless fewer are asked for.
const PAGE_MAX: usize = 100;

/// How a camera is configured: the keys of `[[camera]]` in keepwatch.toml, with the texts that stand there.
#[derive(Serialize, ToSchema)]
pub(super) struct CameraSettings {
    /// Its id.
    #[schema(value_type = String, example = "gate")]
    id: CameraId,
    /// Its name; `null` shows the id.
    name: Option<String>,
    /// Address of its main stream, without a login; `null` for a camera with an ONVIF address.
    #[schema(example = "rtsp://192.0.2.10/stream")]
    url: Option<String>,
    /// Address of its sub stream, without a login.
    sub_url: Option<String>,
    /// ONVIF address, without a login; `null` for a camera with a `url`.
    onvif: Option<String>,
    /// The edge node that records it and sends it here, with its id there where that differs; `null` for a camera that this
    /// recorder receives.
    #[schema(example = "box")]
    edge: Option<String>,
    /// Whether a sub stream is recorded; `null` for a camera with a `url`.
    sub: Option<bool>,
    /// Whether what it notices is entered into the event log; `null` for a camera with a `url`.
    events: Option<bool>,
    /// User to log in with.
    user: Option<String>,
    /// Whether there is a password. It is never shown.
    has_password: bool,
    /// How its media travels: `auto`, `tcp` or `udp`.
    #[schema(value_type = super::words::Transport)]
    transport: Option<String>,
    /// The certificate that it must show; `null` takes any.
    certificate: Option<String>,
    /// Whether its audio is recorded.
    audio: bool,
    /// Whether its metadata is recorded.
    metadata: bool,
    /// Age at which its footage is deleted; `null` takes the recorder's.
    #[schema(example = "30 days")]
    retention: Option<String>,
    /// When it is recorded, in UTC; empty means always.
    #[schema(example = json!(["mon-fri 07:00-19:00"]))]
    schedule: Vec<String>,
    /// Whether it is recorded all the time or on alarm.
    #[schema(value_type = super::words::RecordingMode)]
    recording: String,
    /// How much of the time before an alarm is recorded; `null` for a camera that is recorded all the time.
    #[schema(example = "10 s")]
    pre_alarm: Option<String>,
    /// How long it is recorded behind the last trigger of an alarm; `null` for a camera that is recorded all the time.
    #[schema(example = "30 s")]
    post_alarm: Option<String>,
    /// What triggers an alarm; `null` for a camera that is recorded all the time.
    #[schema(example = json!(["motion", "api"]))]
    alarm_on: Option<Vec<String>>,
    /// Whether it is edited in the console; else it stands in the configuration file.
    editable: bool,
    /// The revision that changed it last, also its `ETag`; `null` for a camera of the configuration file.
    revision: Option<u64>,
}

impl From<Configured> for CameraSettings {
    fn from(configured: Configured) -> Self {
        let Configured { entry, has_password, editable } = configured;
        let CameraEntry { id, revision, name, url, sub_url, onvif, edge, sub, events, user, .. } = entry;
        Self {
            id,
            name,
            url,
            sub_url,
            onvif,
            edge,
            sub,
            events,
            user,
            has_password,
            transport: entry.transport,
            certificate: entry.certificate,
            audio: entry.audio.unwrap_or(true),
            metadata: entry.metadata.unwrap_or(false),
            retention: entry.retention,
            schedule: entry.schedule.unwrap_or_default(),
            recording: entry.recording.unwrap_or_else(|| "continuous".to_owned()),
            pre_alarm: entry.pre_alarm,
            post_alarm: entry.post_alarm,
            alarm_on: entry.alarm_on,
            editable,
            revision: editable.then_some(revision),
        }
    }
}

/// A camera to be added, changed or tried. What is `null` or left out is as it is when it is left out of `[[camera]]`;
/// what only shows (`has_password`, `editable`, `revision`) may stand there and says nothing.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes the body, which is read by the rules of the configuration")]
pub(super) struct CameraBody {
    /// Its id: 1 to 31 of a-z 0-9 . _ - and a letter or digit first. May be left out of a change.
    #[schema(example = "gate")]
    id: Option<String>,
    /// Its name.
    name: Option<String>,
    /// Address of its main stream; a login in it is taken out and kept apart.
    url: Option<String>,
    /// Address of its sub stream.
    sub_url: Option<String>,
    /// ONVIF address, instead of `url`.
    onvif: Option<String>,
    /// The edge node that records it, like `box`, or `box/cam1` where its id there differs; instead of an address.
    edge: Option<String>,
    /// Whether a sub stream is recorded, for a camera with an ONVIF address or of an edge node.
    sub: Option<bool>,
    /// Whether what it notices is entered into the event log, for a camera with an ONVIF address.
    events: Option<bool>,
    /// User to log in with.
    user: Option<String>,
    /// Password to log in with. Left out of a change it stays, as long as the camera's address does; `null` removes it.
    #[schema(write_only)]
    password: Option<String>,
    /// How its media travels.
    transport: Option<super::words::Transport>,
    /// The certificate that it must show, as `sha256:...`.
    certificate: Option<String>,
    /// Whether its audio is recorded.
    audio: Option<bool>,
    /// Whether its metadata is recorded.
    metadata: Option<bool>,
    /// Age at which its footage is deleted.
    retention: Option<String>,
    /// When it is recorded, in UTC.
    schedule: Option<Vec<String>>,
    /// Whether it is recorded all the time or on alarm.
    recording: Option<super::words::RecordingMode>,
    /// How much of the time before an alarm is recorded.
    pre_alarm: Option<String>,
    /// How long it is recorded behind the last trigger of an alarm.
    post_alarm: Option<String>,
    /// What triggers an alarm: `motion`, `object`, `input`, `tamper`, `signal_loss`, `api`, or a topic of the camera.
    alarm_on: Option<Vec<String>>,
}

/// That a camera was removed.
#[derive(Serialize, ToSchema)]
pub(super) struct Removed {
    /// The camera.
    #[schema(value_type = String)]
    id: CameraId,
    /// The revision that removed it.
    revision: u64,
    /// What becomes of its footage.
    detail: String,
}

/// A revision of what is edited in the console.
#[derive(Serialize, ToSchema)]
pub(super) struct RevisionLine {
    /// Its number, from 1.
    number: u64,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    at: WallTime,
    /// Who made it.
    by: String,
    /// What it changed, in a few words.
    what: String,
}

impl From<Revision> for RevisionLine {
    fn from(revision: Revision) -> Self {
        let Revision { number, at, by, what } = revision;
        Self { number, at, by, what }
    }
}

/// That an earlier revision was taken up.
#[derive(Serialize, ToSchema)]
pub(super) struct Restored {
    /// The revision that is in force now.
    revision: u64,
    /// What it did, in a few words.
    what: String,
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct RevisionsQuery {
    /// At most so many, 1 to 100; 100 when left out.
    limit: Option<usize>,
    /// `next` of the page before.
    cursor: Option<u64>,
}

/// How a camera is configured.
#[utoipa::path(get, path = "/api/v1/cameras/{id}/config", operation_id = "cameraConfig", tag = "cameras",
    params(("id" = String, Path, description = "The camera.")),
    responses((status = 200, body = CameraSettings, headers(("ETag", description = "The camera's revision.")))))]
pub(super) async fn config(State(node): State<Node>, Path(id): Path<String>) -> Result<Response, Problem> {
    let camera = query::camera(&node, &id)?;
    shown(&node, StatusCode::OK, camera.id)
}

/// Adds a camera.
#[utoipa::path(post, path = "/api/v1/cameras", operation_id = "addCamera", tag = "cameras", request_body = CameraBody,
    responses((status = 201, body = CameraSettings, headers(("ETag", description = "The camera's revision."),
        ("Location", description = "The camera.")))))]
pub(super) async fn add(
    State(node): State<Node>,
    caller: Caller,
    Json(body): Json<Map<String, Value>>,
) -> Result<Response, Problem> {
    caller.require_audit()?;
    let wish = read(&body)?;
    let id = wish.draft.id;
    let changed = node.add_camera(&caller.identity.user, wish).await.map_err(problem)?;
    caller.enter(Action::CameraCreated, format!("camera:{id}"), &*changed.what).durable().await?;
    let mut response = shown(&node, StatusCode::CREATED, id)?;
    if let Ok(location) = HeaderValue::try_from(format!("/api/v1/cameras/{id}")) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

/// Changes a camera as a whole; what is left out of the body is as if it had never been set, except the password.
#[utoipa::path(put, path = "/api/v1/cameras/{id}", operation_id = "changeCamera", tag = "cameras",
    params(("id" = String, Path, description = "The camera."),
        ("If-Match" = Option<String>, Header, description = "The revision that the change was made from.")),
    request_body = CameraBody,
    responses((status = 200, body = CameraSettings, headers(("ETag", description = "The camera's revision.")))))]
pub(super) async fn change(
    State(node): State<Node>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    Json(mut body): Json<Map<String, Value>>,
) -> Result<Response, Problem> {
    caller.require_audit()?;
    let camera = query::camera(&node, &id)?;
    let expected = expected(&headers)?;
    let named = body.entry("id").or_insert_with(|| Value::from(camera.id.as_str()));
    if named.as_str() != Some(camera.id.as_str()) {
        let detail =
            "the id cannot be changed, for footage is kept under it; add another camera and remove this one";
        return Err(Problem::invalid(vec![FieldError::new("id", detail)]));
    }
    let wish = read(&body)?;
    let changed = node.change_camera(&caller.identity.user, wish, expected).await.map_err(problem)?;
    caller.enter(Action::CameraChanged, format!("camera:{}", camera.id), &*changed.what).durable().await?;
    shown(&node, StatusCode::OK, camera.id)
}

/// Removes a camera. Its footage stays.
#[utoipa::path(delete, path = "/api/v1/cameras/{id}", operation_id = "removeCamera", tag = "cameras",
    params(("id" = String, Path, description = "The camera."),
        ("If-Match" = Option<String>, Header, description = "The revision that was looked at.")),
    responses((status = 200, body = Removed)))]
pub(super) async fn remove(
    State(node): State<Node>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Removed>, Problem> {
    caller.require_audit()?;
    // One that cannot be used is not recorded, and can be removed all the same.
    let id: CameraId = id.parse().map_err(|_| Problem::camera_unknown(&id))?;
    let changed =
        node.remove_camera(&caller.identity.user, id, expected(&headers)?).await.map_err(problem)?;
    caller.enter(Action::CameraRemoved, format!("camera:{id}"), &*changed.what).durable().await?;
    let detail = "its footage stays until the space is needed for other footage; a camera that is added under the same \
                  id has it again"
        .to_owned();
    Ok(Json(Removed { id, revision: changed.revision, detail }))
}

/// The revisions of what is edited in the console, the newest first.
#[utoipa::path(get, path = "/api/v1/revisions", operation_id = "revisions", tag = "settings", params(RevisionsQuery),
    responses((status = 200, body = Page<RevisionLine>)))]
pub(super) async fn revisions(
    State(node): State<Node>,
    Query(query): Query<RevisionsQuery>,
) -> Result<Json<Page<RevisionLine>>, Problem> {
    let limit = query.limit.unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX);
    let mut read = node.revisions(query.cursor, limit.saturating_add(1)).await.map_err(problem)?;
    let more = read.len() > limit;
    read.truncate(limit);
    let next = read.last().filter(|_| more).map(|last| last.number.to_string());
    Ok(Json(Page { items: read.into_iter().map(RevisionLine::from).collect(), next }))
}

/// Takes up an earlier revision, as a new one.
#[utoipa::path(post, path = "/api/v1/revisions/{number}/restore", operation_id = "restoreRevision", tag = "settings",
    params(("number" = u64, Path, description = "The revision.")), responses((status = 200, body = Restored)))]
pub(super) async fn restore(
    State(node): State<Node>,
    caller: Caller,
    Path(number): Path<u64>,
) -> Result<Json<Restored>, Problem> {
    caller.require_audit()?;
    let changed = node.restore_revision(&caller.identity.user, number).await.map_err(problem)?;
    caller.enter(Action::RevisionRestored, format!("revision:{number}"), &*changed.what).durable().await?;
    Ok(Json(Restored { revision: changed.revision, what: changed.what }))
}

/// The camera that a body asks for.
pub(super) fn read(body: &Map<String, Value>) -> Result<CameraWish, Problem> {
    CameraWish::read(body).map_err(|errors| problem(EditError::Fields(errors)))
}

/// A camera as it is configured from now on.
fn shown(node: &Node, status: StatusCode, id: CameraId) -> Result<Response, Problem> {
    let configured = node.configured(id).ok_or_else(|| Problem::camera_unknown(id.as_str()))?;
    let settings = CameraSettings::from(configured);
    let tag = settings.revision.map(|revision| format!("\"{revision}\""));
    let mut response = (status, Json(settings)).into_response();
    if let Some(tag) = tag.and_then(|tag| HeaderValue::try_from(tag).ok()) {
        response.headers_mut().insert(ETAG, tag);
    }
    Ok(response)
}

/// The revision that `If-Match` names (RFC 9110 §13.1.1); `None` when any will do.
fn expected(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(value) = headers.get(IF_MATCH) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(None);
    }
    let number = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text).parse();
    number.map(Some).map_err(|_| {
        Problem::bad_request("if_match_invalid", "If-Match takes the ETag of the camera, like \"12\"")
    })
}

/// What is told of a change that was refused.
pub(crate) fn problem(error: EditError) -> Problem {
    let text = error.to_string();
    match error {
        EditError::Fields(errors) => {
            let errors = errors.into_iter().map(|error| FieldError::new(error.field, error.detail)).collect();
            Problem::invalid(errors)
        }
        EditError::OfFile(_) => Problem::conflict("camera_of_file", text),
        EditError::Taken(_) => Problem::conflict("camera_taken", text),
        EditError::Unknown(id) => Problem::camera_unknown(id.as_str()),
        EditError::Stale { .. } | EditError::Settings(SettingsError::Changed { .. }) => {
            Problem::new(StatusCode::PRECONDITION_FAILED, "revision_stale", "It was changed meanwhile", text)
        }
        EditError::RevisionUnknown(_) => Problem::not_found("revision_unknown", text),
        EditError::Settings(SettingsError::TooLarge(_)) => Problem::conflict("settings_full", text),
        EditError::Unusable(_) | EditError::Settings(_) | EditError::Key(_) => {
            Problem::unavailable("settings_unusable", text)
        }
        EditError::Seal(_) | EditError::NotInForce(_) | EditError::Interrupted => Problem::internal(text),
    }
}
