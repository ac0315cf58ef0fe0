//! Protection of footage against deletion.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use keepwatch_model::{CameraId, EventCode, Span, Subject, WallTime};
use keepwatch_store::{Protection, ProtectionId, StoreError};
use keepwatch_web::{Action, Caller, Page, Problem, Role};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::query;
use crate::Node;

/// Longest note in characters.
const NOTE_CHARS_MAX: usize = 500;

/// What to protect.
#[derive(Deserialize, ToSchema)]
#[schema(as = ProtectionBody)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    /// The camera.
    #[schema(value_type = String)]
    camera: CameraId,
    /// First moment.
    #[schema(value_type = String, format = DateTime)]
    from: WallTime,
    /// First moment after.
    #[schema(value_type = String, format = DateTime)]
    to: WallTime,
    /// Why; at most 500 characters.
    #[serde(default)]
    note: String,
}

/// Footage that is not deleted.
#[derive(Serialize, ToSchema)]
#[schema(as = Protection)]
pub(super) struct Line {
    /// Its number.
    id: i64,
    /// The camera.
    #[schema(value_type = String)]
    camera: CameraId,
    /// First moment.
    #[schema(value_type = String, format = DateTime)]
    from: WallTime,
    /// First moment after.
    #[schema(value_type = String, format = DateTime)]
    to: WallTime,
    /// Why.
    note: String,
}

impl From<Protection> for Line {
    fn from(protection: Protection) -> Self {
        let Protection { id, camera, span, note } = protection;
        Self { id: id.0, camera, from: span.from, to: span.to, note }
    }
}

/// All protections.
#[utoipa::path(get, path = "/api/v1/protections", operation_id = "protections", tag = "protections",
    responses((status = 200, body = Page<Line>)))]
pub(super) async fn list(State(node): State<Node>, caller: Caller) -> Json<Page<Line>> {
    let mut protections = node.store().protections();
    protections.retain(|held| caller.identity.at(held.camera.as_str()) >= Some(Role::Operator));
    Json(Page::whole(protections.into_iter().map(Line::from).collect()))
}

/// Protects footage from being overwritten or deleted.
#[utoipa::path(post, path = "/api/v1/protections", operation_id = "protect", tag = "protections",
    request_body = Request, responses((status = 201, body = Line)))]
pub(super) async fn protect(
    State(node): State<Node>,
    caller: Caller,
    Json(request): Json<Request>,
) -> Result<(StatusCode, Json<Line>), Problem> {
    caller.identity.require_at(request.camera.as_str(), Role::Operator)?;
    let camera = query::camera(&node, request.camera.as_str())?;
    let span = Span::new(request.from, request.to)
        .ok_or_else(|| Problem::bad_request("window_empty", "to must be later than from"))?;
    if request.note.chars().count() > NOTE_CHARS_MAX {
        let detail = format!("the note has more than {NOTE_CHARS_MAX} characters");
        return Err(Problem::bad_request("note_too_long", detail));
    }
    let note = request.note.clone();
    let id = query::blocking({
        let store = node.store().clone();
        move || store.protect(camera.id, span, &note)
    })
    .await?
    .map_err(|error| {
        if matches!(error, StoreError::ProtectionsFull { .. }) {
            Problem::conflict("protections_full", error.to_string())
        } else {
            query::index_failed(&error)
        }
    })?;
    let text = format!("{} protected footage from {} to {}", caller.identity.user, span.from, span.to);
    node.add_event(EventCode::FootageProtected, Subject::Camera(request.camera), text);
    let detail = format!("protection {}, {} to {}: {}", id.0, span.from, span.to, request.note);
    let entered = caller.enter(Action::FootageProtected, format!("camera:{}", request.camera), detail);
    // Footage is protected rather than on record: it could be overwritten meanwhile.
    let _on_record = entered.durable().await;
    let line = Line { id: id.0, camera: request.camera, from: span.from, to: span.to, note: request.note };
    Ok((StatusCode::CREATED, Json(line)))
}

/// Lifts a protection.
#[utoipa::path(delete, path = "/api/v1/protections/{id}", operation_id = "release", tag = "protections",
    params(("id" = i64, Path, description = "The protection.")), responses((status = 204)))]
pub(super) async fn release(
    State(node): State<Node>,
    caller: Caller,
    Path(id): Path<i64>,
) -> Result<StatusCode, Problem> {
    caller.require_audit()?;
    let released = query::blocking({
        let store = node.store().clone();
        move || store.release(ProtectionId(id))
    })
    .await?
    .map_err(|error| query::index_failed(&error))?;
    if !released {
        return Err(Problem::not_found("protection_unknown", format!("no protection {id}")));
    }
    let text = format!("{} released protection {id}", caller.identity.user);
    node.add_event(EventCode::FootageReleased, Subject::User(caller.identity.user.clone()), text);
    caller.enter(Action::FootageReleased, format!("protection:{id}"), "").durable().await?;
    Ok(StatusCode::NO_CONTENT)
}
