//! Who decides which of several standbys covers a primary: this node, or one that it watches and that `[standby] coordinator` names.
//!
//! The node that is asked answers from its own database, and only those that are registered with it as standbys, each in its own
//! name. If it cannot be asked, covers are unconfirmed, and recording goes on.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::extract::{Extension, State};
use axum::routing::post;
use axum::{Json, Router};
use keepwatch_cluster::{
    AcquireError, Answer, Change, CommitError, Coord, Entry, Lease, Line, NoReply, Question, RenewError,
    Reply, Unavailable,
};
use keepwatch_model::RoleId;
use keepwatch_recording::peer::NodePublic;
use keepwatch_settings::standby::PrimaryRow;
use keepwatch_tls::{NodeKey, NodePublicKey, peer};
use keepwatch_web::{Node as Asking, NodeClient, NodeError, Problem, Small};
use tokio::sync::Mutex;

use crate::Standby;

/// Where a node is asked.
const ROUTE: &str = "/peer/coordination";
/// Largest question: an entry of the largest value, as text, and its fences.
const QUESTION_BYTES_MAX: usize = 128 << 10;
/// How long the other node may take: less than a claim is waited for.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// In whose name the node of this key holds claims: its role may be moved to another machine by Replace, its key is its own.
pub(crate) fn holder_of(key: NodePublic) -> RoleId {
    let mut holder = RoleId([0; 16]);
    holder.0.iter_mut().zip(key.0).for_each(|(to, from)| *to = from);
    holder
}

/// A recorder that is watched, as far as it can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Watched {
    role: RoleId,
    name: String,
    address: SocketAddr,
    key: String,
}

/// What is chosen, and among whom.
#[derive(Debug, Default)]
struct Choice {
    /// As the configuration says; `None`: this node.
    coordinator: Option<String>,
    watched: Vec<Watched>,
}

impl Choice {
    /// The node that is to be asked; `None`: this one.
    fn authority(&self) -> Result<Option<&Watched>, String> {
        let Some(wanted) = &self.coordinator else { return Ok(None) };
        let meant = |node: &&Watched| {
            node.name == *wanted || node.address.to_string() == *wanted || node.role.to_string() == *wanted
        };
        let mut found = self.watched.iter().filter(meant);
        match (found.next(), found.next()) {
            (Some(node), None) => Ok(Some(node)),
            (Some(_), Some(_)) => Err(format!(
                "several watched recorders are called {wanted:?}; name the coordinator by its address"
            )),
            (None, _) => {
                Err(format!("the coordinator {wanted:?} is not watched by this node; register it here"))
            }
        }
    }
}

/// Coordination by this node or another; a cheap handle.
#[derive(Clone)]
pub(crate) struct Coordination {
    own: Arc<dyn Coord>,
    choice: Arc<RwLock<Choice>>,
    other: Arc<keepwatch_cluster::Remote<Way>>,
}

impl fmt::Debug for Coordination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coordination").field("choice", &self.choice).finish_non_exhaustive()
    }
}

impl Coordination {
    /// By `own`, or by the node that the configuration names, which is asked with `key`.
    pub(crate) fn new(own: Arc<dyn Coord>, key: Arc<NodeKey>, coordinator: Option<String>) -> Self {
        let choice = Arc::new(RwLock::new(Choice { coordinator, watched: Vec::new() }));
        let way = Way { key, choice: Arc::clone(&choice), kept: Mutex::default() };
        Self { own, choice, other: Arc::new(keepwatch_cluster::Remote::new(way)) }
    }

    /// The configuration names another node.
    pub(crate) fn choose(&self, coordinator: Option<String>) {
        self.choice.write().unwrap_or_else(PoisonError::into_inner).coordinator = coordinator;
    }

    /// These are watched.
    pub(crate) fn set_watched<'a>(&self, rows: impl Iterator<Item = &'a PrimaryRow>) {
        let watched = rows.map(|row| Watched {
            role: row.role,
            name: row.name.clone(),
            address: row.address,
            key: row.key.clone(),
        });
        self.choice.write().unwrap_or_else(PoisonError::into_inner).watched = watched.collect();
    }

    /// The coordinator as the configuration names it, and why it cannot be asked; `None` when it is this node.
    pub(crate) fn coordinator(&self) -> Option<(String, Option<String>)> {
        let choice = self.choice.read().unwrap_or_else(PoisonError::into_inner);
        Some((choice.coordinator.clone()?, choice.authority().err()))
    }

    /// Whose database decides.
    fn coord(&self) -> &dyn Coord {
        match self.choice.read().unwrap_or_else(PoisonError::into_inner).coordinator {
            None => &*self.own,
            Some(_) => &*self.other,
        }
    }

    /// What another node asks, answered from the database of this one.
    async fn answer(&self, question: Question) -> Reply {
        if let Some((coordinator, _)) = self.coordinator() {
            // Asked on, two nodes that name each other would ask for ever.
            return Reply::Unavailable(format!(
                "this node asks {coordinator:?}; name that as the coordinator"
            ));
        }
        let change = matches!(question, Question::Commit { .. });
        match tokio::time::timeout(PATIENCE, question.ask(&*self.own)).await {
            Ok(reply) => reply,
            Err(_) if change => Reply::Unknown("its database gives no answer".to_owned()),
            Err(_) => Reply::Unavailable("its database gives no answer".to_owned()),
        }
    }
}

impl Coord for Coordination {
    fn acquire(
        &self,
        role: RoleId,
        holder: RoleId,
        ttl: Duration,
    ) -> Answer<'_, Result<Lease, AcquireError>> {
        self.coord().acquire(role, holder, ttl)
    }

    fn renew(&self, lease: Lease) -> Answer<'_, Result<(), RenewError>> {
        self.coord().renew(lease)
    }

    fn release(&self, lease: Lease) -> Answer<'_, Result<(), Unavailable>> {
        self.coord().release(lease)
    }

    fn commit(&self, change: Change) -> Answer<'_, Result<u64, CommitError>> {
        self.coord().commit(change)
    }

    fn entry(&self, key: &str) -> Answer<'_, Result<Option<Entry>, Unavailable>> {
        self.coord().entry(key)
    }
}

/// The way to the coordinator, over a kept connection that is known by its key.
struct Way {
    key: Arc<NodeKey>,
    choice: Arc<RwLock<Choice>>,
    kept: Mutex<Option<(Watched, NodeClient)>>,
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Way").finish_non_exhaustive()
    }
}

impl Way {
    async fn go(&self, question: Question) -> Result<Reply, NoReply> {
        let not_asked = |why: String| NoReply { why, asked: false };
        let mut kept = self.kept.lock().await;
        let node = {
            let choice = self.choice.read().unwrap_or_else(PoisonError::into_inner);
            let authority = choice.authority().map_err(not_asked)?;
            authority.cloned().ok_or_else(|| not_asked("this node is the coordinator".to_owned()))?
        };
        if kept.as_ref().is_none_or(|(known, _)| *known != node) {
            let pinned: NodePublic =
                node.key.parse().map_err(|error| not_asked(format!("its key is none: {error}")))?;
            let tls = peer::client_config(&self.key, Some(NodePublicKey::new(pinned.0)));
            let client = NodeClient::new(node.address, tls.map_err(|error| not_asked(error.to_string()))?);
            *kept = Some((node, client));
        }
        let Some((node, client)) = kept.as_mut() else {
            return Err(not_asked("it is not reached".to_owned()));
        };
        client.post(ROUTE, &question, PATIENCE).await.map_err(|error| {
            let asked = match &error {
                NodeError::Unreachable(_) | NodeError::Other(_) | NodeError::NoNode => false,
                NodeError::Refused { .. } => false,
                NodeError::Late | NodeError::Broken(_) | NodeError::Unexpected(_) => true,
            };
            NoReply { why: format!("{}: {error}", node.name), asked }
        })
    }
}

impl Line for Way {
    fn ask(&self, question: Question) -> Answer<'_, Result<Reply, NoReply>> {
        Box::pin(self.go(question))
    }
}

/// The routes of other standbys: served beside those of the recorder, to nodes only.
pub fn node_routes(standby: Standby) -> Router {
    Router::new().route(ROUTE, post(coordinate)).with_state(standby)
}

/// A standby asks this node, which it has named as its coordinator.
async fn coordinate(
    State(standby): State<Standby>,
    Extension(Asking(key)): Extension<Asking>,
    body: Small<QUESTION_BYTES_MAX>,
) -> Result<Json<Reply>, Problem> {
    let key = NodePublic(key.bytes());
    let registered = standby.inner.node.peers().standbys().into_iter().find(|known| known.key == key);
    let Some(asker) = registered else {
        let detail = "a node asks only a coordinator that it watches; register this one there";
        return Err(Problem::forbidden("not_registered", detail));
    };
    let question: Question =
        body.json("question_malformed", "one of acquire, renew, release, commit, entry").await?;
    if question.holder().is_some_and(|holder| holder != holder_of(asker.key)) {
        return Err(Problem::forbidden("other_holder", "a node asks in its own name only"));
    }
    Ok(Json(standby.inner.coordination.answer(question).await))
}
