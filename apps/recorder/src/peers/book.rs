//! What is known of other nodes, and changes to it, each durable before it counts.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keepwatch_interfaces::Interfaces;
use keepwatch_model::{RoleId, TICKS_PER_SECOND, WallTime, ticks_from_duration};
use keepwatch_recording::peer::{EDGE_NODES_MAX, NodeDuty, NodePublic, Restore, STANDBYS_MAX, Superseded};
use keepwatch_web::Problem;
use sha2::{Digest as _, Sha256};

pub use super::file::{EdgeNode, Standby};
use super::file::{NodesFile, State, TOKENS_MAX, Taken, Token};

/// A standby that is at two addresses in turn must not have the file written with each question.
const MOVE_TICKS_MIN: i64 = 60 * TICKS_PER_SECOND;

/// How long a token can be used: who makes it is about to register a standby.
const TOKEN_LIFE: Duration = Duration::from_secs(3600);

/// What a token begins with, so that it is known where it does not belong.
const TOKEN_PREFIX: &str = "kwp_";

/// Digits of the recorder's key that stand in a token, so that it is shown to no other: 128 bits, too many to be met by chance
/// or by trying.
const TOKEN_KEY_DIGITS: usize = 32;

/// Random bytes of a token: too many to be guessed, so that its hash needs no salt.
const TOKEN_BYTES: usize = 32;

/// The nodes that a recorder knows.
#[derive(Debug)]
pub struct Peers {
    file: NodesFile,
    own: RoleId,
    /// What is in force; else why it cannot be read.
    state: RwLock<Result<Arc<State>, String>>,
    /// Held while the file is written, so that changes come one after another.
    writing: Mutex<()>,
    /// Recorders that this node watches, with their roles.
    primaries: RwLock<BTreeMap<NodePublic, RoleId>>,
    /// When each standby was last heard.
    heard: Mutex<BTreeMap<NodePublic, WallTime>>,
    /// When it was last kept where each is.
    moved: Mutex<BTreeMap<NodePublic, WallTime>>,
    /// This node records in the place of others.
    standby: AtomicBool,
    hardware_address: OnceLock<Option<String>>,
    /// Held while a role is being taken.
    replacing: Arc<tokio::sync::Mutex<()>>,
}

/// As what a node is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// It watches this recorder.
    Standby,
    /// This node watches it, as the one that plays this role.
    Primary(RoleId),
    /// It sends here what it records.
    Edge,
}

/// What lets a standby in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// An administrator's login, which was checked.
    Login,
    /// This token, which is used up by it.
    Token(String),
}

impl Peers {
    /// The nodes that the node in the directory `data` knows, whose store is of the role `own`. Blocks. What cannot be read
    /// is told by [`problem`](Self::problem), and stops no recording.
    pub(crate) fn open(data: &Path, own: RoleId) -> Self {
        let file = NodesFile::new(data);
        let state = file.read(own).map(Arc::new);
        Self {
            file,
            own,
            state: RwLock::new(state),
            writing: Mutex::default(),
            primaries: RwLock::default(),
            heard: Mutex::default(),
            moved: Mutex::default(),
            standby: AtomicBool::new(false),
            hardware_address: OnceLock::new(),
            replacing: Arc::default(),
        }
    }

    /// Why other nodes are not answered; `None` when all is well.
    pub fn problem(&self) -> Option<String> {
        self.state().err()
    }

    /// The role that this recorder plays, and its epoch: that of its store, unless it took another one's.
    pub fn role(&self) -> (RoleId, u64) {
        self.state().map_or((self.own, 0), |state| (state.role, state.epoch))
    }

    /// The standbys that are registered here.
    pub fn standbys(&self) -> Vec<Standby> {
        self.state().map(|state| state.standbys.clone()).unwrap_or_default()
    }

    /// When the standby of this key was last heard; `None` when it was not since the start.
    pub fn heard(&self, key: NodePublic) -> Option<WallTime> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).get(&key).copied()
    }

    /// Whether this node records in the place of others.
    pub fn is_standby(&self) -> bool {
        self.standby.load(Ordering::Relaxed)
    }

    /// Tells that this node records in the place of others, and which recorders it watches: they may fetch what it recorded
    /// for them.
    pub fn watch(&self, primaries: BTreeMap<NodePublic, RoleId>) {
        self.standby.store(true, Ordering::Relaxed);
        *self.primaries.write().unwrap_or_else(PoisonError::into_inner) = primaries;
    }

    /// As what the node of this key is known.
    ///
    /// # Errors
    /// `not_registered` when it is not; `nodes_unreadable` when nobody can say.
    pub fn known(&self, key: NodePublic) -> Result<Known, Problem> {
        if let Some(role) = self.primaries.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(Known::Primary(*role));
        }
        let state = self.state().map_err(unreadable)?;
        match state.standbys.iter().any(|standby| standby.key == key) {
            true => Ok(Known::Standby),
            false if state.edges.iter().any(|edge| edge.key == key) => Ok(Known::Edge),
            false => Err(not_registered()),
        }
    }

    /// The edge nodes that send here.
    pub fn edges(&self) -> Vec<EdgeNode> {
        self.state().map(|state| state.edges.clone()).unwrap_or_default()
    }

    /// The edge node of this key asks at `now`.
    ///
    /// # Errors
    /// `not_registered` when it is none; `nodes_unreadable` when nobody can say.
    pub(crate) fn edge(&self, key: NodePublic, now: WallTime) -> Result<EdgeNode, Problem> {
        let state = self.state().map_err(unreadable)?;
        let edge = state.edges.iter().find(|edge| edge.key == key).ok_or_else(not_registered)?;
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).insert(key, now);
        Ok(edge.clone())
    }

    /// Lets an edge node in by `proof`, at its `since`. One that is in already is let in anew. Blocks.
    pub(super) fn let_edge_in(&self, edge: EdgeNode, proof: &Proof) -> Result<(), Problem> {
        let (key, now) = (edge.key, edge.since);
        self.change(|state| {
            use_up(state, proof, NodeDuty::Edge, now)?;
            state.edges.retain(|known| known.key != key);
            if state.edges.iter().any(|known| known.name == edge.name) {
                let detail = format!(
                    "another edge node is registered here as {}; give this one a name of its own, or remove that one first",
                    edge.name
                );
                return Err(Problem::conflict("edge_name_taken", detail));
            }
            if state.edges.len() >= EDGE_NODES_MAX {
                let detail = format!("{EDGE_NODES_MAX} edge nodes are registered here already; remove one first");
                return Err(Problem::conflict("edges_full", detail));
            }
            state.edges.push(edge);
            Ok(())
        })?;
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).insert(key, now);
        Ok(())
    }

    /// Takes nothing more of the edge node of this key; returns what was known of it. Blocks.
    pub fn let_edge_out(&self, key: NodePublic) -> Result<EdgeNode, Problem> {
        let removed = self.change(|state| {
            let place = state.edges.iter().position(|edge| edge.key == key);
            Ok(state.edges.remove(place.ok_or_else(not_registered)?))
        })?;
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        Ok(removed)
    }

    /// The standby of this key asked from an address at `now`, and may have said at which port it answers. Returns where it is by
    /// now if that is to be kept.
    pub(super) fn hear(
        &self,
        key: NodePublic,
        (from, port): (IpAddr, Option<NonZeroU16>),
        now: WallTime,
    ) -> Result<Option<SocketAddr>, Problem> {
        let state = self.state().map_err(unreadable)?;
        let standby = state.standbys.iter().find(|standby| standby.key == key).ok_or_else(not_registered)?;
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).insert(key, now);
        let at = SocketAddr::new(from, port.map_or(standby.address.port(), NonZeroU16::get));
        if standby.address == at {
            return Ok(None);
        }
        let mut moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due =
            moved.get(&key).is_none_or(|last| now.ticks_since(*last).saturating_abs() > MOVE_TICKS_MIN);
        if is_due {
            moved.insert(key, now);
        }
        Ok(is_due.then_some(at))
    }

    /// Keeps where a standby is. Blocks.
    pub(super) fn moved(&self, key: NodePublic, to: SocketAddr) -> Result<(), Problem> {
        self.change(|state| {
            for standby in state.standbys.iter_mut().filter(|standby| standby.key == key) {
                standby.address = to;
            }
            Ok(())
        })
    }

    /// Lets a standby in by `proof`, at `now`; `beside` others only on purpose. One that is in already is let in anew. Blocks.
    pub(super) fn let_in(
        &self,
        standby: Standby,
        proof: &Proof,
        beside: bool,
        now: WallTime,
    ) -> Result<(), Problem> {
        let key = standby.key;
        self.change(|state| {
            use_up(state, proof, NodeDuty::Standby, now)?;
            state.standbys.retain(|known| known.key != key);
            let names: Vec<&str> = state.standbys.iter().map(|standby| standby.name.as_str()).collect();
            if !names.is_empty() && !beside {
                let detail = format!(
                    "this recorder is watched by {} already; register beside it on purpose, or remove that one first",
                    names.join(", ")
                );
                return Err(Problem::conflict("registered_elsewhere", detail));
            }
            if names.len() >= STANDBYS_MAX {
                let detail = format!("{STANDBYS_MAX} standbys watch this recorder already; remove one first");
                return Err(Problem::conflict("standbys_full", detail));
            }
            state.standbys.push(standby);
            Ok(())
        })?;
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).insert(key, now);
        Ok(())
    }

    /// Whether a token would let somebody in with this duty at `now`.
    pub(super) fn takes(&self, token: &str, duty: NodeDuty, now: WallTime) -> bool {
        let hash = hash(token);
        let is_it = |token: &Token| token.hash == hash && token.duty == duty && now < token.expires;
        self.state().is_ok_and(|state| state.tokens.iter().any(is_it))
    }

    /// Makes a token with which one node of this duty can register until an hour from `now`, at this recorder, whose key is `own`; returns
    /// it, with its end. Blocks.
    pub fn make_token(
        &self,
        own: NodePublic,
        duty: NodeDuty,
        now: WallTime,
    ) -> Result<(String, WallTime), Problem> {
        let mut random = [0; TOKEN_BYTES];
        getrandom::fill(&mut random)
            .map_err(|error| Problem::internal(format!("the system gives no random numbers: {error}")))?;
        let digits: String = own.to_string().chars().take(TOKEN_KEY_DIGITS).collect();
        let text = format!("{TOKEN_PREFIX}{digits}_{}", URL_SAFE_NO_PAD.encode(random));
        let expires = now.plus(ticks_from_duration(TOKEN_LIFE));
        let token = Token { hash: hash(&text), expires, duty };
        self.change(|state| {
            state.tokens.retain(|token| now < token.expires);
            if state.tokens.len() >= TOKENS_MAX {
                let detail =
                    format!("{TOKENS_MAX} tokens wait for their nodes; use one, or wait until they end");
                return Err(Problem::conflict("tokens_full", detail));
            }
            state.tokens.push(token);
            Ok(())
        })?;
        Ok((text, expires))
    }

    /// Lets the standby of this key in no more; returns what was known of it. Blocks.
    pub fn let_out(&self, key: NodePublic) -> Result<Standby, Problem> {
        let removed = self.change(|state| {
            let place = state.standbys.iter().position(|standby| standby.key == key);
            Ok(state.standbys.remove(place.ok_or_else(not_registered)?))
        })?;
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        Ok(removed)
    }

    /// One role is taken at a time, until what is returned is dropped.
    pub(super) fn begin_replacing(&self) -> Result<tokio::sync::OwnedMutexGuard<()>, Problem> {
        Arc::clone(&self.replacing).try_lock_owned().map_err(|_| {
            Problem::conflict(
                "replace_under_way",
                "a role is being taken already; ask again when that is done",
            )
        })
    }

    /// The name of a standby.
    pub(super) fn name_of(&self, key: NodePublic) -> Result<String, Problem> {
        let state = self.state().map_err(unreadable)?;
        let standby = state.standbys.iter().find(|standby| standby.key == key);
        standby.map(|standby| standby.name.clone()).ok_or_else(not_registered)
    }

    /// Whether this node may take `role`, of which a backup of the epoch `was` is there, as it is `asked` by the standby of `key`.
    pub(super) fn fence(
        &self,
        key: NodePublic,
        role: RoleId,
        was: u64,
        asked: &Restore,
    ) -> Result<(), Problem> {
        let state = self.state().map_err(unreadable)?;
        let epoch = asked.epoch;
        let stale = |than: u64| {
            let detail = format!(
                "role {role} is in epoch {than} already, so that it cannot be taken in epoch {epoch}"
            );
            Err(Problem::conflict("epoch_stale", detail))
        };
        if epoch <= was {
            return stale(was);
        }
        if state.role == role && epoch <= state.epoch {
            // The same request again, whose answer was lost, is brought to its end again; of nobody else.
            let repeats = state.taken.as_ref() == Some(&taken(key, asked)) && epoch == state.epoch;
            return if repeats { Ok(()) } else { stale(state.epoch) };
        }
        let others = state.standbys.iter().filter(|standby| standby.key != key);
        let names: Vec<&str> = others.map(|standby| standby.name.as_str()).collect();
        if !names.is_empty() {
            let detail = format!(
                "this recorder is watched by {} in the role that it has; remove it there before it takes a role",
                names.join(", ")
            );
            return Err(Problem::conflict("registered_elsewhere", detail));
        }
        Ok(())
    }

    /// This node plays `role` from here on, as it was `asked` by the standby of `key`. Blocks.
    pub(super) fn take(&self, key: NodePublic, role: RoleId, asked: &Restore) -> Result<(), Problem> {
        self.change(|state| {
            (state.role, state.epoch) = (role, asked.epoch);
            (state.taken, state.superseded) = (Some(taken(key, asked)), None);
            Ok(())
        })
    }

    /// Another recorder plays the role, says the standby of `key`, which watches this one no more; returns what was known of it.
    /// Blocks.
    pub(super) fn supersede(&self, key: NodePublic, told: Superseded) -> Result<Standby, Problem> {
        let standby = self.change(|state| {
            let place = state.standbys.iter().position(|standby| standby.key == key);
            let place = place.ok_or_else(not_registered)?;
            if told.role != state.role || told.epoch <= state.epoch {
                let (role, epoch) = (state.role, state.epoch);
                let detail =
                    format!("this recorder plays role {role} in epoch {epoch}, and was not replaced");
                return Err(Problem::conflict("epoch_stale", detail));
            }
            state.superseded = Some(told);
            Ok(state.standbys.remove(place))
        })?;
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        Ok(standby)
    }

    /// Who plays the role since this recorder was replaced; `None` while it was not.
    pub(crate) fn superseded(&self) -> Option<Superseded> {
        self.state().ok()?.superseded.clone()
    }

    /// The hardware address of this machine.
    pub(super) fn hardware_address(&self) -> Option<String> {
        self.hardware_address.get_or_init(|| Interfaces::default().hardware_address()).clone()
    }

    /// Changes what is in force: `act` is shown a copy, which counts once it is durable. Blocks.
    fn change<T>(&self, act: impl FnOnce(&mut State) -> Result<T, Problem>) -> Result<T, Problem> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.state().map_err(unreadable)?;
        let mut state = (*before).clone();
        let result = act(&mut state)?;
        if state != *before {
            self.file.write(&state).map_err(|error| {
                tracing::error!(%error, "what is known of other nodes was not kept");
                Problem::internal(format!("what is known of other nodes cannot be kept: {error}"))
            })?;
            *self.state.write().unwrap_or_else(PoisonError::into_inner) = Ok(Arc::new(state));
        }
        Ok(result)
    }

    fn state(&self) -> Result<Arc<State>, String> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Finds the token that `proof` is, if it is one, and uses it up.
fn use_up(state: &mut State, proof: &Proof, duty: NodeDuty, now: WallTime) -> Result<(), Problem> {
    state.tokens.retain(|token| now < token.expires);
    let Proof::Token(text) = proof else { return Ok(()) };
    let hash = hash(text);
    let found = state.tokens.iter().position(|token| token.hash == hash && token.duty == duty);
    state.tokens.remove(found.ok_or_else(token_refused)?);
    Ok(())
}

/// Whether the recorder of this key made the token, as far as that can be seen.
pub(super) fn is_of(token: &str, key: NodePublic) -> bool {
    let digits = token.strip_prefix(TOKEN_PREFIX).and_then(|rest| rest.get(..TOKEN_KEY_DIGITS));
    digits.is_some_and(|digits| key.to_string().starts_with(digits))
}

fn taken(by: NodePublic, asked: &Restore) -> Taken {
    Taken { by, digest: asked.backup.digest().to_owned() }
}

fn hash(token: &str) -> String {
    Sha256::digest(token.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A token that lets nobody in.
pub(super) fn token_refused() -> Problem {
    Problem::forbidden(
        "token_refused",
        "the token was used, has ended or never was; make another one on the recorder, with keepwatch standby token or keepwatch edge token",
    )
}

fn not_registered() -> Problem {
    Problem::forbidden(
        "not_registered",
        "this node is not registered here; register it with an administrator's login",
    )
}

fn unreadable(why: String) -> Problem {
    Problem::unavailable("nodes_unreadable", why)
}
