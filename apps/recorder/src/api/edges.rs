//! The edge nodes that send to this recorder: who they are, how one is let in without an administrator's password, and how one is
//! removed.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use keepwatch_model::{CameraId, WallTime};
use keepwatch_recording::peer::{NodeDuty, NodePublic};
use keepwatch_web::{Action, Caller, Page, Problem};
use serde::Serialize;
use utoipa::ToSchema;

use super::query::blocking;
use super::standbys::Made;
use crate::Node;
use crate::peers::EdgeNode;

/// An edge node that sends to this recorder.
#[derive(Serialize, ToSchema)]
#[schema(as = EdgeNode)]
pub(super) struct Line {
    /// Its key, by which it is known.
    key: String,
    /// Its name, by which cameras name it.
    name: String,
    /// The role under which it records.
    role: String,
    /// When it was registered.
    #[schema(value_type = String, format = DateTime)]
    since: WallTime,
    /// When it was last heard; `null` when it was not since this recorder started.
    #[schema(value_type = Option<String>, format = DateTime)]
    heard: Option<WallTime>,
    /// The cameras here that it sends.
    #[schema(value_type = Vec<String>)]
    cameras: Vec<CameraId>,
}

/// The edge nodes that send to this recorder.
#[utoipa::path(get, path = "/api/v1/edge-nodes", operation_id = "edgeNodes", tag = "edge",
    responses((status = 200, body = Page<Line>)))]
pub(super) async fn list(State(node): State<Node>) -> Result<Json<Page<Line>>, Problem> {
    if let Some(why) = node.peers().problem() {
        return Err(Problem::unavailable("nodes_unreadable", why));
    }
    let cameras = |edge: &EdgeNode| {
        let own = node.own_cameras().into_iter().filter_map(|id| node.camera(id));
        let of_it = own.filter(|camera| camera.config().source.edge_node() == Some(edge.name.as_str()));
        of_it.map(|camera| camera.id).collect()
    };
    let line = |edge: EdgeNode| Line {
        heard: node.peers().heard(edge.key),
        key: edge.key.to_string(),
        role: edge.role.to_string(),
        since: edge.since,
        cameras: cameras(&edge),
        name: edge.name,
    };
    Ok(Json(Page::whole(node.peers().edges().into_iter().map(line).collect())))
}

/// Makes a token with which an edge node registers once, within an hour, instead of an administrator's password.
#[utoipa::path(post, path = "/api/v1/edge-nodes/tokens", operation_id = "makeEdgeToken", tag = "edge",
    responses((status = 201, body = Made)))]
pub(super) async fn make_token(
    State(node): State<Node>,
    caller: Caller,
) -> Result<(StatusCode, Json<Made>), Problem> {
    super::standbys::token_of(node, caller, NodeDuty::Edge, Action::EdgeTokenCreated).await
}

/// Removes an edge node: nothing more of it is taken. What it sent stays.
#[utoipa::path(delete, path = "/api/v1/edge-nodes/{id}", operation_id = "removeEdgeNode", tag = "edge",
    params(("id" = String, Path, description = "The key of the edge node.")), responses((status = 204)))]
pub(super) async fn remove(
    State(node): State<Node>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let unknown =
        || Problem::not_found("edge_node_unknown", "no such edge node; GET /api/v1/edge-nodes lists them");
    let key: NodePublic = id.parse().map_err(|_| unknown())?;
    if !node.peers().edges().iter().any(|edge| edge.key == key) {
        return Err(unknown());
    }
    caller.require_audit()?;
    let edge = blocking({
        let node = node.clone();
        move || node.peers().let_edge_out(key)
    })
    .await??;
    node.tell_edge_removed(&edge, &caller.identity.user);
    let object = format!("edge_node:{}", edge.name);
    caller.enter(Action::EdgeNodeRemoved, object, key.to_string()).durable().await?;
    Ok(StatusCode::NO_CONTENT)
}
