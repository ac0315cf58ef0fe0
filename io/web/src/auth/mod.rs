//! Who may do what: users, sessions, API tokens, and a brake on guessing.
//!
//! No address is trusted, loopback included; no credential travels in a URL; nothing has a default password. Users and
//! tokens live in one small file, sessions in memory only: a restart logs everybody out. What somebody may do is looked
//! up at each request. Time comes from a [`Clock`] so that expiry and back-off are tested without waiting.

mod account;
mod backoff;
mod brakes;
mod credential;
mod file;
mod gate;
mod hashing;
mod identity;
mod login;
mod nodes;
mod right;
mod role;
mod session;
mod sessions;
mod setup;
mod tokens;
mod users;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Semaphore, watch};
use utoipa::OpenApi;

use self::brakes::{Brakes, LOGINS_WAITING_MAX};
use self::credential::Credential;
use self::sessions::{Moment, Sessions};
use self::setup::SetupCode;
use self::users::{Opened, Users};
use crate::{Audit, Clock, Peer, Problem, Routes};

pub(crate) use self::credential::NoChance;
pub(crate) use self::gate::{Gate, gate};
pub use self::identity::{Caller, Identity, Via};
pub use self::nodes::OtherUsers;
pub use self::right::Right;
pub use self::role::{Grants, Role};

/// Passwords checked at the same time: each check takes 19 MiB and a core for some 20 ms, and recording comes first.
const CHECKS_MAX: usize = 2;

/// Longest password in bytes: the hash takes any length, the memory of a flood does not.
const PASSWORD_BYTES_MAX: usize = 1024;

/// Why users cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The file could not be read.
    #[error("users cannot be read from {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file could not be written.
    #[error("users cannot be written to {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is there but does not hold users.
    #[error(
        "{} is damaged: {what}; restore it, or remove it to create a first administrator again", path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The password of the first administrator is empty or too long.
    #[error("the administrator's password has {bytes} bytes; choose one of 1 to {PASSWORD_BYTES_MAX}")]
    PasswordUnfit {
        /// Its length.
        bytes: usize,
    },
    /// No hash could be made.
    #[error("a password cannot be hashed: {what}")]
    Hash {
        /// Why.
        what: String,
    },
}

/// What [`Auth::open`] found or did.
#[derive(Clone, PartialEq, Eq)]
pub enum FirstUser {
    /// There were users; a password that was handed in is not used.
    Present,
    /// `admin` was created with the password that was handed in.
    Created,
    /// There is no user. Whoever shows this code to `POST /api/v1/setup` chooses the password of `admin`; it is kept
    /// nowhere and holds until it is used or the node ends.
    Awaited(String),
}

impl fmt::Debug for FirstUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Present => "Present",
            Self::Created => "Created",
            Self::Awaited(_) => "Awaited(..)",
        })
    }
}

/// How a login ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginOutcome {
    /// A session began.
    Succeeded,
    /// No such user, or not this password: which of the two is told to nobody.
    Refused,
}

/// A login whose password was checked. Attempts that the brake turned away are not among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginRecord {
    /// The user name as it was sent, at most 64 bytes; it may name no user.
    pub user: String,
    /// Where it came from.
    pub peer: Peer,
    /// How it ended.
    pub outcome: LoginOutcome,
}

/// Is told of every login that was checked, for the event log. Must not block.
pub trait LoginWatcher: Send + Sync {
    /// A login was checked.
    fn login(&self, record: &LoginRecord);
}

/// What [`Auth::open`] needs.
pub struct AuthConfig {
    /// The data directory, which must exist; the users are kept in `users.json` in it.
    pub data: PathBuf,
    /// Password of the first administrator, `admin`; used only when there are no users. `None` leaves it to the setup.
    pub admin_password: Option<String>,
    /// Is told of every login.
    pub watcher: Arc<dyn LoginWatcher>,
    /// The clock of sessions and back-off.
    pub clock: Arc<dyn Clock>,
    /// Where it is entered what people do.
    pub audit: Audit,
}

impl fmt::Debug for AuthConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthConfig").field("data", &self.data).finish_non_exhaustive()
    }
}

/// Users, sessions and tokens of a node; a cheap handle.
#[derive(Clone)]
pub struct Auth {
    shared: Arc<Shared>,
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth").finish_non_exhaustive()
    }
}

struct Shared {
    users: Users,
    sessions: Mutex<Sessions>,
    /// The code of the setup; `None` when there is no setup to be done.
    setup: Mutex<Option<SetupCode>>,
    brakes: Mutex<Brakes>,
    waiting: Arc<Semaphore>,
    checks: Arc<Semaphore>,
    watcher: Arc<dyn LoginWatcher>,
    clock: Arc<dyn Clock>,
    audit: Audit,
    /// Told after every change that may take a right away.
    changes: watch::Sender<()>,
}

impl Auth {
    /// Reads the users; when there are none, creates the first administrator or invents a code for whoever is to.
    /// Hashes one password, which takes some 20 ms.
    pub fn open(config: AuthConfig) -> Result<(Self, FirstUser), AuthError> {
        let (users, opened) = Users::open(&config.data, config.admin_password, config.clock.wall())?;
        let (first, setup) = match opened {
            Opened::Present => (FirstUser::Present, None),
            Opened::Created => (FirstUser::Created, None),
            Opened::Empty => {
                let (code, kept) =
                    SetupCode::invent().map_err(|error| AuthError::Hash { what: error.to_string() })?;
                (FirstUser::Awaited(code), Some(kept))
            }
        };
        let shared = Shared {
            users,
            sessions: Mutex::default(),
            setup: Mutex::new(setup),
            brakes: Mutex::default(),
            waiting: Arc::new(Semaphore::new(LOGINS_WAITING_MAX)),
            checks: Arc::new(Semaphore::new(CHECKS_MAX)),
            watcher: config.watcher,
            clock: config.clock,
            audit: config.audit,
            changes: watch::Sender::new(()),
        };
        Ok((Self { shared: Arc::new(shared) }, first))
    }

    /// The right of `identity`, which is looked up live.
    pub fn right(&self, identity: &Identity) -> Right {
        Right::new(self.clone(), identity.clone(), self.shared.changes.subscribe())
    }

    /// The audit log.
    pub fn audit(&self) -> &Audit {
        &self.shared.audit
    }

    /// What is granted by `credential` at this moment; `None` when it stands for nobody. Counts as use of a session.
    fn grants_of(&self, credential: &Credential) -> Option<Grants> {
        match credential {
            Credential::Kernel => Some(Grants::everywhere(Role::Administrator)),
            Credential::Token(key) => self.shared.users.token(key, self.now().wall).map(|(_, grants)| grants),
            Credential::Session(key) => {
                let user = self.sessions().touch(key, self.now())?;
                self.shared.users.grants(&user)
            }
        }
    }

    /// Changes users or tokens, off the event loop; whoever streams looks at their right again.
    async fn change_users<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut users::Book) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let auth = self.clone();
        let changed = blocking(move || auth.shared.users.change(act)).await?;
        self.changed();
        changed
    }

    /// Has whoever streams look at their right again.
    fn changed(&self) {
        self.shared.changes.send_replace(());
    }

    fn now(&self) -> Moment {
        Moment { mono: self.shared.clock.now(), wall: self.shared.clock.wall() }
    }

    fn sessions(&self) -> std::sync::MutexGuard<'_, Sessions> {
        // A panic between two statements of these short sections leaves the table usable.
        self.shared.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The routes of users, sessions and tokens.
pub(crate) fn routes(auth: &Auth) -> Routes {
    table().with_state(auth.clone())
}

/// The description of these routes.
pub(crate) fn description() -> utoipa::openapi::OpenApi {
    let mut description = login::Description::openapi();
    for other in [
        setup::Description::openapi(),
        session::Description::openapi(),
        account::Description::openapi(),
        tokens::Description::openapi(),
    ] {
        description.merge(other);
    }
    description
}

/// The table of these routes.
pub(crate) fn table() -> Routes<Auth> {
    Routes::new()
        .merge(login::routes())
        .merge(setup::routes())
        .merge(session::routes())
        .merge(account::routes())
        .merge(tokens::routes())
}

/// Runs what blocks off the event loop.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "a request's work ended badly");
        Problem::internal("the request could not be carried out; the node's log says why")
    })
}
