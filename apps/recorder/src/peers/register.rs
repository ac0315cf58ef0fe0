//! A standby is let in, and out again: by an administrator's login that slows guesses down like every login, or by a token that
//! works once.

use std::net::SocketAddr;

use axum::http::StatusCode;
use keepwatch_model::{EventCode, Subject};
use keepwatch_recording::failover::Version;
use keepwatch_recording::peer::{Hello, NodeDuty, NodePublic, Register, own_version, version};
use keepwatch_web::{Action, Auth, Peer, Problem};

use super::book::{EdgeNode, Known, Proof, Standby, token_refused};
use crate::Node;

/// Who asks to be let in.
pub(super) struct Asker {
    /// By the key that it has proven.
    pub(super) key: NodePublic,
    /// From where.
    pub(super) peer: Peer,
}

impl Node {
    /// Lets the standby in that asks with `asked`; `own` is this node's key.
    pub(super) async fn let_in(
        &self,
        auth: &Auth,
        asker: Asker,
        own: NodePublic,
        asked: Register,
    ) -> Result<Hello, Problem> {
        let Asker { key, peer } = asker;
        if key == own {
            let detail = "a recorder cannot be its own standby; choose another one";
            return Err(Problem::conflict("registers_itself", detail));
        }
        same_version(&asked)?;
        let (proof, by) = self.proof(auth, &peer, &asked).await?;
        auth.audit().require_working()?;
        let Peer::Network(from) = peer else {
            return Err(Problem::forbidden("not_registered", "a standby comes over the network"));
        };
        if asked.duty == NodeDuty::Edge {
            return self.let_edge_in(auth, (key, &peer), own, &asked, (proof, by)).await;
        }
        let now = self.clock().wall();
        let standby = Standby {
            key,
            name: one_line(&asked.name),
            role: asked.role,
            address: SocketAddr::new(from.ip().to_canonical(), asked.port),
            since: now,
        };
        let name = standby.name.clone();
        let text = format!("{name} at {} was registered as a standby by {by}", standby.address);
        let node = self.clone();
        let let_in = move || node.peers().let_in(standby, &proof, asked.beside, now);
        blocking(let_in).await??;
        tracing::info!("{text}");
        self.add_event(EventCode::StandbyRegistered, Subject::Node, text);
        let object = format!("standby:{name}");
        let receipt =
            auth.audit().enter_as(&by, "standby", &peer, Action::StandbyRegistered, object, key.to_string());
        receipt.durable().await?;
        self.hello(own)
    }

    /// Lets an edge node in, whose login or token was checked.
    async fn let_edge_in(
        &self,
        auth: &Auth,
        (key, peer): (NodePublic, &Peer),
        own: NodePublic,
        asked: &Register,
        (proof, by): (Proof, String),
    ) -> Result<Hello, Problem> {
        let edge =
            EdgeNode { key, name: one_line(&asked.name), role: asked.role, since: self.clock().wall() };
        let name = edge.name.clone();
        let node = self.clone();
        blocking(move || node.peers().let_edge_in(edge, &proof)).await??;
        let text = format!("{name} was registered by {by} as an edge node, which sends here what it records");
        tracing::info!("{text}");
        self.add_event(EventCode::EdgeNodeRegistered, Subject::Node, text);
        let (object, detail) = (format!("edge_node:{name}"), key.to_string());
        let receipt =
            auth.audit().enter_as(&by, "edge_node", peer, Action::EdgeNodeRegistered, object, detail);
        receipt.durable().await?;
        self.hello(own)
    }

    /// Lets a standby out that asks for it itself.
    pub(super) async fn let_out(&self, auth: &Auth, key: NodePublic, peer: &Peer) -> Result<(), Problem> {
        let node = self.clone();
        if self.peers().known(key)? == Known::Edge {
            let edge = blocking(move || node.peers().let_edge_out(key)).await??;
            self.tell_edge_removed(&edge, "itself");
            let (object, detail) = (format!("edge_node:{}", edge.name), key.to_string());
            let receipt =
                auth.audit().enter_as(&edge.name, "edge_node", peer, Action::EdgeNodeRemoved, object, detail);
            receipt.durable().await?;
            return Ok(());
        }
        let standby = blocking(move || node.peers().let_out(key)).await??;
        self.tell_removed(&standby, "itself");
        let (object, detail) = (format!("standby:{}", standby.name), key.to_string());
        let receipt =
            auth.audit().enter_as(&standby.name, "standby", peer, Action::StandbyRemoved, object, detail);
        receipt.durable().await?;
        Ok(())
    }

    pub(crate) fn tell_removed(&self, standby: &Standby, by: &str) {
        let text =
            format!("the standby {} was removed by {by}; it watches this recorder no more", standby.name);
        tracing::info!("{text}");
        self.add_event(EventCode::StandbyRemoved, Subject::Node, text);
    }

    pub(crate) fn tell_edge_removed(&self, edge: &EdgeNode, by: &str) {
        let text = format!("the edge node {} was removed by {by}; nothing more of it is taken", edge.name);
        tracing::info!("{text}");
        self.add_event(EventCode::EdgeNodeRemoved, Subject::Node, text);
    }

    /// What lets the standby in, and whose it is.
    async fn proof(&self, auth: &Auth, peer: &Peer, asked: &Register) -> Result<(Proof, String), Problem> {
        match (&asked.user, &asked.password, &asked.token) {
            (Some(user), Some(password), None) => {
                auth.confirm_administrator(peer, user, password.expose().to_owned()).await?;
                Ok((Proof::Login, user.clone()))
            }
            (None, None, Some(token)) => {
                let token = token.expose().to_owned();
                if !self.peers().takes(&token, asked.duty, self.clock().wall()) {
                    auth.audit().refused("standby", "token", peer);
                    return Err(token_refused());
                }
                Ok((Proof::Token(token), "a token".to_owned()))
            }
            (_, _, _) => {
                let detail = "send an administrator's user and password, or a token, and not both";
                Err(Problem::bad_request("register_malformed", detail))
            }
        }
    }
}

/// Refuses a standby of another version.
fn same_version(asked: &Register) -> Result<(), Problem> {
    let own = own_version();
    match version(&asked.version, asked.protocol) {
        Some(theirs) if theirs == own => Ok(()),
        theirs => {
            let detail = versions_differ(own, theirs);
            Err(Problem::new(StatusCode::CONFLICT, "version_differs", "The versions differ", detail))
        }
    }
}

/// What is to be done about two versions.
pub(super) fn versions_differ(recorder: Version, standby: Option<Version>) -> String {
    let shown = |version: Version| {
        format!("Keepwatch {}.{} (protocol {})", version.major, version.minor, version.protocol)
    };
    let standby = standby.map_or_else(|| "an unknown version".to_owned(), shown);
    format!(
        "the recorder runs {} and the standby {standby}; bring both to the same version, then register",
        shown(recorder)
    )
}

/// A name that another node gave itself, as it can stand in a log.
pub(super) fn one_line(name: &str) -> String {
    let shown: String =
        name.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(100).collect();
    if shown.trim().is_empty() { "a standby without a name".to_owned() } else { shown }
}

/// Runs what blocks off the event loop.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "the work of a request ended badly");
        Problem::internal("the request could not be carried out; the node's log says why")
    })
}
