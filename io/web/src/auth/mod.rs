//! Who may do what: users, sessions, and a brake on guessing.
//!
//! No address is trusted, loopback included; no credential travels in a URL; nothing has a default password.
//! Users live in one small file, sessions in memory only: a restart logs everybody out. Time comes from a
//! [`Clock`] so that expiry and back-off are tested without waiting.

mod backoff;
mod gate;
mod sessions;
mod users;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use keepwatch_model::MonoTime;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use self::backoff::{Backoff, Policy};
use self::sessions::Sessions;
use self::users::Users;
use crate::{Peer, Problem};

pub(crate) use self::gate::{gate, routes};
pub use self::users::{AuthError, FirstUser};

/// Passwords checked at the same time: each check takes 19 MiB and a core for some 20 ms, and recording comes first.
const CHECKS_MAX: usize = 2;

/// Logins that may wait for their check; more are turned away, so that a flood costs bounded memory.
const LOGINS_WAITING_MAX: usize = 32;

/// Longest user name in bytes.
const USER_BYTES_MAX: usize = 64;

/// Longest password in bytes: the hash takes any length, the memory of a flood does not.
const PASSWORD_BYTES_MAX: usize = 1024;

/// What a user may do; each role may do all that the ones before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// See and export footage.
    Viewer,
    /// Protect footage and acknowledge alarms.
    Operator,
    /// Everything.
    Administrator,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Administrator => "administrator",
        })
    }
}

/// How a request proved who it is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// The session cookie.
    Cookie,
    /// `Authorization: Bearer` (RFC 6750 §2.1).
    Bearer,
    /// The Unix socket: the kernel named the peer.
    Socket,
}

/// Who sends a request; present as a request extension on every route but health and login.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Identity {
    /// The user, or `uid:N` for a peer of the Unix socket.
    pub user: String,
    /// What the user may do.
    pub role: Role,
    /// How the request proved it.
    pub via: Via,
}

impl Identity {
    /// Refuses with 403 unless the user has at least `role`.
    pub fn require(&self, role: Role) -> Result<(), Problem> {
        if self.role >= role {
            return Ok(());
        }
        let detail = format!("{} is a {}, this takes a {role}; ask an administrator", self.user, self.role);
        Err(Problem::forbidden("role_too_low", detail))
    }
}

/// Reads the monotonic clock that sessions and back-off run on.
pub trait Clock: Send + Sync {
    /// The time.
    fn now(&self) -> MonoTime;
}

/// The machine's monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    started: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { started: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> MonoTime {
        MonoTime::ZERO + self.started.elapsed()
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
    /// Password of the first administrator, `admin`; used only when there are no users. `None` invents one.
    pub admin_password: Option<String>,
    /// Is told of every login.
    pub watcher: Arc<dyn LoginWatcher>,
    /// The clock of sessions and back-off.
    pub clock: Arc<dyn Clock>,
}

impl fmt::Debug for AuthConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthConfig").field("data", &self.data).finish_non_exhaustive()
    }
}

/// Users and sessions of a node; a cheap handle.
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
    brakes: Mutex<Brakes>,
    waiting: Semaphore,
    checks: Semaphore,
    watcher: Arc<dyn LoginWatcher>,
    clock: Arc<dyn Clock>,
}

struct Brakes {
    addresses: Backoff,
    accounts: Backoff,
}

/// A session that began.
struct Session {
    token: String,
    user: String,
    role: Role,
}

impl Auth {
    /// Reads the users, creating the first administrator when there are none; hashes one password, which takes some
    /// 20 ms.
    pub fn open(config: AuthConfig) -> Result<(Self, FirstUser), AuthError> {
        let (users, first) = Users::open(&config.data, config.admin_password)?;
        let shared = Shared {
            users,
            sessions: Mutex::default(),
            brakes: Mutex::new(Brakes {
                addresses: Backoff::new(Policy::ADDRESS),
                accounts: Backoff::new(Policy::ACCOUNT),
            }),
            waiting: Semaphore::new(LOGINS_WAITING_MAX),
            checks: Semaphore::new(CHECKS_MAX),
            watcher: config.watcher,
            clock: config.clock,
        };
        Ok((Self { shared: Arc::new(shared) }, first))
    }

    /// Checks a password and begins a session.
    async fn login(&self, peer: &Peer, user: String, password: String) -> Result<Session, Problem> {
        if user.len() > USER_BYTES_MAX || password.len() > PASSWORD_BYTES_MAX {
            let detail = format!(
                "a user name has at most {USER_BYTES_MAX} bytes, a password at most {PASSWORD_BYTES_MAX}"
            );
            return Err(Problem::bad_request("credentials_too_long", detail));
        }
        let Ok(_place) = self.shared.waiting.try_acquire() else {
            return Err(Problem::unavailable(
                "logins_busy",
                "too many logins at once; try again in a few seconds",
            )
            .retry_after(Duration::from_secs(5)));
        };
        let address = peer.brake_key();
        // The attempt counts from here, not from its end: parallel guesses would all start before the first ends.
        self.brake(|brakes, now| {
            let wait = brakes.addresses.wait(&address, now).max(brakes.accounts.wait(&user, now));
            if wait > Duration::ZERO {
                return Err(wait);
            }
            brakes.addresses.failed(&address, now);
            brakes.accounts.failed(&user, now);
            Ok(())
        })
        .map_err(|wait| {
            Problem::new(
                axum::http::StatusCode::TOO_MANY_REQUESTS,
                "login_delayed",
                "Too many failed logins",
                format!("after several failed logins the next is possible in {} s", wait.as_secs() + 1),
            )
            .retry_after(wait)
        })?;
        let role = {
            let _check = self.shared.checks.acquire().await.expect("the semaphore is never closed");
            let (shared, name) = (Arc::clone(&self.shared), user.clone());
            tokio::task::spawn_blocking(move || shared.users.check(&name, &password)).await.map_err(|_| {
                Problem::internal("the password could not be checked; see the log of the node")
            })?
        };
        let outcome = if role.is_some() { LoginOutcome::Succeeded } else { LoginOutcome::Refused };
        self.shared.watcher.login(&LoginRecord { user: user.clone(), peer: peer.clone(), outcome });
        let Some(role) = role else {
            return Err(Problem::new(
                axum::http::StatusCode::UNAUTHORIZED,
                "login_refused",
                "The login was refused",
                "there is no such user, or the password is not theirs; check both",
            ));
        };
        self.brake(|brakes, now| {
            brakes.addresses.forgive_one(&address, now);
            brakes.accounts.forget(&user);
        });
        let token = self.sessions().begin(&user, role, self.shared.clock.now())?;
        Ok(Session { token, user, role })
    }

    /// Whom a token stands for; keeps the session alive.
    fn identify(&self, token: &str, via: Via) -> Option<Identity> {
        let now = self.shared.clock.now();
        let (user, role) = self.sessions().touch(token, now)?;
        Some(Identity { user, role, via })
    }

    /// Ends the session of a token.
    fn logout(&self, token: &str) {
        self.sessions().end(token);
    }

    fn sessions(&self) -> std::sync::MutexGuard<'_, Sessions> {
        // A panic between two statements of these short sections leaves the table usable.
        self.shared.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn brake<T>(&self, act: impl FnOnce(&mut Brakes, MonoTime) -> T) -> T {
        let now = self.shared.clock.now();
        act(&mut self.shared.brakes.lock().unwrap_or_else(PoisonError::into_inner), now)
    }
}
