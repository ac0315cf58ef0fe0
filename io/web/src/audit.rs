//! The audit log: who did what and when, in a chain of hashes that tells when something in it was changed.
//!
//! One file of JSON lines for each month in `DATA/audit/`; each line holds the hash of the one before, across files. A
//! thread of its own writes and flushes, so no request waits for the disk unless its success must not be told before it
//! is on record. A chain does not tell of a cut tail: [`Head`]s kept elsewhere do.

mod action;
mod api;
mod entry;
mod files;
mod refusals;
mod verify;
mod viewed;
mod writer;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use keepwatch_model::CameraId;
use tokio::sync::{mpsc, oneshot, watch};

pub use self::action::Action;
pub(crate) use self::api::{Description, routes};
use self::entry::Draft;
use self::refusals::Refusals;
pub use self::verify::{AuditReport, verify};
use self::viewed::Viewed;
use self::writer::{Order, Writer};
use crate::hash::Hash256;
use crate::{Clock, Identity, Peer, Problem};

/// Name of the directory in the data directory.
const DIRECTORY: &str = "audit";

/// Entries that may wait for the disk: seconds of the most that logins and changes can make.
const WAITING_MAX: usize = 1024;

/// After how long a log that could not be written is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(5);

/// Reads a line of the audit log, which somebody may have changed, for the fuzz target: what comes back is an entry whose
/// hash is that of the line.
pub fn decode_untrusted_audit_line(line: &[u8]) -> bool {
    entry::Entry::read(line).is_ok()
}

/// Why there is no audit log.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// It cannot be read or written.
    #[error("the audit log cannot be opened: {}", path.display())]
    File {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its thread cannot be started.
    #[error("the audit log has no thread")]
    Thread(#[source] io::Error),
}

/// What was found when the log was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuditOpened {
    /// Bytes of an unfinished last line that were removed: of an entry whose success was told to nobody.
    pub unfinished_bytes: u64,
    /// Lines of the last file that are no entries; they are left in place, and the chain goes on before them.
    pub damaged_lines: u64,
}

/// The end of the chain: how many entries there are, and the hash of the last. Kept elsewhere it tells of a cut tail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    seq: u64,
    hash: Hash256,
}

impl Head {
    const BEFORE_ALL: Self = Self { seq: 0, hash: Hash256::ZERO };

    /// Whether there is no entry.
    pub const fn is_empty(&self) -> bool {
        self.seq == 0
    }

    /// Reads what [`Display`](fmt::Display) wrote; `None` when `text` is something else.
    pub fn from_text(text: &str) -> Option<Self> {
        let (seq, hash) = text.strip_prefix("audit log: entry ")?.split_once(" has the hash ")?;
        Some(Self { seq: seq.parse().ok()?, hash: Hash256::try_from(hash).ok()? })
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "audit log: entry {} has the hash {}", self.seq, self.hash)
    }
}

/// Takes entries from everywhere; a cheap handle.
#[derive(Clone)]
pub struct Audit {
    shared: Arc<Shared>,
}

struct Shared {
    directory: PathBuf,
    orders: mpsc::Sender<Order>,
    state: watch::Receiver<State>,
    clock: Arc<dyn Clock>,
    viewed: Mutex<Viewed>,
    refusals: Mutex<Refusals>,
}

/// What the writer has come to.
#[derive(Clone, Debug)]
struct State {
    head: Head,
    /// Why the last entries could not be written; `None` when they were.
    failure: Option<String>,
    /// How often it changed whether entries can be written: what was entered before a change may be lost.
    turns: u64,
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audit").field("directory", &self.shared.directory).finish_non_exhaustive()
    }
}

impl Audit {
    /// Opens the log in the data directory `data`, and makes it where there is none. Blocks.
    pub fn open(data: &Path, clock: Arc<dyn Clock>) -> Result<(Self, AuditOpened), AuditError> {
        Self::open_retrying(data, clock, RETRY_PAUSE)
    }

    /// The same, with another pause before a log that could not be written is tried again.
    fn open_retrying(
        data: &Path,
        clock: Arc<dyn Clock>,
        pause: Duration,
    ) -> Result<(Self, AuditOpened), AuditError> {
        let directory = data.join(DIRECTORY);
        let (writer, opened) = Writer::open(&directory)?;
        let (orders, received) = mpsc::channel(WAITING_MAX);
        let state = writer.start(received, pause).map_err(AuditError::Thread)?;
        let (viewed, refusals) = (Mutex::default(), Mutex::default());
        let shared = Shared { directory, orders, state, clock, viewed, refusals };
        Ok((Self { shared: Arc::new(shared) }, opened))
    }

    /// Enters that `identity`, from `peer`, did `action` to `object`, such as `camera:gate`. Does not wait: ask the
    /// [`Receipt`] before a success is told that must not go unrecorded.
    pub fn enter(
        &self,
        identity: &Identity,
        peer: &Peer,
        action: Action,
        object: impl Into<String>,
        detail: impl Into<String>,
    ) -> Receipt {
        self.enter_as(&identity.user, identity.via.as_str(), peer, action, object.into(), detail.into())
    }

    /// As [`enter`](Self::enter) for somebody who has no identity yet; `via` says how they tried to get one.
    pub fn enter_as(
        &self,
        user: &str,
        via: &str,
        peer: &Peer,
        action: Action,
        object: String,
        detail: String,
    ) -> Receipt {
        let at = self.shared.clock.wall();
        self.send(Draft::new(at, user, via, &peer.to_string(), action.as_str(), &object, &detail))
    }

    /// Enters that `identity` looks at a camera, the first time in an hour for each user, camera and `action`; once more when
    /// the log could not be written meanwhile.
    pub fn viewed(&self, identity: &Identity, peer: &Peer, action: Action, camera: CameraId) {
        let at = self.shared.clock.wall();
        let turns = self.shared.state.borrow().turns;
        let mut viewed = self.shared.viewed.lock().unwrap_or_else(PoisonError::into_inner);
        viewed.forget_before(turns);
        if viewed.is_first(&identity.user, action, camera, at) {
            // Nobody waits for it: a picture that is shown changes nothing.
            drop(self.enter(identity, peer, action, format!("camera:{camera}"), ""));
        }
    }

    /// Enters that a login as `user`, or a setup, was refused; of a flood of them only so many. Nobody waits for it: what
    /// was refused changed nothing.
    pub fn refused(&self, user: &str, via: &str, peer: &Peer) {
        let at = self.shared.clock.wall();
        let detail = self.shared.refusals.lock().unwrap_or_else(PoisonError::into_inner).note(at);
        if let Some(detail) = detail {
            drop(self.enter_as(user, via, peer, Action::LoginRefused, format!("user:{user}"), detail));
        }
    }

    /// Refuses with 503 while entries cannot be written: what must be on record must not be done then.
    pub fn require_working(&self) -> Result<(), Problem> {
        match &self.shared.state.borrow().failure {
            None => Ok(()),
            Some(why) => Err(Problem::unavailable(
                "audit_unavailable",
                format!(
                    "the audit log cannot be written ({why}), and this must be on record; make room, or mend the disk"
                ),
            )),
        }
    }

    /// The end of the chain as it is on disk.
    pub fn head(&self) -> Head {
        self.shared.state.borrow().head
    }

    /// Why entries cannot be written at the moment; `None` when they can. Changes once that was noticed.
    pub fn failure(&self) -> Option<String> {
        self.shared.state.borrow().failure.clone()
    }

    /// Tells when the head or the failure change from here on.
    pub fn changes(&self) -> AuditChanges {
        AuditChanges(self.shared.state.clone())
    }

    /// Waits until all that was entered is on disk, or cannot get there.
    pub async fn flush(&self) {
        let (done, told) = oneshot::channel();
        if self.shared.orders.send(Order::Flush(done)).await.is_ok() {
            // An error means that the thread ended, and with it the wish.
            let _ = told.await;
        }
    }

    fn send(&self, draft: Draft) -> Receipt {
        let (done, told) = oneshot::channel();
        if self.shared.orders.try_send(Order::Enter(draft, done)).is_err() {
            tracing::error!("the audit log is behind, an entry was dropped");
            return Receipt(None);
        }
        Receipt(Some(told))
    }
}

/// Tells of changes of an audit log's state.
#[derive(Clone, Debug)]
pub struct AuditChanges(watch::Receiver<State>);

impl AuditChanges {
    /// Waits for the next change; never returns once the log is closed.
    pub async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending().await
        }
    }
}

/// Tells whether an entry is on disk.
#[must_use = "a success that must be on record is told only after `durable`"]
#[derive(Debug)]
pub struct Receipt(Option<oneshot::Receiver<Result<(), String>>>);

impl Receipt {
    /// Waits until the entry is flushed to the disk. The problem says that what was asked for has been done: it is asked
    /// for [`Audit::require_working`] before.
    pub async fn durable(self) -> Result<(), Problem> {
        let told = match self.0 {
            Some(told) => told.await.unwrap_or_else(|_| Err("its thread ended".to_owned())),
            None => Err("it is too far behind".to_owned()),
        };
        told.map_err(|why| {
            Problem::unavailable(
                "audit_unavailable",
                format!("this was done, but could not be entered into the audit log: {why}"),
            )
        })
    }
}

#[cfg(test)]
mod tests;
