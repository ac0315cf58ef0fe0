//! Single pictures over HTTP: the newest, or the one of an instant, as JPEG files.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use keepwatch_model::{State as Held, StreamId, TICKS_PER_SECOND, UnknownReason, WallTime};
use keepwatch_picture::PictureError;
use keepwatch_web::{Action, Caller, Problem, Role};
use serde::Deserialize;

use super::query;
use crate::picture::{Found, Search, ShowError, Shown, find};
use crate::{CameraState, Node, StreamState};

/// Widths that a picture is scaled down to.
const WIDTHS: std::ops::RangeInclusive<u16> = 64..=3_840;
/// Footage that is older is not the newest picture of anything: it is the past, for which another role is asked.
const NEWEST_AGE_TICKS: i64 = 60 * TICKS_PER_SECOND;
/// A picture stands for so long where the account has a seam behind it.
const SEAM_TICKS: i64 = TICKS_PER_SECOND;

/// The picture's own time.
const LABEL: HeaderName = HeaderName::from_static("keepwatch-label");
/// The stream that it is of.
const STREAM: HeaderName = HeaderName::from_static("keepwatch-stream");

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PictureQuery {
    /// The instant; the newest picture when left out.
    #[param(format = DateTime)]
    at: Option<String>,
    /// `main` or `sub`; when left out the main stream, or the sub stream where only that can be decoded.
    #[param(value_type = Option<super::words::StreamName>)]
    stream: Option<String>,
    /// Width to scale down to.
    #[param(value_type = Option<u16>, minimum = 64, maximum = 3840)]
    width: Option<String>,
}

/// A picture as a JPEG file: the newest, or with `at`, for operators, the one that stands at an instant.
#[utoipa::path(get, path = "/api/v1/cameras/{id}/picture.jpg", operation_id = "picture", tag = "footage",
    params(("id" = String, Path, description = "The camera."), PictureQuery),
    responses((status = 200, content_type = "image/jpeg", body = Vec<u8>,
        headers(("Keepwatch-Label", description = "The picture's own time."),
            ("Keepwatch-Stream", description = "The stream that it is of."),
            ("ETag", description = "With `at`: what `If-None-Match` is compared with."))),
        (status = 304, description = "It is the picture that `If-None-Match` names.")))]
pub(super) async fn picture(
    State(node): State<Node>,
    caller: Caller,
    Path(id): Path<String>,
    Query(query): Query<PictureQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let camera = query::camera(&node, &id)?;
    let stream = query::stream(&camera, query.stream.as_deref())?;
    let width = query.width.as_deref().map_or(Ok(0), read_width)?;
    let user = caller.identity.user.as_str();
    match query.at.as_deref() {
        None => {
            caller.viewed(Action::LiveViewed, camera.id);
            let (key, now) = ((camera.id, stream.id, width), node.clock().mono());
            let shown =
                node.pictures().newest(key, now, newest(&node, &camera, &stream, user, width)).await?;
            answer(shown, "private, max-age=1", None)
        }
        Some(at) => {
            caller.identity.require_at(&id, Role::Operator)?;
            let at = query::parse("at", at)?;
            caller.viewed(Action::PlaybackViewed, camera.id);
            let found = search(&node, &camera, &stream, at).await?.ok_or_else(|| undecodable(""))?;
            let tag = format!("\"{}-{}-{}-{width}\"", camera.id, found.stream, found.label.ticks());
            // Footage is never changed, so a picture of the past stays what it is.
            let known = headers.get(IF_NONE_MATCH).and_then(|held| held.to_str().ok());
            if known.is_some_and(|known| known.split(',').any(|known| known.trim() == tag)) {
                return Ok((StatusCode::NOT_MODIFIED, [(ETAG, tag)]).into_response());
            }
            let shown =
                node.pictures().show(&node, user, found, width).await.map_err(|error| problem(&error))?;
            answer(shown, "private, max-age=86400, immutable", Some(tag))
        }
    }
}

async fn newest(
    node: &Node,
    camera: &Arc<CameraState>,
    stream: &Arc<StreamState>,
    user: &str,
    width: u16,
) -> Result<Shown, Problem> {
    let held = stream.ledger().held_until();
    let now = node.clock().wall();
    let Some(held) = held.filter(|held| now.ticks_since(*held) < NEWEST_AGE_TICKS) else {
        return Err(missing(camera, stream, now));
    };
    let Some(found) = search(node, camera, stream, held.plus(-1)).await? else {
        return of_camera(node, camera, user, width).await;
    };
    node.pictures().show(node, user, found, width).await.map_err(|error| problem(&error))
}

/// The picture that the camera makes itself.
async fn of_camera(node: &Node, camera: &CameraState, user: &str, width: u16) -> Result<Shown, Problem> {
    let clock = node.clock();
    let made = camera.snapshot(move || clock.wall()).await.ok_or_else(|| undecodable(""))?;
    let made =
        made.map_err(|why| undecodable(&format!("; the camera's own picture cannot be had: {why}")))?;
    let file = node.pictures().show_file(user, made.file, width).await.map_err(|error| problem(&error))?;
    Ok(Shown { label: made.at, stream: StreamId::MAIN, file })
}

/// That pictures of this coding cannot be decoded, `and` what else was tried.
fn undecodable(and: &str) -> Problem {
    let detail = format!(
        "footage of H.265 is not decoded here; record a sub stream in H.264 beside it, or play it in a browser that decodes H.265{and}"
    );
    let title = "The picture cannot be decoded";
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "codec_undecodable", title, detail)
}

/// The picture of `at`, of the sub stream where that of the main one cannot be decoded; `None` when neither can.
async fn search(
    node: &Node,
    camera: &Arc<CameraState>,
    stream: &Arc<StreamState>,
    at: WallTime,
) -> Result<Option<Found>, Problem> {
    let found = search_one(node, camera, stream, at).await?;
    if found.is_some() {
        return Ok(found);
    }
    let sub = camera.stream(StreamId::SUB).filter(|sub| stream.id == StreamId::MAIN && sub.id != stream.id);
    let Some(sub) = sub else { return Ok(None) };
    // A hole in the sub stream is no answer to a question about the main one.
    Ok(search_one(node, camera, sub, at).await.ok().flatten())
}

/// The same of one stream; `None` when it is of a coding that is not decoded.
async fn search_one(
    node: &Node,
    camera: &Arc<CameraState>,
    stream: &Arc<StreamState>,
    at: WallTime,
) -> Result<Option<Found>, Problem> {
    let (place, store) = (node.read_place().await, node.store().clone());
    let of = (stream.camera, stream.id);
    let searched = query::blocking(move || {
        let _place = place;
        find(&store, of, at)
    });
    match searched.await?.map_err(|error| problem(&error.into()))? {
        Search::Found(found) => {
            let held = matches!(stream.ledger().state_at(at), Held::Held { .. });
            let near = at.ticks_since(found.label).unsigned_abs() <= SEAM_TICKS.unsigned_abs();
            if held || near { Ok(Some(*found)) } else { Err(missing(camera, stream, at)) }
        }
        Search::Undecodable => Ok(None),
        Search::Nothing => Err(missing(camera, stream, at)),
    }
}

fn read_width(text: &str) -> Result<u16, Problem> {
    text.parse().ok().filter(|width| WIDTHS.contains(width)).ok_or_else(|| {
        let detail = format!("width is {} to {}, not {text:?}", WIDTHS.start(), WIDTHS.end());
        Problem::bad_request("width_invalid", detail)
    })
}

/// Why nothing is shown at `at`.
fn missing(camera: &CameraState, stream: &StreamState, at: WallTime) -> Problem {
    let why = match stream.ledger().state_at(at) {
        Held::Held { .. } => "the footage on disk has no picture there",
        Held::Gap { reason } => reason.sentence(),
        Held::Expired => "the footage was there and has been deleted",
        Held::Unscheduled => "nothing was to be recorded",
        Held::NoAlarm => "the camera is recorded on alarm, and there was none",
        Held::Unknown { reason } => match reason {
            UnknownReason::DiskAbsent => "the disk that holds it is not there",
            UnknownReason::NotYet => "it is not over, or on its way to the disk",
            UnknownReason::ClockStepped => "the recorder's clock was set forward over it",
            UnknownReason::NotConfigured => "the camera was not known to this recorder",
        },
    };
    let detail =
        format!("no picture of {} at {at}: {why}; its coverage shows where there are some", camera.id);
    Problem::not_found("footage_missing", detail)
}

fn answer(shown: Shown, cache: &'static str, tag: Option<String>) -> Result<Response, Problem> {
    let text = |text: String| {
        HeaderValue::try_from(text).map_err(|_| Problem::internal("the answer has no header form"))
    };
    let mut response = Response::new(Body::from(shown.file));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("image/jpeg"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    headers.insert(LABEL, text(shown.label.to_string())?);
    headers.insert(STREAM, text(shown.stream.to_string())?);
    if let Some(tag) = tag {
        headers.insert(ETAG, text(tag)?);
    }
    Ok(response)
}

fn problem(error: &ShowError) -> Problem {
    match error {
        ShowError::Find(_) | ShowError::Read { .. } => {
            Problem::conflict("footage_unreadable", error.to_string())
        }
        ShowError::Coding => undecodable(""),
        ShowError::Jpeg => Problem::conflict("footage_unsuitable", error.to_string()),
        ShowError::Interrupted => Problem::internal(error.to_string()),
        ShowError::Decode(error) => match error {
            PictureError::Busy | PictureError::Ending => {
                Problem::unavailable("pictures_busy", error.to_string()).retry_after(Duration::from_secs(1))
            }
            PictureError::TooSlow(_) | PictureError::NoWorker(_) => {
                Problem::unavailable("pictures_unavailable", error.to_string())
            }
            PictureError::Undecodable(_) | PictureError::Crashed | PictureError::TooLarge(_) => {
                Problem::conflict("footage_unsuitable", error.to_string())
            }
        },
    }
}
