//! Who decides which of several standbys covers a primary: this node, or one that it watches and that `[standby] coordinator` names.
//!
//! The node that is asked answers from its own database, and only those that are registered with it as standbys, each in its own
//! name. If it cannot be asked, covers are unconfirmed, and recording goes on.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use axum::extract::{Extension, State};
use axum::routing::post;
use axum::{Json, Router};
use keepwatch_cluster::{AcquireError, Answer, Coord, Lease, Line, Question, RenewError, Reply, Unavailable};
use keepwatch_model::RoleId;
use keepwatch_recorder::Node;
use keepwatch_recording::peer::NodePublic;
use keepwatch_settings::standby::PrimaryRow;
use keepwatch_tls::{NodeKey, NodePublicKey, peer};
use keepwatch_web::{Node as Asking, NodeClient, Problem, Small};

use crate::Standby;

/// Where a node is asked.
const ROUTE: &str = "/peer/coordination";
/// Largest question, with room for what a later version may say.
const QUESTION_BYTES_MAX: usize = 4 << 10;
/// How long this node's database may take when another node asks: that it gives no answer arrives there before its patience ends.
const DATABASE_PATIENCE: Duration = Duration::from_millis(1_000);
/// How long the other node may take: as long as a claim is waited for.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// Connections that are kept: so many claims are asked for at a time without one waiting for another.
const CONNECTIONS_MAX: usize = 4;

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
    own: Own,
    watched: Vec<Watched>,
}

/// This node, as the configuration may name it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Own {
    role: RoleId,
    name: String,
}

impl Own {
    /// As `node` is called now.
    pub(crate) fn of(node: &Node) -> Self {
        Self { role: node.peers().role().0, name: node.name() }
    }
}

impl Choice {
    /// The node that is to be asked; `None`: this one.
    fn authority(&self) -> Result<Option<&Watched>, String> {
        let Some(wanted) = &self.coordinator else { return Ok(None) };
        let meant = |node: &&Watched| {
            node.name == *wanted || node.address.to_string() == *wanted || node.role.to_string() == *wanted
        };
        let own = self.own.name == *wanted || self.own.role.to_string() == *wanted;
        let mut found = self.watched.iter().filter(meant);
        match (found.next(), found.next()) {
            (Some(node), None) if !own => Ok(Some(node)),
            // One file may serve for all nodes.
            (None, _) if own => Ok(None),
            (Some(_), _) => {
                Err(format!("several recorders are called {wanted:?}; name the coordinator by its address"))
            }
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
    pub(crate) fn new(
        coord: Arc<dyn Coord>,
        key: Arc<NodeKey>,
        own: Own,
        coordinator: Option<String>,
    ) -> Self {
        let choice = Arc::new(RwLock::new(Choice { coordinator, own, watched: Vec::new() }));
        let way = Way { key, choice: Arc::clone(&choice), kept: Mutex::default() };
        Self { own: coord, choice, other: Arc::new(keepwatch_cluster::Remote::new(way)) }
    }

    /// The configuration names another node, or this one is called otherwise.
    pub(crate) fn choose(&self, own: Own, coordinator: Option<String>) {
        let mut choice = self.choice.write().unwrap_or_else(PoisonError::into_inner);
        (choice.own, choice.coordinator) = (own, coordinator);
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
        match choice.authority() {
            Ok(None) => None,
            Ok(Some(_)) => Some((choice.coordinator.clone()?, None)),
            Err(why) => Some((choice.coordinator.clone()?, Some(why))),
        }
    }

    /// Whose database decides.
    fn coord(&self) -> &dyn Coord {
        match self.choice.read().unwrap_or_else(PoisonError::into_inner).authority() {
            Ok(None) => &*self.own,
            Ok(Some(_)) | Err(_) => &*self.other,
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
        let answered = tokio::time::timeout(DATABASE_PATIENCE, question.ask(&*self.own)).await;
        answered.unwrap_or_else(|_| Reply::Unavailable("its database gives no answer".to_owned()))
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
}

/// The way to the coordinator, over a kept connection that is known by its key.
struct Way {
    key: Arc<NodeKey>,
    choice: Arc<RwLock<Choice>>,
    /// Not in use at the moment.
    kept: Mutex<Vec<(Watched, NodeClient)>>,
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Way").finish_non_exhaustive()
    }
}

impl Way {
    async fn go(&self, question: Question) -> Result<Reply, Unavailable> {
        let (node, mut client) = self.client()?;
        let reply = client.post(ROUTE, &question, PATIENCE).await;
        let reply = reply.map_err(|error| Unavailable(format!("{}: {error}", node.name)))?;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(known, _)| *known == node);
        if kept.len() < CONNECTIONS_MAX {
            kept.push((node, client));
        }
        Ok(reply)
    }

    /// A connection to the coordinator that nobody else uses.
    fn client(&self) -> Result<(Watched, NodeClient), Unavailable> {
        let node = {
            let choice = self.choice.read().unwrap_or_else(PoisonError::into_inner);
            let authority = choice.authority().map_err(Unavailable)?;
            authority.cloned().ok_or_else(|| Unavailable("this node is the coordinator".to_owned()))?
        };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = kept.iter().position(|(known, _)| *known == node) {
            return Ok(kept.swap_remove(at));
        }
        drop(kept);
        let pinned: NodePublic =
            node.key.parse().map_err(|error| Unavailable(format!("its key is none: {error}")))?;
        let tls = peer::client_config(&self.key, Some(NodePublicKey::new(pinned.0)));
        let client = NodeClient::new(node.address, tls.map_err(|error| Unavailable(error.to_string()))?);
        Ok((node, client))
    }
}

impl Line for Way {
    fn ask(&self, question: Question) -> Answer<'_, Result<Reply, Unavailable>> {
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
    let question: Question = body.json("question_malformed", "one of acquire, renew, release").await?;
    if question.holder() != holder_of(asker.key) {
        return Err(Problem::forbidden("other_holder", "a node asks in its own name only"));
    }
    Ok(Json(standby.inner.coordination.answer(question).await))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched(number: u8, name: &str) -> Watched {
        let address = SocketAddr::from(([192, 0, 2, number], 8443));
        Watched { role: RoleId([number; 16]), name: name.to_owned(), address, key: String::new() }
    }

    /// Who is asked when the configuration names `wanted`: the number of a watched recorder, or 0 for this node.
    fn asked(wanted: &str, among: &[Watched]) -> Result<u8, String> {
        let own = Own { role: RoleId([9; 16]), name: "west".to_owned() };
        let choice = Choice { coordinator: Some(wanted.to_owned()), own, watched: among.to_vec() };
        choice.authority().map(|node| node.map_or(0, |node| node.role.0[0]))
    }

    #[test]
    fn the_coordinator_is_named_by_name_address_or_role() {
        let all = [watched(1, "north"), watched(2, "south")];
        assert_eq!(asked("south", &all), Ok(2));
        assert_eq!(asked("192.0.2.1:8443", &all), Ok(1));
        assert_eq!(asked(&RoleId([1; 16]).to_string(), &all), Ok(1));
        assert!(asked("east", &all).unwrap_err().contains("register it here"));
        assert!(asked("north", &[watched(1, "north"), watched(2, "north")]).unwrap_err().contains("address"));
    }

    #[test]
    fn a_node_that_is_named_itself_decides_itself_so_that_one_file_serves_for_all() {
        assert_eq!(asked("west", &[watched(1, "north")]), Ok(0));
        assert_eq!(asked(&RoleId([9; 16]).to_string(), &[]), Ok(0));
        assert!(asked("west", &[watched(1, "west")]).unwrap_err().contains("several recorders"));
    }
}
