//! The routes of other nodes. Each says itself who may ask: whoever has a key, or who is registered.

use std::num::NonZeroU16;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, FromRef, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use keepwatch_recording::peer::{
    Backup, Check, Hello, Missing, NodePublic, Register, Restore, Restored, Superseded,
};
use keepwatch_web::{Auth, Node as Asking, Peer, Problem, Small};
use serde::Deserialize;

use super::answers::MissingQuery;
use super::book::Known;
use super::public;
use super::register::{Asker, blocking};
use crate::{Node, replenish};

/// Largest body of a registration: the longest name, user, and password, every byte escaped.
const REGISTER_BYTES_MAX: usize = 16 << 10;

/// Largest body of the news that this recorder was replaced: the longest name, every byte escaped.
const SUPERSEDED_BYTES_MAX: usize = 4 << 10;

/// Largest body of a restore: a whole backup.
const RESTORE_BYTES_MAX: usize = 8 << 20;

/// What the routes work with.
#[derive(Clone)]
struct Door {
    node: Node,
    auth: Auth,
}

impl FromRef<Door> for Node {
    fn from_ref(door: &Door) -> Self {
        door.node.clone()
    }
}

/// All routes that nodes have for each other: to be served by [`Application::with_nodes`](keepwatch_web::Application::with_nodes).
pub fn routes(node: Node, auth: Auth) -> Router {
    Router::new()
        .route("/peer/hello", get(hello))
        .route("/peer/register", post(register).delete(deregister))
        .route("/peer/check", get(check))
        .route("/peer/backup", get(backup))
        .route("/peer/missing", get(missing))
        .route("/peer/restore", post(restore))
        .route("/peer/superseded", post(superseded))
        .with_state(Door { node: node.clone(), auth })
        .merge(replenish::routes(node))
}

/// Who this node is: told to every node.
async fn hello(State(node): State<Node>) -> Result<Json<Hello>, Problem> {
    Ok(Json(node.hello(own_key(&node).await?)?))
}

/// Lets a standby in.
async fn register(
    State(door): State<Door>,
    Extension(Asking(key)): Extension<Asking>,
    Extension(peer): Extension<Peer>,
    body: Small<REGISTER_BYTES_MAX>,
) -> Result<Json<Hello>, Problem> {
    const FORM: &str = "{\"version\", \"protocol\", \"name\", \"role\", \"port\", \"user\", \"password\" or \"token\", \"beside\"}";
    let asked: Register = body.json("register_malformed", FORM).await?;
    let asker = Asker { key: public(key), peer };
    let own = own_key(&door.node).await?;
    Ok(Json(door.node.let_in(&door.auth, asker, own, asked).await?))
}

/// Lets the standby out that asks.
async fn deregister(
    State(door): State<Door>,
    Extension(Asking(key)): Extension<Asking>,
    Extension(peer): Extension<Peer>,
) -> Result<StatusCode, Problem> {
    door.node.let_out(&door.auth, public(key), &peer).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Who asks for a check says where it answers itself.
#[derive(Deserialize)]
struct CheckQuery {
    /// What has none is as it was.
    port: Option<NonZeroU16>,
}

/// Whether the pictures reach the disks.
async fn check(
    State(node): State<Node>,
    Extension(Asking(key)): Extension<Asking>,
    Extension(peer): Extension<Peer>,
    query: Result<Query<CheckQuery>, QueryRejection>,
) -> Result<Json<Check>, Problem> {
    // Who is not registered is told nothing else.
    node.peers().known(public(key))?;
    let Query(CheckQuery { port }) =
        query.map_err(|error| Problem::bad_request("query_malformed", error.body_text()))?;
    node.heard_at(public(key), &peer, port)?;
    Ok(Json(node.check()))
}

/// The whole configuration.
async fn backup(
    State(door): State<Door>,
    Extension(Asking(key)): Extension<Asking>,
    Extension(peer): Extension<Peer>,
) -> Result<Json<Backup>, Problem> {
    door.node.heard(public(key), &peer)?;
    let Door { node, auth } = door;
    Ok(Json(blocking(move || node.backup(&auth)).await??))
}

/// What it lacks of a time.
async fn missing(
    State(node): State<Node>,
    Extension(Asking(key)): Extension<Asking>,
    Extension(peer): Extension<Peer>,
    query: Result<Query<MissingQuery>, QueryRejection>,
) -> Result<Json<Missing>, Problem> {
    node.heard(public(key), &peer)?;
    let Query(query) = query.map_err(|error| Problem::bad_request("query_malformed", error.body_text()))?;
    // The index says which footage is on disks that are away.
    Ok(Json(blocking(move || node.missing(&query)).await??))
}

/// Takes the role of another recorder.
async fn restore(
    State(door): State<Door>,
    Extension(Asking(key)): Extension<Asking>,
    Extension(peer): Extension<Peer>,
    body: Small<RESTORE_BYTES_MAX>,
) -> Result<Json<Restored>, Problem> {
    // Before eight megabytes are read.
    door.node.heard(public(key), &peer)?;
    let asked: Restore = body.json("restore_malformed", "{\"epoch\", \"backup\"}").await?;
    let asker = Asker { key: public(key), peer };
    Ok(Json(door.node.take_role(&door.auth, &asker, &asked).await?))
}

/// This recorder was replaced.
async fn superseded(
    State(door): State<Door>,
    Extension(Asking(key)): Extension<Asking>,
    Extension(peer): Extension<Peer>,
    body: Small<SUPERSEDED_BYTES_MAX>,
) -> Result<StatusCode, Problem> {
    let told: Superseded = body.json("superseded_malformed", "{\"role\", \"epoch\", \"name\"}").await?;
    door.node.superseded(&door.auth, (public(key), &peer), told).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl Node {
    /// A standby asks: it is registered, and whence it asks is noted.
    fn heard(&self, key: NodePublic, peer: &Peer) -> Result<(), Problem> {
        self.heard_at(key, peer, None)
    }

    /// The same of one that says at which port it answers.
    fn heard_at(&self, key: NodePublic, peer: &Peer, port: Option<NonZeroU16>) -> Result<(), Problem> {
        let Peer::Network(from) = peer else {
            return self.peers().known(key).map(|_| ());
        };
        let from = from.ip().to_canonical();
        if let Some(at) = self.peers().hear(key, (from, port), self.clock().wall())? {
            let node = self.clone();
            // Nobody waits for it: it is kept with the next question otherwise.
            drop(tokio::task::spawn_blocking(move || node.peers().moved(key, at)));
        }
        Ok(())
    }

    /// As what the node is known that asks for footage.
    ///
    /// # Errors
    /// When it is not known.
    pub fn asking(&self, node: &Asking) -> Result<Known, Problem> {
        self.peers().known(public(node.0))
    }
}

/// The key of this node.
pub(crate) async fn own_key(node: &Node) -> Result<NodePublic, Problem> {
    let unusable = |error| Problem::internal(format!("the key of this node cannot be used: {error}"));
    let key = node.node_key().await.map_err(unusable)?;
    Ok(public(key.public().map_err(unusable)?))
}
