//! The standbys that watch this recorder: who they are, how one is let in without an administrator's password, and how one is
//! removed that does not do it itself.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use keepwatch_model::WallTime;
use keepwatch_recording::peer::{NodeDuty, NodePublic};
use keepwatch_web::{Action, Caller, Page, Problem};
use serde::Serialize;
use utoipa::ToSchema;

use super::query::blocking;
use crate::Node;
use crate::peers::{Standby, own_key};

/// A standby that watches this recorder.
#[derive(Serialize, ToSchema)]
#[schema(as = Standby)]
pub(super) struct Line {
    /// Its key, by which it is known.
    key: String,
    /// Its name.
    name: String,
    /// The role that it plays itself.
    role: String,
    /// Where it answers other nodes.
    #[schema(example = "192.0.2.20:8443")]
    address: String,
    /// When it was registered.
    #[schema(value_type = String, format = DateTime)]
    since: WallTime,
    /// When it was last heard; `null` when it was not since this recorder started.
    #[schema(value_type = Option<String>, format = DateTime)]
    heard: Option<WallTime>,
}

/// A token with which one node registers.
#[derive(Serialize, ToSchema)]
#[schema(as = NodeToken)]
pub(super) struct Made {
    /// Shown this once; works once.
    token: String,
    /// When it ends.
    #[schema(value_type = String, format = DateTime)]
    expires: WallTime,
}

/// The standbys that watch this recorder.
#[utoipa::path(get, path = "/api/v1/standbys", operation_id = "standbys", tag = "failover",
    responses((status = 200, body = Page<Line>)))]
pub(super) async fn list(State(node): State<Node>) -> Result<Json<Page<Line>>, Problem> {
    if let Some(why) = node.peers().problem() {
        return Err(Problem::unavailable("nodes_unreadable", why));
    }
    let line = |standby: Standby| Line {
        heard: node.peers().heard(standby.key),
        key: standby.key.to_string(),
        name: standby.name,
        role: standby.role.to_string(),
        address: standby.address.to_string(),
        since: standby.since,
    };
    Ok(Json(Page::whole(node.peers().standbys().into_iter().map(line).collect())))
}

/// Makes a token with which a standby registers once, within an hour, instead of an administrator's password.
#[utoipa::path(post, path = "/api/v1/standbys/tokens", operation_id = "makeStandbyToken", tag = "failover",
    responses((status = 201, body = Made)))]
pub(super) async fn make_token(
    State(node): State<Node>,
    caller: Caller,
) -> Result<(StatusCode, Json<Made>), Problem> {
    token_of(node, caller, NodeDuty::Standby, Action::StandbyTokenCreated).await
}

/// Makes a token with which a node of this duty registers once.
pub(super) async fn token_of(
    node: Node,
    caller: Caller,
    duty: NodeDuty,
    action: Action,
) -> Result<(StatusCode, Json<Made>), Problem> {
    caller.require_audit()?;
    let (own, now) = (own_key(&node).await?, node.clock().wall());
    let (token, expires) = blocking({
        let node = node.clone();
        move || node.peers().make_token(own, duty, now)
    })
    .await??;
    let detail = format!("until {expires}");
    caller.enter(action, "node", detail).durable().await?;
    Ok((StatusCode::CREATED, Json(Made { token, expires })))
}

/// Removes a standby: it watches this recorder no more.
#[utoipa::path(delete, path = "/api/v1/standbys/{id}", operation_id = "removeStandby", tag = "failover",
    params(("id" = String, Path, description = "The key of the standby.")), responses((status = 204)))]
pub(super) async fn remove(
    State(node): State<Node>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let unknown =
        || Problem::not_found("standby_unknown", "no such standby; GET /api/v1/standbys lists them");
    let key: NodePublic = id.parse().map_err(|_| unknown())?;
    if !node.peers().standbys().iter().any(|standby| standby.key == key) {
        return Err(unknown());
    }
    caller.require_audit()?;
    let standby = blocking({
        let node = node.clone();
        move || node.peers().let_out(key)
    })
    .await??;
    node.tell_removed(&standby, &caller.identity.user);
    let object = format!("standby:{}", standby.name);
    caller.enter(Action::StandbyRemoved, object, key.to_string()).durable().await?;
    Ok(StatusCode::NO_CONTENT)
}
