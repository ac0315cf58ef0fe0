//! Footage for a page: windows as fragmented MP4, streamed with bounded memory, and lists of frames.

use std::io;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use keepwatch_model::{EventCode, Subject, WallTime};
use keepwatch_store::{ReadError, RecordRef};
use keepwatch_web::{Action, Caller, Page, Problem, Right, Role};
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use utoipa::ToSchema;

use super::export::Pieces;
use super::query::{self, WindowQuery};
use crate::Node;
use crate::watch::{
    Frames, KEY_WINDOW_TICKS_MAX, PLAYBACKS_MAX, Playback, PlaybackError, WINDOW_TICKS_MAX, Wanted,
    list_frames,
};

/// Parts that wait for a slow client; a part is a record.
const PARTS_MAX: usize = 2;
/// A client that takes nothing for so long is given up, so that others have its place.
const PATIENCE: Duration = Duration::from_secs(30);
/// Most frames in one answer; a longer one goes on with `next`.
const FRAMES_MAX: usize = 1_000;

/// The label at media time 0.
const BASE: HeaderName = HeaderName::from_static("keepwatch-base");
/// The label of the first picture.
const FIRST: HeaderName = HeaderName::from_static("keepwatch-first");
/// The media type with its codecs.
const MIME: HeaderName = HeaderName::from_static("keepwatch-mime");
/// Where to go on behind a change of parameters.
const NEXT: HeaderName = HeaderName::from_static("keepwatch-next");

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct MediaQuery {
    #[serde(flatten)]
    #[param(ignore)]
    window: WindowQuery,
    /// `main` or `sub`; the main stream when left out.
    #[param(value_type = Option<super::words::StreamName>)]
    stream: Option<String>,
    /// `all` or `key`; all when left out.
    frames: Option<String>,
    /// Whether sound is wanted; it is when left out.
    audio: Option<String>,
    /// The label at media time 0; `from` when left out.
    base: Option<String>,
}

/// A window of footage as fragmented MP4, for a page.
#[utoipa::path(get, path = "/api/v1/cameras/{id}/media.mp4", operation_id = "media", tag = "footage",
    params(("id" = String, Path, description = "The camera."), WindowQuery, MediaQuery),
    responses((status = 200, content_type = "video/mp4", body = Vec<u8>,
        headers(("Keepwatch-Base", description = "The label at media time 0."),
            ("Keepwatch-First", description = "The label of the first picture; sound may begin earlier."),
            ("Keepwatch-Mime", description = "The media type with its codecs."),
            ("Keepwatch-Next", description = "Where to go on behind a change of parameters.")))))]
pub(super) async fn media(
    State(node): State<Node>,
    caller: Caller,
    Path(id): Path<String>,
    Query(query): Query<MediaQuery>,
) -> Result<Response, Problem> {
    let camera = query::camera(&node, &id)?;
    let stream = query::stream(&camera, query.stream.as_deref())?.id;
    let window = query.window.required()?;
    let frames = match query.frames.as_deref() {
        None | Some("all") => Frames::All,
        Some("key") => Frames::Key,
        Some(_) => return Err(Problem::bad_request("frames_invalid", "frames is all or key")),
    };
    let (longest, what) = match frames {
        Frames::All => (WINDOW_TICKS_MAX, "10 minutes"),
        Frames::Key => (KEY_WINDOW_TICKS_MAX, "24 hours of key frames"),
    };
    if window.ticks() > longest {
        return Err(Problem::bad_request("window_too_long", format!("a window holds at most {what}")));
    }
    let sound = match query.audio.as_deref() {
        None | Some("true") => true,
        Some("false") => false,
        Some(_) => return Err(Problem::bad_request("audio_invalid", "audio is true or false")),
    };
    let base = query.base.as_deref().map_or(Ok(window.from), |base| query::parse("base", base))?;
    let place = node.watch().playback_place().ok_or_else(|| {
        let detail = format!("{PLAYBACKS_MAX} windows are being read; try again in a moment");
        Problem::unavailable("playbacks_busy", detail).retry_after(Duration::from_secs(1))
    })?;
    let wanted = Wanted { camera: camera.id, stream, window, base, frames, sound };
    let read = node.read_place().await;
    let playback = query::blocking({
        let store = node.store().clone();
        move || {
            let _read = read;
            Playback::plan(&store, wanted)
        }
    })
    .await?
    .map_err(|error| problem(&error))?;
    let text = |text: String| {
        HeaderValue::try_from(text).map_err(|_| Problem::internal("the answer has no header form"))
    };
    let (base, first, mime, next) = (
        text(playback.base().to_string())?,
        text(playback.first_picture().to_string())?,
        text(playback.mime().to_owned())?,
        playback.next().map(|next| text(next.to_string())).transpose()?,
    );
    caller.viewed(Action::PlaybackViewed, camera.id);
    let right = caller.right().at(camera.id.as_str(), Role::Operator);
    let mut response = Response::new(body(node, playback, place, right));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("video/mp4"));
    headers.insert(BASE, base);
    headers.insert(FIRST, first);
    headers.insert(MIME, mime);
    if let Some(next) = next {
        headers.insert(NEXT, next);
    }
    Ok(response)
}

fn body(node: Node, playback: Playback, place: OwnedSemaphorePermit, right: Right) -> Body {
    let (parts, received) = mpsc::channel(PARTS_MAX);
    tokio::spawn(async move {
        let _place = place;
        let mut closing = node.watch().closing();
        let sent = send_parts(&node, playback, &parts);
        tokio::select! {
            () = sent => {}
            // A window that is cut off has no end, which a client sees.
            _ = closing.wait_for(|closing| *closing) => {
                let _ = parts.try_send(Err(io::Error::other("the node ends")));
            }
            () = right.lost() => {
                let _ = parts.try_send(Err(io::Error::other("the right to this footage was lost")));
            }
        }
    });
    Body::new(Pieces::new(received))
}

async fn send_parts(node: &Node, mut playback: Playback, parts: &mpsc::Sender<io::Result<Bytes>>) {
    loop {
        // A client that takes nothing is not read for.
        let room = match tokio::time::timeout(PATIENCE, parts.reserve()).await {
            Ok(Ok(room)) => room,
            Ok(Err(_)) => return,
            Err(_) => {
                tracing::debug!("a client took nothing of a window for 30 s");
                return;
            }
        };
        let place = node.read_place().await;
        let read = tokio::task::spawn_blocking({
            let node = node.clone();
            move || {
                let _place = place;
                let part = playback.part(|record, error| lost(&node, record, error));
                (playback, part)
            }
        });
        let part;
        (playback, part) = match read.await {
            Ok(read) => read,
            Err(error) => {
                tracing::error!(%error, "reading a window ended badly");
                room.send(Err(io::Error::other("the node's log says why")));
                return;
            }
        };
        match part {
            Some(part) => room.send(Ok(part.into())),
            None => return,
        }
    }
}

/// A record that cannot be read any more is left out, and said where somebody looks.
fn lost(node: &Node, record: &RecordRef, error: &ReadError) {
    tracing::info!(camera = %record.camera, from = %record.info.label.from, %error, "a record is left out of a window");
    if let ReadError::Damaged { .. } = error {
        let text = format!("{error}; run keepwatch verify, and look at the health of the disk");
        node.add_event(EventCode::FootageDamaged, Subject::Camera(record.camera), text);
    }
}

fn problem(error: &PlaybackError) -> Problem {
    match error {
        PlaybackError::Footage(error) => query::footage_problem(error),
        PlaybackError::Unplayable(_) => Problem::conflict("footage_unsuitable", error.to_string()),
    }
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct FramesQuery {
    #[serde(flatten)]
    #[param(ignore)]
    window: WindowQuery,
    /// `main` or `sub`; the main stream when left out.
    #[param(value_type = Option<super::words::StreamName>)]
    stream: Option<String>,
    /// Most frames in the answer, at most 1,000.
    limit: Option<String>,
}

/// A frame, without its bytes.
#[derive(Serialize, ToSchema)]
#[schema(as = Frame)]
pub(super) struct ListedFrame {
    /// When it is shown.
    #[schema(value_type = String, format = DateTime)]
    label: WallTime,
    /// Whether decoding can start at it.
    key: bool,
    /// Its length.
    bytes: u32,
}

/// The frames of a window, without their bytes.
#[utoipa::path(get, path = "/api/v1/cameras/{id}/frames", operation_id = "frames", tag = "footage",
    params(("id" = String, Path, description = "The camera."), WindowQuery, FramesQuery),
    responses((status = 200, body = Page<ListedFrame>)))]
pub(super) async fn frames(
    State(node): State<Node>,
    Path(id): Path<String>,
    Query(query): Query<FramesQuery>,
) -> Result<Json<Page<ListedFrame>>, Problem> {
    let camera = query::camera(&node, &id)?;
    let stream = query::stream(&camera, query.stream.as_deref())?.id;
    let window = query.window.required()?;
    if window.ticks() > WINDOW_TICKS_MAX {
        return Err(Problem::bad_request("window_too_long", "a window holds at most 10 minutes".to_owned()));
    }
    let limit = match query.limit.as_deref() {
        None => FRAMES_MAX,
        Some(limit) => {
            limit.parse().ok().filter(|limit| (1..=FRAMES_MAX).contains(limit)).ok_or_else(|| {
                Problem::bad_request("limit_invalid", format!("limit is 1 to {FRAMES_MAX}, not {limit:?}"))
            })?
        }
    };
    let read = node.read_place().await;
    let mut listed = query::blocking({
        let (store, camera) = (node.store().clone(), camera.id);
        move || {
            let _read = read;
            list_frames(&store, (camera, stream), window, limit + 1)
        }
    })
    .await?
    .map_err(|error| query::index_failed(&error))?;
    let next = listed.get(limit).map(|frame| frame.label.to_string());
    listed.truncate(limit);
    let items = listed.into_iter().map(|frame| ListedFrame {
        label: frame.label,
        key: frame.key,
        bytes: frame.bytes,
    });
    Ok(Json(Page { items: items.collect(), next }))
}
