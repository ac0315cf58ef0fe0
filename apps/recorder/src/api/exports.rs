//! Export jobs over HTTP: ordered, watched, cancelled, fetched.
//!
//! Whoever may not see the footage of every camera of a job may not know of the job. The right is asked for when it is
//! ordered, when it is fetched, and while it is.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_RANGE, RANGE,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use keepwatch_model::{CameraId, Span, StreamId, WallTime};
use keepwatch_web::{Action, Caller, Identity, Page, Problem, Right, Role};
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use utoipa::ToSchema;

use super::export::Pieces;
use super::query;
use crate::Node;
use crate::export::EXPORT_TICKS_MAX;
use crate::jobs::{CAMERAS_MAX, FETCHES_MAX, Job, JobState, Order, Refusal, Seen};

/// Bytes that are read and sent at a time.
const PIECE_BYTES: usize = 128 * 1024;
/// Pieces that wait for a slow client.
const PIECES_MAX: usize = 2;
/// A client that takes nothing for so long is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// What to export.
#[derive(Deserialize, ToSchema)]
#[schema(as = ExportBody)]
#[serde(deny_unknown_fields)]
pub(super) struct Ordered {
    /// The cameras, at most 64.
    cameras: Vec<String>,
    /// First moment.
    #[schema(value_type = String, format = DateTime)]
    from: WallTime,
    /// First moment after, at most 24 hours later.
    #[schema(value_type = String, format = DateTime)]
    to: WallTime,
    /// `main` or `sub`; the main stream when left out.
    #[schema(value_type = Option<super::words::StreamName>)]
    stream: Option<String>,
    /// Whether sound is wanted; it is when left out.
    audio: Option<bool>,
}

/// An export job.
#[derive(Clone, Serialize, ToSchema)]
#[schema(as = Export)]
pub(super) struct Line {
    /// Its id.
    id: String,
    /// Where it is.
    #[schema(value_type = super::words::ExportState)]
    state: JobState,
    /// Share that is done, 0 to 1; never goes back.
    progress: f64,
    /// Bytes of footage that are written.
    bytes_done: u64,
    /// Bytes in all: an estimate until it is done.
    bytes_total: u64,
    /// Seconds left at the rate so far; `null` while that is not known.
    seconds_left: Option<u64>,
    /// The cameras.
    #[schema(value_type = Vec<String>)]
    cameras: Vec<CameraId>,
    /// First moment.
    #[schema(value_type = String, format = DateTime)]
    from: WallTime,
    /// First moment after.
    #[schema(value_type = String, format = DateTime)]
    to: WallTime,
    /// Which of their streams.
    #[schema(value_type = super::words::StreamName)]
    stream: String,
    /// Whether sound is in it, where there is some.
    audio: bool,
    /// Who ordered it.
    by: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    created: WallTime,
    /// When it is forgotten; `null` while it is not over.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires: Option<WallTime>,
    /// Name of its archive once it can be had.
    file: Option<String>,
    /// Why it failed.
    error: Option<String>,
}

impl From<&Job> for Line {
    fn from(job: &Job) -> Self {
        let order = job.order();
        let Seen { state, progress, bytes_done, bytes_total, seconds_left, expires, error } = job.seen();
        Self {
            id: job.id().to_string(),
            state,
            progress,
            bytes_done,
            bytes_total,
            seconds_left,
            cameras: order.cameras.clone(),
            from: order.from,
            to: order.to,
            stream: order.stream.to_string(),
            audio: order.audio,
            by: order.by.clone(),
            created: order.created,
            expires,
            file: (state == JobState::Done).then(|| job.file_name()),
            error,
        }
    }
}

impl Line {
    /// Without what counts up all the time.
    pub(super) fn still(&self) -> Self {
        let bytes_total = if self.state == JobState::Done { self.bytes_total } else { 0 };
        Self { progress: 0.0, bytes_done: 0, bytes_total, seconds_left: None, ..self.clone() }
    }
}

/// The export jobs of cameras where one is operator.
#[utoipa::path(get, path = "/api/v1/exports", operation_id = "exports", tag = "exports",
    responses((status = 200, body = Page<Line>)))]
pub(super) async fn list(State(node): State<Node>, caller: Caller) -> Json<Page<Line>> {
    let jobs = node.jobs().all();
    let seen = jobs.iter().filter(|job| may_see(&caller.identity, job));
    Json(Page::whole(seen.map(|job| Line::from(job.as_ref())).collect()))
}

/// An export job.
#[utoipa::path(get, path = "/api/v1/exports/{id}", operation_id = "export_job", tag = "exports",
    params(("id" = String, Path, description = "The job.")), responses((status = 200, body = Line)))]
pub(super) async fn one(
    State(node): State<Node>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Line>, Problem> {
    Ok(Json(Line::from(job(&node, &caller.identity, &id)?.as_ref())))
}

/// Orders an archive of footage, which is made in the background.
#[utoipa::path(post, path = "/api/v1/exports", operation_id = "order_export", tag = "exports",
    request_body = Ordered, responses((status = 201, body = Line)))]
pub(super) async fn create(
    State(node): State<Node>,
    caller: Caller,
    Json(ordered): Json<Ordered>,
) -> Result<(StatusCode, Json<Line>), Problem> {
    if ordered.cameras.is_empty() || ordered.cameras.len() > CAMERAS_MAX {
        let detail = format!("cameras lists 1 to {CAMERAS_MAX} ids");
        return Err(Problem::bad_request("cameras_invalid", detail));
    }
    let stream = ordered.stream.as_deref().map_or(Ok(StreamId::MAIN), str::parse);
    let stream: StreamId =
        stream.map_err(|error| Problem::bad_request("stream_invalid", format!("{error}")))?;
    let mut cameras = BTreeSet::new();
    for id in &ordered.cameras {
        caller.identity.require_at(id, Role::Operator)?;
        cameras.insert(query::camera(&node, id)?.id);
    }
    let window = Span::new(ordered.from, ordered.to)
        .ok_or_else(|| Problem::bad_request("window_empty", "to must be later than from"))?;
    if window.ticks() > EXPORT_TICKS_MAX {
        let detail = "an export holds at most 24 hours of each camera; order several";
        return Err(Problem::bad_request("export_too_long", detail));
    }
    // What leaves must be on record before it does: the manifest tells where.
    caller.require_audit()?;
    for camera in &cameras {
        let detail = format!("ordered, {stream} stream, {} to {}", window.from, window.to);
        caller.enter(Action::FootageExported, format!("camera:{camera}"), detail).durable().await?;
    }
    let order = Order {
        cameras: cameras.into_iter().collect(),
        stream,
        from: window.from,
        to: window.to,
        audio: ordered.audio.unwrap_or(true),
        by: caller.identity.user.clone(),
        created: node.clock().wall(),
        audit_head: Some(caller.audit_head().to_string()),
    };
    let created = query::blocking({
        let node = node.clone();
        move || node.jobs().create(&node, order)
    })
    .await?;
    let job = created.map_err(|refusal| problem(&refusal))?;
    Ok((StatusCode::CREATED, Json(Line::from(job.as_ref()))))
}

/// Cancels a job that is not over, and forgets one that is.
#[utoipa::path(delete, path = "/api/v1/exports/{id}", operation_id = "remove_export", tag = "exports",
    params(("id" = String, Path, description = "The job.")),
    responses((status = 204, description = "Its files are gone.")))]
pub(super) async fn remove(
    State(node): State<Node>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let job = job(&node, &caller.identity, &id)?;
    if job.order().by != caller.identity.user && caller.identity.require(Role::Administrator).is_err() {
        let detail = format!("{} ordered this export; ask them, or an administrator", job.order().by);
        return Err(Problem::forbidden("export_of_another", detail));
    }
    query::blocking(move || node.jobs().cancel(&job, node.clock().wall())).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The archive of an export job.
#[utoipa::path(get, path = "/api/v1/exports/{id}/file", operation_id = "export_file", tag = "exports",
    params(("id" = String, Path, description = "The job.")),
    responses((status = 200, content_type = "application/zip", body = Vec<u8>),
        (status = 206, description = "The part that `Range` asks for.", content_type = "application/zip", body = Vec<u8>)))]
pub(super) async fn file(
    State(node): State<Node>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let job = job(&node, &caller.identity, &id)?;
    if job.state() != JobState::Done {
        let detail = "the export is not made; GET /api/v1/exports tells how far it is";
        return Err(Problem::conflict("export_unfinished", detail));
    }
    let place = node.jobs().fetch_place().ok_or_else(|| {
        let detail = format!("{FETCHES_MAX} archives are being fetched; wait for one to end");
        Problem::unavailable("fetches_busy", detail).retry_after(Duration::from_secs(10))
    })?;
    let path = node.jobs().archive(&job);
    let opened = query::blocking(move || {
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        Ok::<_, io::Error>((file, bytes))
    });
    let (file, length) = opened.await?.map_err(|error| {
        tracing::error!(job = job.id(), %error, "an export cannot be read");
        Problem::conflict("export_unreadable", format!("the archive cannot be read: {error}; order it again"))
    })?;
    let tag = format!("\"{}-{length}\"", job.id());
    let range = wanted(&headers, &tag, length).map_err(|()| {
        let title = "The range is not inside the file";
        let detail = format!("the archive has {length} bytes");
        Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, "range_invalid", title, detail)
    })?;
    let (from, to) = range.unwrap_or((0, length));
    let content_range = format!("bytes {from}-{}/{length}", to.saturating_sub(1));
    // Whatever the part: who has all but the first byte has the footage.
    let part = if range.is_some() { format!(", {content_range}") } else { String::new() };
    for camera in &job.order().cameras {
        let detail = format!("export {} fetched{part}", job.id());
        let entered = caller.enter(Action::FootageExported, format!("camera:{camera}"), detail);
        entered.durable().await?;
    }
    let rights: Vec<Right> =
        job.order().cameras.iter().map(|camera| caller.right().at(camera.as_str(), Role::Operator)).collect();
    let text = |text: String| {
        HeaderValue::try_from(text).map_err(|_| Problem::internal("the answer has no header form"))
    };
    let disposition = text(format!("attachment; filename=\"{}\"", job.file_name()))?;
    let (tag, content_range) = (text(tag)?, text(content_range)?);
    let mut response = Response::new(body(file, (from, to), rights, place));
    if range.is_some() {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        response.headers_mut().insert(CONTENT_RANGE, content_range);
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/zip"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(to.saturating_sub(from)));
    headers.insert(CONTENT_DISPOSITION, disposition);
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(ETAG, tag);
    Ok(response)
}

/// The first byte that is wanted and the one behind the last, where one range is asked for (RFC 9110 §14.2); several, and
/// what is not understood, are answered with all. An error where nothing of it is there.
fn wanted(headers: &HeaderMap, tag: &str, length: u64) -> Result<Option<(u64, u64)>, ()> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    // §13.1.5: of another version all is wanted.
    if text(IF_RANGE).is_some_and(|held| held != tag) {
        return Ok(None);
    }
    let Some((first, last)) = text(RANGE).and_then(|range| range.strip_prefix("bytes=")?.split_once('-'))
    else {
        return Ok(None);
    };
    let range = match (first.trim().parse::<u64>(), last.trim().parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => (first, last.saturating_add(1).min(length)),
        (Ok(first), Err(_)) if last.trim().is_empty() => (first, length),
        (Err(_), Ok(count)) if first.trim().is_empty() => (length.saturating_sub(count), length),
        _ => return Ok(None),
    };
    if range.0 < range.1 { Ok(Some(range)) } else { Err(()) }
}

/// The bytes of a file as a response, as long as all `rights` are held.
fn body(file: File, (mut at, to): (u64, u64), rights: Vec<Right>, place: OwnedSemaphorePermit) -> Body {
    let (pieces, received) = mpsc::channel(PIECES_MAX);
    let file = Arc::new(file);
    tokio::spawn(async move {
        let _place = place;
        while at < to {
            // A client that takes nothing is not read for.
            let Ok(Ok(room)) = tokio::time::timeout(PATIENCE, pieces.reserve()).await else { return };
            if !rights.iter().all(Right::is_held) {
                let what = "the right to it was taken away";
                room.send(Err(io::Error::new(io::ErrorKind::PermissionDenied, what)));
                return;
            }
            let length = PIECE_BYTES.min(usize::try_from(to.saturating_sub(at)).unwrap_or(usize::MAX));
            let reading = Arc::clone(&file);
            let read = tokio::task::spawn_blocking(move || {
                let mut piece = vec![0; length];
                reading.read_exact_at(&mut piece, at)?;
                Ok(Bytes::from(piece))
            });
            let piece = read.await.unwrap_or_else(|error| Err(io::Error::other(error)));
            let failed = piece.is_err();
            room.send(piece);
            if failed {
                return;
            }
            at = at.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
        }
    });
    Body::new(Pieces::new(received))
}

/// Whether somebody may see the footage of all cameras of a job.
pub(super) fn may_see(identity: &Identity, job: &Job) -> bool {
    job.order().cameras.iter().all(|camera| identity.at(camera.as_str()) >= Some(Role::Operator))
}

/// A job that may be seen.
fn job(node: &Node, identity: &Identity, id: &str) -> Result<Arc<Job>, Problem> {
    let found = id.parse().ok().and_then(|id| node.jobs().find(id));
    found.filter(|job| may_see(identity, job)).ok_or_else(|| {
        let shown: String = id.chars().take(64).collect();
        Problem::not_found("export_unknown", format!("no export {shown:?}; GET /api/v1/exports lists them"))
    })
}

fn problem(refusal: &Refusal) -> Problem {
    match refusal {
        Refusal::Busy => {
            Problem::unavailable("exports_busy", refusal.to_string()).retry_after(Duration::from_secs(10))
        }
        Refusal::Empty(_) => Problem::not_found("footage_missing", refusal.to_string()),
        Refusal::TooLarge { .. } => Problem::conflict("export_too_large", refusal.to_string()),
        Refusal::Store(error) => query::index_failed(error),
        Refusal::Write(_) | Refusal::Ending => {
            Problem::unavailable("exports_unavailable", refusal.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_is_served_and_what_is_not_understood_is_answered_with_all() {
        let headers = |range: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RANGE, HeaderValue::from_str(range).unwrap());
            headers
        };
        for (range, expected) in [
            ("bytes=0-9", Ok(Some((0, 10)))),
            ("bytes=90-200", Ok(Some((90, 100)))),
            ("bytes=90-", Ok(Some((90, 100)))),
            ("bytes=-10", Ok(Some((90, 100)))),
            ("bytes=-1000", Ok(Some((0, 100)))),
            ("bytes=100-", Err(())),
            ("bytes=-0", Err(())),
            ("bytes=9-3", Ok(None)),
            ("bytes=0-1,5-6", Ok(None)),
            ("bytes=x-", Ok(None)),
            ("pages=1-2", Ok(None)),
            ("bytes=18446744073709551615-", Err(())),
        ] {
            assert_eq!(wanted(&headers(range), "\"t\"", 100), expected, "{range}");
        }
        let mut other = headers("bytes=0-9");
        other.insert(IF_RANGE, HeaderValue::from_static("\"of before\""));
        assert_eq!(wanted(&other, "\"t\"", 100), Ok(None));
        assert_eq!(wanted(&HeaderMap::new(), "\"t\"", 100), Ok(None));
    }
}
