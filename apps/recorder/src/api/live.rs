//! Live pictures over a WebSocket.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use keepwatch_web::{Action, Caller, Place, Problem, Role};
use serde::Deserialize;

use super::query;
use crate::Node;
use crate::watch::{MESSAGE_BYTES_MAX, READ_BYTES, UNSENT_BYTES_MAX, VIEWERS_MAX, Viewer, Viewing};

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct LiveQuery {
    /// `main` or `sub`; the main stream when left out.
    #[param(value_type = Option<super::words::StreamName>)]
    stream: Option<String>,
    /// Whether sound is wanted; it is when left out.
    audio: Option<bool>,
}

/// Live pictures as fragmented MP4, over a WebSocket (RFC 6455).
#[utoipa::path(get, path = "/api/v1/cameras/{id}/live", operation_id = "live", tag = "footage",
    params(("id" = String, Path, description = "The camera."), LiveQuery),
    responses((status = 101, description = "A WebSocket: texts say what comes, binary messages are the media.")))]
pub(super) async fn live(
    State(node): State<Node>,
    caller: Caller,
    connection: Option<Extension<Place>>,
    Path(id): Path<String>,
    Query(query): Query<LiveQuery>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let camera = query::camera(&node, &id)?;
    let stream = query::stream(&camera, query.stream.as_deref())?;
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        // What a browser that opens the address is told: the status that asks for the upgrade.
        Err(rejection) => return Ok(rejection.into_response()),
    };
    let Some(Extension(connection)) = connection else {
        return Err(Problem::internal("the connection has no place among those of the server"));
    };
    let place = node.watch().viewer_place().ok_or_else(|| {
        let detail = format!("{VIEWERS_MAX} live streams are being watched; close one, or try again");
        Problem::unavailable("viewers_busy", detail).retry_after(Duration::from_secs(5))
    })?;
    caller.viewed(Action::LiveViewed, camera.id);
    let right = caller.right().at(camera.id.as_str(), Role::Viewer);
    let mut closing = node.watch().closing();
    let viewing = Viewing {
        watch: Arc::clone(node.watch()),
        clock: node.clock(),
        stream: Arc::clone(&stream),
        with_sound: query.audio.unwrap_or(true),
        lost: Box::pin(async move { right.lost().await }),
        ending: Box::pin(async move {
            tokio::select! {
                _ = closing.wait_for(|closing| *closing) => {}
                () = connection.ending() => {}
            }
        }),
        exists: Box::new(move || {
            let camera = node.camera(stream.camera);
            camera
                .is_some_and(|camera| camera.stream(stream.id).is_some_and(|held| Arc::ptr_eq(held, &stream)))
        }),
        place,
    };
    let viewer = Viewer::new(viewing);
    Ok(upgrade
        .max_message_size(MESSAGE_BYTES_MAX)
        .max_frame_size(MESSAGE_BYTES_MAX)
        .read_buffer_size(READ_BYTES)
        .max_write_buffer_size(UNSENT_BYTES_MAX)
        .on_upgrade(move |socket| viewer.run(socket)))
}
