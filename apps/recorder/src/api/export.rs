//! Exports over HTTP: planned first, so that errors are problem documents, then streamed with bounded memory.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Path, Query, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use hyper::body::Frame;
use keepwatch_model::{EventCode, StreamId, Subject};
use keepwatch_store::ReadError;
use keepwatch_web::{Action, Caller, Problem, Right, Role};
use serde::Deserialize;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::query::{self, WindowQuery};
use crate::Node;
use crate::export::{EXPORTS_MAX, Export, ExportError, FootageError};

/// Pieces of a file that wait for a slow client; a piece is a record.
const PIECES_MAX: usize = 2;
/// A client that takes nothing for so long is given up, so that others have its place.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ExportQuery {
    #[serde(flatten)]
    #[param(ignore)]
    window: WindowQuery,
    /// `main` or `sub`; the main stream when left out.
    #[param(value_type = Option<super::words::StreamName>)]
    stream: Option<String>,
}

/// Footage as one file, with exactly the frames of the window.
#[utoipa::path(get, path = "/api/v1/cameras/{id}/export.mp4", operation_id = "exportFile", tag = "footage",
    params(("id" = String, Path, description = "The camera."), WindowQuery, ExportQuery),
    responses((status = 200, content_type = "video/mp4", body = Vec<u8>)))]
pub(super) async fn export(
    State(node): State<Node>,
    caller: Caller,
    Path(id): Path<String>,
    Query(query): Query<ExportQuery>,
) -> Result<Response, Problem> {
    let camera = query::camera(&node, &id)?;
    let stream = query::stream(&camera, query.stream.as_deref())?.id;
    let window = query.window.required()?;
    let place = node.export_place().ok_or_else(|| {
        let detail = format!("{EXPORTS_MAX} exports are being made; wait for one to end, or cancel it");
        Problem::unavailable("exports_busy", detail).retry_after(Duration::from_secs(10))
    })?;
    let export = query::blocking({
        let (node, camera) = (node.clone(), camera.clone());
        move || Export::plan(node.store(), camera.id, stream, &camera.config().name, window)
    })
    .await?
    .map_err(|error| problem(&error))?;
    let what = if stream == StreamId::MAIN { "footage" } else { "footage of the sub stream" };
    let text = format!("{} exported {what} from {} to {}", caller.identity.user, window.from, window.to);
    node.add_event(EventCode::FootageExported, Subject::Camera(camera.id), text);
    let detail = format!("{stream} stream, {} to {}", window.from, window.to);
    let entered = caller.enter(Action::FootageExported, format!("camera:{}", camera.id), detail);
    // Footage that is needed is not kept back because the audit log is full; that it is is told as an event.
    let _on_record = entered.durable().await;
    let right = caller.right().at(camera.id.as_str(), Role::Operator);
    let length = export.file_bytes();
    let suffix = if stream == StreamId::MAIN { String::new() } else { format!("-{stream}") };
    let name = format!("{}{suffix}-{}.mp4", camera.id, window.from).replace(':', "");
    let disposition = HeaderValue::try_from(format!("attachment; filename=\"{name}\""))
        .map_err(|_| Problem::internal("the file name cannot be sent"))?;
    let mut response = Response::new(body(node, export, place, right));
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("video/mp4"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(CONTENT_DISPOSITION, disposition);
    Ok(response)
}

/// The pieces of a file as a response body.
pub(crate) struct Pieces(mpsc::Receiver<io::Result<Bytes>>);

impl Pieces {
    /// What comes out of `received`.
    pub(crate) const fn new(received: mpsc::Receiver<io::Result<Bytes>>) -> Self {
        Self(received)
    }
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

fn body(node: Node, export: Export, place: OwnedSemaphorePermit, right: Right) -> Body {
    let (pieces, received) = mpsc::channel(PIECES_MAX);
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || {
        let written = export.write(|piece| {
            if !right.is_held() {
                let what = "the right to it was taken away";
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
            }
            let sent = runtime.block_on(tokio::time::timeout(PATIENCE, pieces.send(Ok(Bytes::from(piece)))));
            match sent {
                Ok(Ok(())) => Ok(()),
                Ok(Err(_)) => Err(io::Error::new(io::ErrorKind::BrokenPipe, "the client went away")),
                Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the client took nothing for 30 s")),
            }
        });
        if let Err(error) = written {
            // The length was announced, so a client sees that the file is incomplete.
            tracing::warn!(%error, "export ended early");
            if let ExportError::Footage(FootageError::Read {
                camera,
                source: ReadError::Damaged { .. },
                ..
            }) = &error
            {
                let text = format!("{error}; run keepwatch verify, and look at the health of the disk");
                node.add_event(EventCode::FootageDamaged, Subject::Camera(*camera), text);
            }
            let _ = pieces.try_send(Err(io::Error::other(error.to_string())));
        }
        drop(place);
    });
    Body::new(Pieces(received))
}

fn problem(error: &ExportError) -> Problem {
    match error {
        ExportError::TooLong => Problem::bad_request("export_too_long", error.to_string()),
        ExportError::Footage(error) => query::footage_problem(error),
        ExportError::Movie(_) | ExportError::Sound(_) => {
            Problem::conflict("footage_unsuitable", error.to_string())
        }
        ExportError::Write(_) => query::index_failed(error),
    }
}
