//! What requests say in their paths and queries, made into domain types or a problem document.

use std::sync::Arc;

use keepwatch_model::{CameraId, IdError, Span, StreamId, TICKS_PER_SECOND, WallTime};
use keepwatch_web::{Identity, Problem};
use serde::Deserialize;

use crate::footage::FootageError;
use crate::{CameraState, Node, StreamState};

/// Longest window that is answered: a hundred years, far from where labels end.
const WINDOW_TICKS_MAX: i64 = 100 * 366 * 86_400 * TICKS_PER_SECOND;

/// `from` and `to` of a request.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct WindowQuery {
    /// First moment, RFC 3339 in UTC.
    #[param(value_type = Option<String>, format = DateTime)]
    pub(super) from: Option<String>,
    /// First moment after, RFC 3339 in UTC.
    #[param(value_type = Option<String>, format = DateTime)]
    pub(super) to: Option<String>,
}

impl WindowQuery {
    /// The window; both ends must be given.
    pub(super) fn required(&self) -> Result<Span, Problem> {
        let end = |name: &'static str, text: &Option<String>| {
            let text = text.as_deref().ok_or_else(|| {
                Problem::bad_request(
                    "time_missing",
                    format!("{name} is missing; add ?from=TIME&to=TIME in RFC 3339, UTC"),
                )
            })?;
            parse(name, text)
        };
        span(end("from", &self.from)?, end("to", &self.to)?)
    }

    /// The window; an end that is not given is taken from `default`.
    pub(super) fn or(&self, default: Span) -> Result<Span, Problem> {
        let end = |name: &'static str, text: &Option<String>, default| {
            text.as_deref().map_or(Ok(default), |text| parse(name, text))
        };
        span(end("from", &self.from, default.from)?, end("to", &self.to, default.to)?)
    }
}

pub(super) fn parse(name: &str, text: &str) -> Result<WallTime, Problem> {
    text.parse().map_err(|error| Problem::bad_request("time_invalid", format!("{name}: {error}")))
}

fn span(from: WallTime, to: WallTime) -> Result<Span, Problem> {
    let span = Span::new(from, to).ok_or_else(|| {
        Problem::bad_request("window_empty", format!("to ({to}) must be later than from ({from})"))
    })?;
    if span.ticks() > WINDOW_TICKS_MAX {
        return Err(Problem::bad_request(
            "window_too_long",
            "the window is longer than a hundred years".to_owned(),
        ));
    }
    Ok(span)
}

/// The camera of a path.
pub(super) fn camera(node: &Node, id: &str) -> Result<Arc<CameraState>, Problem> {
    let found = id.parse::<CameraId>().ok().and_then(|id| node.camera(id));
    found.ok_or_else(|| Problem::camera_unknown(id))
}

/// The cameras that a user may know of.
pub(super) fn cameras(node: &Node, identity: &Identity) -> Vec<Arc<CameraState>> {
    let mut cameras = node.cameras();
    cameras.retain(|camera| identity.at(camera.id.as_str()).is_some());
    cameras
}

/// The stream of a query, the main one when it names none.
pub(super) fn stream(camera: &CameraState, name: Option<&str>) -> Result<Arc<StreamState>, Problem> {
    let id = match name {
        None => StreamId::MAIN,
        Some(name) => name
            .parse()
            .map_err(|error: IdError| Problem::bad_request("stream_invalid", error.to_string()))?,
    };
    camera.stream(id).cloned().ok_or_else(|| {
        let detail =
            format!("camera {} has no {id} stream; GET /api/v1/cameras lists what it has", camera.id);
        Problem::not_found("stream_unknown", detail)
    })
}

/// Runs what blocks, such as a read of the index, off the event loop.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| {
        tracing::error!(%error, "a request's work ended badly");
        Problem::internal("the request could not be carried out; the node's log says why")
    })
}

/// A failure of the index as a problem, with its cause in the log.
pub(super) fn index_failed(error: &impl std::fmt::Display) -> Problem {
    tracing::error!(%error, "index cannot be read");
    Problem::internal(format!("the index cannot be read: {error}; run keepwatch verify"))
}

/// Why there is no footage, as a problem.
pub(super) fn footage_problem(error: &FootageError) -> Problem {
    match error {
        FootageError::Empty { .. } => Problem::not_found("footage_missing", error.to_string()),
        FootageError::Read { .. } => Problem::conflict("footage_unreadable", error.to_string()),
        FootageError::Store(_) => index_failed(error),
    }
}
